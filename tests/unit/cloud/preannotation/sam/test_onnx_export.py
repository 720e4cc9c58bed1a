"""INT-13, INT-14, INT-15: what is exported answers as torch does, or is not written at all."""

import json
import shutil

import numpy as np
import onnx
import pytest
import torch

from cloud.assist.onnx_sam import load_onnx_sam, session_of
from cloud.preannotation.interactive_sam import InteractiveSam
from cloud.preannotation.sam import onnx_export
from cloud.preannotation.sam.lean_attention import make_lean
from cloud.preannotation.sam.mobile import build_mobile_sam
from cloud.preannotation.sam.onnx_export import export_sam, exportable
from cloud.preannotation.sam.onnx_graphs import write_encoder
from cloud.preannotation.sam.segment_anything_model import SegmentAnythingModel
from lifelong.errors import ConfigError, ExportMismatchError, ModelLoadError
from lifelong.records.prompts import Box, Point, Prompt
from tests.exported_sams import (
    exported_small_vit,
    exported_tiny,
    silent,
    small_mobile_sam,
    small_vit_sam,
    source,
)
from tools.seeded_sams import picture

PROMPTS = [
    Prompt(points=(Point(30.5, 20.25),)),
    Prompt(points=(Point(30.0, 20.0), Point(99.0, 70.0, is_positive=False))),
    Prompt(boxes=(Box(60.0, 20.0, 99.0, 49.0),)),
    Prompt(
        points=(Point(70.0, 30.0), Point(5.0, 5.0, False)), boxes=(Box(50.5, 10.0, 120.0, 80.0),)
    ),
]


@pytest.mark.parametrize("kind", ["vit", "mobile"])
def test_int_13_int_14_a_vit_and_mobile_sams_kind_answer_as_torch_does(kind, tmp_path):
    if kind == "vit":
        sam, folder = small_vit_sam(), exported_small_vit()
    else:
        sam, folder = small_mobile_sam(), tmp_path
        export_sam(sam, source(), folder, tell=silent)
    ours = load_onnx_sam(folder, device="cpu")
    theirs = InteractiveSam(
        SegmentAnythingModel(sam, name="small_sam", device="cpu"),
        weights_digest="0", precision="float32", device="cpu",
    )  # fmt: skip

    for image in (picture(), np.ascontiguousarray(picture().transpose(1, 0, 2)[:33])):
        seen, known = ours.embed(image), theirs.embed(image)
        for prompt in PROMPTS:
            given, wanted = (
                model.decode(embedded, prompt, several=True)
                for model, embedded in ((ours, seen), (theirs, known))
            )
            scale = np.abs(wanted.low_res).max()
            assert np.abs(given.low_res - wanted.low_res).max() < 2e-5 * max(1.0, scale)
            np.testing.assert_allclose(given.predicted_iou, wanted.predicted_iou, atol=2e-5)
    assert 0 < ours.description.embedding_difference < 1e-4
    assert ours.takes_masks


def test_int_15_the_description_says_what_was_exported():
    folder = exported_tiny()
    said = json.loads((folder / "model.json").read_text())

    assert sorted(path.name for path in folder.iterdir()) == [
        "decoder.onnx", "encoder.onnx", "model.json",
    ]  # fmt: skip
    assert (said["schema"], said["name"], said["side"], said["stride"]) == (1, "tiny_sam", 256, 16)
    assert said["exported_from"] == "tiny_sam.safetensors"
    assert said["encoder"]["graph"]["size"] == (folder / "encoder.onnx").stat().st_size
    assert not said["takes_masks"]
    assert 0 < said["logit_difference"] < 1e-5
    graph = onnx.load(folder / "decoder.onnx").graph
    sizes = {i.name: [d.dim_param or d.dim_value for d in i.type.tensor_type.shape.dim]
             for i in graph.input}  # fmt: skip
    # Points may be as many as one likes; nothing is a picture's size.
    assert sizes["points"] == [1, "points", 2]
    assert sizes["labels"] == [1, "points"]
    assert sizes["mask_input"] == [1, 1, 64, 64]


def test_int_15_equal_weights_give_equal_graphs_and_large_ones_lie_beside_them(tmp_path):
    """Beside it as those of vit_h, 2.5 GB, must: a protocol buffer ends at 2 GiB."""
    whole, parts = tmp_path / "whole.onnx", tmp_path / "parts.onnx"
    sam = small_vit_sam()
    make_lean(sam.image_encoder)

    assert write_encoder(sam, whole) is None
    beside = write_encoder(sam, parts, largest_file=1000)

    assert whole.read_bytes() == (exported_small_vit() / "encoder.onnx").read_bytes()
    assert beside == tmp_path / "parts.onnx.data"
    assert parts.stat().st_size < whole.stat().st_size / 2
    noise = np.random.default_rng(0).normal(0, 1, (1, 3, 128, 128)).astype(np.float32)
    (one,), (two,) = (session_of(path).run(None, {"image": noise}) for path in (whole, parts))
    assert np.array_equal(one, two)


@pytest.fixture
def copied_graphs(monkeypatch):
    """Writing a graph copies that of the small ViT: the exporter takes its time."""

    def copied(name):
        def write(sam, path, *, largest_file):
            shutil.copy(exported_small_vit() / name, path)
            beside = path.with_name(f"{path.name}.data")
            return beside if largest_file == 1 and beside.write_bytes(b"weights") else None

        return write

    for name in ("encoder", "decoder"):
        monkeypatch.setattr(onnx_export, f"write_{name}", copied(f"{name}.onnx"))


def test_int_15_a_new_export_replaces_the_old_and_nothing_else(tmp_path, copied_graphs):
    first = export_sam(small_vit_sam(), source(), tmp_path, tell=silent, largest_file=1)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "encoder.int8.onnx").write_bytes(b"of the old encoder")
    assert first.encoder.weights is not None

    again = export_sam(small_vit_sam(), source("after"), tmp_path, tell=silent)

    assert again.encoder.weights is None
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "decoder.onnx", "encoder.onnx", "model.json", "notes.txt",
    ]  # fmt: skip
    assert load_onnx_sam(tmp_path, device="cpu").name == "after"


@pytest.mark.parametrize(
    ("weight", "what"),
    [
        ("image_encoder.neck.3.weight", "the encoder's embeddings"),
        ("mask_decoder.output_hypernetworks_mlps.2.layers.1.bias", "logits for a point"),
        ("mask_decoder.iou_prediction_head.layers.1.weight", "predicted IoU for a point"),
        ("prompt_encoder.mask_downscaling.0.weight", "logits for a point and a mask"),
        ("prompt_encoder.point_embeddings.3.weight", "logits for a box"),
        ("prompt_encoder.point_embeddings.0.weight", "logits for two points"),
    ],
)
def test_int_15_what_answers_otherwise_than_torch_is_not_written(
    weight, what, tmp_path, copied_graphs
):
    """The graphs are those of other weights than they are compared with."""
    export_sam(small_vit_sam(), source("before"), tmp_path, tell=silent)
    other = small_vit_sam()
    with torch.no_grad():
        other.get_parameter(weight).mul_(1.01)

    with pytest.raises(ExportMismatchError, match=f"{what} differ.* nothing was written"):
        export_sam(other, source("after"), tmp_path, tell=silent)

    assert load_onnx_sam(tmp_path, device="cpu").name == "before"
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("name", ["sam2_tiny", "sam_hq_vit_b", "yolo"])
def test_int_15_what_cannot_be_exported_is_named_with_what_can(name):
    with pytest.raises(ConfigError, match=rf"{name}: .*sam_vit_b, mobile_sam, tiny_sam"):
        exportable(name)


def test_int_15_weights_that_are_not_there(tmp_path):
    with pytest.raises(ModelLoadError, match="models pull sam_vit_b"):
        exportable("sam_vit_b", weights_path=tmp_path)
    with pytest.raises(ModelLoadError, match="no such file"):
        exportable("mobile_sam", checkpoint=tmp_path / "mobile_sam.pt")


@pytest.mark.slow
def test_int_15_mobile_sam_whole(tmp_path):
    described = export_sam(build_mobile_sam(), source("mobile_sam"), tmp_path, tell=silent)

    assert described.side == 1024
    assert described.low_res_side == 256
    assert load_onnx_sam(tmp_path, device="cpu").embed(picture()).arrays["embeddings"].shape == (
        1, 256, 64, 64,
    )  # fmt: skip
