"""The JSON form of every record: a schema number around it, and refusal of what is not known.

Records are plain dataclasses; pydantic reads their type hints, so there is one description.
"""

import json
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from lifelong.errors import CorruptRecordError

SCHEMA = 1

T = TypeVar("T")


_ADAPTERS: dict[type, TypeAdapter[Any]] = {}  # building one takes milliseconds, using it none


def _adapter(kind: type[T]) -> TypeAdapter[T]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def to_json(record: object) -> bytes:
    """A record as UTF-8 JSON: `{"schema": 1, "kind": "HardExample", "record": {…}}`."""
    kind = type(record)
    body = _adapter(kind).dump_python(record, mode="json")
    envelope = {"schema": SCHEMA, "kind": kind.__name__, "record": body}
    return dumps(envelope)


def dumps(value: object) -> bytes:
    """JSON-ready values as UTF-8 with sorted keys: equal values give equal bytes."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1).encode()


def from_json(kind: type[T], data: bytes, where: str) -> T:
    """Read a record back.

    Raises:
        CorruptRecordError: not JSON, another schema or kind, or a field that does not fit;
            names `where`.
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
    return from_plain(kind, envelope.get("record"), where)


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
