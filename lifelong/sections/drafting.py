"""The `preannotation` section: who drafts masks, who names them, how they vote."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from lifelong.sections.types import Count, Positive, Section, Share

# Keys that name a model by file, folder or hub id; `model` of the masks is a size and lies nowhere.
MODEL_NAMES = frozenset({"model", "captioner", "clip", "clipseg", "init", "labelers"})


class MasksSection(Section):
    """Class-agnostic masks for drafts."""

    # Without a SAM of full size, superpixels give the better drafts: see docs/drafts.md.
    type: Literal[
        "superpixels", "tiny", "sam", "sam_hq", "sam2", "mobile_sam", "program", "none"
    ] = "superpixels"
    # `sam` and `sam_hq`: vit_b, vit_l or vit_h (None: vit_h); `sam2`: tiny, small, base_plus or
    # large (None: large).
    model: str | None = None
    # File or folder of the weights; None: what `cornerloop models pull` brought, and of `tiny`
    # the shipped ones.
    checkpoint: Path | None = None
    # Of `program`: what is run, and how long it may take for a picture.
    program: Path | None = None
    program_seconds: Annotated[float, Field(gt=0)] = 60.0
    points_per_side: Positive = 16
    points_per_batch: Positive = 64
    pred_iou_thresh: Share = 0.7
    stability_score_thresh: Share = 0.8
    box_nms_thresh: Share = 0.7
    crop_n_layers: Count = 0
    crop_nms_thresh: Share = 0.7
    crop_overlap_ratio: Share = 512 / 1500
    crop_n_points_downscale_factor: Positive = 2
    min_mask_region_area: Count = 30


# What SSA's closed-set script sets (main_ssa.py): five crops and 8,192 clicks a picture.
SSA_MASKS = MasksSection(
    points_per_side=64,
    pred_iou_thresh=0.86,
    stability_score_thresh=0.92,
    crop_n_layers=1,
    min_mask_region_area=100,
)


class SemanticSection(Section):
    """Classes for drafts."""

    type: Literal["tiny", "transformers", "onnx", "bundle"] = "tiny"
    # Folder or hub id of `transformers`, file of `onnx`, `tiny` (None: shipped) and `bundle`.
    model: str | None = None
    # Pictures with a longer side than this are labelled in overlapping tiles of it; 0: never.
    tile_px: Count = 0


class VoteSection(Section):
    """How masks and classes become one draft."""

    # `majority` is SSA's rule; the others weigh a pixel's vote by how sure the semantic model is
    # of it, and by how far inside the mask it lies.
    weights: Literal["majority", "probability", "probability+boundary"] = "majority"
    # What becomes of a class of the semantic map that the vote would erase altogether.
    erased_classes: Literal["allow", "flag", "keep"] = "flag"


class OpenVocabularySection(Section):
    """Names in words for every mask, and which class a word means."""

    captioner: str = "Salesforce/blip-image-captioning-large"
    clip: str = "openai/clip-vit-large-patch14"
    clipseg: str = "CIDAS/clipseg-rd64-refined"
    # Two closed-set models whose answers are candidates too.
    labelers: tuple[str, ...] = (
        "shi-labs/oneformer_coco_swin_large",
        "shi-labs/oneformer_ade20k_swin_large",
    )
    light: bool = False  # the smaller models of SSA's light mode instead of the four above
    proposals: Positive = 3  # names kept of each mask


class TextPromptsSection(Section):
    """What to look for, in words, and which class each word means."""

    detector: Literal["grounding_dino", "owlv2"] = "grounding_dino"
    model: str | None = None  # folder or hub id; None: the detector's usual one
    prompts: dict[str, str] = Field(default_factory=dict)  # prompt -> class of the label map
    box_threshold: Share = 0.35
    text_threshold: Share = 0.25  # of `grounding_dino`
    nms_iou: Share = 0.7  # boxes of different prompts that overlap more are one


class PreannotationSection(Section):
    """How drafts are made."""

    method: Literal["closed_set", "open_vocabulary", "text_prompts"] = "closed_set"
    masks: MasksSection = MasksSection()
    semantic: SemanticSection = SemanticSection()
    vote: VoteSection = VoteSection()
    open_vocabulary: OpenVocabularySection = OpenVocabularySection()
    text_prompts: TextPromptsSection = TextPromptsSection()
    # YAML: words that mean a class; used by open vocabulary and by models with classes of their
    # own. None: the label map's own names, singular or plural, with or without an article.
    ontology: Path | None = None
    # JSON that turns raw scores into shares of right pixels; None: the shipped one where it fits
    # the models in use, else raw scores. `python -m tools.calibrate_drafts` writes one.
    calibration: Path | None = None
    # SSA hands BGR pictures to models that learnt RGB, and enlarges logits with align_corners.
    ssa_compat: bool = False
    weights_path: Path | None = None  # where `cornerloop models pull` keeps weights
    device: str = "auto"  # auto, cpu, cuda, cuda:1 …
    # `auto`: bfloat16 on a GPU that has it, float32 elsewhere.
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
