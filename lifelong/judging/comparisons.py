"""How Sedna compares: numbers by its operators' names, hours of the day as text."""

from collections.abc import Callable, Mapping

# Equality of Sedna's comparisons: |value - threshold| < 1e-6.
TOLERANCE = 1e-6

Comparison = Callable[[float, float], bool]


def _is_equal(value: float, threshold: float) -> bool:
    return abs(value - threshold) < TOLERANCE


def _is_above(value: float, threshold: float) -> bool:
    return value > threshold and not _is_equal(value, threshold)


def _is_below(value: float, threshold: float) -> bool:
    return value < threshold and not _is_equal(value, threshold)


COMPARISONS: Mapping[str, Comparison] = {
    ">": _is_above,
    "gt": _is_above,
    ">=": lambda value, threshold: not _is_below(value, threshold),
    "ge": lambda value, threshold: not _is_below(value, threshold),
    "=": _is_equal,
    "==": _is_equal,
    "eq": _is_equal,
    "!=": lambda value, threshold: not _is_equal(value, threshold),
    "ne": lambda value, threshold: not _is_equal(value, threshold),
    "<=": lambda value, threshold: not _is_above(value, threshold),
    "le": lambda value, threshold: not _is_above(value, threshold),
    "<": _is_below,
    "lt": _is_below,
}


def is_within(start: str, end: str, clock: str) -> bool:
    """Is "HH:MM" within the hours, both ends included? Text against text; may wrap over midnight.

    "24:00" is a legal end; "2:00" compares as the text it is.

    >>> is_within("22:00", "06:00", "03:15")
    True
    """
    if start > end:
        return start <= clock or clock <= end
    return start <= clock <= end
