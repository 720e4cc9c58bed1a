"""EDGE-04: one upload of a scene, not one of a frame; what was drawn by chance passes."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cloud.demo.scenes import CONDITIONS, draw_scene
from edge.delivery.keeping import KNOWN_SCENE, NO_ROOM, WITHHELD, Keeper
from edge.delivery.outbox import Outbox
from edge.scene_hash import bits_apart, scene_hash
from edge.scenes import Scenes
from lifelong.hard_examples import Verdict, judge
from lifelong.links.journal import Journal
from lifelong.records.pixels import Frame, Prediction, image_from_bytes, jpeg_from_image
from lifelong.records.samples import HardExample
from lifelong.sections.delivery import OutboxSection, ScenesSection
from lifelong.sections.edge import HardExamplesSection
from tests.builders import a_frame, a_prediction
from tests.camvid import CAMVID
from tests.edge_fixtures import HandClock, events

NEAR, FAR = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)


def street(seed: int, condition: str = "clear") -> NDArray[np.uint8]:
    return draw_scene(seed, condition, 160, 240).image


def near_identical(image: NDArray[np.uint8], count: int) -> Iterator[NDArray[np.uint8]]:
    """The same view again and again: noise, JPEG, shaking by a few pixels, flickering light."""
    random = np.random.default_rng(4)
    for _ in range(count):
        shaken = np.roll(image, random.integers(-2, 3, 2), (0, 1)).astype(np.float32)
        lit = shaken * random.uniform(0.85, 1.15)
        noisy = lit + random.normal(0, random.uniform(0, 12), lit.shape)
        encoded = jpeg_from_image(
            np.clip(noisy, 0, 255).astype(np.uint8), int(random.integers(40, 95))
        )
        yield image_from_bytes(encoded, "camera")


class Room:
    """A keeper over an outbox of its own."""

    def __init__(self, folder: Path, outbox: OutboxSection | None = None, **scenes) -> None:
        self.folder, self.clock = folder, HandClock()
        self.journal = Journal(folder / "journal", "edge-1", self.clock.now)
        section = outbox or OutboxSection(path=folder / "outbox")
        self.outbox = Outbox(section, self.journal, self.clock.now)
        self.section = ScenesSection(**scenes)
        self.keeper = self.restarted()
        self.count = 0

    def restarted(self) -> Keeper:
        self.scenes = Scenes(self.section, self.folder / "scenes.jsonl", self.clock.now)
        self.keeper = Keeper(self.outbox, self.journal, scenes=self.scenes, clock=self.clock)
        return self.keeper

    def keep(
        self,
        image: NDArray[np.uint8],
        priority: float = 0.5,
        *,
        is_unfiltered: bool = False,
        embedding: tuple[float, ...] | None = None,
        version: str = "00000000000000aa",
    ) -> HardExample | None:
        self.count += 1
        self.clock.advance(0.1)
        verdict = Verdict(
            is_hard=True,
            score=priority,
            reasons=("for a test",),
            scores={},
            is_unfiltered=is_unfiltered,
        )
        prediction = a_prediction(version_id=version)
        if embedding is not None:
            prediction = replace(prediction, embedding=np.array(embedding, np.float32))
        frame = a_frame(self.count, image=image)
        return self.keeper.keep(frame, prediction, verdict)


@pytest.fixture
def room(tmp_path) -> Room:
    return Room(tmp_path)


@pytest.mark.parametrize("condition", ["clear", "night"])
def test_edge_04_three_hundred_near_identical_frames_are_at_most_five_uploads(tmp_path, condition):
    room = Room(tmp_path)
    random = np.random.default_rng(0)
    kept = [
        room.keep(image, float(random.uniform(0.3, 0.5)))
        for image in near_identical(street(3, condition), 300)
    ]
    assert 1 <= sum(example is not None for example in kept) <= 5
    assert 1 <= len(room.outbox) <= 5
    assert room.keeper.passed_over[KNOWN_SCENE] >= 295


def test_edge_04_a_camvid_frame_again_and_again_is_at_most_five_uploads(tmp_path):
    pictures = sorted((CAMVID / "dusk/eval/images").glob("*"))
    if not pictures:
        pytest.skip(f"no CamVid in {CAMVID}; its pictures are not part of the repository")
    room = Room(tmp_path)
    image = image_from_bytes(pictures[3].read_bytes(), "camvid")
    for near in near_identical(image, 30):
        room.keep(near)
    assert 1 <= len(room.outbox) <= 5


@pytest.mark.parametrize("condition", CONDITIONS)
def test_edge_04_different_streets_are_different_scenes(room, condition):
    assert all(room.keep(street(seed, condition)) is not None for seed in range(12))


def test_edge_04_few_camvid_frames_a_second_apart_count_as_one_scene():
    pictures = sorted((CAMVID / "day/train/images").glob("*"))[:30]
    if not pictures:
        pytest.skip(f"no CamVid in {CAMVID}; its pictures are not part of the repository")
    hashes = [scene_hash(image_from_bytes(path.read_bytes(), path.name)) for path in pictures]
    merged = sum(
        any(bits_apart(one, other) <= 8 for other in hashes[:number])
        for number, one in enumerate(hashes)
    )
    assert merged <= 0.1 * len(hashes)


def test_edge_04_only_a_clearly_better_frame_of_a_known_scene_is_kept_and_takes_its_place(room):
    image = street(1)
    first = room.keep(image, 0.40)
    frames = near_identical(image, 3)
    assert room.keep(next(frames), 0.64) is None  # better by less than 0.25
    better = room.keep(next(frames), 0.66)
    assert better is not None
    assert room.outbox.waiting() == [better]
    (told,) = events(room.folder / "journal", "hard_example.replaced")
    assert (told["sample_id"], told["by"]) == (first.sample_id, better.sample_id)
    assert room.outbox.dropped == 0
    assert room.keep(next(frames), 0.80) is None  # the bar has risen


def test_edge_04_a_better_frame_after_the_first_has_left_is_sent_as_well(room):
    image = street(1)
    first = room.keep(image, 0.2)
    room.outbox.delivered(first.sample_id)
    better = room.keep(next(near_identical(image, 1)), 0.9)
    assert room.outbox.waiting() == [better]
    assert not events(room.folder / "journal", "hard_example.replaced")


def test_edge_04_a_scene_is_sent_at_most_five_times_however_priorities_rise(room):
    image = street(2).astype(int)
    kept = [
        room.keep(np.clip(image + step % 7, 0, 255).astype(np.uint8), step / 100)
        for step in range(100)
    ]
    assert sum(example is not None for example in kept) <= 5


def test_what_was_drawn_by_chance_passes_and_is_not_replaced(room):
    image = street(1)
    drawn = [room.keep(near, 0.1, is_unfiltered=True) for near in near_identical(image, 5)]
    assert all(drawn)
    better = room.keep(image, 0.9)
    assert better is not None
    assert len(room.outbox) == 6


@pytest.mark.parametrize(
    ("policy", "share", "unfiltered"),
    [("entropy", 0.0, False), ("entropy", 0.2, True), ("random", 0.0, True),
     ("cloud_only", 0.0, True)],
)  # fmt: skip
def test_a_verdict_says_whether_a_later_filter_may_touch_it(policy, share, unfiltered):
    section = HardExamplesSection(policy=policy, random_share=share, threshold=0.0)
    assert judge(a_prediction(0.2), section, {}, 0.1).is_unfiltered is unfiltered


@pytest.mark.parametrize(
    ("first", "second", "version", "is_one_scene"),
    [
        (NEAR, (0.99, 0.1, 0.0), "00000000000000aa", True),
        (NEAR, FAR, "00000000000000aa", False),  # the picture is alike, what it shows is not
        (NEAR, FAR, "00000000000000bb", True),  # another model's: not comparable
        (NEAR, None, "00000000000000aa", True),
    ],
)
def test_edge_04_embeddings_of_one_model_tell_alike_pictures_apart(
    room, first, second, version, is_one_scene
):
    image = street(1)
    assert room.keep(image, embedding=first)
    again = room.keep(next(near_identical(image, 1)), embedding=second, version=version)
    assert (again is None) is is_one_scene


def test_edge_04_scenes_are_known_after_a_restart_and_a_torn_line_costs_one(room):
    pictures = [street(seed) for seed in range(4)]
    for image in pictures:
        assert room.keep(image)
    path = room.folder / "scenes.jsonl"
    path.write_bytes(path.read_bytes()[:-20])  # the last line is torn
    room.restarted()
    assert [room.keep(near) is None for image in pictures for near in near_identical(image, 1)] == [
        True, True, True, False,
    ]  # fmt: skip
    assert len(room.restarted()._scenes or ()) == 4


@pytest.mark.parametrize("damage", [b"\xff\x00 no line\n", b'{"number": 1}\n', b"[]\n", b"7\n"])
def test_an_unreadable_line_of_the_scenes_is_passed_over(room, damage):
    assert room.keep(street(1))
    path = room.folder / "scenes.jsonl"
    path.write_bytes(damage + path.read_bytes())
    room.restarted()
    assert len(room.scenes) == 1


def test_edge_04_memory_of_scenes_is_bounded_in_memory_and_on_disk(tmp_path):
    room = Room(tmp_path, remembered=5)
    for seed in range(14):
        assert room.keep(street(seed))
    assert len(room.scenes) == 5
    assert len((tmp_path / "scenes.jsonl").read_bytes().splitlines()) <= 10
    assert room.keep(next(near_identical(street(13), 1))) is None


@pytest.mark.parametrize("minutes", [61.0, -61.0])
def test_edge_04_after_a_while_a_scene_may_be_sent_again_also_when_the_clock_was_set_back(
    room, minutes
):
    image = street(1)
    assert room.keep(image)
    room.clock.advance(60 * minutes)
    assert room.keep(next(near_identical(image, 1)))


def test_the_hash_and_the_embedding_travel_with_the_example(room):
    image = street(1)
    example = room.keep(image, embedding=(0.123456, -1.0, 2.0))
    assert example.scene_hash == scene_hash(image)
    assert example.embedding == (0.1235, -1.0, 2.0)


def test_why_frames_were_not_kept_is_counted_and_told_once_a_minute(tmp_path):
    class Private:
        def applied(
            self, frame: Frame, prediction: Prediction, verdict: Verdict
        ) -> tuple[Frame, Prediction] | None:
            return None if verdict.score == 0.123 else (frame, prediction)

    room = Room(tmp_path, OutboxSection(path=tmp_path / "outbox", max_mib=1))
    room.keeper = Keeper(
        room.outbox, room.journal, privacy=Private(), scenes=room.scenes, clock=room.clock
    )
    for _ in range(3):
        room.keep(street(1), 0.123)
    for near in near_identical(street(2), 6):
        room.keep(near)
    large = np.random.default_rng(0).integers(0, 256, (900, 900, 3), dtype=np.uint8)
    room.keep(large)
    assert room.keeper.passed_over == {WITHHELD: 3, KNOWN_SCENE: 5, NO_ROOM: 1}
    assert not events(tmp_path / "journal", "hard_example.passed_over")
    room.clock.advance(60)
    room.keeper.tell()
    told = events(tmp_path / "journal", "hard_example.passed_over")
    assert {line["reason"]: line["count"] for line in told} == dict(room.keeper.passed_over)
    room.keeper.tell(at_once=True)
    assert len(events(tmp_path / "journal", "hard_example.passed_over")) == 3


def test_a_disk_that_takes_no_line_makes_scenes_forgetful_and_stops_nobody(room):
    (room.folder / "scenes.jsonl").mkdir()
    assert room.keep(street(1))
    assert room.keep(next(near_identical(street(1), 1))) is None  # remembered in memory
    room.restarted()
    assert room.keep(street(1)) == room.outbox.waiting()[0]  # the outbox knows it by its content
