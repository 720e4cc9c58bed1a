"""Who worked on a task in a folder through a page of ours, and for how long.

`correction.json` lies beside `corrected.png` or `skip.txt` and names its bytes: once somebody has
changed the file with another program, the mark means nothing any more.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

from lifelong.links.durable_files import write_whole
from lifelong.records.ids import sha256_hex

FILE = "correction.json"
SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderMark:
    """One submission through a page."""

    by: str
    submission: str  # UUID that the page made
    seconds: float | None  # that the person worked on it
    sha256: str  # of the file that was written


def write_mark(
    place: Path, data: bytes, *, by: str, submission: str, seconds: float | None
) -> None:
    """Say whose bytes `data` are; before they are written.

    Raises:
        OSError: the disk is full or gone.
    """
    told = {
        "schema": SCHEMA,
        "by": by,
        "submission": submission,
        "seconds": seconds,
        "sha256": sha256_hex(data),
    }
    write_whole(place / FILE, json.dumps(told, ensure_ascii=False).encode())


def read_mark(place: Path, data: bytes) -> FolderMark | None:
    """The mark of these bytes; None: there is none, or it is of others."""
    try:
        told = json.loads((place / FILE).read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(told, dict) or told.get("schema") != SCHEMA:
        return None
    by, submission, seconds = told.get("by"), told.get("submission"), told.get("seconds")
    if told.get("sha256") != sha256_hex(data) or not (
        isinstance(by, str) and by and isinstance(submission, str)
    ):
        return None
    measured = float(seconds) if isinstance(seconds, int | float) else math.nan
    return FolderMark(
        by=by,
        submission=submission,
        seconds=measured if 0 <= measured < math.inf else None,
        sha256=str(told["sha256"]),
    )
