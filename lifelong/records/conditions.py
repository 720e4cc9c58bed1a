"""The life of a condition nobody named: proposed from data, named or dismissed, merged.

What became of its pictures (annotated, trained, known to the deployed model) is read from samples
and versions; only what somebody decided is recorded. Records are never overwritten: a later ruling
stands beside the earlier one, and the one with the highest number counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from lifelong.records.ids import SampleId, VersionId


class Verdict(StrEnum):
    """What was decided of a proposed condition."""

    NAMED = "named"
    DISMISSED = "dismissed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Pictures that resemble each other, and nothing that the model was trained for."""

    condition_id: str  # "c-" and 8 hex digits, of the pictures that made it up
    name: str  # provisional, made from the data
    about: str  # what differs from the nearest known learning task, in words
    nearest: str  # that learning task
    novelty: float  # median of the pictures, 0 .. 1
    pictures: tuple[SampleId, ...]  # that made it up, the most typical first
    version_id: VersionId  # the model that did not know them
    proposed_at: datetime  # UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionRuling:
    """What somebody decided of a proposed condition."""

    condition_id: str
    number: int  # 1, 2, 3 … of this condition
    verdict: Verdict
    name: str  # of its learning task; "" when it was dismissed
    # What showed it by then. Those that had been given to no learning task belong to it now.
    pictures: tuple[SampleId, ...]
    by: str
    at: datetime  # UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskMerge:
    """Learning tasks that are one from now on; samples keep what was written and mean the other."""

    number: int  # 1, 2, 3 …: merges hold in this order
    tasks: tuple[str, ...]
    into: str
    by: str
    at: datetime  # UTC
    why: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)  # of the comparison, if there was
