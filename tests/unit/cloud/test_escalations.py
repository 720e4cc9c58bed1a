"""EDGE-13: the cloud answers what edge nodes ask, while somebody waits for it."""

import threading
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from cloud import escalations
from cloud.escalations import LEFT_S, LONGEST_S, Escalations
from cloud.preannotation.shared_drafter import SharedDrafter
from lifelong.errors import ModelOutputError, StorageUnavailableError
from lifelong.links.journal import Journal
from lifelong.records.escalations import Answer, Question, question_folder
from lifelong.records.ids import EdgeId, VersionId, sha256_hex
from lifelong.records.pixels import mask_from_png
from lifelong.records.wire import from_json, to_json
from tests.builders import HEIGHT, NOON, SMALL_MAP, WIDTH, a_jpeg
from tests.edge_fixtures import FlakyStorage, HandClock, events


@dataclass
class Drawn:
    mask: np.ndarray


@dataclass
class BrightIsCar:
    """A drafter: bright pixels are car, others road; notes what it drafted."""

    proposed_by: str = "bright"
    labelled_by: str = "car"
    drafted: list[int] = field(default_factory=list)
    error: Exception | None = None

    def draft(self, image):
        self.drafted.append(int(image.sum()))
        if self.error is not None:
            raise self.error
        return Drawn((image.mean(axis=2) > 128).astype(np.uint8))


class Room:
    def __init__(self, folder) -> None:
        self.storage = FlakyStorage()
        self.drafter = BrightIsCar()
        self.clock = HandClock()
        self.folder = folder
        self.service = self.started()

    def started(self) -> Escalations:
        return Escalations(
            self.storage,
            self.drafter,
            SMALL_MAP,
            Journal(self.folder, "cloud"),
            poll_seconds=0.5,
            clock=self.clock,
        )

    def asked(self, name: str = "q0", seed: int = 0, edge: str = "edge-1", **changes) -> str:
        image = a_jpeg(seed)
        question = Question(
            question_id=name,
            edge_id=EdgeId(edge),
            sequence=seed,
            asked_at=NOON,
            deadline_seconds=2.0,
            image_sha256=sha256_hex(image),
            height=HEIGHT,
            width=WIDTH,
            label_map_digest=SMALL_MAP.digest,
            version_id=VersionId("00000000000000aa"),
            score=0.8,
        )
        folder = question_folder(EdgeId(edge), name)
        self.storage.put(f"{folder}/image.jpg", image)
        self.storage.put(f"{folder}/question.json", to_json(replace(question, **changes)))
        return folder

    def answer(self, folder: str) -> Answer:
        return from_json(Answer, self.storage.get(f"{folder}/answer.json"), folder)

    def left(self) -> list[str]:
        return list(self.storage.keys("escalations"))


@pytest.fixture
def room(tmp_path) -> Room:
    return Room(tmp_path)


def test_edge_13_a_question_is_answered_with_the_drafters_mask(room):
    folder = room.asked(seed=3)
    assert room.service.step() is True
    answer = room.answer(folder)
    assert (answer.verdict, answer.question_id) == ("answered", "q0")
    assert (answer.height, answer.width) == (HEIGHT, WIDTH)
    assert answer.label_map_digest == SMALL_MAP.digest
    assert answer.image_sha256 == sha256_hex(a_jpeg(3))
    assert answer.drafted_by == "bright+car"
    mask = mask_from_png(
        room.storage.get(f"{folder}/answer.png", sha256=answer.mask_sha256), "mask"
    )
    assert mask.shape == (HEIGHT, WIDTH)
    assert room.service.step() is False, "once is enough"
    assert len(room.drafter.drafted) == 1
    (told,) = events(room.folder, "question.answered")
    assert told["question"] == folder


def test_edge_13_without_questions_nothing_is_drafted(room):
    assert room.service.step() is False
    assert room.drafter.drafted == []


@pytest.mark.parametrize(("seconds", "answered"), [(1.9, True), (2.1, False)])
def test_edge_13_a_deadline_counts_from_the_first_look_not_from_the_devices_clock(
    room, seconds, answered
):
    room.asked("q0", asked_at=NOON.replace(year=1970))
    # A first look that cannot get to it: another question is answered before.
    room.asked("q1", seed=1, deadline_seconds=60.0)
    room.service.step()
    room.clock.advance(seconds)
    room.service.step()
    assert room.storage.exists("escalations/edge-1/q0/answer.json") == answered


def test_edge_13_the_newest_deadline_goes_first(room):
    for name, seed, deadline in (("q0", 0, 2.0), ("q1", 1, 5.0), ("q2", 2, 3.0)):
        room.asked(name, seed=seed, deadline_seconds=deadline)
    order = []
    for _ in range(3):
        before = set(room.left())
        room.service.step()
        order += [k.split("/")[2] for k in set(room.left()) - before if k.endswith("answer.json")]
    assert order == ["q1", "q2", "q0"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"label_map_digest": "0" * 64}, "another label map"),
        ({"image_sha256": "0" * 64}, "SHA-256"),
        ({"height": 10}, "is not 64x10"),
    ],
)
def test_edge_13_what_cannot_be_answered_is_refused_with_its_reason(room, changes, reason):
    folder = room.asked(**changes)
    room.service.step()
    answer = room.answer(folder)
    assert answer.verdict == "refused"
    assert reason in answer.reason
    assert not room.storage.exists(f"{folder}/answer.png")


def test_edge_13_bytes_that_are_no_picture_are_refused(room):
    folder = room.asked(image_sha256=sha256_hex(b"no picture"))
    room.storage.put(f"{folder}/image.jpg", b"no picture")
    room.service.step()
    assert "not a readable image" in room.answer(folder).reason


def test_edge_13_a_question_that_is_no_record_is_refused_once(room):
    room.storage.put("escalations/edge-1/q0/question.json", b"{")
    room.service.step()
    assert room.answer("escalations/edge-1/q0").verdict == "refused"
    room.service.step()
    assert room.service.refused == 1


@pytest.mark.parametrize("error", [ModelOutputError("NaN"), RuntimeError("CUDA out of memory")])
def test_edge_13_a_picture_that_breaks_a_model_breaks_it_once(room, error):
    room.drafter.error = error
    folder = room.asked()
    room.service.step()
    assert str(error) in room.answer(folder).reason
    room.service.step()
    assert len(room.drafter.drafted) == 1
    room.drafter.error = None
    after = room.asked("q1", seed=1)
    room.service.step()
    assert room.answer(after).verdict == "answered"


def test_edge_13_a_node_that_has_given_up_finds_no_answer_left_behind(room):
    folder = room.asked()
    real = room.drafter.draft

    def meanwhile(image):
        for name in ("question.json", "image.jpg"):
            room.storage.delete(f"{folder}/{name}")
        return real(image)

    room.drafter.draft = meanwhile
    room.service.step()
    assert room.left() == []


def test_edge_13_a_node_that_gives_up_while_the_answer_is_written_leaves_nothing(room):
    folder = room.asked()
    real = room.storage.put

    def put(key, data):
        real(key, data)
        if key.endswith("answer.png"):
            for name in ("question.json", "answer.json", "image.jpg", "answer.png"):
                room.storage.delete(f"{folder}/{name}")

    room.storage.put = put
    room.service.step()
    assert room.left() == []
    assert room.service.answered == 0


def test_edge_13_what_dead_nodes_left_is_removed_and_nothing_else(room):
    room.asked("q0")
    room.storage.put("escalations/edge-2/q1/image.jpg", b"the node died before it asked")
    room.service.step()
    room.clock.advance(2.0 + LEFT_S - 1)
    room.service.step()
    assert any("q0" in key for key in room.left())
    room.clock.advance(2)
    room.service.step()
    assert not any("q0" in key for key in room.left())
    assert len(room.left()) == 1
    room.clock.advance(LONGEST_S)
    room.service.step()
    assert room.left() == []


def test_edge_13_an_endless_deadline_ends_all_the_same(room):
    room.asked(deadline_seconds=1e12)
    room.service.step()
    room.clock.advance(LONGEST_S + LEFT_S + 1)
    room.service.step()
    assert room.left() == []


def test_edge_13_a_service_that_starts_anew_answers_nothing_twice(room):
    room.asked()
    room.service.step()
    again = room.started()
    assert again.step() is False
    assert len(room.drafter.drafted) == 1
    room.clock.advance(2.0 + LEFT_S + 1)
    again.step()
    assert room.left() == []


def test_edge_13_a_dead_link_is_waited_out_and_told_once(room, caplog):
    folder = room.asked()
    stop = threading.Event()
    looks = iter(range(100))
    real = room.storage.entries

    def entries(prefix):
        look = next(looks)
        if look < 3:
            raise StorageUnavailableError("connection refused")
        if look > 5:
            stop.set()
        return real(prefix)

    room.storage.entries = entries
    service = room.started()
    service._poll_seconds = 0.0
    service.run(stop)
    assert room.answer(folder).verdict == "answered"
    assert len([r for r in caplog.records if "connection refused" in r.message]) == 1


def test_edge_13_a_link_that_dies_under_a_question_is_no_refusal(room):
    folder = room.asked()
    real = room.storage.get

    def get(key, *, sha256=None):
        if key.endswith("image.jpg"):
            room.storage.get = real
            raise StorageUnavailableError("connection reset")
        return real(key, sha256=sha256)

    room.storage.get = get
    with pytest.raises(StorageUnavailableError):
        room.service.step()
    room.service.step()
    assert room.answer(folder).verdict == "answered"


def test_a_shared_drafter_takes_one_picture_at_a_time():
    inside, most = 0, 0
    lock = threading.Lock()

    class Counting(BrightIsCar):
        def draft(self, image):
            nonlocal inside, most
            with lock:
                inside += 1
                most = max(most, inside)
            drawn = super().draft(image)
            with lock:
                inside -= 1
            return drawn

    shared = SharedDrafter(Counting())
    assert (shared.proposed_by, shared.labelled_by) == ("bright", "car")
    image = np.zeros((200, 300, 3), np.uint8)
    threads = [threading.Thread(target=shared.draft, args=(image,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


@pytest.mark.parametrize("limit", ["MOST_IMAGE_BYTES", "MAX_BYTES"])
def test_sec_03_a_question_that_would_fill_the_memory_is_refused_unread(room, monkeypatch, limit):
    monkeypatch.setattr(escalations, limit, 10)
    folder = room.asked()
    room.service.step()
    assert "more than the 10 that are read" in room.answer(folder).reason
    assert room.drafter.drafted == []


def test_sec_03_a_deadline_that_is_no_number_ends(room):
    folder = room.asked(deadline_seconds=float("nan"))
    room.service.step()
    assert room.answer(folder).verdict == "refused"
