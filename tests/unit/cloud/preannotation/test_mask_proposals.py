"""Class-agnostic masks by name, and checkpoints that are refused with a reason."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from segment_anything import sam_model_registry

from cloud.demo.scenes import draw_scene
from cloud.preannotation.devices import chosen_precision
from cloud.preannotation.grid_masks import GridSettings, settings_of
from cloud.preannotation.mask_proposals import PROPOSERS, proposer_from
from cloud.preannotation.region_masks import mask_from_rle
from cloud.preannotation.sam.original import load_original_sam
from cloud.preannotation.sam.tiny import TinyImageEncoder, load_tiny_sam
from cloud.preannotation.superpixels import SuperpixelProposer
from lifelong.errors import ConfigError, ModelLoadError
from lifelong.sections.drafting import MasksSection


@pytest.fixture(scope="module")
def image():
    return draw_scene(12, "clear", 96, 144).image


def test_pre_09_every_mask_branch_of_the_configuration_has_a_proposer():
    """PRE-09: the mask branch is a choice by name."""
    assert set(MasksSection.model_fields["type"].annotation.__args__) == set(PROPOSERS)


@pytest.mark.parametrize("kind", ["tiny", "superpixels", "none"])
def test_pre_10_proposers_without_foreign_weights_run_on_the_cpu(kind, image):
    """PRE-10: no GPU needed, and the same answer twice."""
    proposer = proposer_from(MasksSection(type=kind, points_per_side=2), device="cpu")

    first, again = proposer.propose(image), proposer.propose(image)

    assert first.rles == again.rles
    assert (first.height, first.width) == image.shape[:2]
    for number, rle in enumerate(first.rles):
        mask = mask_from_rle(rle)
        assert mask.sum() == first.areas[number]
        ys, xs = np.nonzero(mask)
        if ys.size:
            box = (xs.min(), ys.min(), xs.max(), ys.max())
            assert tuple(first.boxes[number].tolist()) == box


def test_superpixels_cover_the_picture_once(image):
    proposals = SuperpixelProposer().propose(image)

    cover = sum(mask_from_rle(rle).astype(int) for rle in proposals.rles)
    assert (cover == 1).all()


def test_every_key_of_the_grid_reaches_the_grid():
    """PRE-09: a key that is configured is a key that is used."""
    fields = set(GridSettings.__dataclass_fields__)
    changed = {
        name: (value + 1 if isinstance(value, int) else value / 2)
        for name, value in MasksSection().model_dump().items()
        if name in fields
    }

    settings = settings_of(MasksSection.model_validate(changed))

    assert {name: getattr(settings, name) for name in fields} == changed


def test_fewer_clicks_at_once_find_the_same_masks(image):
    together, apart = (
        proposer_from(
            MasksSection(type="tiny", points_per_side=4, points_per_batch=batch), device="cpu"
        ).propose(image)
        for batch in (16, 3)
    )

    assert together.points.tolist() == apart.points.tolist()
    assert len(together) > 0


def test_proposals_say_which_click_they_answer(image):
    found = proposer_from(MasksSection(type="tiny", points_per_side=4), device="cpu").propose(image)
    some = found.filter(np.arange(len(found)) == 1)

    assert (found.points >= 0).all() and (found.points < [144, 96]).all()
    assert some.points.tolist() == [found.points[1].tolist()]
    assert some.crop_boxes.tolist() == [[0, 0, 144, 96]]


def test_superpixels_answer_no_click(image):
    found = SuperpixelProposer().propose(image)

    assert np.isnan(found.points).all()
    assert (found.crop_boxes == [0, 0, 144, 96]).all()


@pytest.mark.parametrize(
    ("given", "device", "chosen"),
    [
        ("auto", "cpu", "float32"),
        ("bfloat16", "cpu", "bfloat16"),
        ("float32", "cuda", "float32"),
    ],
)
def test_the_cpu_computes_in_float32_unless_told_otherwise(given, device, chosen):
    assert chosen_precision(given, device) == chosen


def test_pre_10_sam_without_weights_says_where_they_were_looked_for(tmp_path):
    with pytest.raises(ModelLoadError, match="vit_h"):
        proposer_from(MasksSection(type="sam"), device="cpu", weights_path=tmp_path)


def test_a_model_that_its_type_does_not_have_names_the_key():
    with pytest.raises(ConfigError, match=r"preannotation\.masks\.model"):
        proposer_from(MasksSection(type="sam2", model="vit_h"), device="cpu")


def test_a_missing_checkpoint_names_file_and_model(tmp_path):
    with pytest.raises(ModelLoadError, match=r"(?s)nowhere\.pth.*sam_vit_b_01ec64"):
        load_original_sam(tmp_path / "nowhere.pth", "vit_b")


def test_an_unknown_sam_is_refused(tmp_path):
    with pytest.raises(ModelLoadError, match="vit_g"):
        load_original_sam(tmp_path / "any.pth", "vit_g")


@pytest.mark.parametrize("length", [0, 10, 700])
def test_a_truncated_checkpoint_is_refused(tmp_path, length):
    whole, cut = tmp_path / "whole.pth", tmp_path / "cut.pth"
    torch.save({"image_encoder.patch_embed.proj.weight": torch.zeros(768, 3, 16, 16)}, whole)
    cut.write_bytes(whole.read_bytes()[:length])

    with pytest.raises(ModelLoadError, match="truncated"):
        load_original_sam(cut, "vit_b")


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"image_encoder.patch_embed.proj.weight": torch.zeros(1024, 3, 1, 1)}, "weights of vit_l"),
        ({"image_encoder.patch_embed.proj.weight": torch.zeros(64, 3, 1, 1)}, "64 wide"),
        ({"backbone.weight": torch.zeros(1)}, "no image encoder"),
        ([1, 2, 3], "holds a list"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused(tmp_path, state, reason):
    path = tmp_path / "other.pth"
    torch.save(state, path)

    with pytest.raises(ModelLoadError, match=reason):
        load_original_sam(path, "vit_b")


@pytest.mark.slow
def test_an_original_checkpoint_is_loaded_weight_by_weight(tmp_path):
    state = sam_model_registry["vit_b"]().state_dict()
    torch.save(state, tmp_path / "sam_vit_b.pth")

    sam = load_original_sam(tmp_path / "sam_vit_b.pth", "vit_b")

    name = "mask_decoder.iou_token.weight"
    assert torch.equal(sam.state_dict()[name], state[name])


def test_the_tiny_encoder_answers_at_stride_16():
    with torch.inference_mode():
        embeddings = TinyImageEncoder().eval()(torch.zeros(2, 3, 256, 256))

    assert tuple(embeddings.shape) == (2, 160, 16, 16)


@pytest.mark.parametrize("content", [b"", b"no safetensors", None])
def test_tiny_weights_that_cannot_be_read_are_refused(tmp_path, content):
    path = tmp_path / "tiny.safetensors"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ModelLoadError, match=r"tiny\.safetensors"):
        load_tiny_sam(path)


def test_tiny_weights_of_another_network_are_refused(tmp_path):
    save_file({"head.weight": torch.zeros(3)}, tmp_path / "other.safetensors")

    with pytest.raises(ModelLoadError, match="not the tiny SAM"):
        load_tiny_sam(tmp_path / "other.safetensors")
