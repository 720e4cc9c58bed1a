"""What was pulled: a record beside the weights with the size and SHA-256 of every file."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from cloud.weights.catalogue import CatalogueEntry, entry_named
from cloud.weights.store import place_of
from lifelong.errors import CorruptRecordError, ModelLoadError
from lifelong.links.durable_files import write_whole

RECORD_NAME = "pulled.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """One file as it was when it was pulled."""

    size: int  # bytes
    sha256: str  # hex digits


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRecord:
    """One pulled model."""

    name: str
    source: str  # address or hub id
    revision: str  # of a hub id
    pulled_at: datetime  # UTC
    pulled_from: str  # address or folder that the bytes came from
    files: dict[str, FileRecord] = field(default_factory=dict)  # by name inside its folder


def record_path(entry: CatalogueEntry, folder: Path) -> Path:
    """Beside a file, or inside a hub folder."""
    place = place_of(entry, folder)
    if entry.kind == "hub":
        return place / RECORD_NAME
    return place.with_name(f"{place.name}.{RECORD_NAME}")


def read_record(path: Path) -> PullRecord | None:
    """The record at `path`; None where there is none.

    Raises:
        CorruptRecordError: it cannot be read; says what to do.
    """
    if not path.is_file():
        return None
    try:
        return TypeAdapter(PullRecord).validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        raise CorruptRecordError(
            f"{path}: not a record of pulled weights; remove it and pull again "
            f"({str(error).splitlines()[0]})"
        ) from error


def write_record(path: Path, record: PullRecord) -> None:
    """Write it whole or not at all."""
    write_whole(path, TypeAdapter(PullRecord).dump_json(record, indent=1) + b"\n")


def recorded_entries(folder: Path) -> Iterator[CatalogueEntry]:
    """Models that were pulled into a store though the catalogue does not know them."""
    for path in sorted(folder.glob(f"*/*/{RECORD_NAME}")):
        try:
            yield entry_named("/".join(path.parent.parts[-2:]))
        except ModelLoadError:
            continue  # a folder of somebody else


def file_record(path: Path) -> FileRecord:
    """Size and SHA-256 of a file as it is now."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileRecord(size=path.stat().st_size, sha256=digest)


def md5_of(path: Path) -> str:
    """MD5 of a file: good against accidents, not against an adversary."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
