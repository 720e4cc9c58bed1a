"""Which unseen pictures are alike, what they are called, and who examines a new task."""

import doctest
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from cloud.conditions import names as condition_names
from cloud.conditions.clusters import energy, groups_of, likeness
from cloud.conditions.embeddings import Embeddings
from cloud.conditions.names import about, differences, looks_of, provisional_name
from cloud.learning import held_back
from cloud.learning.held_back import JoinedHoldout, by_todays_names
from cloud.selecting.picture_features import descriptor
from lifelong.learning_tasks import TaskNames
from lifelong.links.storage import open_storage
from lifelong.model_bundle import make_bundle
from lifelong.records.conditions import TaskMerge
from lifelong.records.ids import SampleId, VersionId
from lifelong.records.novelty import Familiarity
from tests.builders import NOON, a_hard_example, a_mask, an_image
from tests.tiny_bundle import tiny_bundle

K = 16
APART = 20.0


def pictures(place: int, count: int, seed: int, rest: float = 30.0) -> np.ndarray:
    """(count, K + 1): around a condition of its own, at very different distances from the plane."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(count, K + 1))
    rows[:, place] += APART
    rows[:, -1] = rest * random.uniform(1.0, 10.0, size=count)
    return rows


@pytest.mark.parametrize("module", [condition_names, held_back])
def test_the_doctests_hold(module):
    assert doctest.testmod(module).failed == 0


def test_kb_06_conditions_are_found_apart_and_one_condition_stays_one():
    rows = np.concatenate([pictures(0, 30, 1), pictures(1, 12, 2), pictures(2, 8, 3)])
    groups = groups_of(rows, 8)
    assert [sorted(group) for group in groups] == [
        list(range(30)),
        list(range(30, 42)),
        list(range(42, 50)),
    ]
    (alone,) = groups_of(pictures(0, 40, 4), 8)
    assert sorted(alone) == list(range(40))


def test_what_is_like_nothing_else_is_in_no_group():
    scattered = np.random.default_rng(5).normal(size=(20, K + 1)) * 100.0
    assert groups_of(scattered, 4) == []
    assert groups_of(scattered[:3], 4) == []
    assert groups_of(np.zeros((0, K + 1)), 4) == []


def test_the_most_typical_picture_comes_first():
    rows = pictures(0, 11, 6)
    rows[7, :-1] = np.median(np.delete(rows, 7, axis=0)[:, :-1], axis=0)
    assert groups_of(rows, 4)[0][0] == 7


def test_the_energy_of_the_worked_examples():
    mine = np.array([True, True, False, False])
    apart, mixed = np.array([[0.0], [0.0], [1.0], [1.0]]), np.array([[0.0], [1.0], [0.0], [1.0]])
    assert energy(cdist(apart, apart), mine) == 1.0
    assert energy(cdist(mixed, mixed), mine) == 0.0
    assert energy(np.zeros((4, 4)), mine) == 0.0


def test_chance_alone_is_called_a_difference_about_one_time_in_twenty():
    random = np.random.default_rng(7)
    rows = random.normal(size=(60, 24, 6))
    found = [likeness(one[:12], one[12:], random) for one in rows]
    assert 50 <= sum(one.cannot_be_told_apart for one in found) <= 60


def test_a_difference_of_one_deviation_is_found_in_twenty_pictures_each():
    random = np.random.default_rng(8)
    for _ in range(10):
        first, second = random.normal(size=(20, 6)), random.normal(size=(20, 6))
        second[:, 0] += 1.5
        assert not likeness(first, second, random).cannot_be_told_apart


def test_with_few_pictures_nothing_is_said_to_be_the_same():
    rows = np.random.default_rng(9).normal(size=(22, 6))
    assert not likeness(rows[:11], rows[11:], np.random.default_rng(0)).cannot_be_told_apart


def test_looks_are_shares_and_night_is_darker():
    day, night = an_image(0), an_image(0) // 8
    looks = looks_of(descriptor(day))
    assert all(0.0 <= value <= 1.0 for value in looks.values())
    found = differences([descriptor(an_image(s)) for s in range(9)], [descriptor(night)] * 9)
    assert found[0].word == "darker" and found[0].found < 0.1 < found[0].known
    assert differences([], [descriptor(night)]) == []
    grey = np.repeat(day.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    assert looks_of(descriptor(grey))["colour"] == pytest.approx(0.0, abs=0.01)


def test_names_are_free_ones_and_words_tell_hours_sites_and_nodes():
    assert provisional_name("day", [], ["unseen-1", "unseen-2"]) == "unseen-3"
    examples = [
        a_hard_example(seed, captured_at=NOON + timedelta(hours=seed), attributes={"site": "north"})
        for seed in range(3)
    ]
    assert about([], examples, "day") == (
        "captured between 12 and 15 h UTC; site north; from edge-1"
    )


# -- hold-outs -----------------------------------------------------------------------------------


def ids(text: str, task: str) -> dict[SampleId, str]:
    return {SampleId(letter): task for letter in text}


def test_kb_06_a_new_task_gets_its_share_of_the_hold_out_and_keeps_some_to_learn():
    tasks = ids("abcdefgh", "fog") | ids("stuvwxyz", "day")
    assert sorted(held_back.held_back(tasks, 4, {"day"})) == ["g", "h", "y", "z"]
    assert sorted(held_back.held_back(tasks, 1, {"day"})) == ["h"]
    one = ids("a", "fog") | ids("yz", "day")
    assert sorted(held_back.held_back(one, 1, {"day"})) == ["z"], "a single one teaches"


@pytest.mark.parametrize("count", [0, 1, 3, 8])
def test_the_number_held_back_is_what_sedna_cuts(count):
    tasks = ids("abc", "fog") | ids("def", "night") | ids("wxyz", "day")
    for examined in (set(), {"day"}, {"day", "fog", "night"}):
        assert len(held_back.held_back(tasks, count, examined)) == count
    assert held_back.held_back(tasks, 2, {"day", "fog", "night"}) == {"y", "z"}, "the last by id"


def test_kb_06_hold_outs_of_merged_tasks_are_one_examination():
    merge = TaskMerge(number=1, tasks=("fog", "mist"), into="haze", by="anna", at=NOON)
    a, b, c, d = ((an_image(seed), a_mask(seed)) for seed in range(4))
    pictures = [("fog", [a, b]), ("day", [c]), ("mist", [d])]
    found = by_todays_names(pictures, TaskNames(merges=[merge]))
    assert list(found) == ["haze", "day"]
    assert [list(map(id, one)) for one in found.values()] == [[id(a), id(b), id(d)], [id(c)]]
    assert isinstance(found["haze"], JoinedHoldout)
    assert len(list(found["haze"])) == len(list(found["haze"])), "two models sit it"


# -- embeddings ----------------------------------------------------------------------------------


def some_embeddings(storage, length: int = 3) -> Embeddings:
    plain = tiny_bundle()
    known = Familiarity(prototypes={"day": (0.0,) * length})
    return Embeddings(storage, make_bundle(replace(plain.manifest, familiarity=known), plain.onnx))


def test_only_what_fits_the_model_is_taken_from_an_edge():
    made = some_embeddings(open_storage("memory://"))
    one, other = SampleId("a"), SampleId("b")
    assert made.take(one, made.version_id, (1.0, 2.0, 3.0))
    assert made.of(one).tolist() == [1.0, 2.0, 3.0]
    for version, given in (
        (VersionId("0" * 16), (1.0, 2.0, 3.0)),
        (made.version_id, (1.0, 2.0)),
        (made.version_id, ()),
        (made.version_id, (1.0, 2.0, float("nan"))),
    ):
        assert not made.take(other, version, given)
    assert made.of(other) is None, "and its picture is not there"


@pytest.mark.parametrize(
    "kept", [b"{", b"[]", b'{"schema": 2, "embedding": [1, 2, 3]}', b'{"schema": 1}',
             b'{"schema": 1, "embedding": [1, 2]}', b'{"schema": 1, "embedding": "x"}']
)  # fmt: skip
def test_a_kept_embedding_that_cannot_be_read_is_made_again(kept):
    storage = open_storage("memory://")
    made = some_embeddings(storage)
    storage.put(f"embeddings/a/{made.version_id}.json", kept)
    assert not made.knows(SampleId("a"))
    storage.put(f"embeddings/a/{made.version_id}.json", b'{"schema": 1, "embedding": [1, 2, 3]}')
    assert made.of(SampleId("a")).tolist() == [1.0, 2.0, 3.0]
