"""Who worked through a page of ours: Label Studio itself knows only the token's user.

A mark stands in the `meta` of every region of such an annotation. Label Studio keeps it, shows
its text beside the region, and whoever reads annotators reads it first.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from annotation.regions import Region

_KEY = "cornerloop"
_LONGEST = 200  # characters of a name


@dataclass(frozen=True, slots=True, kw_only=True)
class PageMark:
    """One submission through a page."""

    by: str  # name of the caller
    submission: str  # UUID that the page made: the same one when it is sent again


def marked(regions: Sequence[Region], mark: PageMark) -> list[Region]:
    """The regions with the mark on each; what else stands in their `meta` stays."""
    told: dict[str, object] = {
        "text": [f"corrected by {mark.by}"],
        _KEY: {"by": mark.by, "submission": mark.submission},
    }
    made = []
    for region in regions:
        one, before = region.copy(), region.get("meta")
        one["meta"] = {**(before if isinstance(before, dict) else {}), **told}
        made.append(one)
    return made


def mark_of(regions: Iterable[Mapping[str, object]]) -> PageMark | None:
    """The mark of an annotation's regions; None: it was not made through a page."""
    for region in regions:
        meta = region.get("meta")
        told = meta.get(_KEY) if isinstance(meta, Mapping) else None
        if isinstance(told, Mapping):
            by, submission = told.get("by"), told.get("submission")
            if isinstance(by, str) and by and isinstance(submission, str):
                return PageMark(by=by[:_LONGEST], submission=submission)
    return None
