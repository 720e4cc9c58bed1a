"""PRE-09: HQ-SAM, SAM 2 and MobileSAM answer as their authors' code does on equal weights.

The numbers were recorded from that code by tools/compare_sam_originals.py --record.
"""

import numpy as np
import pytest
import torch
import typer
from segment_anything import sam_model_registry
from transformers import Sam2Model, SamHQModel

from cloud.preannotation.sam.checkpoints import Kind, recognised
from cloud.preannotation.sam.hq import hq_config
from cloud.preannotation.sam.mobile import build_mobile_sam
from cloud.preannotation.sam.original_names import hq_weights, sam2_weights
from cloud.preannotation.sam.sam2 import sam2_config
from tests.unit.cloud.preannotation.sam.conftest import recorded
from tools.compare_sam_originals import differences, our_answers, sampled
from tools.compare_sam_originals import main as compare


@pytest.mark.parametrize(
    ("fixture", "recording"),
    [("mini_hq", "sam_hq_mini"), ("mini_sam2", "sam2_mini"), ("mobile_sam", "mobile_sam_vit_t")],
)
def test_pre_09_answers_are_those_of_the_authors_code(fixture, recording, request):
    """PRE-09: embedding, quality, low-resolution and full masks, for every kind of prompt."""
    sam, expected = request.getfixturevalue(fixture), recorded(recording)["answers"]

    ours = our_answers(sam, expected["points_several.low_res"]["shape"][-1])

    assert set(ours) == set(expected)
    for name, theirs in expected.items():
        found = sampled(ours[name])
        assert found["shape"] == theirs["shape"], name
        np.testing.assert_allclose(found["numbers"], theirs["numbers"], atol=2e-5, err_msg=name)


def test_mobile_sams_weights_have_the_published_names_and_shapes():
    ours = {name: list(value.shape) for name, value in build_mobile_sam().state_dict().items()}

    assert ours == recorded("mobile_sam_vit_t")["weights"]


@pytest.mark.parametrize("model", ["vit_b", "vit_l", "vit_h"])
def test_every_weight_of_hq_sam_has_its_place(model):
    """The parts HQ-SAM shares with SAM by name and shape, its own by name."""
    with torch.device("meta"):
        original = dict(sam_model_registry[model]().state_dict())
        network = SamHQModel(hq_config(model)).state_dict()
    own = set(recorded("sam_hq_mini")["weights"]) - set(original)
    assert all(name.startswith("mask_decoder.") for name in own)

    mapped = hq_weights(original)

    assert {name: value.shape for name, value in mapped.items()} == {
        name: network[name].shape for name in mapped
    }
    assert set(mapped) | set(hq_weights(dict.fromkeys(own, torch.zeros(0)))) == set(network)


@pytest.mark.parametrize("model", ["tiny", "small", "base_plus", "large"])
def test_every_size_of_sam_2_is_recognised_by_its_weights(model):
    with torch.device("meta"):
        network = Sam2Model(sam2_config(model)).state_dict()
    weights = {
        name.replace("vision_encoder.backbone.", "image_encoder.trunk.")
        .replace("patch_embed.projection.", "patch_embed.proj.")
        .replace("layer_norm", "norm"): value
        for name, value in network.items()
        if name.startswith("vision_encoder.backbone.")
    }

    assert recognised(weights) == Kind(type="sam2", model=model)


def test_sam_2_leaves_out_what_only_videos_need():
    names = set(recorded("sam2_mini")["weights"])

    mapped = set(sam2_weights({name: torch.zeros(1) for name in names}))

    assert {name.split(".")[0] for name in mapped} == {
        "vision_encoder",
        "prompt_encoder",
        "mask_decoder",
        "shared_image_embedding",
        "no_memory_embedding",
    }


def test_the_comparison_says_what_it_needs_where_there_is_no_original(tmp_path, capsys):
    compare(repo=tmp_path, which="sam_hq")

    assert "skipped: " in capsys.readouterr().out
    with pytest.raises(typer.BadParameter, match="expected one of sam, sam_hq, mobile_sam, sam2"):
        compare(repo=tmp_path, which="sam9")


def test_the_comparison_tells_other_numbers_and_other_shapes():
    theirs = {"a.low_res": np.ones((2, 3), np.float32), "b.quality": np.zeros(2, np.float32)}
    ours = theirs | {"b.quality": np.array([0, -0.5], np.float32)}

    assert differences(ours, theirs) == {"a.low_res": 0.0, "b.quality": 0.5, "largest_logit": 1.0}
    with pytest.raises(ValueError, match=r"a\.low_res"):
        differences(ours | {"a.low_res": np.ones(6, np.float32)}, theirs)
