"""Are the weights on this machine still what the catalogue or their record says?"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cloud.weights.catalogue import CatalogueEntry
from cloud.weights.records import file_record, md5_of, read_record, record_path
from cloud.weights.store import WHOLE_WEIGHTS, filename_of, is_present, place_of, weights_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One file, hashed."""

    path: Path
    good: bool
    words: str  # what was found, and what to do where it is not good


def check(entry: CatalogueEntry, folder: Path) -> Iterator[Checked]:
    """Hash every file of a model that is there, one after the other.

    Raises:
        CorruptRecordError: its record cannot be read.
    """
    place = place_of(entry, folder)
    record = read_record(record_path(entry, folder))
    recorded = record.files if record else {}
    for name in _names(entry, place, tuple(recorded)):
        path = place if entry.kind == "file" else place / name
        again = f"`cornerloop models pull {entry.name}` brings it again"
        if not path.is_file():
            yield Checked(path=path, good=False, words=f"is not there; {again}")
            continue
        published = entry.kind == "file" or name == WHOLE_WEIGHTS[0]
        known = entry.sha256 if published and entry.sha256 else None
        by = "the catalogue" if known else "the record of the pull"
        known = known or (recorded[name].sha256 if name in recorded else None)
        if known is None and published and entry.sha256_begins is not None:
            good = file_record(path).sha256.startswith(entry.sha256_begins)
            words = "as the digits in its name say" if good else f"another SHA-256; {again}"
            yield Checked(path=path, good=good, words=words)
        elif known is None and published and entry.md5 is not None:
            good = md5_of(path) == entry.md5
            words = "as the catalogue's MD5 says" if good else f"another MD5; {again}"
            yield Checked(path=path, good=good, words=words)
        elif known is None:
            words = f"nothing to compare with; `cornerloop models pull {entry.name}` records it"
            yield Checked(path=path, good=True, words=words)
        else:
            found = file_record(path)
            good = found.sha256 == known
            words = (
                f"as {by} says"
                if good
                else f"changed: expected SHA-256 {known}, found {found.sha256} "
                f"({found.size} bytes); {again}"
            )
            yield Checked(path=path, good=good, words=words)


def _names(entry: CatalogueEntry, place: Path, recorded: tuple[str, ...]) -> tuple[str, ...]:
    """Recorded files, and weights that somebody put there by hand."""
    if entry.kind == "file":
        name = filename_of(entry)
        return (name,) if place.is_file() or recorded else ()
    by_hand = weights_in(place) if is_present(entry, place.parents[1]) else ()
    return tuple(dict.fromkeys((*recorded, *by_hand)))
