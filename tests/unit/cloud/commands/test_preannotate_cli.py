"""What the options of `cornerloop preannotate` make of a configuration; nothing is loaded here."""

from pathlib import Path

import pytest

from cloud.commands.preannotate import section_from, section_of
from lifelong.errors import ConfigError
from lifelong.sections.drafting import (
    MasksSection,
    PreannotationSection,
    SemanticSection,
    TextPromptsSection,
    VoteSection,
)

UNSAID = {
    "masks": None, "mask_weights": None, "semantic": None, "open_vocabulary": False,
    "light": False, "text": [], "ssa_compat": False,
}  # fmt: skip
# A configuration that says something of everything.
SAID = PreannotationSection(
    masks=MasksSection(
        type="sam", model="vit_b", checkpoint=Path("/w/b.pth"), points_per_side=8,
        pred_iou_thresh=0.5,
    ),
    semantic=SemanticSection(type="transformers", model="org/model", tile_px=512),
    vote=VoteSection(weights="probability", erased_classes="keep"),
    text_prompts=TextPromptsSection(prompts={"old": "car"}, box_threshold=0.2),
    ontology=Path("/w/words.yaml"),
    device="cuda:1",
)  # fmt: skip


def section(known=SAID, **options):
    return section_from(known, **UNSAID | options)


def changed(before, after):
    """The keys, with dots, in which two sections differ, and what the second one says there."""
    found = {}
    for key, value in after.items():
        if isinstance(value, dict) and isinstance(before.get(key), dict) and key != "prompts":
            inner = changed(before[key], value)
            found |= {f"{key}.{name}": said for name, said in inner.items()}
        elif before.get(key) != value:
            found[key] = value
    return found


def differs(**options):
    return changed(SAID.model_dump(), section(**options).model_dump())


@pytest.mark.parametrize("known", [SAID, PreannotationSection()])
def test_ops_03_without_options_the_configuration_is_what_counts(known):
    assert section(known) == known


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # Another type of masks: weights of the one before would not fit.
        (
            {"masks": "sam:vit_h"},
            {"masks.model": "vit_h", "masks.checkpoint": None},
        ),
        (
            {"masks": "mobile_sam"},
            {"masks.type": "mobile_sam", "masks.model": None, "masks.checkpoint": None},
        ),
        ({"mask_weights": Path("c.pth")}, {"masks.checkpoint": Path("c.pth")}),
        (
            {"masks": "sam_hq:vit_l", "mask_weights": Path("c.pth")},
            {"masks.type": "sam_hq", "masks.model": "vit_l", "masks.checkpoint": Path("c.pth")},
        ),
        ({"semantic": "tiny"}, {"semantic.type": "tiny", "semantic.model": None}),
        ({"semantic": "transformers:other/one"}, {"semantic.model": "other/one"}),
        ({"open_vocabulary": True}, {"method": "open_vocabulary"}),
        (
            {"open_vocabulary": True, "light": True},
            {"method": "open_vocabulary", "open_vocabulary.light": True},
        ),
        (
            {"text": ["traffic cone=pole", " a = b =car "]},
            {
                "method": "text_prompts",
                "text_prompts.prompts": {"traffic cone": "pole", "a = b": "car"},
            },
        ),
    ],
)
def test_pre_09_an_option_overrides_what_it_names_and_nothing_else(options, expected):
    """PRE-05, PRE-07, PRE-08, PRE-09: every option of the drafting."""
    assert differs(**options) == expected


def test_ssa_compat_takes_over_ssas_settings_and_keeps_the_models():
    found = section(ssa_compat=True)

    assert found.ssa_compat
    assert found.vote == VoteSection(weights="majority", erased_classes="flag")
    grid = found.masks
    assert (grid.points_per_side, grid.pred_iou_thresh, grid.crop_n_layers) == (64, 0.86, 1)
    assert (grid.type, grid.model, grid.checkpoint) == ("sam", "vit_b", Path("/w/b.pth"))
    assert found.semantic == SAID.semantic


@pytest.mark.parametrize(
    ("option", "kind", "model"),
    [
        (r"onnx:C:\models\a.onnx", "onnx", r"C:\models\a.onnx"),
        (r"onnx:\\server\share\a b.onnx", "onnx", r"\\server\share\a b.onnx"),
        ("bundle:/home/me/модель:2.zip", "bundle", "/home/me/модель:2.zip"),
        ("transformers:./folder", "transformers", "./folder"),
        ("transformers:nvidia/segformer-b0", "transformers", "nvidia/segformer-b0"),
        ("tiny", "tiny", None),
        ("tiny:", "tiny", None),
    ],
)
def test_ux_04_a_model_is_what_stands_behind_the_first_colon(option, kind, model):
    """UX-04: drives and shares of Windows, colons in names."""
    assert section(semantic=option).semantic == SemanticSection(type=kind, model=model, tile_px=512)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"open_vocabulary": True, "text": ["car=car"]},
            "--open-vocabulary and --text are two ways of drafting; choose one",
        ),
        (
            {"ssa_compat": True, "open_vocabulary": True},
            r"--ssa-compat compares closed-set drafts .*\(--open-vocabulary\)",
        ),
        (
            {"ssa_compat": True, "text": ["car=car"]},
            r"--ssa-compat compares closed-set drafts .*\(--text\)",
        ),
        ({"text": ["car"]}, "--text 'car': expected PROMPT=CLASS"),
        ({"text": ["=car"]}, "--text '=car': expected PROMPT=CLASS"),
        ({"text": ["a car= "]}, "--text 'a car= ': expected PROMPT=CLASS"),
        ({"masks": "sam3"}, "masks.type: Input should be .*'mobile_sam'.*, got 'sam3'"),
        ({"semantic": r"C:\models\a.onnx"}, "semantic.type: Input should be .*'onnx'"),
    ],
)
def test_ops_03_options_that_cannot_be_meant_are_one_line(options, says):
    """OPS-03: what, and what would be right."""
    with pytest.raises(ConfigError, match=says) as refused:
        section(**options)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("method", ["open_vocabulary", "text_prompts"])
def test_ops_03_a_configuration_cannot_mean_ssa_and_words_together_either(method):
    known = SAID.model_copy(update={"method": method})

    with pytest.raises(ConfigError, match=r"preannotation\.ssa_compat"):
        section(known, ssa_compat=True)
    with pytest.raises(ConfigError, match=r"preannotation\.ssa_compat"):
        section(known.model_copy(update={"ssa_compat": True}))


def test_ops_03_every_value_that_does_not_fit_is_named():
    told = SAID.model_dump()
    told["masks"]["points_per_side"], told["vote"]["weights"] = 0, "loud"

    with pytest.raises(ConfigError, match=r"masks\.points_per_side: .*; vote\.weights: "):
        section_of(told)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"light": True}, "--light means the smaller models of --open-vocabulary"),
        ({"semantic": "tiny", "open_vocabulary": True}, "--semantic names the classes"),
        ({"semantic": "tiny", "text": ["a=car"]}, "--semantic names the classes"),
    ],
)
def test_an_option_without_a_meaning_is_refused_instead_of_passed_over(options, told):
    with pytest.raises(ConfigError, match=told):
        section_from(PreannotationSection(), **(UNSAID | options))
