"""What the log adds up to at one of its changes, so that opening need not read all of it.

    kb/checkpoints/00000512.jsonl   a header with the SHA-256 of the rest, then one line a kind

A checkpoint can always be made again from the log. One that is damaged or missing costs time,
nothing else; `cornerloop kb verify` compares it with the log.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lifelong.errors import CorruptRecordError, ObjectExistsError, ObjectNotFoundError
from lifelong.knowledge.known_records import Known, kind_named, refuse_unsafe
from lifelong.links.storage import Storage
from lifelong.records.ids import sha256_hex
from lifelong.records.wire import json_object, many_from_json, many_to_json

logger = logging.getLogger(__name__)

CHECKPOINTS = "kb/checkpoints"
MAX_BYTES = 4 * 2**30  # some five million samples; a larger object is none of ours
_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything that was known after a change."""

    number: int  # of the change
    head: str  # its hash
    records: Mapping[str, Sequence[Known]]  # by kind, in the order they became known


def newest_checkpoint(storage: Storage, last: int) -> Checkpoint | None:
    """The newest one that can be read, of a change up to `last`."""
    for entry in reversed(storage.entries(CHECKPOINTS)):
        try:
            if entry.size > MAX_BYTES:
                raise CorruptRecordError(f"{entry.key}: {entry.size} bytes are too many")
            found = _read(storage.get(entry.key), entry.key)
        except (CorruptRecordError, ObjectNotFoundError) as error:
            logger.warning("%s; the changes before it are read instead", error)
            continue
        if found.number <= last:
            return found
    return None


def write_checkpoint(storage: Storage, checkpoint: Checkpoint) -> None:
    """Put a checkpoint beside the earlier ones, of which one stays; a second call does nothing."""
    lines = [
        many_to_json(kind_named(name, "a checkpoint"), list(records))
        for name, records in checkpoint.records.items()
    ]
    body = b"\n".join(lines)
    header = {
        "schema": _SCHEMA,
        "number": checkpoint.number,
        "head": checkpoint.head,
        "kinds": list(checkpoint.records),
        "sha256": sha256_hex(body),
    }
    try:
        storage.put_if_absent(_key(checkpoint.number), json.dumps(header).encode() + b"\n" + body)
    except ObjectExistsError:
        return
    for key in list(storage.keys(CHECKPOINTS))[:-2]:
        storage.delete(key)


def remove_checkpoints(storage: Storage) -> int:
    """Remove all of them: they hold what somebody wants to be forgotten. Returns how many."""
    keys = list(storage.keys(CHECKPOINTS))
    for key in keys:
        storage.delete(key)
    return len(keys)


def _read(data: bytes, key: str) -> Checkpoint:
    first, _, body = data.partition(b"\n")
    header = json_object(first, key)
    kinds, number, head = (header.get(name) for name in ("kinds", "number", "head"))
    lines = body.split(b"\n")
    if (
        header.get("schema") != _SCHEMA
        or not isinstance(kinds, list)
        or not isinstance(number, int)
        or not isinstance(head, str)
        or (len(lines) != len(kinds) and body)
    ):
        raise CorruptRecordError(f"{key}: no checkpoint of ours")
    if header.get("sha256") != sha256_hex(body):
        raise CorruptRecordError(f"{key}: is not what was written")
    records = {
        str(name): many_from_json(kind_named(name, key), line, key)
        for name, line in zip(kinds, lines, strict=False)
    }
    for of_kind in records.values():
        for record in of_kind:
            refuse_unsafe(record, key)
    return Checkpoint(number, head, records)


def _key(number: int) -> str:
    return f"{CHECKPOINTS}/{number:08d}.jsonl"
