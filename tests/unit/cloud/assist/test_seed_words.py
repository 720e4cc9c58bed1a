"""INT-16: the words that the playground's backends were started with, and what does not fit."""

from pathlib import Path

import pytest

from cloud.assist.seed_words import assist_from_seed_words, section_from_seed_words
from lifelong.errors import ConfigError
from lifelong.sections.assist import AssistModelSection, AssistSection


def words(text):
    return dict(word.split("=", 1) for word in text.split())


@pytest.mark.parametrize(
    ("text", "type_", "model", "checkpoint"),
    [
        # The commands of seed 002.
        (
            "model_name=sam sam_config=vit_b sam_checkpoint_file=./sam_vit_b_01ec64.pth",
            "sam", "vit_b", "sam_vit_b_01ec64.pth",
        ),
        (
            "model_name=mobile_sam sam_config=vit_t sam_checkpoint_file=./mobile_sam.pt",
            "mobile_sam", "vit_t", "mobile_sam.pt",
        ),
        # In PowerShell.
        (
            r"sam_config=vit_b sam_checkpoint_file=.\sam_vit_b_01ec64.pth",
            "sam", "vit_b", "sam_vit_b_01ec64.pth",
        ),
        ("sam_config=vit_l sam_checkpoint_file=/w/sam_hq_vit_l.pth",
         "sam_hq", "vit_l", "/w/sam_hq_vit_l.pth"),
        ("sam_checkpoint_file=sam_vit_h_4b8939.pth", "sam", "vit_h", "sam_vit_h_4b8939.pth"),
        ("sam_checkpoint_file=mine.pth sam_config=vit_b", "sam_hq", "vit_b", "mine.pth"),
        ("model_name=sam sam_config=vit_l", "sam", "vit_l", None),
        ("model_name=sam", "sam", "vit_b", None),  # as the playground's default
        ("model_name=mobile_sam", "mobile_sam", "vit_t", None),
        ("model_name=sam2 sam_checkpoint_file=sam2.1_hiera_base_plus.pt",
         "sam2", "base_plus", "sam2.1_hiera_base_plus.pt"),
        ("model_name=tiny", "tiny", None, None),
    ],
)  # fmt: skip
def test_int_16_printed_commands_name_a_model(text, type_, model, checkpoint):
    assert section_from_seed_words(words(text)) == AssistModelSection(
        type=type_, model=model, checkpoint=None if checkpoint is None else Path(checkpoint)
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        # Seed 002 prints this one; HQ-SAM's vit_b cannot be read from the file of vit_l.
        (
            "sam_config=vit_b sam_checkpoint_file=./sam_hq_vit_l.pth",
            "by its name the weights of model_name=sam_hq sam_config=vit_l, not of "
            "model_name=sam_hq sam_config=vit_b",
        ),
        (
            "model_name=mobile_sam sam_checkpoint_file=sam_vit_b_01ec64.pth",
            "weights of model_name=sam sam_config=vit_b, not of model_name=mobile_sam",
        ),
        (
            "model_name=sam sam_config=vit_b sam_checkpoint_file=mobile_sam.pt",
            "weights of model_name=mobile_sam sam_config=vit_t, not of model_name=sam",
        ),
        (
            "model_name=sam_hq sam_checkpoint_file=sam_hq_vit_tiny.pth",
            "weights of sam_hq vit_tiny, which is not served here",
        ),
        ("model_name=mobile_sam sam_config=vit_b", "expected sam_config=vit_t; vit_b is of"),
        ("model_name=sam sam_config=vit_t", "vit_h or vit_l or vit_b; vit_t is of "),
        ("model_name=tiny sam_config=vit_t", "leave it out"),
        ("model_name=sam3", "model_name=sam3: not known; expected one of sam, sam_hq, sam2"),
        ("config_file=x.py", "config_file=x.py: not known; expected model_name, sam_config"),
        ("out_mask=maybe", "out_mask='maybe': expected true or false"),
    ],
)
def test_int_16_what_does_not_fit_is_said_before_anything_is_served(text, says):
    with pytest.raises(ConfigError) as told:
        assist_from_seed_words(words(text), AssistSection())

    assert says in str(told.value)


def test_int_16_words_go_before_what_the_configuration_says():
    known = AssistSection(
        port=8003, out_poly=True, device="cpu", model=AssistModelSection(type="tiny")
    )

    served = assist_from_seed_words(
        words("model_name=sam sam_config=vit_b device=cuda:1 out_mask=True out_bbox=0"), known
    )

    assert served.model == AssistModelSection(type="sam", model="vit_b")
    assert (served.device, served.port) == ("cuda:1", 8003)
    assert (served.out_mask, served.out_poly, served.out_bbox) == (True, True, False)
    assert assist_from_seed_words({}, known) == known
    assert assist_from_seed_words(words("device=cuda:0"), known).model == known.model
