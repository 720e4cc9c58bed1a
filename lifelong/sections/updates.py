"""How a node takes a new model, and what it says of its health."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from lifelong.sections.types import Count, Positive, Seconds, Section, Share


class UpdatesSection(Section):
    """When a released model may run here."""

    trusted_keys: Path | None = None  # key ring that `cornerloop keys` wrote
    unsigned: Literal["refuse", "accept"] = "refuse"
    trial: bool = True  # a process of its own opens a new model first
    trial_seconds: Annotated[float, Field(gt=0)] = 60.0
    trial_max_mib: Positive = 2048  # address space of that process beyond its own start
    proven_after: Positive = 100  # frames after which a new model is no longer on probation
    # Ends of the process on probation that nobody asked for and that are forgiven: a power cut
    # looks like a crash.
    forgiven_deaths: Count = 1
    # On probation it goes when its median time is so many times the old one's …
    max_slowdown: Annotated[float, Field(gt=1)] = 3.0
    # … or its mean confidence falls under this share of the old one's on the same frames.
    min_confidence_share: Share = 0.5


class HealthSection(Section):
    """What a node writes of itself to storage."""

    report_seconds: Seconds = 60.0  # 0: its health stays on the node
    drift_window: Positive = 500  # frames that drift is measured over
    drift_alarm: Annotated[float, Field(gt=0)] = 0.25  # population stability index
