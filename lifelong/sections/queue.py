"""Configuration of the queue: in which order hard examples go to people."""

from typing import Annotated, Literal

from pydantic import Field

from lifelong.sections.types import Positive, Section


class QueueSection(Section):
    """Which waiting pictures are worth a person's minute first."""

    strategy: Literal["expected_value", "entropy", "margin", "bald", "random", "oldest"] = (
        "expected_value"
    )
    seed: int = 0  # of the strategy "random"
    # Under "expected_value" every so-manyth place goes to whoever has waited longest, so that
    # nothing waits for ever; a shorter queue gives its last place. 0: never.
    oldest_every: Annotated[int, Field(ge=0)] = 8
    read_at_once: Positive = 500  # pictures looked at for the first time in one look
