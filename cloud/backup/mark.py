"""The mark of a restore that is under way: until it is over, nobody works with that storage."""

from dataclasses import dataclass
from datetime import datetime

from lifelong.errors import ObjectNotFoundError, RecordError
from lifelong.links.storage import Storage
from lifelong.records.wire import from_json, to_json

KEY = "restore/unfinished.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restoring:
    """Which backup is being put back."""

    backup_id: str
    began_at: datetime  # UTC
    completes: bool  # only what is missing is put back; what is there stays as it is


def unfinished(storage: Storage) -> Restoring | None:
    """The restore that has not come to its end; None when there is none."""
    try:
        return from_json(Restoring, storage.get(KEY), KEY)
    except ObjectNotFoundError:
        return None


def mark(storage: Storage, restoring: Restoring) -> None:
    """Say that a restore is under way."""
    storage.put(KEY, to_json(restoring))


def unmark(storage: Storage) -> None:
    """Say that it is over."""
    storage.delete(KEY)


def refuse_unfinished(storage: Storage) -> None:
    """Nobody works with a storage of which half is back.

    Raises:
        RecordError: a restore was interrupted, or is at work.
    """
    if storage.exists(KEY):
        raise RecordError(
            f"{storage.url}: a restore is under way, or was interrupted; run the same `cornerloop "
            "restore` again: it goes on where it was"
        )
