"""LLL-02: adapters: own normalisation and head for each condition, chosen by the light."""

import numpy as np
import pytest
import torch

from cloud.learning.packing import packed
from lifelong.errors import ModelLoadError, TrainingError
from lifelong.model_bundle import BundleManifest
from lifelong.records.label_map import label_map_of
from lifelong.segmenter import OnnxSegmenter
from lifelong.training.adapters import (
    EVERYTHING_BEFORE,
    Adapted,
    adapted_names,
    conditions_of,
    light_of,
    network_of,
)
from lifelong.training.augmentation import normalised
from lifelong.training.checkpoints import load_weights, weights_sha256
from lifelong.training.datasets import pictures_from_pairs
from lifelong.training.networks import NETWORKS, build_network
from lifelong.training.trainer import train
from tests.unit.lifelong.training.lessons import (
    CLASSES,
    DARK,
    HOW,
    LIGHT,
    a_lesson,
    scenes,
)


def answers(weights, pairs):
    """Logits of each picture."""
    network = network_of("fast_cnn", CLASSES, weights)
    load_weights(network, weights, "trained")
    network.eval()
    pictures = normalised(pictures_from_pairs(pairs, HOW).images, HOW)
    with torch.no_grad():
        return network(pictures), network.allocated(pictures) if isinstance(
            network, Adapted
        ) else None


@pytest.fixture(scope="module")
def light_then_dark():
    """A first model of the light, and the same with an adapter for the dark."""
    light, dark = scenes(12, LIGHT), scenes(8, DARK, first=100)
    first = train(a_lesson(new=light, steps=30))
    lesson = a_lesson(new=dark, memory=light, incumbent=first, strategy="adapters", steps=20)
    return first, train(lesson), lesson


def test_lll_02_what_was_learned_before_is_answered_bit_by_bit_as_before(light_then_dark):
    first, adapted, _ = light_then_dark
    held_out = scenes(10, LIGHT, first=900)
    after, allocated = answers(adapted, held_out)
    assert allocated.tolist() == [0] * 10
    # One picture at a time, as the adapted network computes them.
    before = torch.cat([answers(first, [pair])[0] for pair in held_out])
    assert torch.equal(after, before)


def test_lll_02_a_new_condition_is_recognised_by_its_light_and_answered_differently(
    light_then_dark,
):
    first, adapted, _ = light_then_dark
    held_out = scenes(10, DARK, first=950)
    after, allocated = answers(adapted, held_out)
    assert allocated.tolist() == [1] * 10
    assert not torch.allclose(after, answers(first, held_out)[0], atol=0.1)
    truth = torch.from_numpy(np.stack([mask for _, mask in held_out])).long()

    def right(logits):
        grown = torch.nn.functional.interpolate(logits, size=truth.shape[1:], mode="bilinear")
        return float((grown.argmax(1) == truth).float().mean())

    assert right(after) > right(answers(first, held_out)[0]) + 0.1


def test_lll_08_equal_lessons_give_equal_adapters(light_then_dark):
    _, adapted, lesson = light_then_dark
    assert weights_sha256(train(lesson)) == weights_sha256(adapted)


def test_lll_09_a_run_that_was_stopped_ends_with_the_same_adapters(light_then_dark, tmp_path):
    _, adapted, lesson = light_then_dark
    checkpoint = tmp_path / "half"

    class StoppedError(Exception):
        pass

    def stop_at(step, _steps, _loss):
        if step == 12:
            raise StoppedError

    changed = a_lesson(
        new=scenes(8, DARK, first=100), memory=scenes(12, LIGHT), incumbent=lesson.incumbent,
        strategy="adapters", steps=20, checkpoint_every=5,
    )  # fmt: skip
    with pytest.raises(StoppedError):
        train(changed, checkpoint=checkpoint, on_progress=stop_at)
    assert weights_sha256(train(changed, checkpoint=checkpoint)) == weights_sha256(adapted)


def test_a_third_condition_leaves_both_others_alone(light_then_dark):
    _, adapted, _ = light_then_dark
    night = scenes(6, DARK * 0.2, first=300)
    lesson = a_lesson(
        new=night, memory=scenes(8, DARK, first=100), incumbent=adapted, strategy="adapters"
    )
    lesson = type(lesson)(
        **{name: getattr(lesson, name) for name in lesson.__dataclass_fields__}
        | {"new": pictures_from_pairs(night, HOW, learning_task="night")}
    )
    third = train(lesson)
    assert conditions_of(third) == (EVERYTHING_BEFORE, "light", "night")
    for colours, first in ((LIGHT, 900), (DARK, 950)):
        held_out = scenes(4, colours, first=first)
        assert torch.equal(answers(third, held_out)[0], answers(adapted, held_out)[0])


def test_the_exported_graph_chooses_as_torch_does(light_then_dark):
    _, adapted, _ = light_then_dark
    label_map = label_map_of([("ground", (0, 0, 0)), ("disc", (9, 9, 9)), ("bar", (99, 9, 9))])
    manifest = BundleManifest(
        label_map=label_map, preprocessing=HOW, network="fast_cnn", weights_sha256="0" * 64
    )
    pictures = [image for image, _ in (*scenes(2, LIGHT), *scenes(2, DARK))]
    # `packed` itself refuses an export whose logits are not torch's.
    bundle = packed(adapted, manifest, [pictures[0], pictures[2]])
    assert OnnxSegmenter(bundle).segment(pictures[3]).mask.shape == (32, 48)


def test_adapters_need_a_first_model_and_pictures_of_what_it_knows():
    first = train(a_lesson(steps=2))
    with pytest.raises(TrainingError, match="replay memory"):
        train(a_lesson(new=scenes(4, DARK), incumbent=first, strategy="adapters", steps=1))


def test_another_strategy_refuses_an_incumbent_with_adapters(light_then_dark):
    _, adapted, _ = light_then_dark
    with pytest.raises(TrainingError, match="adapters"):
        train(a_lesson(incumbent=adapted, strategy="replay"))


def test_names_of_conditions_that_cannot_be_read_are_refused():
    with pytest.raises(ModelLoadError, match="names of conditions"):
        conditions_of({"conditions": torch.tensor([1, 2], dtype=torch.uint8)})


@pytest.mark.parametrize("name", ["fast_cnn", "lraspp_mobilenet_v3", "segformer_b0"])
def test_adapters_are_a_small_part_of_every_network(name):
    network = build_network(name, 19, seed=0)
    state = network.state_dict()
    own = sum(state[key].numel() for key in adapted_names(network))
    assert 0 < own < 0.06 * sum(value.numel() for value in state.values())
    assert name in NETWORKS


def test_light_does_not_depend_on_the_size_of_the_picture():
    picture = torch.rand(1, 3, 32, 48)
    larger = picture.repeat_interleave(2, 2).repeat_interleave(2, 3)
    first, second = light_of(picture), light_of(larger)
    assert torch.allclose(first[:, :18], second[:, :18], atol=1e-5)
