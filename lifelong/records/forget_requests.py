"""What somebody wants to be forgotten, and what remains known of it: no more than hashes.

A request says whom or what it is about and lives until it is carried out. The record that stays
names pictures by the hash of their bytes, so that they are not taken in again.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from lifelong.records.ids import RoundNumber, SampleId

Scope = Literal["device", "annotator", "sample", "attribute"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudioTaskOf:
    """A task in Label Studio that is to be removed."""

    sample_id: SampleId
    round_number: RoundNumber
    project_id: int
    task_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetRequest:
    """`forgetting/{request_id}.json`: written before anything is removed, removed last."""

    request_id: str  # 16 hex digits by chance: the hash of a name could be guessed
    scope: Scope
    name: str  # edge id, annotator, sample id, or name of the attribute
    value: str  # of the attribute; "" otherwise
    samples: tuple[SampleId, ...]  # sorted
    tasks: tuple[StudioTaskOf, ...]  # their tasks in Label Studio
    asked_at: datetime  # UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What the knowledge base keeps of a request: no name, no device, no picture."""

    forgotten_id: str
    scope: Scope
    samples: tuple[SampleId, ...]
    entries: tuple[str, ...]  # SHA-256 of the entries of the log that were emptied
    at: datetime  # UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """`forgotten/{sample_id}.json`: this picture is not taken in again."""

    sample_id: SampleId
    at: datetime  # UTC
