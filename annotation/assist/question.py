"""What one request of the smart tool means, once its regions and the labelling config were read.

Pixels are those of the upright picture; `answers.py` turns what was found into regions again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from annotation.assist.segmenter import Mask, Thresholds
from lifelong.records.prompts import Prompt


class Operation(StrEnum):
    """What becomes of a region that is there already."""

    NEW = "new"  # nothing: the answer is a region of its own
    ADD = "add"
    SUBTRACT = "subtract"  # the eraser
    INTERSECT = "intersect"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """In which shapes an answer comes; each by the name of its control, "" for not at all."""

    brush: str = ""
    bitmask: str = ""  # a PNG instead of run lengths
    polygon: str = ""
    box: str = ""
    keypoint: str = ""
    # Which of a control's labels says what a prompt's label says: control -> label -> label.
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    # Of a bare tool (<Brush>) the <Labels> tag that says its labels, "" for <BrushLabels>.
    label_tags: Mapping[str, str] = field(default_factory=dict)
    tolerance_px: float = 0.0  # how far a polygon may run from the mask's outline; 0: exact


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A region that an operation changes."""

    region_id: str
    mask: Mask
    label: str  # as its control says it


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked about one picture of `height` x `width` pixels."""

    height: int
    width: int
    image: str  # name of the <Image> tag
    outputs: Outputs
    label: str = ""  # what the answer shall say; of words, each answer says its own
    prompt: Prompt = Prompt()
    drawn: Mask | None = None  # brush strokes that were given as a hint
    # How often the last click was repeated at its place: 0 is the best candidate, 1 the next.
    candidate: int = 0
    all_candidates: bool = False  # every one as a region of its own
    operation: Operation = Operation.NEW
    target: Target | None = None  # of every operation but NEW
    words: tuple[str, ...] = ()  # what a text prompt looks for
    labels: tuple[str, ...] = ()  # which labels words may mean
    thresholds: Thresholds = Thresholds()
    example: Mask | None = None  # of "like this"
    model: str = ""  # by which of several models; "": the default one
