"""What a project says of how it wants its answers: `out_mask`, `out_poly`, `out_bbox` and more.

They come as extra parameters of the backend in Label Studio, where every value is text, or from
the section `assist`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from lifelong.errors import ConfigError
from lifelong.sections.assist import AssistSection

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})
_MOST_TOLERANCE = 100.0  # pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """How answers are wanted; None of a shape: nobody said."""

    mask: bool | None = None
    polygon: bool | None = None
    box: bool | None = None
    point: bool | None = None
    tolerance_px: float = 0.0  # how far a polygon may run from the mask's outline
    all_boxes: bool = False  # every box of a prompt counts, not the newest alone
    all_candidates: bool = False  # each of three candidates becomes a region


def switches_from(extras: Mapping[str, object], section: AssistSection) -> Switches:
    """What a project says, before what the section `assist` says.

    Args:
        extras: extra parameters of the backend; those of other names are left to others.

    Raises:
        ConfigError: a value that is neither yes nor no, or no number; names key and value.
    """
    return Switches(
        mask=is_on(extras, "out_mask", section.out_mask),
        polygon=is_on(extras, "out_poly", section.out_poly),
        box=is_on(extras, "out_bbox", section.out_bbox),
        point=is_on(extras, "out_point", None),
        tolerance_px=_pixels(extras, "polygon_tolerance_px", section.polygon_tolerance_px),
        all_boxes=bool(is_on(extras, "all_boxes", False)),
        all_candidates=bool(is_on(extras, "all_candidates", False)),
    )


def is_on(extras: Mapping[str, object], key: str, default: bool | None) -> bool | None:
    """A switch: true, 1, yes, on, or false, 0, no, off, in any spelling; "" is not said.

    Raises:
        ConfigError: anything else.
    """
    given = extras.get(key)
    said = given.strip().lower() if isinstance(given, str) else given
    if said is None or said == "":
        return default
    if isinstance(said, bool):
        return said
    if isinstance(said, int | float) and said in (0, 1):
        return said == 1
    if isinstance(said, str) and said in _TRUE | _FALSE:
        return said in _TRUE
    raise ConfigError(f"extra parameter {key}={given!r}: expected true or false")


def _pixels(extras: Mapping[str, object], key: str, default: float) -> float:
    given = extras.get(key)
    if given is None or given == "":
        return default
    try:
        number = float(given) if isinstance(given, str | int | float) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if isinstance(given, bool) or not 0 <= number <= _MOST_TOLERANCE:
        raise ConfigError(
            f"extra parameter {key}={given!r}: expected pixels, 0 to {_MOST_TOLERANCE:g}"
        )
    return number
