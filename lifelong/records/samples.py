"""What happens to one picture: hard example, pre-annotation, annotation task, annotation, sample.

Records carry storage keys, never arrays; `lifelong/records/wire.py` knows their JSON.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from lifelong.records.ids import EdgeId, RoundNumber, SampleId, VersionId


class Split(StrEnum):
    """Whether a sample teaches or examines; it never changes sides."""

    TRAIN = "train"
    EVAL = "eval"


@dataclass(frozen=True, slots=True, kw_only=True)
class HardExample:
    """A frame the edge model was unsure of, as it lies in storage."""

    sample_id: SampleId
    edge_id: EdgeId
    captured_at: datetime  # UTC, by the device's clock
    sequence: int  # counts up on the device; orders frames when clocks do not
    version_id: VersionId  # the model that was unsure
    score: float  # 0 (sure) .. 1 (no idea), by the policy named in `reasons`
    reasons: tuple[str, ...]
    image_key: str
    image_sha256: str
    mask_key: str  # the edge model's own answer
    mask_sha256: str
    height: int  # pixels
    width: int  # pixels
    attributes: Mapping[str, str] = field(default_factory=dict)
    # more than one number per frame, by name: mean entropy, mean margin, share under a threshold …
    scores: Mapping[str, float] = field(default_factory=dict)
    novelty: float | None = None  # 0 .. 1, 0.5 = the model's own 0.95 quantile; None: not known
    priority: float = 0.0  # what leaves first when not everything may: hardness x novelty
    scene_hash: str = ""  # perceptual hash of the picture, 16 hex digits
    embedding: tuple[float, ...] = ()  # the model's own, whitened; () when it brings none
    # Files of a delivery that came in parts, by name: the SHA-256 of each part, in order.
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    wants_receipt: bool = False  # the node keeps its copy until the inbox says what it did


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionScore:
    """How sure the draft is of one region: a connected piece of one class."""

    class_id: int
    area: int  # pixels
    box: tuple[int, int, int, int]  # x0, y0, x1, y1 inclusive, pixels
    score: float  # 0 .. 1, the mean over its pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class PreAnnotation:
    """The machine's mask before a person saw it."""

    sample_id: SampleId
    round_number: RoundNumber
    image_key: str
    mask_key: str
    height: int  # pixels
    width: int  # pixels
    score: float  # the mean over all pixels, 0 .. 1
    proposed_by: str  # mask proposer, e.g. "tiny_sam"
    labelled_by: str  # semantic labeler, e.g. "tiny_segformer"
    regions: tuple[RegionScore, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)  # of the hard example
    # Classes the semantic model saw and the vote painted over altogether: look for them.
    erased_classes: tuple[str, ...] = ()
    unsure_key: str = ""  # of a picture that shows where the draft is unsure; "" when there is none
    label_map_digest: str = ""  # whose ids the mask holds; "": of the first label map


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotationTask:
    """A work item in Label Studio: which sample, which project, which task there."""

    sample_id: SampleId
    round_number: RoundNumber
    project_id: int
    task_id: int
    draft_key: str  # "" when there is no draft
    drafted_by: str = ""  # the models behind the draft, e.g. "tiny_sam+tiny_segformer"
    is_blank: bool = False  # the draft was kept from people, to measure what drafts save
    label_map_digest: str = ""  # the classes it was offered with; "": the first label map

    @property
    def asks_nobody(self) -> bool:
        """Was its draft sure enough to count without a person?"""
        return self.task_id == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassCost:
    """What correcting one class of one picture took."""

    pixels_added: int  # of this class now, of another (or none) before
    pixels_removed: int
    regions_touched: int  # reshaped or renamed; counted for the class of the draft's region
    regions_added: int
    regions_deleted: int
    seconds: float | None  # the class's part of the whole; None when nobody measured


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectionCost:
    """What one annotation took, beside what its annotator was shown."""

    annotation_id: int
    annotator: str
    drafted_by: str  # "" when nobody knows
    with_draft: bool  # False: the annotator began with an empty picture
    seconds: float | None  # rejected attempts included
    pixels: int  # of the picture
    classes: Mapping[str, ClassCost] = field(default_factory=dict)  # by class name


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """What a person confirmed or corrected."""

    sample_id: SampleId
    round_number: RoundNumber
    annotation_id: int
    annotator: str  # several, with commas, when their work was merged
    annotated_at: datetime  # UTC
    mask_key: str
    mask_sha256: str
    agreement: float  # mIoU of the draft against this, 0 .. 1
    changed_pixels: int  # beside what people were shown: all they painted when that was nothing
    seconds: float | None = None  # Label Studio's lead time; None when it has none
    draft_boundary: float | None = None  # boundary F of the draft against this, 0 .. 1
    annotation_ids: tuple[int, ...] = ()  # all that count, the newest last; () in older records
    annotators: tuple[str, ...] = ()  # who made them, in the same order
    people_agreement: float | None = None  # mean mIoU between annotators; None when there is one
    people_boundary: float | None = None  # mean boundary F between them
    costs: tuple[CorrectionCost, ...] = ()  # one for each of annotation_ids
    label_map_digest: str = ""  # whose ids the mask holds; "": of the first label map


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """A task that people decided not to annotate, or that is gone; it never trains anything."""

    sample_id: SampleId
    round_number: RoundNumber
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """An image with its confirmed mask: what training and hold-outs are made of."""

    sample_id: SampleId
    image_key: str
    image_sha256: str
    mask_key: str
    mask_sha256: str
    learning_task: str  # name of the condition, e.g. "night"
    split: Split
    round_number: RoundNumber  # 0: there before the first round
    edge_id: EdgeId
    annotator: str  # "" for samples that came with their labels
    class_pixels: Mapping[int, int] = field(default_factory=dict)  # class id -> pixels
    # Whose ids mask and class_pixels hold; "": those of the first label map there was. Whoever
    # reads them goes through `lifelong/labels/readings.py`.
    label_map_digest: str = ""
