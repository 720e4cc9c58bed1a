"""Pictures in any folder: which ones there are, what their drafts are called, who does which.

Names are kept as they are: nested folders, spaces, dots, hyphens, any script. Drafts are written
on file systems that may ignore case (Windows, macOS), so names that differ only in case, or only
in their suffix, get drafts of different names.
"""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from lifelong.errors import ConfigError
from lifelong.links.durable_files import UNFINISHED

T = TypeVar("T")

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})


# Pictures too, but none that is read: who has them should hear of it.
_OTHERS = frozenset({".heic", ".heif", ".avif", ".gif", ".jp2", ".dng", ".raw", ".svg"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RawPicture:
    """A picture file and what its draft is called."""

    path: Path
    name: str  # below the folder, with slashes on every system
    draft: str  # below the folder of drafts, without `_semantic.json`


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Share `index` of `count` equal ones, counted from 0."""

    index: int = 0
    count: int = 1


def shard_from(text: str) -> Shard:
    """`2/8` is the third of eight shares.

    Raises:
        ConfigError: anything else, or an index that is not below the count.
    """
    index, slash, count = text.partition("/")
    if slash and index.isdecimal() and count.isdecimal() and int(index) < int(count):
        return Shard(index=int(index), count=int(count))
    raise ConfigError(
        f"--shard {text}: expected INDEX/COUNT with 0 <= INDEX < COUNT, e.g. 0/8 for the first "
        "of eight shares"
    )


def raw_pictures(folder: Path, *, without: Path | None = None) -> tuple[RawPicture, ...]:
    """Every picture in `folder` and the folders in it, in one order on every system.

    Args:
        without: a folder whose pictures are not meant, e.g. the drafts'.

    Raises:
        ConfigError: no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; name the folder of the pictures")
    found = sorted(
        (
            path
            for path in folder.rglob("*")
            if path.suffix.lower() in SUFFIXES
            and not path.name.startswith((".", UNFINISHED))
            and path.is_file()
            and not (without is not None and path.is_relative_to(without))
        ),
        key=lambda path: path.relative_to(folder).as_posix(),
    )
    if not found:
        raise ConfigError(
            f"{folder}: no pictures in it; expected {', '.join(sorted(SUFFIXES))}, in upper or "
            "lower case"
        )
    names = [path.relative_to(folder).as_posix() for path in found]
    drafts = draft_names(names)
    return tuple(
        RawPicture(path=path, name=name, draft=draft)
        for path, name, draft in zip(found, names, drafts, strict=True)
    )


def unread_pictures(folder: Path) -> tuple[str, ...]:
    """Names of pictures in `folder` of kinds that are not read, e.g. a phone's HEIC."""
    return tuple(
        sorted(
            path.relative_to(folder).as_posix()
            for path in folder.rglob("*")
            if path.suffix.lower() in _OTHERS and not path.name.startswith(".") and path.is_file()
        )
    )


def draft_names(names: Sequence[str]) -> tuple[str, ...]:
    """What drafts are called: the name without its suffix, as SSA has it, where that is unique;
    else the whole name; and with a few digits more where only case tells two names apart."""
    stems = [PurePosixPath(name).with_suffix("").as_posix() for name in names]
    stem_count = Counter(map(_as_seen_by_file_systems, stems))
    name_count = Counter(map(_as_seen_by_file_systems, names))
    taken = {_as_seen_by_file_systems(stem) for stem in stems}
    made = []
    for name, stem in zip(names, stems, strict=True):
        if stem_count[_as_seen_by_file_systems(stem)] == 1:
            made.append(stem)
        elif name_count[key := _as_seen_by_file_systems(name)] == 1 and key not in taken:
            made.append(name)
        else:
            made.append(f"{name}-{hashlib.sha256(name.encode()).hexdigest()[:8]}")
    return tuple(made)


def _as_seen_by_file_systems(name: str) -> str:
    """Equal for names that some file system takes for one: other case, other composition."""
    return unicodedata.normalize("NFC", name).casefold()


def share_of(pictures: Sequence[T], shard: Shard) -> tuple[T, ...]:
    """Every count-th picture: shares differ by one picture at most, and none is empty while
    there are as many pictures as shares."""
    return tuple(pictures[shard.index :: shard.count])
