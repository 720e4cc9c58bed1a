"""Records that devices wrote: bounded before anybody counts with them.

A device may be broken, or in foreign hands. JSON knows numbers that no clock, sum or page can
bear: one report with a pause of 1e300 seconds would end the looks at the whole fleet.
"""

import math
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any, TypeVar

from lifelong.errors import CorruptRecordError
from lifelong.records.wire import from_json

MAX_BYTES = 2**20  # of one record
_MOST = 2**53  # whole numbers up to here are exact as floats too
_LONGEST = 100_000  # letters of a text
_YEARS = range(1900, 2900)  # a clock that was never set says 1970; sums of dates stay dates

T = TypeVar("T")


def from_device(kind: type[T], data: bytes, where: str) -> T:
    """A record as `wire.from_json` reads it, if everything in it can be counted with.

    Raises:
        CorruptRecordError: no such record, or a number, moment or text beyond all reason; names
            `where` and the field.
    """
    if len(data) > MAX_BYTES:
        raise CorruptRecordError(f"{where}: {len(data)} bytes, more than the {MAX_BYTES} of any")
    record = from_json(kind, data, where)
    trouble = _trouble(record, kind.__name__)
    if trouble:
        raise CorruptRecordError(f"{where}: {trouble}")
    return record


def _trouble(value: Any, name: str) -> str:
    """What is wrong with the value of this name, or with the first thing in it; "" for nothing."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"{name} is {value}, no number"
    if isinstance(value, int | float) and abs(value) > _MOST:
        return f"{name} is larger than any number that a device could mean"
    if isinstance(value, str) and len(value) > _LONGEST:
        return f"{name} has {len(value)} letters"
    if isinstance(value, datetime):
        if value.tzinfo is None:
            return f"{name} has no time zone"
        if value.year not in _YEARS:
            return f"{name} is of the year {value.year}"
    inner: list[tuple[str, Any]] = []
    if is_dataclass(value):
        inner = [(f"{name}.{one.name}", getattr(value, one.name)) for one in fields(value)]
    elif isinstance(value, dict):
        inner = [(f"{name} {str(key)[:50]!r}", one) for key, one in value.items()]
        inner += [(f"a name in {name}", key) for key in value]
    elif isinstance(value, list | tuple):
        inner = [(f"{name}[{place}]", one) for place, one in enumerate(value)]
    return next(filter(None, (_trouble(one, called) for called, one in inner)), "")
