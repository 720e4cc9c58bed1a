"""Configuration of who looks at people's work, how often, and what counts as finished."""

from pathlib import Path
from typing import Literal

from lifelong.sections.types import Count, Positive, Section, Share


class ReviewSection(Section):
    """What must happen before an annotation counts."""

    required: bool = False  # somebody must accept it; False: submitted counts as accepted
    annotators: Positive = 1  # how many people must submit a task
    merge: Literal["latest", "consensus"] = "latest"  # of several annotations that count
    # Below one of these a task waits for adjudication; 0 never does.
    agree_below: Share = 0.0  # mIoU
    boundary_below: Share = 0.0  # boundary F
    compare: Literal["annotators", "draft"] = "annotators"  # what the two are measured between
    adjudicators: tuple[str, ...] = ()  # e-mails; their later annotation settles a disagreement
    audit_path: Path | None = None  # pictures with known answers: images/ and train_ids/
    audit_share: Share = 0.0  # of a round's tasks, one at least
    audit_errors: Count = 3  # planted into the draft of an audit task when nobody drafts it
    blank_share: Share = 0.0  # of the tasks, offered without a draft to measure what drafts save
