"""From a hard frame to storage: one of a scene, the outbox, budgets and windows of uploads."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from lifelong.sections.types import Positive, Seconds, Section, Share

_WINDOW = re.compile(r"(\d\d):([0-5]\d)-(\d\d):([0-5]\d)\Z")


def window_minutes(text: str) -> tuple[int, int]:
    """Begin and end of a window like "22:00-06:00", in minutes after midnight.

    Raises:
        ValueError: not two times of a day, or one and the same.
    """
    found = _WINDOW.match(text)
    hours = [int(number) for number in found.groups()] if found else [99, 0, 99, 0]
    begin, end = 60 * hours[0] + hours[1], 60 * hours[2] + hours[3]
    if begin >= 24 * 60 or end > 24 * 60 or begin == end:
        raise ValueError(
            f'{text!r} is no window of a day; write two times like "22:00-06:00", the first from '
            "00:00 to 23:59, the second up to 24:00"
        )
    return begin, end


def _checked_window(text: str) -> str:
    window_minutes(text)
    return text


class ScenesSection(Section):
    """One upload of a scene, not one of a frame."""

    enabled: bool = True
    # Two frames show one scene when their perceptual hashes differ in at most so many of 64 bits
    # and, where the model brings embeddings, these are at most so far apart (cosine, 0 .. 2).
    hash_bits: Annotated[int, Field(ge=0, le=64)] = 8
    embedding_distance: Annotated[float, Field(ge=0, le=2)] = 0.15
    minutes: Annotated[float, Field(gt=0)] = 60.0  # after this a scene may be sent again
    remembered: Positive = 512  # scenes
    # A frame of a known scene is kept all the same when its priority beats the kept one's by this,
    # and takes its place if that one has not left yet.
    better_by: Share = 0.25


class OutboxSection(Section):
    """Hard examples on the edge's disk until storage has them."""

    path: Path = Path("outbox")
    max_mib: Positive = 512
    max_age_hours: Annotated[float, Field(gt=0)] = 24 * 30


class UploadSection(Section):
    """How much may leave, when, and how fast. The cloud's budget for a node may only tighten."""

    enabled: bool = True  # otherwise hard frames stay in the outbox, within its bounds
    max_mib_per_day: Annotated[float, Field(gt=0)] | None = None
    max_samples_per_hour: Positive | None = None
    max_kib_per_second: Annotated[float, Field(gt=0)] | None = None
    # "22:00-06:00", the device's local time; (): always
    windows: tuple[Annotated[str, AfterValidator(_checked_window)], ...] = ()
    # value: a day's bytes are held back until the day's best are known, which keeps nearly all of
    # the day's value. steady: spread evenly. at_once: whoever comes first.
    pace: Literal["value", "steady", "at_once"] = "value"
    part_kib: Positive = 1024  # larger files go in parts of this size
    # read_back: every object is read and compared. receipt: the cloud's word is waited for.
    confirm: Literal["read_back", "receipt"] = "read_back"
    failures_to_open: Positive = 5  # so many failures in a row open the circuit breaker
    open_seconds: Seconds = 300.0  # … for so long; then one try decides
