"""PRE-09, INT-16, OPS-03: a SAM is a choice by name, and a wrong name says which there are."""

from typing import get_args

import pytest
import torch

from cloud.preannotation.sam.by_name import (
    MODELS,
    PROMPTABLE,
    TINY_STABILITY_OFFSET,
    promptable_from,
)
from cloud.preannotation.sam.promptable import Prompts
from lifelong.errors import ConfigError, ModelLoadError
from lifelong.sections.drafting import MasksSection
from tests.unit.cloud.preannotation.sam.conftest import seeded
from tools.seeded_sams import picture


def test_pre_09_every_sam_of_the_configuration_has_a_constructor():
    """PRE-09: whatever type proposes masks by a network is one of these."""
    types = set(get_args(MasksSection.model_fields["type"].annotation))

    assert set(PROMPTABLE) == set(MODELS) == types - {"superpixels", "none", "program"}


@pytest.mark.parametrize("type_", ["superpixels", "none"])
def test_what_is_no_sam_is_refused(type_):
    with pytest.raises(ConfigError, match=r"masks\.type: .* is no SAM; expected one of sam, "):
        promptable_from(MasksSection(type=type_), device="cpu")


@pytest.mark.parametrize(
    ("type_", "possible"),
    [
        ("sam", "vit_h, vit_l, vit_b"),
        ("sam_hq", "vit_h, vit_l, vit_b"),
        ("sam2", "large, base_plus, small, tiny"),
        ("mobile_sam", "vit_t"),
        ("tiny", "leave it out"),
    ],
)
def test_int_16_an_unknown_model_names_the_possible_ones(type_, possible):
    """INT-16."""
    with pytest.raises(ConfigError, match=rf"masks\.model: .*'vit_g'; .*{possible}"):
        promptable_from(MasksSection(type=type_, model="vit_g"), device="cpu")


@pytest.mark.parametrize(
    ("type_", "model", "name"),
    [
        ("sam", None, "sam_vit_h"),
        ("sam", "vit_b", "sam_vit_b"),
        ("sam_hq", None, "sam_hq_vit_h"),
        ("sam_hq", "vit_l", "sam_hq_vit_l"),
        ("sam2", None, "sam2_large"),
        ("sam2", "base_plus", "sam2_base_plus"),
        ("mobile_sam", None, "mobile_sam"),
        ("mobile_sam", "vit_t", "mobile_sam"),
    ],
)
def test_ops_03_weights_that_were_never_pulled_name_the_command(tmp_path, type_, model, name):
    """OPS-03: the fix can be copied from the error."""
    with pytest.raises(ModelLoadError, match=rf"cornerloop models pull {name}\b"):
        promptable_from(MasksSection(type=type_, model=model), device="cpu", weights_path=tmp_path)


@pytest.mark.parametrize("type_", ["sam", "sam_hq", "sam2", "mobile_sam", "tiny"])
def test_int_16_a_checkpoint_that_is_not_there_names_itself(tmp_path, type_):
    """INT-16."""
    masks = MasksSection(type=type_, checkpoint=tmp_path / "nowhere.pth")

    with pytest.raises(ModelLoadError, match=r"nowhere\.pth: no such file"):
        promptable_from(masks, device="cpu")


def test_pre_09_the_shipped_sam_answers_without_any_weights_named():
    """PRE-09: its logits are small, and so is the offset its stability is measured with."""
    sam = promptable_from(MasksSection(type="tiny"), device="cpu")

    answers = sam.ask(
        sam.embed([picture()])[0],
        Prompts(boxes=torch.tensor([[60.0, 20.0, 99.0, 49.0]])),
        several=True,
    )

    assert (sam.name, sam.stability_offset) == ("tiny_sam", TINY_STABILITY_OFFSET)
    assert answers.predicted_iou.shape == (1, 3)


@pytest.mark.parametrize("pulled", [True, False])
def test_pre_09_mobile_sam_from_a_checkpoint_or_from_what_was_pulled(tmp_path, pulled):
    """PRE-09."""
    torch.save(seeded("mobile_sam_vit_t"), tmp_path / "mobile_sam.pt")
    checkpoint = None if pulled else tmp_path / "mobile_sam.pt"

    sam = promptable_from(
        MasksSection(type="mobile_sam", checkpoint=checkpoint), device="cpu", weights_path=tmp_path
    )

    assert (sam.name, sam.stability_offset) == ("mobile_sam", 1.0)
    assert sam.embed([picture()])[0].features.shape == (1, 256, 64, 64)
