"""The JSON form of every record: a schema number around it, and refusal of what is not known.

Records are plain dataclasses; pydantic reads their type hints, so there is one description.
"""

import json
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from lifelong.errors import CorruptRecordError
from lifelong.records.ids import sha256_hex

SCHEMA = 1

T = TypeVar("T")


_ADAPTERS: dict[type, TypeAdapter[Any]] = {}  # building one takes milliseconds, using it none


def _adapter(kind: type[T]) -> TypeAdapter[T]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def to_json(record: object, *, sealed: bool = False) -> bytes:
    """A record as UTF-8 JSON: `{"schema": 1, "kind": "HardExample", "record": {…}}`.

    `sealed` adds the SHA-256 of the record's own JSON: a digit that turned into another one on a
    failing disk is found out. It keeps nobody from changing a record on purpose.
    """
    kind = type(record)
    body = _adapter(kind).dump_python(record, mode="json")
    envelope = {"schema": SCHEMA, "kind": kind.__name__, "record": body}
    if sealed:
        envelope["sha256"] = _seal_of(body)
    return dumps(envelope)


def dumps(value: object) -> bytes:
    """JSON-ready values as UTF-8 with sorted keys: equal values give equal bytes."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1).encode()


def from_json(kind: type[T], data: bytes, where: str) -> T:
    """Read a record back.

    Raises:
        CorruptRecordError: not JSON, another schema or kind, a field that does not fit, or a
            sealed record that changed; names `where`.
    """
    envelope = json_object(data, where)
    if envelope.get("schema") != SCHEMA:
        raise CorruptRecordError(
            f"{where}: schema {envelope.get('schema')!r}, this version reads {SCHEMA}; "
            "update Cornerloop on this side"
        )
    if envelope.get("kind") != kind.__name__:
        raise CorruptRecordError(
            f"{where}: holds a {envelope.get('kind')!r}, expected {kind.__name__}"
        )
    body = envelope.get("record")
    seal = envelope.get("sha256")
    if seal is not None and seal != _seal_of(body):
        raise CorruptRecordError(f"{where}: is not what was written; the file was damaged")
    return from_plain(kind, body, where)


def _seal_of(body: object) -> str:
    try:
        return sha256_hex(dumps(body))
    except UnicodeEncodeError:  # half a surrogate pair, which nobody has written
        return ""


def to_plain(record: object) -> Any:
    """A record as JSON-ready dicts and lists, without the envelope."""
    return _adapter(type(record)).dump_python(record, mode="json")


def from_plain(kind: type[T], body: object, where: str) -> T:
    """A record from JSON-ready dicts and lists.

    Raises:
        CorruptRecordError: a field is missing, unknown or of another type; names `where`.
    """
    try:
        return _adapter(kind).validate_json(json.dumps(body))
    except (ValidationError, TypeError, ValueError) as error:
        raise CorruptRecordError(f"{where}: {error}") from error


def many_from_plain(kind: type[T], bodies: list[Any], where: str) -> list[T]:
    """Records of one kind from JSON-ready values, in one go: several times as fast.

    Raises:
        CorruptRecordError: as `from_plain`.
    """
    try:
        text = json.dumps(bodies).encode()
    except (TypeError, ValueError) as error:
        raise CorruptRecordError(f"{where}: {error}") from error
    return many_from_json(kind, text, where)


def many_from_json(kind: type[T], data: bytes, where: str) -> list[T]:
    """Records of one kind from a JSON array.

    Raises:
        CorruptRecordError: no such array; names `where`.
    """
    try:
        records: list[T] = _adapter(list[kind]).validate_json(data)  # type: ignore[valid-type]
    except (ValidationError, TypeError, ValueError) as error:
        raise CorruptRecordError(f"{where}: {error}") from error
    return records


def many_to_json(kind: type[T], records: list[T]) -> bytes:
    """Records of one kind as a JSON array on one line."""
    return _adapter(list[kind]).dump_json(records)  # type: ignore[valid-type]


def json_object(data: bytes, where: str) -> dict[str, Any]:
    """Bytes to a JSON object.

    Raises:
        CorruptRecordError: not UTF-8 JSON, or not an object.
    """
    try:
        value = json.loads(data)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise CorruptRecordError(f"{where}: not JSON ({error})") from error
    if not isinstance(value, dict):
        raise CorruptRecordError(f"{where}: expected a JSON object, got {type(value).__name__}")
    return value
