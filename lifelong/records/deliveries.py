"""What edge and cloud tell each other about deliveries: receipts, and how much may be sent."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from lifelong.records.ids import EdgeId, SampleId


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What the inbox did with one delivery: `receipts/{edge_id}/{sample_id}.json`."""

    edge_id: EdgeId
    sample_id: SampleId
    verdict: Literal["admitted", "refused"]
    at: datetime  # UTC, by the cloud's clock
    reason: str = ""  # why it was refused
    is_final: bool = False  # refused for what it says, not for damage: sent again it fails again
    # SHA-256 of what was admitted, by the name of the file.
    hashes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadBudget:
    """How much a node may send: `edges/{edge_id}/budget.json`; None: as much as it likes."""

    edge_id: EdgeId
    max_mib_per_day: float | None
    max_samples_per_hour: int | None
    set_at: datetime  # UTC
    set_by: Literal["operator", "default"]  # for this node, or `edges.*` for all of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Examples that were admitted or forgotten together: `admissions/{number}.json`."""

    sample_ids: tuple[SampleId, ...]
    forgotten: tuple[SampleId, ...] = ()  # were admitted once, and are not there any more
