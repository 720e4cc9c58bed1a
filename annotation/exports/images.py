"""Where the image of a picture lies on this machine, and a copy of it in an export.

A task's word on its image comes from outside. It is looked up below the folders that the operator
names, never at an absolute path or an address of its own: a task that says `/etc/passwd` would
otherwise be a way to read that file.
"""

import hashlib
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image, UnidentifiedImageError

from annotation.exports.image_names import path_of_reference
from annotation.exports.picture_items import Item, sha256_of
from lifelong.errors import ImageError, RecordError, ShapeError
from lifelong.records.pixels import FORMATS

ImagesMode = Literal["copy", "link", "none"]

_PIECE = 1 << 20
_ORIENTATION = 0x0112  # EXIF
_ON_ITS_SIDE = frozenset({5, 6, 7, 8})


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageShelf:
    """How an export comes by its images."""

    mode: ImagesMode
    roots: tuple[Path, ...] = ()  # folders of images: Label Studio's document root, its media …
    fetch: Callable[[str], bytes | None] | None = None  # of a reference in storage; None: not there

    def find(self, item: Item, told: str, size: tuple[int, int]) -> Path | bytes | None:
        """The image of an item, None when nobody needs it.

        Args:
            told: where the picture itself says that it lies.
            size: (height, width) that the labels were drawn on, pixels.

        Raises:
            ImageError: it is nowhere, or no image; says what to do.
            ShapeError: it has another size.
        """
        found: Path | bytes | None = Path(item.image_file) if item.image_file else None
        if found is None:
            found = self._below_roots(item, told)
        if found is None and self.fetch is not None and self.mode != "none":
            found = self.fetch(item.image or told)
        if found is not None:
            check_size(found, size, item.where)
        if self.mode == "none":
            return None
        if found is None:
            looked = ", ".join(str(root) for root in self.roots) or "nowhere"
            raise ImageError(
                f"{item.where}: its image {item.image or told or item.name!r} is not found "
                f"(looked in: {looked}); give its folder with --images-root, or --images none"
            )
        return found

    def _below_roots(self, item: Item, told: str) -> Path | None:
        names = [item.base or item.name]
        for reference in (item.image, told):
            try:
                names.insert(0, path_of_reference(reference, item.where))
            except RecordError:
                continue
        for root in self.roots:
            absolute = f"{root.absolute()}{os.sep}".lstrip("/\\")
            for name in names:
                # A plain path may be absolute and still lie below the root.
                inside = name.removeprefix(absolute.replace("\\", "/"))
                if (path := root / inside).is_file():
                    return path
        return None

    def place(self, image: Path | bytes, target: Path) -> tuple[str, int]:
        """Put the image at `target`, which does not exist; returns its SHA-256 and size.

        Raises:
            OSError: it cannot be read or written.
        """
        if isinstance(image, bytes):
            target.write_bytes(image)
            return hashlib.sha256(image).hexdigest(), len(image)
        if self.mode == "link" and _linked(image, target):
            return sha256_of(target), target.stat().st_size
        whole = hashlib.sha256()
        with image.open("rb") as source, target.open("xb") as copy:
            while piece := source.read(_PIECE):
                whole.update(piece)
                copy.write(piece)
        return whole.hexdigest(), target.stat().st_size


def _linked(image: Path, target: Path) -> bool:
    """The same file under another name; not every disk can do that, and not across disks."""
    try:
        os.link(image.resolve(), target)
    except OSError:
        return False
    return True


def check_size(image: Path | bytes, size: tuple[int, int], where: str) -> None:
    """Raises `ShapeError` where the image has another (height, width) than labels have."""
    height, width = size_of(image, where)
    if (height, width) != size:
        raise ShapeError(
            f"{where}: drawn on {size[1]}x{size[0]} pixels, the image {_name(image)} has "
            f"{width}x{height}"
        )


def size_of(image: Path | bytes, where: str) -> tuple[int, int]:
    """Height and width in pixels as browsers show it: upright; only the header is read.

    Raises:
        ImageError: it is no image.
    """
    file = image if isinstance(image, Path) else io.BytesIO(image)
    try:
        with Image.open(file, formats=FORMATS) as picture:
            width, height = picture.size
            if picture.getexif().get(_ORIENTATION) in _ON_ITS_SIDE:
                width, height = height, width
    except Exception as error:  # Pillow raises anything for damaged headers
        raise ImageError(
            f"{where}: its image {_name(image)} cannot be read ({_why(error)}); leave it away or "
            "save it anew"
        ) from error
    return height, width


def _why(error: Exception) -> str:
    """Pillow's words, less the address of a buffer."""
    unknown = isinstance(error, UnidentifiedImageError)
    return f"none of {', '.join(FORMATS)}" if unknown else str(error)


def _name(image: Path | bytes) -> str:
    return image.name if isinstance(image, Path) else "in storage"
