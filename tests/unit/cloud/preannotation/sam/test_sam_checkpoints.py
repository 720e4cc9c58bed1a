"""INT-16 and OPS-03: weights of another model are refused in words, before serving."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Sam2Config, Sam2VideoConfig, Sam2VideoModel, SamHQModel

from cloud.preannotation.sam.checkpoints import Kind, put_into, read_weights
from cloud.preannotation.sam.hq import HqSam, load_hq_sam
from cloud.preannotation.sam.mobile import build_mobile_sam, load_mobile_sam
from cloud.preannotation.sam.original import load_original_sam
from cloud.preannotation.sam.original_names import hq_weights, sam2_weights
from cloud.preannotation.sam.sam2 import Sam2, load_sam2
from cloud.preannotation.sam.transformers_folder import load_transformers_sam
from lifelong.errors import ModelLoadError
from tests.unit.cloud.preannotation.sam.conftest import mini_hq_config, mini_sam2_vision, seeded
from tools.compare_sam_originals import our_answers

PATCHES = "image_encoder.patch_embed.proj.weight"
# What tells one model from another, without the gigabytes.
MARKS = {
    "vit_b": {PATCHES: torch.zeros(768, 3, 1, 1)},
    "vit_l": {PATCHES: torch.zeros(1024, 3, 1, 1)},
    "vit_h": {PATCHES: torch.zeros(1280, 3, 1, 1)},
    "hq_vit_b": {
        PATCHES: torch.zeros(768, 3, 1, 1),
        "mask_decoder.hf_token.weight": torch.zeros(1, 256),
    },
    "mobile": {"image_encoder.patch_embed.seq.0.c.weight": torch.zeros(32, 3, 3, 3)},
    "light_hq": {
        "image_encoder.patch_embed.seq.0.c.weight": torch.zeros(32, 3, 3, 3),
        "mask_decoder.hf_token.weight": torch.zeros(1, 256),
    },
    "sam2_tiny": {
        "image_encoder.trunk.patch_embed.proj.weight": torch.zeros(96, 3, 7, 7),
        **{f"image_encoder.trunk.blocks.{n}.norm1.weight": torch.zeros(1) for n in range(12)},
    },
    "transformers": {"vision_encoder.patch_embed.projection.weight": torch.zeros(768, 3, 1, 1)},
    "strange_width": {PATCHES: torch.zeros(64, 3, 1, 1)},
    "no_sam": {"backbone.weight": torch.zeros(1)},
}
LOADERS = {
    "sam": load_original_sam,
    "sam_hq": load_hq_sam,
    "sam2": load_sam2,
    "mobile_sam": lambda path, model: load_mobile_sam(path),
}


@pytest.mark.parametrize(
    ("type_", "model", "given", "reason"),
    [
        ("sam", "vit_h", "vit_b", r"weights of vit_b of segment-anything; .*sam_vit_h_4b8939"),
        ("sam", "vit_b", "hq_vit_b", r"weights of vit_b of HQ-SAM \(.*masks\.type: sam_hq\)"),
        ("sam", "vit_b", "mobile", r"weights of MobileSAM \(.*type: mobile_sam\)"),
        ("sam", "vit_b", "sam2_tiny", r"weights of tiny of SAM 2 \(.*type: sam2\)"),
        ("sam", "vit_b", "transformers", r"as transformers names them.*config\.json"),
        ("sam", "vit_b", "strange_width", "an image encoder 64 wide"),
        ("sam", "vit_b", "no_sam", "no image encoder of any SAM"),
        ("sam_hq", "vit_b", "vit_b", r"vit_b of segment-anything \(.*type: sam\).*sam_hq_vit_b"),
        ("sam_hq", "vit_l", "hq_vit_b", r"weights of vit_b of HQ-SAM; .*sam_hq_vit_l\.pth"),
        ("sam2", "large", "sam2_tiny", r"weights of tiny of SAM 2; .*sam2\.1-hiera-large"),
        ("sam2", "base_plus", "vit_h", r"vit_h of segment-anything .*sam2\.1-hiera-base-plus"),
        ("mobile_sam", "", "light_hq", r"weights of vit_tiny of HQ-SAM; .*mobile_sam\.pt"),
        ("sam_hq", "vit_b", "light_hq", r"weights of vit_tiny of HQ-SAM; .*sam_hq_vit_b"),
        ("mobile_sam", "", "vit_b", r"weights of vit_b of segment-anything .*mobile_sam\.pt"),
    ],
)
def test_int_16_weights_of_another_model_are_named(tmp_path, type_, model, given, reason):
    """INT-16: what the file is, what was expected, and which type would take it."""
    path = tmp_path / "given.pth"
    torch.save(MARKS[given], path)

    with pytest.raises(ModelLoadError, match=f"(?s)given\\.pth.*{reason}"):
        LOADERS[type_](path, model)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "truncated"),
        (b"anything", "truncated, or not a checkpoint"),
        (bytes(range(256)), "truncated, or not a checkpoint"),
        (b"\n<!DOCTYPE html><title>404</title>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of git-lfs"),
    ],
)
@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_ops_03_a_file_that_is_no_checkpoint_says_why(tmp_path, name, content, reason):
    """OPS-03: what came out of a failed download is called so."""
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(ModelLoadError, match=f"(?s){name}: {reason}.*expected this"):
        read_weights(path, "expected this")


@pytest.mark.parametrize("share", [0.3, 0.999])
@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_int_16_a_truncated_file_is_refused(tmp_path, name, share):
    """INT-16."""
    path = tmp_path / name
    weights = {"a": torch.arange(4000.0)}
    save_file(weights, path) if path.suffix == ".safetensors" else torch.save(weights, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])

    with pytest.raises(ModelLoadError, match="truncated"):
        read_weights(path, "expected this")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("wrapper", [None, "model", "state_dict"])
def test_weights_are_found_in_every_format_and_wrapping(tmp_path, legacy, wrapper):
    weights = {"a": torch.arange(3.0), "steps": torch.tensor(5)}
    path = tmp_path / "weights.pth"
    whole = weights if wrapper is None else {wrapper: weights, "epoch": 3}
    torch.save(whole, path, _use_new_zipfile_serialization=not legacy)

    found = read_weights(path, "")

    assert {name: value.tolist() for name, value in found.items()} == {
        "a": [0.0, 1.0, 2.0],
        "steps": 5,
    }


class Evil:
    def __reduce__(self):
        return print, ("code of the file ran",)


@pytest.mark.parametrize("legacy", [False, True])
def test_no_code_of_a_checkpoint_runs(tmp_path, capsys, legacy):
    path = tmp_path / "evil.pth"
    torch.save({"a": Evil()}, path, _use_new_zipfile_serialization=not legacy)

    with pytest.raises(ModelLoadError, match="not a checkpoint"):
        read_weights(path, "expected this")

    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "reason"), [([1, 2], "holds a list"), ({"epoch": 3}, "holds no weights")]
)
def test_a_file_without_weights_is_refused(tmp_path, content, reason):
    torch.save(content, tmp_path / "other.pth")

    with pytest.raises(ModelLoadError, match=reason):
        read_weights(tmp_path / "other.pth", "expected this")


def test_a_folder_or_nothing_instead_of_a_file_is_refused(tmp_path):
    with pytest.raises(ModelLoadError, match="a folder; expected this"):
        read_weights(tmp_path, "expected this")
    with pytest.raises(ModelLoadError, match="no such file; expected this"):
        read_weights(tmp_path / "gone.pth", "expected this")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda weights: weights.pop("bias"), "missing: bias"),
        (lambda weights: weights.update(extra=torch.zeros(1)), "unknown: extra"),
        (lambda weights: weights.update(bias=torch.zeros(3)), "of another shape: bias"),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path, change, reason):
    network = torch.nn.Linear(2, 2)
    weights = dict(torch.nn.Linear(2, 2).state_dict())
    change(weights)

    with pytest.raises(ModelLoadError, match=f"not all weights fit .*{reason}.*expected this"):
        put_into(network, weights, path=tmp_path, expected="expected this")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_int_16_the_authors_file_of_hq_sam_is_loaded(tmp_path, monkeypatch, mini_hq, suffix):
    """INT-16: by name, width and every single weight; here at a size of our own."""
    monkeypatch.setattr("cloud.preannotation.sam.checkpoints.VIT_WIDTHS", {32: "vit_b"})
    monkeypatch.setattr("cloud.preannotation.sam.hq.hq_config", lambda model: mini_hq_config())
    path = tmp_path / f"sam_hq_vit_b{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(seeded("sam_hq_mini"), path)

    ours = our_answers(HqSam(load_hq_sam(path, "vit_b"), name="file", device="cpu"), 32)

    for name, expected in our_answers(mini_hq, 32).items():
        assert (ours[name] == expected).all(), name


def test_int_16_the_authors_file_of_sam_2_is_loaded(tmp_path, monkeypatch, mini_sam2):
    """INT-16: with everything for videos inside, wrapped as its authors wrap it."""
    monkeypatch.setattr("cloud.preannotation.sam.checkpoints.SAM2_SIZES", {(8, 5): "tiny"})
    monkeypatch.setattr(
        "cloud.preannotation.sam.sam2.sam2_config",
        lambda model: Sam2Config(vision_config=mini_sam2_vision()),
    )
    torch.save({"model": seeded("sam2_mini")}, tmp_path / "sam2.1_hiera_tiny.pt")

    network = load_sam2(tmp_path / "sam2.1_hiera_tiny.pt", "tiny")

    expected = mini_sam2._network.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in network.state_dict().items())
    assert {value.device.type for value in network.state_dict().values()} == {"cpu"}


def test_int_16_a_mobile_sam_with_a_missing_weight_is_refused(tmp_path):
    """INT-16."""
    weights = seeded("mobile_sam_vit_t")
    del weights["image_encoder.neck.0.weight"]
    torch.save(weights, tmp_path / "mobile_sam.pt")

    with pytest.raises(ModelLoadError, match=r"missing: image_encoder\.neck\.0\.weight\);"):
        load_mobile_sam(tmp_path / "mobile_sam.pt")


def test_half_precision_weights_become_float32(tmp_path):
    weights = seeded("mobile_sam_vit_t")
    halves = {n: v.half() if v.is_floating_point() else v for n, v in weights.items()}
    torch.save(halves, tmp_path / "mobile_sam.pt")

    sam = load_mobile_sam(tmp_path / "mobile_sam.pt")

    assert {value.dtype for value in sam.parameters()} == {torch.float32}
    assert not sam.training
    assert sam.state_dict().keys() == build_mobile_sam().state_dict().keys()


# Folders of transformers.


@pytest.fixture(scope="module")
def hq_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hq") / "folder"
    network = SamHQModel(mini_hq_config())
    network.load_state_dict(hq_weights(seeded("sam_hq_mini")))
    network.save_pretrained(folder)
    return folder


def load_mini_hq(folder):
    return load_transformers_sam(
        folder,
        SamHQModel,
        model_types=("sam_hq",),
        kind_of=lambda config: Kind(type="sam_hq", model=""),
        kind=Kind(type="sam_hq", model=""),
        expected="expected this",
    )


def test_int_16_a_folder_of_transformers_answers_as_the_authors_file(hq_folder, mini_hq):
    """INT-16: the same weights by two ways."""
    ours = our_answers(HqSam(load_mini_hq(hq_folder), name="folder", device="cpu"), 32)

    for name, expected in our_answers(mini_hq, 32).items():
        assert (ours[name] == expected).all(), name


def test_int_16_a_folder_of_sam_2_for_videos_serves_pictures(tmp_path, mini_sam2, monkeypatch):
    """INT-16: the published folders are of that kind."""
    video = Sam2VideoModel(Sam2VideoConfig(vision_config=mini_sam2_vision()))
    video.load_state_dict(sam2_weights(seeded("sam2_mini")), strict=False)
    video.save_pretrained(tmp_path)
    monkeypatch.setattr("cloud.preannotation.sam.sam2.SAM2_SIZES", {(8, 5): "tiny"})

    ours = our_answers(Sam2(load_sam2(tmp_path, "tiny"), name="sam2_tiny", device="cpu"), 256)

    for name, expected in our_answers(mini_sam2, 256).items():
        assert (ours[name] == expected).all(), name


def test_int_16_a_folder_of_another_size_is_refused(hq_folder):
    """INT-16."""
    with pytest.raises(ModelLoadError, match=r"weights of HQ-SAM; expected HQ-SAM's sam_hq_vit_b"):
        load_hq_sam(hq_folder, "vit_b")


@pytest.fixture
def broken(hq_folder, tmp_path):
    shutil.copytree(hq_folder, tmp_path / "broken")
    return tmp_path / "broken"


def test_a_folder_of_another_model_is_refused(broken):
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps(config | {"model_type": "segformer"}))

    with pytest.raises(ModelLoadError, match="a model of type 'segformer'; expected this"):
        load_mini_hq(broken)


def test_a_folder_with_a_missing_weight_is_refused(broken):
    weights = load_file(broken / "model.safetensors")
    del weights["mask_decoder.hq_token.weight"]
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(ModelLoadError, match=r"missing: mask_decoder\.hq_token\.weight"):
        load_mini_hq(broken)


def test_a_folder_with_a_weight_of_another_shape_is_refused(broken):
    weights = load_file(broken / "model.safetensors")
    weights["mask_decoder.hq_token.weight"] = torch.zeros(1, 5)
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(ModelLoadError, match=r"mismatched: .*mask_decoder\.hq_token\.weight"):
        load_mini_hq(broken)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_folder_with_a_missing_or_broken_file_is_refused(broken, name):
    (broken / name).write_bytes((broken / name).read_bytes()[:100])
    with pytest.raises(ModelLoadError, match=r"(?s)broken: .*; expected this"):
        load_mini_hq(broken)

    (broken / name).unlink()
    with pytest.raises(ModelLoadError, match=r"(?s)broken: .*; expected this"):
        load_mini_hq(broken)


@pytest.mark.parametrize("load", [load_hq_sam, load_sam2])
def test_a_source_that_is_nowhere_is_refused(load, tmp_path):
    model = "vit_b" if load is load_hq_sam else "tiny"
    with pytest.raises(ModelLoadError, match="no such file or folder"):
        load(tmp_path / "nowhere", model)
    with pytest.raises(ModelLoadError, match="no such file"):
        load(tmp_path / "nowhere.pth", model)


def test_a_hub_id_that_cannot_be_reached_is_refused(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    with pytest.raises(ModelLoadError, match=r"^cornerloop-tests/no-such-sam: .*; expected HQ-SAM"):
        load_hq_sam(Path("cornerloop-tests/no-such-sam"), "vit_b")
