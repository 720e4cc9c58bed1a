"""Where a demo's pictures come from: drawn scenes, or a folder of real frames.

A world knows the labels of everything; the edge and the cloud see pictures only, people see
what Label Studio shows them, and only the scripted annotator and the final report ask for
the truth.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cloud.demo.scenes import CONDITIONS, draw_scene, write_dataset
from lifelong.errors import ConfigError
from lifelong.labels.folders import labelled_pairs
from lifelong.records.pixels import jpeg_from_image, mask_from_png, png_from_mask


@dataclass(frozen=True, slots=True)
class LabelledPicture:
    """An encoded picture with its exact labels."""

    name: str
    image: bytes  # JPEG or PNG
    mask: NDArray[np.uint8]  # (H, W), class ids, 255 = ignore


class World(Protocol):
    """Pictures by condition."""

    @property
    def conditions(self) -> tuple[str, ...]:
        """All conditions that can be drawn or read."""

    def first_samples(self, condition: str, count: int) -> Iterator[LabelledPicture]:
        """What the first model was trained on, or a part of it."""

    def stream(self, condition: str, start: int, count: int) -> Iterator[LabelledPicture]:
        """Pictures number `start` to `start + count - 1` of a camera; fewer when it ends."""

    def write_holdout(self, folder: Path, condition: str, count: int) -> None:
        """Pictures never streamed, as `folder/{images,train_ids}`."""


class ScenesWorld:
    """Seeded streets without end; first samples, stream and hold-outs never share a seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed % 1000

    @property
    def conditions(self) -> tuple[str, ...]:
        """The five kinds of weather."""
        return CONDITIONS

    def first_samples(self, condition: str, count: int) -> Iterator[LabelledPicture]:
        """`count` scenes."""
        return self._scenes(condition, range(self._base(0), self._base(0) + count))

    def stream(self, condition: str, start: int, count: int) -> Iterator[LabelledPicture]:
        """Scenes, another street for each condition."""
        first = self._base(1 + CONDITIONS.index(condition)) + start
        return self._scenes(condition, range(first, first + count))

    def write_holdout(self, folder: Path, condition: str, count: int) -> None:
        """The same streets in each condition, so that conditions can be compared."""
        first = 790_000 + self._seed
        write_dataset(folder, condition, range(first, first + count))

    def _base(self, part: int) -> int:
        return 100_000 * (part + 1) + 10_000 * (self._seed % 7) + self._seed

    @staticmethod
    def _scenes(condition: str, seeds: range) -> Iterator[LabelledPicture]:
        for seed in seeds:
            scene = draw_scene(seed, condition)
            yield LabelledPicture(f"{seed:07d}", jpeg_from_image(scene.image), scene.mask)


class FramesWorld:
    """Real frames: `DIR/{condition}/{train,eval}/{images/*.jpg,train_ids/*.png}`.

    Raises:
        ConfigError: the folder is laid out in another way; says what is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        found = sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
        if len(found) < 2:
            raise ConfigError(
                f"{folder}: expected two or more folders, one a condition, each with "
                "train/{images,train_ids} and eval/{images,train_ids}; found "
                f"{', '.join(found) or 'none'}"
            )
        self._pairs = {
            (condition, part): labelled_pairs(folder / condition / part)
            for condition in found
            for part in ("train", "eval")
        }
        self.conditions: tuple[str, ...] = tuple(found)

    def first_samples(self, condition: str, count: int) -> Iterator[LabelledPicture]:
        """Training frames of a condition; `count` is not a limit here, all of them count."""
        del count
        return self._read(condition, "train", slice(None))

    def stream(self, condition: str, start: int, count: int) -> Iterator[LabelledPicture]:
        """Training frames of a condition, in the order of their names."""
        return self._read(condition, "train", slice(start, start + count))

    def write_holdout(self, folder: Path, condition: str, count: int) -> None:
        """All evaluation frames; `count` is not a limit here."""
        del count
        for name in ("images", "train_ids"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for image, mask in self._pairs[condition, "eval"]:
            shutil.copyfile(image, folder / "images" / image.name)
            shutil.copyfile(mask, folder / "train_ids" / mask.name)

    def _read(self, condition: str, part: str, which: slice) -> Iterator[LabelledPicture]:
        for image, mask in self._pairs[condition, part][which]:
            yield LabelledPicture(
                image.stem, image.read_bytes(), mask_from_png(mask.read_bytes(), str(mask))
            )


def write_truth(folder: Path, picture: LabelledPicture) -> None:
    """Keep the labels of a streamed picture where only the annotator and the report look."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{picture.name}.png").write_bytes(png_from_mask(picture.mask))
