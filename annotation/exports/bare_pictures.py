"""Pictures that nobody has labelled or drafted, to be offered as they are: all pixels 255."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from annotation.exports.images import size_of
from annotation.exports.picture_items import (
    IMAGE_SUFFIXES,
    Item,
    Refused,
    digest_of,
    files_below,
    pictures_below,
)
from annotation.labelled_pictures import LabelledPicture, picture_from_mask
from lifelong.errors import ConfigError
from lifelong.records.label_map import IGNORE_INDEX, LabelMap

KIND = "pictures"


@dataclass(frozen=True, slots=True, kw_only=True)
class BarePictures:
    """The pictures below a folder."""

    folder: Path
    label_map: LabelMap
    kind: str = KIND

    def items(self) -> Iterator[Item | Refused]:
        """Each picture, by name.

        Raises:
            ConfigError: the folder cannot be read.
        """
        try:
            for name in pictures_below(self.folder):
                if isinstance(name, Refused):
                    yield name
                    continue
                image = str(self.folder / name)
                yield Item(where=name, name=name, image=image, image_file=image)
        except OSError as error:
            raise ConfigError(f"{error.filename}: cannot be read ({error.strerror})") from error

    def read(self, item: Item) -> LabelledPicture:
        """Without any region.

        Raises:
            ImageError: it is no image.
        """
        size = size_of(Path(item.image_file), item.where)
        mask = np.full(size, IGNORE_INDEX, dtype=np.uint8)
        return picture_from_mask(item.name, mask, self.label_map, image=item.image)

    def digest(self) -> str:
        """Of names and sizes."""
        return digest_of(self.folder)


def has_pictures(folder: Path) -> bool:
    """Does a picture lie in the folder or below it?"""
    return folder.is_dir() and any(
        Path(name).suffix.lower() in IMAGE_SUFFIXES for name in files_below(folder)
    )
