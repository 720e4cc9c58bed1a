"""The training loop: equal lessons give equal weights, a stop costs nothing, replay keeps."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from lifelong.errors import ConfigError, DivergedError, ModelLoadError, TrainingError
from lifelong.training.augmentation import normalised
from lifelong.training.checkpoints import load_weights, read_checkpoint, weights_sha256
from lifelong.training.datasets import pictures_from_pairs
from lifelong.training.lesson import Lesson, learning_rate_at
from lifelong.training.losses import cross_entropy, enlarged_logits
from lifelong.training.networks import build_network
from lifelong.training.strategies import STRATEGIES
from lifelong.training.trainer import train
from tests.unit.lifelong.training.lessons import CLASSES, DARK, HOW, LIGHT, a_lesson, scenes


class PulledPlugError(Exception):
    """Somebody pulled the plug."""


def stop_after(steps):
    def progress(step, _steps, _loss):
        if step == steps:
            raise PulledPlugError

    return progress


def miou(weights, pairs):
    network = build_network("fast_cnn", CLASSES, seed=0)
    load_weights(network, weights, "test")
    network.eval()
    images = torch.from_numpy(np.stack([image.transpose(2, 0, 1) for image, _ in pairs]))
    truth = torch.from_numpy(np.stack([mask for _, mask in pairs]))
    with torch.no_grad():
        answer = enlarged_logits(network(normalised(images, HOW)), (32, 48)).argmax(1)
    both = [((answer == c) & (truth == c)).sum() for c in range(CLASSES)]
    either = [((answer == c) | (truth == c)).sum() for c in range(CLASSES)]
    return float(np.mean([float(b) / float(e) for b, e in zip(both, either, strict=True)]))


def test_LLL_08_the_same_seed_and_data_give_the_same_weights():  # noqa: N802
    first = weights_sha256(train(a_lesson()))
    assert first == weights_sha256(train(a_lesson()))
    assert first != weights_sha256(train(a_lesson(seed=1)))


def test_LLL_08_also_in_another_process():  # noqa: N802
    code = (
        "from lifelong.training.checkpoints import weights_sha256\n"
        "from lifelong.training.trainer import train\n"
        "from tests.unit.lifelong.training.lessons import a_lesson\n"
        "print(weights_sha256(train(a_lesson())))"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert weights_sha256(train(a_lesson())) == there.stdout.strip()


@pytest.mark.parametrize("strategy", ["replay+distillation", "ewc"])
def test_LLL_09_a_resumed_run_equals_one_that_was_never_stopped(tmp_path, strategy):  # noqa: N802
    start = train(a_lesson())
    lesson = a_lesson(
        new=scenes(4, DARK), memory=scenes(5, LIGHT), incumbent=start, strategy=strategy,
        checkpoint_every=2,
    )  # fmt: skip
    whole = weights_sha256(train(lesson))
    path = tmp_path / "half.safetensors"
    with pytest.raises(PulledPlugError):
        train(lesson, checkpoint=path, on_progress=stop_after(5))
    found = read_checkpoint(path)
    assert found is not None and found[1]["step"] == 4
    steps = []
    resumed = train(lesson, checkpoint=path, on_progress=lambda s, _n, _l: steps.append(s))
    assert steps == [5, 6]
    assert whole == weights_sha256(resumed)
    assert whole == weights_sha256(train(lesson, checkpoint=path)), "finished: nothing to repeat"


def test_a_checkpoint_of_another_lesson_or_a_damaged_one_is_passed_over(tmp_path):
    path = tmp_path / "half.safetensors"
    train(a_lesson(seed=5), checkpoint=path)
    assert weights_sha256(train(a_lesson())) == weights_sha256(train(a_lesson(), checkpoint=path))
    path.write_bytes(b"torn")
    assert weights_sha256(train(a_lesson())) == weights_sha256(train(a_lesson(), checkpoint=path))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_LLL_02_every_strategy_runs_from_scratch_and_from_an_incumbent(strategy):  # noqa: N802
    start = train(a_lesson(strategy=strategy, steps=2))
    lesson = a_lesson(
        new=scenes(2, DARK), memory=scenes(2, LIGHT), incumbent=start, strategy=strategy, steps=2
    )
    losses = []
    weights = train(lesson, on_progress=lambda _s, _n, loss: losses.append(loss))
    assert len(losses) == 2 and all(np.isfinite(losses))
    assert weights_sha256(start) != weights_sha256(weights)


# Adapters tell the new from the old by pictures of the old; test_adapters.py says what they answer.
@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name != "adapters"])
def test_no_memory_yet_is_no_obstacle(strategy):
    train(a_lesson(incumbent=train(a_lesson(steps=1)), strategy=strategy, steps=1))


@pytest.mark.slow
def test_LLL_03_replay_forgets_less_than_naive_and_learns_as_much():  # noqa: N802
    light, dark = scenes(24, LIGHT), scenes(24, DARK, first=100)
    held_light, held_dark = scenes(12, LIGHT, first=900), scenes(12, DARK, first=950)
    settings = {
        "steps": 160,
        "learning_rate": 3e-3,
        "batch_size": 8,
        "distillation_weight": 1.0,
    }
    start = train(a_lesson(new=light, **settings))
    before = miou(start, held_light)
    after = {}
    for strategy in ("naive", "replay", "replay+distillation"):
        weights = train(
            a_lesson(new=dark, memory=light, incumbent=start, strategy=strategy, **settings)
        )
        after[strategy] = (miou(weights, held_light), miou(weights, held_dark))
    print(f"light before {before:.3f}; light and dark after: {after}")
    assert before > 0.7
    assert before - after["naive"][0] > 0.3, "the naive one must forget, or nothing is shown"
    for strategy in ("replay", "replay+distillation"):
        assert before - after[strategy][0] < 0.1
        assert after[strategy][1] > after["naive"][1] - 0.2


def test_a_loss_that_is_no_number_ends_the_run():
    broken = {name: value * float("nan") if value.is_floating_point() else value
              for name, value in train(a_lesson(steps=1)).items()}  # fmt: skip
    with pytest.raises(DivergedError, match="step 1 of 6"):
        train(a_lesson(incumbent=broken))


def test_weights_of_another_network_are_refused():
    with pytest.raises(ModelLoadError, match="incumbent"):
        train(a_lesson(incumbent={"head.weight": torch.zeros(1)}))


def test_nothing_to_learn_from_is_said():
    lesson = a_lesson()
    empty = lesson.memory
    with pytest.raises(TrainingError, match="no sample"):
        train(Lesson(section=lesson.section, classes=3, new=empty, memory=empty, incumbent=None))


def test_an_unknown_network_is_refused_by_name():
    with pytest.raises(ConfigError, match="fast_cnn"):
        build_network("resnet_9000", 3, seed=0)


def test_settings_of_the_process_are_given_back():
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    train(a_lesson(steps=1))
    assert threads == torch.get_num_threads()
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.equal(state, torch.random.get_rng_state())


def test_the_learning_rate_rises_and_falls():
    rates = [learning_rate_at(step, 100, 1.0) for step in range(100)]
    assert pytest.approx(rates[:6]) == [0.2, 0.4, 0.6, 0.8, 1.0, 1.0]
    assert rates[5:] == sorted(rates[5:], reverse=True) and rates[-1] < 0.001


def test_a_first_model_takes_more_steps_at_a_higher_rate():
    settings = {"steps": 3, "first_steps_factor": 6, "learning_rate": 0.01}
    first = a_lesson(first_rate_factor=4.0, **settings)
    later = a_lesson(first_rate_factor=4.0, incumbent={}, **settings)
    assert (first.steps, later.steps) == (18, 3)
    assert (first.learning_rate, later.learning_rate) == pytest.approx((0.04, 0.01))


def a_watched_lesson(**changes):
    """Learns the dark so fast that it soon answers the light, which is held back, worse."""
    start = train(a_lesson(new=scenes(12, LIGHT), steps=30))
    settings = {"steps": 40, "checkpoint_every": 2, "patience": 2, "strategy": "naive"}
    lesson = a_lesson(
        new=scenes(6, DARK, first=100), incumbent=start, **settings | {"learning_rate": 0.02}
    )
    return replace(lesson, validation=pictures_from_pairs(scenes(4, LIGHT, first=900), HOW))


def held_back_loss(weights, lesson):
    network = build_network("fast_cnn", CLASSES, seed=0)
    load_weights(network, weights, "test")
    network.eval()
    with torch.no_grad():
        logits = network(normalised(lesson.validation.images, HOW))
    target = lesson.validation.masks.long()
    return float(cross_entropy(enlarged_logits(logits, (32, 48)), target))


def test_a_run_that_no_longer_helps_ends_with_its_best_weights():
    lesson = a_watched_lesson()
    steps = []
    weights = train(lesson, on_progress=lambda step, _steps, _loss: steps.append(step))
    assert len(steps) < 40
    # The best look is `patience` looks, of two steps each, before the end.
    upto = replace(lesson, section=lesson.section.model_copy(update={"patience": 0}))
    seen = []

    def stop(step, _steps, _loss):
        seen.append(step)

    last = train(upto, on_progress=stop)
    assert len(seen) == 40
    assert weights_sha256(weights) != weights_sha256(last)
    assert held_back_loss(weights, lesson) < held_back_loss(last, lesson)


def test_lll_09_a_run_that_is_watched_goes_on_from_its_checkpoint_to_the_same_weights(tmp_path):
    class StoppedError(Exception):
        pass

    def stop(step, _steps, _loss):
        if step == 3:
            raise StoppedError

    lesson = a_watched_lesson()
    with pytest.raises(StoppedError):
        train(lesson, checkpoint=tmp_path / "half", on_progress=stop)
    resumed = train(lesson, checkpoint=tmp_path / "half")
    assert weights_sha256(resumed) == weights_sha256(train(lesson))


def test_pictures_that_count_nothing_teach_nothing():
    good, bad = scenes(4, LIGHT), scenes(4, DARK, first=50)
    lesson = a_lesson(new=[*good, *bad], steps=4, dice_weight=0.0)
    weighed = replace(lesson, new=replace(lesson.new, weights=torch.tensor([1.0] * 4 + [0.0] * 4)))
    spoiled = lesson.new.masks.clone()
    spoiled[4:] = 2
    other = replace(weighed, new=replace(weighed.new, masks=spoiled))
    # Their pixels reach the batch norm, their labels reach nothing.
    assert weights_sha256(train(weighed)) == weights_sha256(train(other))
    assert weights_sha256(train(weighed)) != weights_sha256(train(lesson))


@pytest.mark.parametrize("changes", [{"class_weights": "balanced"}, {"dice_weight": 1.0}])
def test_what_helps_thin_classes_changes_what_is_learned(changes):
    plain = train(a_lesson(dice_weight=0.0))
    assert weights_sha256(train(a_lesson(**{"dice_weight": 0.0} | changes))) != weights_sha256(
        plain
    )


def test_bf16_computes_with_fewer_digits_and_keeps_weights_in_float32():
    fine, coarse = (train(a_lesson(compute=name)) for name in ("fp32", "bf16"))
    assert weights_sha256(fine) != weights_sha256(coarse)
    assert {value.dtype for value in coarse.values()} <= {torch.float32, torch.int64}
    close = [torch.allclose(fine[name], coarse[name], atol=0.05) for name in fine]
    assert sum(close) > 0.9 * len(close)
