"""The floor under release numbers after a restore: edge nodes may have seen later ones.

A node refuses a release whose number is below one it has accepted, and a model of an earlier round
than the one it runs. A restored history knows nothing of what came after the backup; so its next
release gets a number above any that can have been given, and those of rounds that nodes may
remember say that they are older on purpose.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from lifelong.errors import ObjectNotFoundError
from lifelong.links.storage import Storage
from lifelong.records.wire import from_json, to_json

FLOOR = "releases/floor.json"
GAP = 1000  # more rounds than anybody makes between a backup and its restore
_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFloor:
    """What nodes may have seen."""

    number: int = 0  # the next release has a higher one
    round_number: int = 0  # models of rounds up to this one are released as older ones on purpose


def read_floor(storage: Storage) -> ReleaseFloor:
    """The floor; all zero where nothing was ever restored."""
    try:
        return from_json(ReleaseFloor, storage.get(FLOOR), FLOOR)
    except ObjectNotFoundError:
        return ReleaseFloor()


def write_floor(storage: Storage, floor: ReleaseFloor) -> None:
    """Raise the floor."""
    storage.put(FLOOR, to_json(floor))


def safely_above(highest: int, now: datetime) -> int:
    """A number that nobody can have come to who counted on from `highest`, nor from another
    restore of the same backup: minutes since 2000, as nobody releases once a minute for long.

    >>> safely_above(7, datetime(2026, 11, 22, tzinfo=UTC))
    14143680
    """
    return max(highest + GAP, int((now - _BEGINNING).total_seconds() // 60))
