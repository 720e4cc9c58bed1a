"""LLL-05: the replay memory never exceeds its bytes, and thinks in pixels of classes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifelong.errors import ConfigError
from lifelong.records.ids import SampleId
from lifelong.replay import CHOICES, choose_exemplars
from tests.builders import a_sample

CHOICE = st.sampled_from(sorted(CHOICES))


def samples_of(count, tasks=("day", "fog")):
    rng = np.random.default_rng(0)
    return [
        a_sample(
            0,
            sample_id=f"{number:016x}",
            learning_task=tasks[number % len(tasks)],
            class_pixels={c: int(n) for c, n in enumerate(rng.integers(0, 500, 4)) if n},
        )
        for number in range(count)
    ]


SAMPLES = samples_of(24)


def ids(samples):
    return {sample.sample_id for sample in samples}


@given(CHOICE, st.lists(st.integers(1, 900), min_size=24, max_size=24), st.integers(0, 9000))
def test_LLL_05_the_memory_stays_within_its_bytes(choice, bytes_each, budget):  # noqa: N802
    sizes = {s.sample_id: n for s, n in zip(SAMPLES, bytes_each, strict=True)}
    chosen = choose_exemplars(SAMPLES, sizes, budget, choice=choice, seed=3)
    assert sum(sizes[sample.sample_id] for sample in chosen) <= budget
    assert ids(chosen) <= ids(SAMPLES) and len(chosen) == len(ids(chosen))
    if sum(bytes_each) <= budget:
        assert list(chosen) == SAMPLES


@given(CHOICE, st.permutations(range(24)), st.integers(0, 5))
def test_the_order_of_arrival_decides_nothing(choice, order, seed):
    sizes = {s.sample_id: 100 for s in SAMPLES}
    shuffled = [SAMPLES[i] for i in order]
    straight = choose_exemplars(SAMPLES, sizes, 1000, choice=choice, seed=seed)
    again = choose_exemplars(shuffled, sizes, 1000, choice=choice, seed=seed)
    assert ids(straight) == ids(again)


def test_the_reservoir_only_ever_loses_to_newcomers():
    sizes = {s.sample_id: 1 for s in SAMPLES}
    kept = ids(choose_exemplars(SAMPLES[:12], sizes, 6, choice="reservoir", seed=1))
    later = ids(choose_exemplars(SAMPLES, sizes, 6, choice="reservoir", seed=1))
    assert 6 == len(kept) == len(later)
    assert (later & ids(SAMPLES[:12])) <= kept


def test_the_reservoir_is_fair():
    sizes = {s.sample_id: 1 for s in SAMPLES}
    counts = dict.fromkeys(sizes, 0)
    for seed in range(400):
        for sample in choose_exemplars(SAMPLES, sizes, 6, choice="reservoir", seed=seed):
            counts[sample.sample_id] += 1
    # 400 draws with probability 1/4: 100 on average, standard deviation below 9.
    assert all(60 < count < 140 for count in counts.values())


def test_LLL_05_class_balanced_keeps_the_rare_class():  # noqa: N802
    common = [a_sample(0, sample_id=f"{i:016x}", class_pixels={0: 5000}) for i in range(40)]
    rare = [a_sample(0, sample_id=f"{i:016x}", class_pixels={0: 4000, 7: 90}) for i in (50, 51)]
    sizes = {s.sample_id: 10 for s in common + rare}
    chosen = choose_exemplars(common + rare, sizes, 50, choice="class_balanced", seed=0)
    assert ids(rare) <= ids(chosen)


@pytest.mark.parametrize("choice", ["class_balanced", "herding"])
def test_no_learning_task_is_crowded_out(choice):
    many = [
        a_sample(0, sample_id=f"{i:016x}", learning_task="day", class_pixels={0: 9})
        for i in range(90)
    ]
    few = [
        a_sample(0, sample_id=f"{i:016x}", learning_task="fog", class_pixels={0: 9})
        for i in range(100, 104)
    ]
    sizes = {s.sample_id: 1 for s in many + few}
    chosen = choose_exemplars(many + few, sizes, 10, choice=choice, seed=0)
    assert ids(few) <= ids(chosen) and len(chosen) == 10


def test_herding_keeps_the_mean():
    points = np.random.default_rng(0).normal(size=(40, 2))
    samples = samples_of(40, tasks=("day",))
    features = {s.sample_id: p for s, p in zip(samples, points, strict=True)}
    sizes = {s.sample_id: 1 for s in samples}
    chosen = choose_exemplars(samples, sizes, 8, choice="herding", seed=0, features=features)
    mean = np.mean([features[s.sample_id] for s in chosen], axis=0)
    assert np.linalg.norm(mean - points.mean(axis=0)) < 0.1


def test_LLL_05_a_deleted_sample_never_comes_back():  # noqa: N802
    sizes = {s.sample_id: 1 for s in SAMPLES}
    for choice in CHOICES:
        chosen = choose_exemplars(SAMPLES, sizes, 6, choice=choice, seed=0)
        rest = [s for s in SAMPLES if s.sample_id != chosen[0].sample_id]
        again = choose_exemplars(rest, sizes, 6, choice=choice, seed=0)
        assert chosen[0].sample_id not in ids(again) and len(again) == 6


def test_an_unknown_choice_is_refused_by_name():
    with pytest.raises(ConfigError, match="reservoir"):
        choose_exemplars([], {}, 0, choice="newest", seed=0)


def test_nothing_to_choose_from_is_nothing():
    assert choose_exemplars([], {SampleId("x"): 1}, 10, choice="herding", seed=0) == ()
