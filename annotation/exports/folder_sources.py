"""Pictures out of folders of masks: Semantic Segment Anything's drafts, train ids beside images.

    DATASET/raw_data/front/1.jpg   DATASET/ssa_output/front/1_semantic.json
    DATASET/images/front/1.jpg     DATASET/train_ids/front/1_TrainIds.png, or front/1.png

A picture without labels is left out; labels without a picture are named ".png".
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotation.exports.image_names import stem_of
from annotation.exports.picture_items import (
    IMAGE_SUFFIXES,
    Item,
    LeftOut,
    Refused,
    digest_of,
    files_below,
    pictures_below,
)
from annotation.formats.ssa import draft_from_ssa
from annotation.formats.train_ids import read_train_ids
from annotation.labelled_pictures import LabelledPicture, picture_from_mask
from lifelong.errors import ConfigError, CorruptRecordError, ImageError, LabelMapError
from lifelong.records.label_map import LabelMap

IMAGE_FOLDERS = ("raw_data", "images")
MASK_FOLDERS = ("train_ids", "masks", "labels")


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSource:
    """Labels in one folder, images in another; endings say which belong together."""

    labels: Path
    images: Path | None
    endings: tuple[str, ...]  # of labels, the first that fits: "_TrainIds.png", ".png"
    label_map: LabelMap
    kind: str

    def items(self) -> Iterator[Item | Refused | LeftOut]:
        """Images with their labels; without a folder of images, the labels alone.

        Raises:
            ConfigError: a folder cannot be read.
        """
        try:
            yield from self._beside_images() if self.images else self._alone()
        except OSError as error:
            raise ConfigError(f"{error.filename}: cannot be read ({error.strerror})") from error

    def _beside_images(self) -> Iterator[Item | Refused | LeftOut]:
        assert self.images is not None
        for name in pictures_below(self.images):
            if isinstance(name, Refused):
                yield name
                continue
            labels = next((n for n in _drafted_as(name, self.endings) if self._has(n)), None)
            if labels is None:
                yield LeftOut(where=name, why="not annotated")
                continue
            image = self.images / name
            twin = self._twin(name, labels)
            if twin is not None:
                yield Refused(
                    where=name,
                    error=f"{name}: {labels} may be of it or of {twin}; remove one of the pictures",
                )
                continue
            yield Item(
                where=name, name=name, image=str(image), image_file=str(image), payload=labels
            )

    def _alone(self) -> Iterator[Item | Refused]:
        for labels in files_below(self.labels):
            ending = next((one for one in self.endings if labels.endswith(one)), None)
            if ending is not None:
                stem = labels.removesuffix(ending)
                is_whole = Path(stem).suffix.lower() in IMAGE_SUFFIXES
                yield Item(where=labels, name=stem if is_whole else f"{stem}.png", payload=labels)

    def _twin(self, name: str, labels: str) -> str | None:
        """Another image that the same labels may belong to: a.jpg beside a.png."""
        assert self.images is not None
        if not any(labels == f"{stem_of(name)}{ending}" for ending in self.endings):
            return None
        image = self.images / name
        for suffix in sorted(IMAGE_SUFFIXES | {one.upper() for one in IMAGE_SUFFIXES}):
            twin = image.with_suffix(suffix)
            if twin.name != image.name and twin.is_file() and not twin.samefile(image):
                other = twin.relative_to(self.images).as_posix()
                if next(n for n in _drafted_as(other, self.endings) if self._has(n)) == labels:
                    return other
        return None

    def _has(self, labels: str) -> bool:
        return (self.labels / labels).is_file()

    def read(self, item: Item, *, meaning: tuple[int, ...] = ()) -> LabelledPicture:
        """The picture of one file of labels.

        Args:
            meaning: 256 class ids, what the ids in the file mean; empty: just that.

        Raises:
            CorruptRecordError, ImageError: it cannot be read; names the file.
            LabelMapError: a class id that is neither in the label map nor 255.
        """
        path = self.labels / str(item.payload)
        mask, score = self._draft(path, str(item.payload))
        if meaning:
            mask = np.array(meaning, dtype=np.uint8)[mask]
        if mask.size == 0:
            raise ImageError(f"{item.where}: no pixels")
        try:
            made = picture_from_mask(item.name, mask, self.label_map, image=item.image)
        except LabelMapError as error:
            raise LabelMapError(f"{item.where}: {error}") from None
        return replace(made, score=score)

    def _draft(self, path: Path, where: str) -> tuple[NDArray[np.uint8], float | None]:
        """The ids in a file, and how sure it is of them; None where it does not say."""
        try:
            if path.suffix == ".json":
                return draft_from_ssa(path.read_bytes(), self.label_map, where)
            if path.suffix == ".npy":
                mask = np.load(path, allow_pickle=False)
                if mask.dtype != np.uint8 or mask.ndim != 2:
                    raise ImageError(
                        f"{where}: expected uint8 (H, W), got {mask.dtype} {mask.shape}"
                    )
                return np.asarray(mask, dtype=np.uint8), None
        except (OSError, ValueError) as error:
            raise CorruptRecordError(f"{path}: cannot be read ({error})") from error
        return read_train_ids(path), None

    def digest(self) -> str:
        """Of the labels; images are whatever they are."""
        return digest_of(self.labels)


def ssa_source(folder: Path, label_map: LabelMap) -> FolderSource:
    """A data set in the layout of seed 003: `raw_data` and `ssa_output`.

    Raises:
        ConfigError: no folder `ssa_output` in it.
    """
    labels = folder / "ssa_output"
    if not labels.is_dir():
        raise ConfigError(f"{folder}: expected a folder ssa_output in it")
    return FolderSource(
        labels=labels,
        images=_first(folder, IMAGE_FOLDERS),
        endings=("_semantic.json",),
        label_map=label_map,
        kind="ssa",
    )


def train_ids_source(folder: Path, label_map: LabelMap) -> FolderSource:
    """Masks of train ids, and images beside them if there are any.

    Raises:
        ConfigError: no folder of masks in it.
    """
    labels = _first(folder, MASK_FOLDERS)
    if labels is None:
        raise ConfigError(f"{folder}: expected one of the folders {', '.join(MASK_FOLDERS)} in it")
    return FolderSource(
        labels=labels,
        images=_first(folder, IMAGE_FOLDERS),
        endings=("_TrainIds.png", "_labelTrainIds.png", ".png"),
        label_map=label_map,
        kind="train-ids",
    )


def _drafted_as(name: str, endings: Sequence[str]) -> Iterator[str]:
    """What the labels of an image may be called, the most telling first: two images that differ
    in suffix or case only have drafts of different names, see `cornerloop preannotate`."""
    digits = hashlib.sha256(name.encode()).hexdigest()[:8]
    for stem in (f"{name}-{digits}", name, stem_of(name)):
        for ending in endings:
            yield f"{stem}{ending}"


def _first(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_dir()), None)
