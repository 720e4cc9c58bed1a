"""INT-15: an int8 encoder beside the float32 one, and what it loses, measured and said."""

import json
import shutil

import numpy as np
import pytest

from cloud.assist import onnx_int8
from cloud.assist.onnx_int8 import Example, add_int8, methods_for
from cloud.assist.onnx_sam import load_onnx_sam
from cloud.assist_service.models_export import objects_of
from cloud.demo.scenes import draw_scene
from lifelong.errors import ConfigError, ModelLoadError
from lifelong.records.prompts import Point, Prompt
from tests.exported_sams import exported_small_vit, exported_tiny, silent

SCENES = [draw_scene(9_000 + number, "clear") for number in range(6)]
PICTURES = [scene.image for scene in SCENES[:3]]
EXAMPLES = [Example(scene.image, objects_of(scene.mask)) for scene in SCENES[3:]]


def test_int_15_int8_of_convolutions_loses_little_and_says_how_much(tmp_path):
    folder = shutil.copytree(exported_tiny(), tmp_path / "exported")
    told = []

    loss = add_int8(folder, PICTURES, EXAMPLES, tell=told.append).int8

    assert loss is not None
    assert loss.method in {"static", "static_inner"}
    assert (loss.calibrated_on, loss.pictures) == (3, 3)
    assert loss.prompts == 2 * sum(len(example.objects) for example in EXAMPLES) > 20
    assert 0.9 < loss.iou_with_float32 < 1.0
    assert loss.worst_iou_with_float32 <= loss.iou_with_float32
    assert loss.iou_with_truth is not None and loss.iou_with_truth_float32 is not None
    assert abs(loss.iou_with_truth - loss.iou_with_truth_float32) < 0.03
    assert loss.size_ratio < 0.3
    assert loss.words in "\n".join(told)
    assert json.loads((folder / "model.json").read_text())["int8"]["words"] == loss.words

    small, whole = (load_onnx_sam(folder, precision=p, device="cpu") for p in ("int8", "float32"))
    assert (small.name, whole.name) == ("tiny_sam_int8", "tiny_sam")
    assert small.digest != whole.digest == load_onnx_sam(exported_tiny(), device="cpu").digest
    prompt = Prompt(points=(Point(240.0, 250.0),))
    masks = [
        model.decode(model.embed(PICTURES[0]), prompt, several=True).low_res > 0
        for model in (small, whole)
    ]
    assert np.mean(masks[0] == masks[1]) > 0.95


def test_int_15_attention_is_made_int8_dynamically_and_truth_may_be_unknown(tmp_path):
    folder = shutil.copytree(exported_small_vit(), tmp_path / "exported")

    loss = add_int8(folder, PICTURES[:1], [Example(SCENES[4].image)], tell=silent).int8

    assert loss is not None
    assert (loss.method, loss.calibrated_on, loss.prompts) == ("dynamic", 0, 9)
    assert loss.iou_with_truth is None
    assert "truth" not in loss.words
    assert loss.size_ratio < 1
    load_onnx_sam(folder, precision="int8", device="cpu").embed(PICTURES[0])


def test_int_15_an_encoder_that_loses_too_much_says_so(tmp_path, monkeypatch):
    """Calibrated on black pictures, everything else is out of range."""
    folder = shutil.copytree(exported_tiny(), tmp_path / "exported")
    monkeypatch.setattr(onnx_int8, "methods_for", lambda _: ("static",))

    black = [np.zeros_like(PICTURES[0])]
    loss = add_int8(folder, black, EXAMPLES[:1], tell=silent).int8

    assert loss is not None
    assert loss.iou_with_float32 < 0.9
    assert loss.words.endswith("it loses too much, stay with float32")


def test_int_15_methods_follow_from_the_layers():
    assert methods_for(exported_tiny() / "encoder.onnx") == ("static", "static_inner")
    assert methods_for(exported_small_vit() / "encoder.onnx") == ("dynamic",)


def test_int_15_what_int8_needs(tmp_path):
    with pytest.raises(ConfigError, match="0 pictures to calibrate int8 on and 3 that tell"):
        add_int8(exported_tiny(), [], EXAMPLES, tell=silent)
    with pytest.raises(ModelLoadError, match="no such file, so this is no exported SAM"):
        add_int8(tmp_path, PICTURES, EXAMPLES, tell=silent)


def test_int_15_a_failed_attempt_leaves_the_export_as_it_was(tmp_path, monkeypatch):
    folder = shutil.copytree(exported_tiny(), tmp_path / "exported")

    def fail(*_):
        raise ValueError("no such layer")

    monkeypatch.setitem(onnx_int8.RECIPES, "static", fail)
    with pytest.raises(ModelLoadError, match=r"cannot be made int8 \(ValueError: no such layer\)"):
        add_int8(folder, PICTURES, EXAMPLES, tell=silent)

    assert len(list(folder.iterdir())) == 3
    load_onnx_sam(folder, device="cpu")
