"""The queue, ANN-04: values against a plain reading of the formulas, strategies, bad input."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cloud.selecting.doubts import MEMBERS, EnsembleDoubts, ensemble, mutual_information
from cloud.selecting.picture_features import (
    FEATURES,
    LENGTH,
    KeptFeatures,
    class_pixels_of,
    descriptor,
)
from cloud.selecting.selection import Queue, without
from cloud.selecting.values import uncertainties
from lifelong.errors import RecordError
from lifelong.knowledge_base import KnowledgeBase
from lifelong.links.journal import Journal, read_events
from lifelong.links.storage import Storage, open_storage
from lifelong.model_bundle import ModelBundle
from lifelong.picture_values import best_first, class_weights, distances_to_nearest, rarity
from lifelong.records.ids import SampleId, VersionId
from lifelong.records.pixels import (
    image_from_bytes,
    jpeg_from_image,
    mask_from_png,
    png_from_mask,
)
from lifelong.records.samples import HardExample, Split
from lifelong.sections.queue import QueueSection
from lifelong.segmenter import OnnxSegmenter
from tests.builders import NOON, a_hard_example, a_jpeg, a_mask_png, a_sample, an_image
from tests.tiny_bundle import tiny_bundle

INCUMBENT, OLDER = VersionId("00000000000000aa"), VersionId("00000000000000bb")


# -- the formulas against a slow and plain reading --------------------------------------------


def plain_order(
    worth: Sequence[float],
    points: Sequence[Sequence[float]],
    centres: Sequence[Sequence[float]],
    count: int,
    oldest_every: int,
) -> list[int]:
    """Loops only: value = worth x (1/4 + 3/4 nearest/scale), greedily; see `best_first`."""

    def distance(a: Sequence[float], b: Sequence[float]) -> float:
        return round(math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True))), 6)

    count = min(count, len(points))
    every = max(2, min(oldest_every, count)) if oldest_every else count + 1
    known = list(centres)
    chosen: list[int] = []
    scale = 0.0
    while len(chosen) < count:
        nearest = [min((distance(p, c) for c in known), default=math.inf) for p in points]
        readable = [all(map(math.isfinite, p)) for p in points]
        if scale == 0.0 and known:
            scale = max((n for n, r in zip(nearest, readable, strict=True) if r), default=0.0)
        values = []
        for index in range(len(points)):
            if not readable[index]:
                share = 0.0
            elif scale == 0.0:
                share = 0.0 if known else 1.0
            else:
                share = min(nearest[index] / scale, 1.0)
            values.append(worth[index] * (0.25 + 0.75 * share))
        left = [index for index in range(len(points)) if index not in chosen]
        if (len(chosen) + 1) % every == 0:
            pick = left[0]
        else:
            pick = max(left, key=lambda index: (values[index], -index))
        chosen.append(pick)
        if readable[pick]:
            known.append(points[pick])
    return chosen


# Whole numbers: distances in steps of 1e-6 then come out the same however they are computed.
grid = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 9), st.sampled_from([0.25, 0.5, 0.75, 1.0])),
    max_size=12,
)


@settings(max_examples=300, deadline=None)
@given(
    waiting=grid,
    known=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=5),
    count=st.integers(0, 14),
    oldest_every=st.integers(0, 5),
    broken=st.sets(st.integers(0, 11), max_size=3),
)
def test_ann_04_the_order_is_that_of_the_plain_reading(
    waiting: list[tuple[int, int, float]],
    known: list[tuple[int, int]],
    count: int,
    oldest_every: int,
    broken: set[int],
) -> None:
    points = np.array([one[:2] for one in waiting], dtype=np.float64).reshape(-1, 2)
    points[[index for index in broken if index < len(points)]] = np.nan
    worth = np.array([one[2] for one in waiting], dtype=np.float64)
    centres = np.array(known, dtype=np.float64).reshape(-1, 2)
    ours = best_first(worth, points, centres, count=count, oldest_every=oldest_every)
    plain = plain_order(worth.tolist(), points.tolist(), centres.tolist(), count, oldest_every)
    assert ours == plain
    assert len(ours) == len(set(ours)) == min(count, len(waiting))


def test_ann_04_equal_worth_is_k_centre_greedy() -> None:
    """Sener & Savarese 2018: each choice is the point farthest from all chosen and labelled."""
    points = np.random.default_rng(0).normal(size=(60, 5))
    centres = np.random.default_rng(1).normal(size=(7, 5))
    order = best_first(np.ones(60), points, centres, count=20)
    held = list(centres)
    for index in order:
        nearest = [min(np.linalg.norm(p - c) for c in held) for p in points]
        assert nearest[index] == pytest.approx(max(nearest), abs=1e-5)
        held.append(points[index])


def test_ann_04_distances_in_pieces_are_distances() -> None:
    points = np.random.default_rng(0).normal(size=(5, 8))
    centres = np.random.default_rng(1).normal(size=(2500, 8))  # more than one piece
    plain = [min(float(np.linalg.norm(p - c)) for c in centres) for p in points]
    assert distances_to_nearest(points, centres) == pytest.approx(plain, abs=2e-6)
    assert np.isinf(distances_to_nearest(points, np.empty((0, 8)))).all()


def test_ann_04_uncertainty_is_a_place_among_scores_of_the_same_version() -> None:
    def scored(score: float, version: VersionId) -> HardExample:
        return replace(a_hard_example(), scores={"entropy": score}, version_id=version)

    fresh = [scored(score, INCUMBENT) for score in (0.2, 0.6, 0.6)]
    stale = [scored(score, OLDER) for score in (0.90, 0.95, 0.95)]
    assert uncertainties(fresh, INCUMBENT) == pytest.approx([0.375, 0.75, 0.75])
    # Other numbers, the same places, and worth half.
    assert uncertainties([*fresh, *stale], INCUMBENT)[3:] == pytest.approx([0.1875, 0.375, 0.375])
    assert uncertainties([scored(0.0, OLDER)], None).tolist() == [0.3125]
    no_number = uncertainties([scored(math.nan, INCUMBENT), scored(0.9, INCUMBENT)], INCUMBENT)
    assert no_number[0] > no_number[1], "what is no number is as doubtful as can be"


def test_ann_04_rare_classes_weigh_more_and_unlabelled_ones_most() -> None:
    weights = class_weights({0: 9900, 1: 100, 2: 0})
    assert weights == pytest.approx({0: 0.00109, 1: 0.5}, abs=1e-4)
    road, rare, never = ({0: 1000}, {0: 900, 1: 100}, {0: 900, 7: 100})
    values = [rarity(pixels, weights) for pixels in (road, rare, never)]
    # By hand: roots 30 and 10, so (30 · 0.00109 + 10 · 0.5) / 40 = 0.1258, and 0.2508 for weight 1.
    assert values == pytest.approx([0.2508, 0.3444, 0.4381], abs=2e-4)
    assert rarity(None, weights) == rarity({}, weights) == 0.25
    assert rarity({3: 5}, {}) == 1.0, "with nothing labelled every class is new"


# -- pictures -----------------------------------------------------------------------------------


def test_ann_04_a_descriptor_tells_pictures_apart_and_stays_near_for_small_changes() -> None:
    image = an_image(1, 96, 128)
    numbers = descriptor(image)
    assert numbers.shape == (LENGTH,)
    assert numbers.dtype == np.float32
    darker = descriptor((image * 0.9).astype(np.uint8))
    near = float(np.linalg.norm(numbers - darker))
    far = float(np.linalg.norm(numbers - descriptor(an_image(2, 96, 128))))
    assert 0 < near < far / 3
    assert np.isfinite(descriptor(np.zeros((1, 1, 3), dtype=np.uint8))).all()


def test_class_pixels_leave_out_what_nobody_knows() -> None:
    assert class_pixels_of(np.array([[0, 255], [2, 2]], dtype=np.uint8)) == {0: 1, 2: 2}


def test_ann_04_a_picture_is_read_once_for_all_processes() -> None:
    storage = open_storage("memory://")
    example = put(storage, 0)
    first = KeptFeatures(storage).of(example.sample_id, example.image_key, example.mask_key)
    storage.delete(example.image_key)
    again = KeptFeatures(storage).of(example.sample_id, example.image_key, example.mask_key)
    assert again.descriptor is not None and first.descriptor is not None
    assert np.array_equal(again.descriptor, first.descriptor)
    assert again.class_pixels == first.class_pixels != {}
    assert again.reasons == ()


@pytest.mark.parametrize(
    "damage", [b"", b"[]", b"{}", b'{"schema":1,"descriptor":"AAAA","class_pixels":{}}', b"\xff"]
)
def test_damaged_features_are_computed_again(damage: bytes) -> None:
    storage = open_storage("memory://")
    example = put(storage, 0)
    storage.put(f"{FEATURES}/{example.sample_id}.json", damage)
    found = KeptFeatures(storage).of(example.sample_id, example.image_key, example.mask_key)
    assert found.descriptor is not None
    assert found.reasons == ()


# -- BALD ---------------------------------------------------------------------------------------


def test_ann_04_bald_is_the_entropy_of_the_mean_less_the_mean_entropy() -> None:
    """Houlsby et al. 2011, worked out by loops."""
    raw = np.random.default_rng(0).random((4, 3, 2, 5)).astype(np.float32)
    members = raw / raw.sum(axis=1, keepdims=True)

    def h(p: NDArray[np.float64]) -> float:
        return -sum(float(x) * math.log(float(x)) for x in p) / math.log(3)

    expected = [
        [
            h(members[:, :, y, x].mean(axis=0)) - sum(h(m[:, y, x]) for m in members) / 4
            for x in range(5)
        ]
        for y in range(2)
    ]
    assert mutual_information(members) == pytest.approx(np.array(expected), abs=1e-5)
    doubting_alike = np.full((4, 3, 1, 1), 1 / 3, dtype=np.float32)
    assert float(mutual_information(doubting_alike)[0, 0]) == pytest.approx(0.0, abs=1e-6)


def test_ann_04_the_ensemble_lies_on_the_picture() -> None:
    """A mirrored copy's answer is turned back: a mirror-image picture gives mirrored members."""
    segmenter = OnnxSegmenter(tiny_bundle(seed=1), threads=1)
    image = an_image(3, 64, 96)
    members = ensemble(segmenter, image)
    turned = ensemble(segmenter, np.ascontiguousarray(image[:, ::-1]))
    assert members.shape[0] == MEMBERS == 4
    assert members.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    assert members[0] == pytest.approx(turned[1][:, :, ::-1], abs=1e-5)
    assert members[1] == pytest.approx(turned[0][:, :, ::-1], abs=1e-5)


def test_ann_04_bald_is_computed_once_and_says_why_it_cannot_be() -> None:
    storage = open_storage("memory://")
    bundle = tiny_bundle(seed=1)
    asked: list[VersionId] = []

    def bundle_of(version_id: VersionId) -> ModelBundle:
        asked.append(version_id)
        if version_id != bundle.version_id:
            raise RecordError(f"no bundle of version {version_id!r}")
        return bundle

    example = put(storage, 0)
    value, reason = EnsembleDoubts(storage, bundle_of).of(example, bundle.version_id)
    assert 0 < value < 1
    assert reason == ""
    assert EnsembleDoubts(storage, bundle_of).of(example, bundle.version_id) == (value, "")
    assert asked == [bundle.version_id]
    assert EnsembleDoubts(storage, bundle_of).of(example, OLDER) == (
        0.0,
        f"no bundle of version {OLDER!r}",
    )
    storage.delete(example.image_key)
    gone = replace(example, sample_id=SampleId("f" * 32))
    assert example.image_key in EnsembleDoubts(storage, bundle_of).of(gone, bundle.version_id)[1]


# -- the queue as a whole -----------------------------------------------------------------------


def put(storage: Storage, seed: int, **changes: object) -> HardExample:
    """An admitted example with its picture and mask in storage."""
    example = a_hard_example(seed)
    example = replace(
        example,
        image_key=f"images/{example.sample_id}.jpg",
        mask_key=f"edge_masks/{example.sample_id}.png",
        **changes,  # type: ignore[arg-type]
    )
    storage.put(example.image_key, a_jpeg(seed))
    storage.put(example.mask_key, a_mask_png(seed))
    return example


class Place:
    """A queue over storage in memory."""

    def __init__(self, tmp_path: Path, **section: object) -> None:
        self.storage = open_storage("memory://")
        self.kb = KnowledgeBase(self.storage)
        self.folder = tmp_path / "journal"
        self.section = QueueSection.model_validate(section)
        self.bundle = tiny_bundle(seed=1)

    def queue(self) -> Queue:
        return Queue(
            section=self.section,
            kb=self.kb,
            storage=self.storage,
            journal=Journal(self.folder, "cloud"),
            bundle=lambda version_id: self.bundle,
        )

    def choose(
        self, waiting: Sequence[HardExample], budget: int = 100, at_least: int = 1
    ) -> list[SampleId]:
        chosen = self.queue().choose(waiting, incumbent=INCUMBENT, budget=budget, at_least=at_least)
        return [example.sample_id for example in chosen]

    def events(self, name: str) -> list[Mapping[str, object]]:
        return [event for event in read_events(self.folder) if event["event"] == name]


STRATEGIES = ["expected_value", "entropy", "margin", "bald", "random", "oldest"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_ann_04_every_strategy_answers_every_input_and_the_same_each_time(
    strategy: str, tmp_path: Path
) -> None:
    place = Place(tmp_path, strategy=strategy)
    assert place.choose([]) == []
    one = put(place.storage, 0, score=0.5)
    assert place.choose([one]) == [one.sample_id]
    equal = [put(place.storage, seed, score=0.5, scores={}) for seed in range(6)]
    missing = replace(
        a_hard_example(7), image_key="images/gone.jpg", mask_key="edge_masks/gone.png"
    )
    broken = put(place.storage, 8)
    place.storage.put(broken.image_key, b"no picture")
    place.storage.put(broken.mask_key, b"no mask")
    waiting = [*equal, missing, broken]
    chosen = place.choose(waiting)
    assert sorted(chosen) == sorted(example.sample_id for example in waiting), "nothing is lost"
    assert place.choose(waiting[::-1]) == chosen, "the order they arrive in does not matter"
    assert place.choose(waiting, budget=3) == chosen[:3] or strategy == "expected_value"
    if strategy in {"expected_value", "bald"}:
        told = {event["sample_id"]: event["reasons"] for event in place.events("queue.unread")}
        assert set(told) >= {missing.sample_id, broken.sample_id}
        assert "images/gone.jpg" in str(told[missing.sample_id])
        assert broken.image_key in str(told[broken.sample_id])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_too_few_of_the_incumbents_own_begin_no_round(strategy: str, tmp_path: Path) -> None:
    place = Place(tmp_path, strategy=strategy)
    stale = [put(place.storage, seed, version_id=OLDER) for seed in range(5)]
    fresh = [put(place.storage, seed) for seed in range(5, 7)]
    assert place.choose([*stale, *fresh], at_least=3) == []
    assert len(place.choose([*stale, *fresh], at_least=2)) == 7


def test_ann_04_entropy_and_margin_take_the_most_unsure_by_that_score(tmp_path: Path) -> None:
    storage = open_storage("memory://")
    examples = [
        put(storage, seed, scores={"entropy": entropy, "margin": margin})
        for seed, (entropy, margin) in enumerate([(0.2, 0.9), (0.9, 0.1), (0.5, 0.5)])
    ]
    ids = [example.sample_id for example in examples]
    assert Place(tmp_path, strategy="entropy").choose(examples) == [ids[1], ids[2], ids[0]]
    assert Place(tmp_path, strategy="margin").choose(examples) == [ids[0], ids[2], ids[1]]
    stale = [replace(examples[1], version_id=OLDER), examples[0], examples[2]]
    assert Place(tmp_path, strategy="entropy").choose(stale) == [ids[2], ids[0], ids[1]]


def test_ann_04_oldest_is_by_the_clock_then_the_sequence_then_the_id(tmp_path: Path) -> None:
    storage = open_storage("memory://")
    late = put(storage, 0, captured_at=NOON + timedelta(hours=1), sequence=0)
    second = put(storage, 1, sequence=9)
    first = put(storage, 2, sequence=3)
    ids = [one.sample_id for one in (first, second, late)]
    assert Place(tmp_path, strategy="oldest").choose([late, second, first]) == ids


def test_ann_04_random_is_another_order_for_another_seed(tmp_path: Path) -> None:
    storage = open_storage("memory://")
    examples = [put(storage, seed) for seed in range(12)]
    orders = {
        tuple(Place(tmp_path, strategy="random", seed=seed).choose(examples)) for seed in range(3)
    }
    assert len(orders) == 3


def test_ann_04_value_is_uncertainty_times_novelty_times_rarity(tmp_path: Path) -> None:
    """Of examples that differ in one factor only, the one with more of it comes first."""
    place = Place(tmp_path, oldest_every=0)
    flat = np.full((48, 64, 3), 90, dtype=np.uint8)
    known = replace(a_sample(0), image_key="images/known.jpg", class_pixels={0: 10_000, 1: 100})
    place.storage.put("images/known.jpg", jpeg_from_image(flat))
    place.kb.add([known], why="first")

    def example(
        name: str, image: NDArray[np.uint8], mask_class: int, entropy: float
    ) -> HardExample:
        made = replace(
            a_hard_example(),
            sample_id=SampleId(name),
            image_key=f"images/{name}.jpg",
            mask_key=f"edge_masks/{name}.png",
            scores={"entropy": entropy},
        )
        place.storage.put(made.image_key, jpeg_from_image(image))
        place.storage.put(made.mask_key, png_from_mask(np.full((48, 64), mask_class, np.uint8)))
        return made

    plain = example("plain", flat, 0, 0.5)
    unsure = example("unsure", flat, 0, 0.9)
    rare = example("rare", flat, 1, 0.5)
    never = example("never", flat, 2, 0.5)
    new = example("new", an_image(5), 0, 0.5)
    for better in (unsure, rare, never, new):
        assert place.choose([plain, better]) == [better.sample_id, "plain"]
    assert place.choose([rare, never]) == ["never", "rare"], "never labelled weighs most"


def test_ann_04_the_whole_queue_is_the_plain_reading_of_recorded_scores(tmp_path: Path) -> None:
    """From records and pictures to an order: every factor by loops, against the queue itself."""
    place = Place(tmp_path, oldest_every=5)
    taught = [replace(a_sample(s), class_pixels={0: 9000, 1: 1000}) for s in (40, 41)]
    for seed, sample in zip((40, 41), taught, strict=True):
        place.storage.put(sample.image_key, a_jpeg(seed))
    place.kb.add(taught, why="first")
    random = np.random.default_rng(7)
    waiting = [
        put(
            place.storage,
            seed,
            scores={"entropy": round(float(random.random()), 3)},
            version_id=INCUMBENT if seed % 3 else OLDER,
        )
        for seed in range(15)
    ]

    def weight_of(class_id: int) -> float:
        labelled = {0: 18_000, 1: 2_000}
        if class_id not in labelled:
            return 1.0
        return min(1.0, math.log(20_000 / labelled[class_id]) / math.log(10_000))

    worth = []
    for example in waiting:
        peers = [e.scores["entropy"] for e in waiting if e.version_id == example.version_id]
        own = example.scores["entropy"]
        rank = (sum(p < own for p in peers) + sum(p <= own for p in peers)) / 2 / len(peers)
        doubt = (0.25 + 0.75 * rank) * (1.0 if example.version_id == INCUMBENT else 0.5)
        mask = mask_from_png(place.storage.get(example.mask_key), "")
        roots = {i: math.sqrt(int((mask == i).sum())) for i in np.unique(mask).tolist()}
        rare = sum(root * weight_of(i) for i, root in roots.items()) / sum(roots.values())
        worth.append(doubt * (0.25 + 0.75 * rare))
    points = [descriptor(image_from_bytes(a_jpeg(seed), "")).tolist() for seed in range(15)]
    centres = [descriptor(image_from_bytes(a_jpeg(seed), "")).tolist() for seed in (40, 41)]
    expected = plain_order(worth, points, centres, 10, 5)
    assert place.choose(waiting, budget=10) == [waiting[index].sample_id for index in expected]


def test_ann_04_bald_takes_the_most_disputed_first(tmp_path: Path) -> None:
    place = Place(tmp_path, strategy="bald")
    waiting = [put(place.storage, seed) for seed in range(6)]
    segmenter = OnnxSegmenter(place.bundle, threads=1)
    disputed = [
        float(
            mutual_information(
                ensemble(segmenter, image_from_bytes(place.storage.get(one.image_key), ""))
            ).mean()
        )
        for one in waiting
    ]
    ranked = sorted(range(6), key=lambda index: -disputed[index])
    assert place.choose(waiting) == [waiting[index].sample_id for index in ranked]


def test_ann_04_two_of_a_kind_do_not_both_come_first(tmp_path: Path) -> None:
    place = Place(tmp_path, oldest_every=0)
    twins = [put(place.storage, 1), replace(put(place.storage, 1), sample_id=SampleId("a" * 32))]
    other = put(place.storage, 2, scores={"entropy": 0.4})
    chosen = place.choose([*twins, other])
    assert chosen[1] == other.sample_id, "less unsure, but not the same picture again"


def test_ann_04_whoever_waits_longest_has_a_place_in_every_round(tmp_path: Path) -> None:
    """A starved example: always the least of all values, and gone after three rounds at most."""
    place = Place(tmp_path, oldest_every=4)
    starved = [
        put(place.storage, seed, scores={"entropy": 0.0}, captured_at=NOON - timedelta(days=1))
        for seed in range(3)
    ]
    rounds: list[list[HardExample]] = []
    for number in range(3):
        fresh = [
            put(place.storage, 10 + 10 * number + i, scores={"entropy": 0.9}) for i in range(8)
        ]
        waiting = without([*starved, *fresh], rounds)
        chosen = place.choose(waiting, budget=4)
        assert chosen[3] == starved[number].sample_id
        rounds.append([one for one in waiting if one.sample_id in chosen])


def test_ann_04_a_look_reads_so_many_pictures_and_the_next_one_goes_on(tmp_path: Path) -> None:
    place = Place(tmp_path, read_at_once=4)
    waiting = [put(place.storage, seed) for seed in range(10)]
    place.storage.put("images/known.jpg", a_jpeg(20))
    place.kb.add([replace(a_sample(20), image_key="images/known.jpg")], why="first")
    looks = [len(place.choose(waiting)) for _ in range(3)]
    assert looks == [0, 0, 10]


def test_ann_04_bald_counts_each_copy_of_a_picture_as_a_look(tmp_path: Path) -> None:
    place = Place(tmp_path, strategy="bald", read_at_once=8)
    waiting = [put(place.storage, seed) for seed in range(5)]
    queue = place.queue()
    looks = [
        len(queue.choose(waiting, incumbent=INCUMBENT, budget=9, at_least=1)) for _ in range(3)
    ]
    assert looks == [0, 0, 5]


def test_ann_04_what_is_done_makes_its_like_less_urgent(tmp_path: Path) -> None:
    place = Place(tmp_path, oldest_every=0)
    done = put(place.storage, 1)
    alike = replace(put(place.storage, 1), sample_id=SampleId("a" * 32))
    other = put(place.storage, 2, scores={"entropy": 0.4})
    queue = place.queue()
    assert queue.order([alike, other], done=[], incumbent=INCUMBENT)[0] == alike.sample_id
    assert queue.order([alike, other], done=[done], incumbent=INCUMBENT)[0] == other.sample_id
    assert queue.order([], done=[done], incumbent=INCUMBENT) == ()


def test_the_same_question_is_answered_from_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path)
    waiting = [put(place.storage, seed) for seed in range(4)]
    queue = place.queue()
    first = queue.order(waiting, done=[], incumbent=INCUMBENT)
    monkeypatch.setattr(place.kb, "refresh", lambda: pytest.fail("nothing has changed"))
    assert queue.order(waiting[::-1], done=[], incumbent=INCUMBENT) == first
    monkeypatch.undo()
    assert set(queue.order(waiting[1:], done=waiting[:1], incumbent=INCUMBENT)) < set(first)


def test_ann_04_hold_out_samples_teach_nothing(tmp_path: Path) -> None:
    place = Place(tmp_path, oldest_every=0)
    alike, other = put(place.storage, 1), put(place.storage, 2, scores={"entropy": 0.4})
    sample = replace(a_sample(1), image_key=alike.image_key, split=Split.EVAL)
    place.kb.add([sample], why="held out")
    assert place.choose([alike, other])[0] == alike.sample_id


def test_bald_needs_an_incumbent_and_falls_back_to_recorded_entropy(tmp_path: Path) -> None:
    place = Place(tmp_path, strategy="bald")
    examples = [put(place.storage, seed, scores={"entropy": seed / 10}) for seed in range(3)]
    order = place.queue().order(examples, done=[], incumbent=None)
    assert list(order) == [example.sample_id for example in examples[::-1]]
