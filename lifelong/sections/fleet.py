"""How models reach the fleet, and what the cloud asks of its edge nodes."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from lifelong.sections.types import Positive, Seconds, Section, Share


def _rising_to_all(stages: tuple[float, ...]) -> tuple[float, ...]:
    if not stages or stages[-1] != 1.0 or list(stages) != sorted(set(stages)):
        raise ValueError("must rise and end with 1.0, e.g. [0.1, 0.5, 1.0]")
    return stages


Stages = Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], AfterValidator(_rising_to_all)]


class ReleasesSection(Section):
    """Who signs releases, and how they reach the fleet."""

    signing_key: Path | None = None  # secret key that `cornerloop keys` made; None: unsigned
    signing_password_env: str = "CORNERLOOP_SIGNING_PASSWORD"
    # Shares of the fleet that get a new model one after the other; (1.0,): all at once.
    stages: Stages = (1.0,)
    observe_minutes: Annotated[float, Field(gt=0)] = 30.0  # of each stage but the last
    # A stage is halted and rolled back when more than this share of its nodes refuse the model,
    # fall back, report an alarm, or fall silent.
    max_failed_share: Share = 0.1
    # A node fails its stage too when its median time is so many times the one before.
    max_slowdown: Annotated[float, Field(gt=1)] = 1.5
    silent_minutes: Annotated[float, Field(gt=0)] = 10.0  # without a report: the node is silent


class EdgesSection(Section):
    """What the cloud allows every edge node; `cornerloop budget` sets it for a single one."""

    max_mib_per_day: Annotated[float, Field(gt=0)] | None = None
    max_samples_per_hour: Positive | None = None
    escalation: bool = False  # answer frames that edge nodes ask about
    poll_seconds: Seconds = 0.5  # between two looks for such questions
