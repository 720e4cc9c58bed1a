"""Zip archives from outside, unpacked so that nothing lands elsewhere and no disk is filled.

Every entry is judged before the first byte is written; sizes are counted again while unpacking,
because an archive's own word on them may be a lie.
"""

import lzma
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from annotation.exports.image_names import safe_name
from lifelong.errors import CorruptRecordError, RecordError

_PIECE = 1 << 20  # bytes
# What Python's reader and its decompressors raise for an archive that is none.
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, UnicodeError,
)  # fmt: skip
_DOUBTFUL = 16 << 20  # bytes; below it no ratio is a danger


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveLimits:
    """How much an archive may become."""

    total_bytes: int = 64 << 30
    entry_bytes: int = 16 << 30
    entries: int = 1_000_000
    ratio: int = 200  # unpacked to packed bytes of an entry above 16 MiB


def unpacked(archive: Path, folder: Path, limits: ArchiveLimits | None = None) -> Path:
    """Unpack a zip archive into `folder`, which is made and must be empty.

    Returns:
        The folder with the content: `folder`, or the only folder in it.

    Raises:
        RecordError: the archive could write elsewhere (absolute names, drive letters, "..", links),
            would grow beyond the limits, has too many entries or one name twice, or is encrypted.
        CorruptRecordError: not a zip archive, or damaged.
    """
    limits = limits or ArchiveLimits()
    if folder.exists() and any(folder.iterdir()):
        raise RecordError(f"{folder}: not empty; archives are unpacked into an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(archive) as content:
            names = _judged(content, archive.name, limits)
            left = limits.total_bytes
            for entry, name in names:
                left -= _write(content, entry, folder / name, limits, left, archive.name)
    except _DAMAGED as error:
        shutil.rmtree(folder)
        raise CorruptRecordError(f"{archive.name}: not a readable zip archive ({error})") from error
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise RecordError(f"{archive.name}: cannot be unpacked ({error})") from error
    except RecordError:
        shutil.rmtree(folder)  # half an archive is no data set
        raise
    inside = [path for path in folder.iterdir() if path.name != "__MACOSX"]
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder


def _judged(
    content: zipfile.ZipFile, archive: str, limits: ArchiveLimits
) -> list[tuple[zipfile.ZipInfo, str]]:
    """The entries that are files, with names that are safe; raises on anything suspicious."""
    entries = content.infolist()
    if len(entries) > limits.entries:
        raise RecordError(
            f"{archive}: {len(entries)} entries, at most {limits.entries} are unpacked"
        )
    total, judged, taken = 0, [], set()
    for entry in entries:
        where = f"{archive}, entry {entry.filename!r}"
        _check_kind(entry, where)
        name = _name(entry, where)
        total += entry.file_size
        if total > limits.total_bytes or entry.file_size > limits.entry_bytes:
            raise RecordError(
                f"{where}: unpacks to more than is allowed ({limits.entry_bytes} bytes an entry, "
                f"{limits.total_bytes} in all)"
            )
        if entry.is_dir():
            continue
        if name in taken:
            raise RecordError(f"{where}: the name is there twice; one would overwrite the other")
        taken.add(name)
        judged.append((entry, name))
    return judged


def _check_kind(entry: zipfile.ZipInfo, where: str) -> None:
    if entry.flag_bits & 0x1:
        raise RecordError(f"{where}: is encrypted; unpack it yourself and name the folder")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise RecordError(f"{where}: is a link or a device; only files and folders are unpacked")


def _name(entry: zipfile.ZipInfo, where: str) -> str:
    """The entry's name, which must be relative as it stands: nothing is repaired in silence."""
    told = entry.orig_filename.replace("\\", "/")
    if told.startswith("/") or (len(told) > 1 and told[1] == ":") or "\x00" in told:
        raise RecordError(f"{where}: an absolute name; it would be written outside the folder")
    return safe_name(told.rstrip("/"), where)


def _write(
    content: zipfile.ZipFile,
    entry: zipfile.ZipInfo,
    path: Path,
    limits: ArchiveLimits,
    left: int,
    archive: str,
) -> int:
    """Unpack one entry; returns its size in bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with path.open("xb") as file:
        for piece in _pieces(content, entry):
            size += len(piece)
            too_dense = size > _DOUBTFUL and size > limits.ratio * max(entry.compress_size, 1)
            if too_dense or size > min(limits.entry_bytes, left):
                raise RecordError(
                    f"{archive}, entry {entry.filename!r}: a decompression bomb ({size} bytes and "
                    f"more out of {entry.compress_size}); nothing of the archive is kept"
                )
            file.write(piece)
    return size


def _pieces(content: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    with content.open(entry) as packed:
        while piece := packed.read(_PIECE):
            yield piece
