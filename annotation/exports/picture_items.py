"""Items: pictures that a source has, named but not read yet; reading is work for many processes.

A source lists its items again and again in one order, so that a conversion that was killed can go
on, and reads one item wherever it is sent to.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from annotation.exports.image_names import safe_name
from annotation.labelled_pictures import LabelledPicture
from lifelong.errors import RecordError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One picture of a source."""

    where: str  # for people: "task 7", a file
    name: str  # of the picture, see LabelledPicture
    base: str = ""  # the name that pictures of one image share; "" when it is `name`
    scene: str = ""  # "" asks the name
    split: str = ""  # the side it is on in the source, kept unless others are asked for
    image: str = ""  # the image as the source refers to it; believed only below known folders
    image_file: str = ""  # the image's file where the source itself has found it
    payload: object = None  # what the source needs to read it


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Something in a source that is no item, and why."""

    where: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Something in a source that rightly becomes no picture."""

    where: str
    why: str  # "not annotated", "skipped"


class Source(Protocol):
    """A data set to convert; it is sent to other processes."""

    @property
    def kind(self) -> str:
        """Its name among the kinds of sources."""

    def items(self) -> Iterator[Item | Refused | LeftOut]:
        """Everything in it, as a stream, in one order."""

    def read(self, item: Item) -> LabelledPicture:
        """One item's picture.

        Raises:
            LifelongError: it cannot be read; names `item.where`.
        """

    def digest(self) -> str:
        """64 hex digits that change whenever the labels do."""


def digest_of(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents in a folder; of images only the size."""
    if path.is_file():
        return sha256_of(path)
    whole = hashlib.sha256()
    for name in files_below(path):
        file = path / name
        is_image = file.suffix.lower() in IMAGE_SUFFIXES - {".png"}  # PNG may hold labels
        told = str(file.stat().st_size) if is_image else sha256_of(file)
        whole.update(f"{name}\0{told}\n".encode("utf-8", "surrogateescape"))
    return whole.hexdigest()


def sha256_of(path: Path) -> str:
    """64 hex digits of a file's SHA-256."""
    whole = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            whole.update(piece)
    return whole.hexdigest()


def files_below(folder: Path) -> Iterator[str]:
    """Every file below `folder`, as names with "/", in one order; hidden ones are left out.

    One folder's names are in memory at a time.
    """
    waiting = [""]
    while waiting:
        below = waiting.pop()
        folders = []
        with os.scandir(folder / below) as found:
            entries = sorted((e for e in found if not e.name.startswith(".")), key=lambda e: e.name)
        for entry in entries:
            if entry.is_dir():
                if entry.is_symlink() and _leads_back(folder / below, Path(entry.path)):
                    continue
                folders.append(f"{below}{entry.name}/")
            elif entry.is_file():
                yield f"{below}{entry.name}"
        waiting += reversed(folders)


def pictures_below(folder: Path) -> Iterator[str | Refused]:
    """Names of the pictures below `folder`; Refused where a name could not be exported safely."""
    for name in files_below(folder):
        if Path(name).suffix.lower() not in IMAGE_SUFFIXES:
            continue
        try:
            safe_name(name, name)
        except RecordError as error:
            yield Refused(where=repr(name), error=str(error))
        else:
            yield name


def _leads_back(folder: Path, link: Path) -> bool:
    """Would following the link from its folder go round in circles?"""
    return folder.resolve().is_relative_to(link.resolve())
