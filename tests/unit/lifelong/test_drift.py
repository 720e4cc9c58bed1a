"""LLL-11: drift of input and prediction raises an alarm; frames that stay as they were do not."""

import math

import numpy as np
import pytest

from lifelong.drift import (
    FEWEST_FRAMES,
    DriftMonitor,
    Reference,
    class_shift,
    index_by_chance,
    reference_from,
    stability_index,
)
from lifelong.hard_examples import judge
from lifelong.model_bundle import BundleManifest
from lifelong.novelty import novelty_of
from lifelong.preprocessing import Preprocessing
from lifelong.records.ids import VersionId
from lifelong.records.novelty import Familiarity
from lifelong.records.pixels import Prediction
from lifelong.sections.edge import HardExamplesSection
from tests.builders import SMALL_MAP, a_prediction

NAMES = ("0.10", "0.25", "0.50", "0.75", "0.90", "0.95", "0.99")
USUAL_SHARES = {0: 0.6, 1: 0.3, 2: 0.1}


def world(rng, count, *, distance=1.0, doubt=0.0, memory=0.0):
    """Embedding distances and entropies of `count` frames; neighbours correlate by `memory`."""
    noise = rng.normal(size=(count, 2))
    for row in range(1, count):
        noise[row] = memory * noise[row - 1] + math.sqrt(1 - memory**2) * noise[row]
    distances = 5.0 * distance * np.exp(0.3 * noise[:, 0])
    entropies = np.clip(0.1 + doubt + 0.02 * noise[:, 1], 0.0, 1.0)
    return distances, entropies


def quantiles(values) -> dict[str, float]:
    return {name: float(np.quantile(values, float(name))) for name in NAMES}


def manifest(rng, pictures=40) -> BundleManifest:
    """What a bundle says that was measured on so many held-back pictures."""
    distances, entropies = world(rng, pictures)
    shifts = [class_shift(shares_of(rng), USUAL_SHARES) for _ in range(pictures)]
    return BundleManifest(
        label_map=SMALL_MAP,
        preprocessing=Preprocessing(height=16, width=24),
        network="tiny",
        weights_sha256="0" * 64,
        score_quantiles={"entropy": quantiles(entropies)},
        familiarity=Familiarity(
            prototypes={"day": (0.0,)},
            distance_quantiles=quantiles(distances),
            class_shares=USUAL_SHARES,
            class_shift_quantiles=quantiles(shifts),
            pictures=pictures,
        ),
    )


def shares_of(rng, road=12.0) -> dict[int, float]:
    return dict(enumerate(rng.dirichlet([road, 6.0, 2.0])))


def frames(rng, told: BundleManifest, count: int, *, road=12.0, **changes):
    half_way = told.familiarity.distance_quantiles["0.95"]
    distances, entropies = world(rng, count, **changes)
    for distance, entropy in zip(distances, entropies, strict=True):
        shares = shares_of(rng, road)
        edges = np.cumsum([round(100 * shares[0]), round(100 * shares[1])])
        mask = np.searchsorted(edges, np.arange(100), side="right").astype(np.uint8)
        yield Prediction(
            mask=mask.reshape(10, 10),
            confidence=np.full((1, 1), 0.9, np.float32),
            entropy=np.full((1, 1), entropy, np.float32),
            margin=np.full((1, 1), 0.8, np.float32),
            version_id=VersionId("0" * 16),
            novelty=novelty_of(distance, half_way),
        )


def watched(rng, *, window=200, count=200, pictures=40, **changes) -> DriftMonitor:
    told = manifest(rng, pictures)
    monitor = DriftMonitor(window, 0.25)
    monitor.use(told)
    for prediction in frames(rng, told, count, **changes):
        monitor.see(prediction, None)
    return monitor


@pytest.mark.parametrize(
    ("pictures", "window", "memory"),
    [(8, 200, 0.0), (20, 200, 0.0), (64, 500, 0.0), (40, FEWEST_FRAMES, 0.0), (40, 500, 0.9)],
)
def test_lll_11_frames_that_stay_as_they_were_raise_no_alarm(pictures, window, memory):
    """Three monitors in each of 100 worlds; also small references, small windows, slow scenes."""
    alarms = 0
    for seed in range(100):
        rng = np.random.default_rng([seed, pictures, window])
        monitor = watched(rng, window=window, count=window, pictures=pictures, memory=memory)
        alarms += len(monitor.alarms())
    assert alarms <= 1


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"distance": 2.5}, {"novelty"}),  # fog: pictures lie elsewhere
        ({"doubt": 0.15}, {"entropy"}),  # the model is unsure of what it knew
        ({"doubt": -0.09}, {"entropy"}),  # or suddenly sure of everything
        ({"road": 0.5}, {"classes"}),  # the camera looks elsewhere
        (  # frames that are alike need a longer window
            {"distance": 2.5, "doubt": 0.15, "memory": 0.9, "window": 500, "count": 500},
            {"novelty", "entropy"},
        ),
    ],
)
def test_lll_11_drift_of_input_and_of_prediction_is_found(changes, expected):
    found = [
        set(watched(np.random.default_rng([seed, 11]), **changes).alarms()) for seed in range(20)
    ]
    assert sum(one == expected for one in found) >= 19


def test_lll_11_the_alarm_says_what_changed_and_the_statistics_how_much():
    monitor = watched(np.random.default_rng(1), distance=3.0)
    assert "not what the model was trained for" in monitor.alarms()["novelty"]
    told = monitor.statistics()
    assert told["frames"] == 200.0
    assert told["novelty_psi"] > 0.25 > 0.0 <= told["classes_psi"]


def test_a_handful_of_frames_says_nothing_yet():
    monitor = watched(np.random.default_rng(1), count=FEWEST_FRAMES - 1, distance=9.0)
    assert monitor.alarms() == {}
    assert monitor.statistics() == {"frames": FEWEST_FRAMES - 1.0}


def test_another_model_starts_over_and_old_frames_leave_the_window():
    rng = np.random.default_rng(2)
    told = manifest(rng)
    monitor = DriftMonitor(100, 0.25)
    monitor.use(told)
    for prediction in frames(rng, told, 100, distance=4.0):
        monitor.see(prediction, None)
    assert monitor.alarms()
    for prediction in frames(rng, told, 100):
        monitor.see(prediction, None)
    assert not monitor.alarms()  # the strange frames have left
    monitor.use(told)
    assert monitor.statistics() == {"frames": 0.0}


def test_a_verdict_says_the_same_as_the_pixels():
    rng = np.random.default_rng(3)
    told = manifest(rng)
    with_verdict, without = DriftMonitor(50, 0.25), DriftMonitor(50, 0.25)
    for monitor in (with_verdict, without):
        monitor.use(told)
    for prediction in frames(rng, told, 50):
        with_verdict.see(prediction, judge(prediction, HardExamplesSection(), {}, 0.5))
        without.see(prediction, None)
    assert with_verdict.statistics() == pytest.approx(without.statistics())


def test_an_older_bundle_watches_what_it_can_and_odd_frames_stop_nothing():
    older = BundleManifest(
        label_map=SMALL_MAP,
        preprocessing=Preprocessing(height=16, width=24),
        network="tiny",
        weights_sha256="0" * 64,
        score_quantiles={"entropy": {"0.50": 0.1, "0.90": 0.2, "0.95": 0.2}},
    )
    monitor = DriftMonitor(100, 0.25)
    monitor.see(a_prediction(), None)  # before any model
    monitor.use(older)
    empty = np.zeros((0, 4), dtype=np.uint8)
    for _ in range(40):
        monitor.see(a_prediction(mask=empty), None)
        monitor.see(a_prediction(0.9, entropy=math.nan), None)
    assert set(monitor.statistics()) == {"frames", "entropy_psi"}
    assert math.isfinite(monitor.statistics()["entropy_psi"])
    monitor.alarms()


def test_psi_of_a_hand_worked_table():
    """10 of 100 in a bin of one half: (0.10396 - 0.5) ln(0.10396 / 0.5) + its mirror image."""
    reference = Reference((0.5,), (0.5, 0.5), 100)
    low = 10.5 / 101.0
    expected = (low - 0.5) * math.log(low / 0.5) + (0.5 - low) * math.log((1 - low) / 0.5)
    assert stability_index([0.1] * 10 + [0.9] * 90, reference) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("cut", "pictures", "edges", "shares"),
    [
        ({"0.50": 1.0, "0.90": 2.0}, 100, (1.0, 2.0), (0.5, 0.4, 0.1)),
        ({"0.50": 1.0, "0.99": 2.0}, 20, (1.0,), (0.5, 0.5)),  # a fifth of a picture is no bin
        ({"0.50": 1.0, "0.75": 1.0, "0.90": 3.0}, 100, (1.0, 3.0), (0.75, 0.15, 0.1)),
        ({"0.50": math.nan, "0.90": 3.0}, 100, (3.0,), (0.9, 0.1)),
    ],
)
def test_bins_that_hardly_hold_a_picture_are_joined(cut, pictures, edges, shares):
    reference = reference_from(cut, pictures)
    assert reference is not None
    assert reference.edges == edges
    assert reference.shares == pytest.approx(shares)


def test_without_quantiles_there_is_nothing_to_compare_with():
    assert reference_from({}, 40) is None
    assert reference_from({"0.50": math.inf}, 40) is None


def test_chance_needs_more_of_small_windows_and_of_frames_that_are_alike():
    reference = Reference((0.5,), (0.5, 0.5), 40)
    rng = np.random.default_rng(0)
    many, few = rng.random(400), rng.random(40)
    slow = np.repeat(rng.random(40), 10)
    assert index_by_chance(few, reference) > index_by_chance(many, reference)
    assert index_by_chance(slow, reference) > index_by_chance(many, reference)
