"""`Moment`: what time it is by a clock that cannot be set, and by the one that can."""

import time
import uuid
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Moment:
    """One instant by two clocks."""

    boot: str  # which life of the machine this is
    up: float  # seconds since it began, suspension included; nobody can set it
    wall: float  # seconds since 1970, as the machine believes; may jump either way


def read_moment() -> Moment:
    """This instant.

    Without Linux's boot id and boot time each process counts as a life of its own.
    """
    boot, began = _life()
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    up = time.monotonic() if clock is None else time.clock_gettime(clock)
    return Moment(boot, max(0.0, up - began), time.time())


@cache
def _life() -> tuple[str, float]:
    """The name of this life, and the reading of its clock when it began."""
    try:
        if hasattr(time, "CLOCK_BOOTTIME"):
            return _BOOT_ID.read_text().strip(), 0.0
    except OSError:
        pass
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return str(uuid.uuid4()), time.monotonic() if clock is None else time.clock_gettime(clock)
