"""A student's beginning: equal to the original network, classes by name, never half a trunk."""

import json

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import mobilenet_v3_large
from torchvision.models.segmentation import lraspp_mobilenet_v3_large

from lifelong.errors import ModelLoadError
from lifelong.records.label_map import CITYSCAPES, label_map_of
from lifelong.training.checkpoints import weights_of, weights_to_bytes
from lifelong.training.foreign_weights import read_foreign
from lifelong.training.initialisation import initial_weights
from lifelong.training.networks import build_network
from lifelong.training.segformer import SIZES
from tests.builders import SMALL_MAP
from tests.student_checkpoints import (
    published_segformer,
    save_encoder,
    save_segformer,
    shaken,
)

LRASPP = "lraspp_mobilenet_v3"


def mapped(*names):
    return label_map_of((name, (number, 0, 0)) for number, name in enumerate(names))


def loaded(name, label_map, place, seed=0):
    beginning = initial_weights(name, label_map, place, seed=seed)
    network = build_network(name, len(label_map), seed=99)
    network.load_state_dict(beginning.weights)
    return network.eval(), beginning


def pictures():
    return torch.randn(2, 3, 96, 128, generator=torch.Generator().manual_seed(3))


def largest_difference(ours, theirs):
    """Relative to the largest logit, since that is what float32 rounds by."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


def test_from_scratch_there_is_nothing_to_take():
    assert initial_weights("fast_cnn", SMALL_MAP, None, seed=0) is None


# b3 to b5 differ from b2 in depth only; each takes a minute and gigabytes.
SLOW = [pytest.param(f"segformer_b{number}", marks=pytest.mark.slow) for number in (1, 2)]


@pytest.mark.parametrize("name", ["segformer_b0", *SLOW])
def test_a_segformer_of_transformers_answers_the_same_in_ours(tmp_path, name):
    """A checkpoint in the hub's layout means the same here as there.

    Counted in float64: in float32 fifty blocks add up to 1e-4 of rounding, which would hide a
    small mistake.
    """
    names = CITYSCAPES.names
    theirs = shaken(published_segformer(SIZES[name], names))
    save_segformer(tmp_path, theirs)
    ours, beginning = loaded(name, CITYSCAPES, tmp_path)
    x = pictures().double()
    with torch.no_grad():
        expected, given = theirs.double().eval()(x).logits, ours.double()(x)
    difference = largest_difference(given, expected)
    print(f"{name}: logits differ by {difference:.1e} of the largest")
    assert given.shape == expected.shape and difference < 1e-9
    assert beginning.taken.share == 1.0 and not beginning.taken.fresh_classes


def test_torchvisions_lraspp_answers_the_same_in_ours(tmp_path):
    theirs = shaken(lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=4))
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    label_map = mapped("a", "b", "c", "d")
    ours, beginning = loaded(LRASPP, label_map, tmp_path / "theirs.pth")
    size = pictures().shape[2:]
    with torch.no_grad():
        given = torch.nn.functional.interpolate(ours(pictures()), size=size, mode="bilinear")
        difference = largest_difference(given, theirs.eval()(pictures())["out"])
    print(f"{LRASPP}: logits differ by {difference:.1e} of the largest")
    assert difference < 1e-5
    assert beginning.taken.by_position and beginning.taken.share == 1.0


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_torchvisions_backbone_is_taken_and_the_head_begins_fresh(tmp_path, suffix):
    theirs = shaken(mobilenet_v3_large(weights=None))
    place = tmp_path / f"mobilenet_v3_large.{suffix}"
    if suffix == "pth":
        torch.save(theirs.state_dict(), place)
    else:
        save_file(theirs.state_dict(), place)
    ours, beginning = loaded(LRASPP, SMALL_MAP, place)
    with torch.no_grad():
        # In ours the last stages are dilated: up to an eighth of the picture both see the same.
        early = theirs.eval().features[:5](pictures())
        assert torch.equal(ours.backbone(pictures())["low"], early)
    assert beginning.taken.parts == ("backbone",)
    fresh = weights_of(build_network(LRASPP, len(SMALL_MAP), seed=0))
    head = "classifier.cbr.0.weight"
    assert torch.equal(beginning.weights[head], fresh[head])
    assert beginning.taken.fresh_classes == SMALL_MAP.names
    assert beginning.taken.left, "1,000 classes of pictures have no place"


def test_torchvisions_own_file_names_its_classes(tmp_path):
    theirs = shaken(lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=21))
    place = tmp_path / "lraspp_mobilenet_v3_large-d234d4ea.pth"
    torch.save(theirs.state_dict(), place)
    label_map = mapped("car", "road", "person")
    _, beginning = loaded(LRASPP, label_map, place)
    assert beginning.taken.classes == ("car", "person")
    assert beginning.taken.fresh_classes == ("road",)
    row = beginning.weights["classifier.high_classifier.weight"][0]
    assert torch.equal(row, theirs.classifier.high_classifier.weight[7])  # car is VOC's eighth


@pytest.mark.parametrize("bare", [False, True])
def test_an_encoder_alone_is_taken_and_everything_else_begins_as_from_scratch(tmp_path, bare):
    theirs = shaken(save_encoder(tmp_path, SIZES["segformer_b0"], bare=bare), tmp_path)
    _, beginning = loaded("segformer_b0", SMALL_MAP, tmp_path, seed=4)
    fresh = weights_of(build_network("segformer_b0", len(SMALL_MAP), seed=4))
    assert beginning.taken.parts == ("segformer",) and beginning.taken.fresh == ("decode_head",)
    for name, value in beginning.weights.items():
        if name.startswith("decode_head."):
            assert torch.equal(value, fresh[name]), name
    norm = "segformer.encoder.layer_norm.3.weight"
    assert torch.equal(beginning.weights[norm], theirs[norm])
    assert beginning.taken.fresh_classes == SMALL_MAP.names
    assert 0.8 < beginning.taken.share < 1.0
    assert beginning.taken.left == (() if bare else ("classifier.bias", "classifier.weight"))


def test_rows_go_by_the_classes_names_and_unknown_ones_begin_fresh(tmp_path):
    theirs = shaken(
        published_segformer(SIZES["segformer_b0"], ("sky", "Traffic-Light", "road, route", "rug"))
    )
    save_segformer(tmp_path, theirs)
    label_map = mapped("road", "person", "traffic light")
    ours, beginning = loaded("segformer_b0", label_map, tmp_path, seed=2)
    with torch.no_grad():
        expected, given = theirs.eval()(pictures()).logits, ours(pictures())
    assert largest_difference(given[:, 0], expected[:, 2]) < 1e-4
    assert largest_difference(given[:, 2], expected[:, 1]) < 1e-4
    row = "decode_head.classifier.weight"
    fresh = weights_of(build_network("segformer_b0", 3, seed=2))
    assert torch.equal(beginning.weights[row][1], fresh[row][1])
    taken = beginning.taken
    assert taken.classes == ("road", "traffic light") and taken.fresh_classes == ("person",)
    assert "classes that begin fresh: person" in str(taken)
    assert json.loads(json.dumps(taken.told()))["classes"] == ["road", "traffic light"]


def test_our_own_weights_of_as_many_classes_are_taken_whole_by_position(tmp_path):
    weights = weights_of(build_network("fast_cnn", 4, seed=7))
    (tmp_path / "ours.safetensors").write_bytes(weights_to_bytes(weights))
    label_map = mapped("a", "b", "c", "d")
    beginning = initial_weights("fast_cnn", label_map, tmp_path / "ours.safetensors", seed=0)
    assert weights_to_bytes(beginning.weights) == weights_to_bytes(weights)
    assert beginning.taken.by_position and "by position" in str(beginning.taken)
    five = initial_weights("fast_cnn", mapped(*"abcde"), tmp_path / "ours.safetensors", seed=0)
    assert five.taken.fresh_classes == tuple("abcde") and not five.taken.by_position
    assert torch.equal(five.weights["stem.0.weight"], weights["stem.0.weight"])


@pytest.mark.parametrize(("wrapper", "prefix"), [(None, "module."), ("state_dict", "model.")])
def test_wrapped_weights_are_unwrapped(tmp_path, wrapper, prefix):
    weights = weights_of(build_network(LRASPP, 4, seed=7))
    named = {f"{prefix}{name}": value.half() for name, value in weights.items()}
    torch.save({wrapper: named, "epoch": 3} if wrapper else named, tmp_path / "w.pth")
    beginning = initial_weights(LRASPP, mapped(*"abcd"), tmp_path / "w.pth", seed=0)
    assert beginning.taken.share == 1.0
    assert beginning.weights["backbone.0.0.weight"].dtype == torch.float32


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        ("segformer_b0", r"depths is .*training\.network: segformer_b2 would fit"),
        ("segformer_b1", r"depths is .*training\.network: segformer_b2 would fit"),
        ("segformer_b3", r"depths is .*training\.network: segformer_b2 would fit"),
        ("fast_cnn", r"'segformer' of transformers; folders begin segformer_b0"),
    ],
)
def test_a_checkpoint_of_another_size_is_refused_with_the_one_that_fits(tmp_path, network, reason):
    size = SIZES["segformer_b2"]
    config = published_segformer(SIZES["segformer_b0"], ("a",)).config.to_dict()
    config |= {"hidden_sizes": list(size.widths), "depths": list(size.depths)}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    if network == "segformer_b0":
        reason = r"hidden_sizes is .*training\.network: segformer_b2 would fit"
    with pytest.raises(ModelLoadError, match=reason):
        initial_weights(network, SMALL_MAP, tmp_path, seed=0)


def tampered(change):
    weights = weights_of(build_network("segformer_b0", 4, seed=0))
    change(weights)
    return weights


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda w: w.pop("segformer.encoder.block.3.1.mlp.dense2.bias"),
            "it lacks segformer.encoder.block.3.1.mlp.dense2.bias",
        ),
        (
            lambda w: w.update({"segformer.encoder.block.3.2.x": torch.zeros(1)}),
            "it has segformer.encoder.block.3.2.x besides",
        ),
        (
            lambda w: w.update({"decode_head.linear_fuse.weight": torch.zeros(8, 4, 1, 1)}),
            r"decode_head.linear_fuse.weight is \(8, 4, 1, 1\), \(256, 1024, 1, 1\) wanted",
        ),
    ],
)
def test_half_a_part_is_that_of_another_network(tmp_path, change, reason):
    save_file(tampered(change), tmp_path / "w.safetensors")
    with pytest.raises(ModelLoadError, match=reason):
        initial_weights("segformer_b0", mapped(*"abcd"), tmp_path / "w.safetensors", seed=0)


def test_weights_of_nothing_we_know_are_refused(tmp_path):
    save_file({"conv1.weight": torch.zeros(3)}, tmp_path / "w.safetensors")
    with pytest.raises(ModelLoadError, match=r"nothing of it fits fast_cnn; .*'conv1.weight'"):
        initial_weights("fast_cnn", SMALL_MAP, tmp_path / "w.safetensors", seed=0)


class Harmful:
    """What a pickle may do to whoever opens it."""

    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("w.safetensors", b"garbage", "not a safetensors file"),
        ("w.pth", b"garbage", "truncated, or not a checkpoint"),
        ("w.pth", Harmful(), "truncated, or not a checkpoint"),
        ("w.pth", {"epoch": 3}, "holds no weights"),
        ("missing.pth", None, "cannot be read"),
    ],
)
def test_what_is_no_checkpoint_is_refused_and_never_run(tmp_path, capsys, name, content, reason):
    """SEC: no code of a file is run."""
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif content is not None:
        torch.save(content, tmp_path / name)
    with pytest.raises(ModelLoadError, match=reason):
        initial_weights("fast_cnn", SMALL_MAP, tmp_path / name, seed=0)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("says", "mean", "std"),
    [
        ({"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.1]}, 0.4, 0.2),
        ({"image_processor": {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}}, 0.5, 0.5),
        ({"do_normalize": False}, 0.0, 1.0),
        ({"do_rescale": False, "image_mean": [127.5] * 3, "image_std": [127.5] * 3}, 0.5, 0.5),
        ({"rescale_factor": 1 / 127.5, "image_mean": [1.0] * 3, "image_std": [2.0] * 3}, 0.5, 1.0),
    ],
)
def test_what_a_checkpoint_wants_to_see_is_told_in_our_scale(tmp_path, says, mean, std):
    save_encoder(tmp_path, SIZES["segformer_b0"], bare=True)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(says))
    found = read_foreign(tmp_path).normalisation
    assert found.mean[1] == pytest.approx(mean) and found.std[1] == pytest.approx(std)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("preprocessor_config.json", '{"do_flip_channel_order": true}', "blue before red"),
        ("preprocessor_config.json", '{"image_mean": [1], "image_std": [1]}', "three means"),
        ("preprocessor_config.json", "no json", "not JSON"),
        ("config.json", '{"id2label": {"1": "a"}}', "from 0 without gaps"),
        ("config.json", "[]", "expected an object"),
    ],
)
def test_a_folder_that_says_nonsense_is_refused_by_name(tmp_path, name, content, reason):
    save_encoder(tmp_path, SIZES["segformer_b0"], bare=True)
    (tmp_path / name).write_text(content)
    with pytest.raises(ModelLoadError, match=reason) as refused:
        read_foreign(tmp_path)
    assert name in str(refused.value)


def test_a_folder_without_weights_or_configuration_is_refused(tmp_path):
    with pytest.raises(ModelLoadError, match=r"no config\.json"):
        read_foreign(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelLoadError, match="pull it again"):
        read_foreign(tmp_path)
