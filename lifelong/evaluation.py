"""A segmenter and hold-outs in, an `EvaluationReport` out; one picture at a time, without torch."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lifelong.errors import ConfigError, ModelOutputError, RecordError
from lifelong.judging.picture_counts import packed_counts
from lifelong.labels.folders import labelled_pairs
from lifelong.labels.readings import LabelCodes
from lifelong.links.storage import Storage
from lifelong.records.ids import VersionId
from lifelong.records.label_map import IGNORE_INDEX, LabelMap
from lifelong.records.model_versions import EvaluationReport, TaskResult
from lifelong.records.pixels import Prediction, image_from_bytes, mask_from_png
from lifelong.records.samples import Sample
from lifelong.segmentation_metrics import (
    confusion_matrix,
    iou_per_class,
    mean_iou,
    pixel_accuracy,
)

Examined = tuple[NDArray[np.uint8], NDArray[np.uint8]]  # (H, W, 3) RGB and (H, W) class ids

# (mask, digest of the label map it was painted with, where) -> mask of label codes.
ReadMask = Callable[[NDArray[np.uint8], str, str], NDArray[np.uint8]]

# By learning task: pictures with their labels, which may be walked through more than once, since
# candidate and incumbent sit the same examination.
Holdouts = Mapping[str, Iterable[Examined]]


class Segmenter(Protocol):
    """Whatever answers a picture with a mask."""

    def segment(self, image: NDArray[np.uint8]) -> Prediction:
        """Segment one (H, W, 3) uint8 RGB picture at its own size."""


@dataclass(frozen=True, slots=True)
class FileHoldout:
    """Pictures and labels in files, decoded when they are needed."""

    paths: tuple[tuple[Path, Path], ...]  # image, mask of class ids
    label_map_digest: str = ""
    read: ReadMask | None = None  # None: the masks are of the label map that is examined

    def __iter__(self) -> Iterator[Examined]:
        for image, mask in self.paths:
            truth = mask_from_png(mask.read_bytes(), str(mask))
            if self.read is not None:
                truth = self.read(truth, self.label_map_digest, str(mask))
            yield image_from_bytes(image.read_bytes(), str(image)), truth


@dataclass(frozen=True, slots=True)
class StoredHoldout:
    """Samples in storage, fetched, verified and decoded when they are needed."""

    samples: tuple[Sample, ...]
    storage: Storage
    read: ReadMask | None = None  # None: the masks are of the label map that is examined

    def __iter__(self) -> Iterator[Examined]:
        for sample in self.samples:
            image = self.storage.get(sample.image_key, sha256=sample.image_sha256)
            mask = self.storage.get(sample.mask_key, sha256=sample.mask_sha256)
            truth = mask_from_png(mask, sample.mask_key)
            if self.read is not None:
                truth = self.read(truth, sample.label_map_digest, sample.mask_key)
            yield image_from_bytes(image, sample.image_key), truth


def evaluate(
    segmenter: Segmenter,
    holdouts: Holdouts,
    label_map: LabelMap,
    *,
    codes: LabelCodes | None = None,
) -> EvaluationReport:
    """Let a model sit the examination of every learning task.

    mIoU is taken over a whole hold-out, not as a mean of pictures, and over the classes present
    in its labels.

    Args:
        codes: what the values of the hold-outs' masks stand for; None: class ids alone.

    Raises:
        RecordError: no hold-out, one without pictures or without a labelled pixel.
        ModelOutputError: the model leaves pixels without a class, or says NaN.
        LabelMapError: labels that the label map does not know.
    """
    results: dict[str, TaskResult] = {}
    versions: set[VersionId] = set()
    for task, pictures in holdouts.items():
        matrices: list[NDArray[np.int64]] = []
        for image, truth in pictures:
            prediction = segmenter.segment(image)
            _check_answer(prediction, label_map, len(matrices) + 1)
            answer = prediction.mask
            if codes is not None:
                answer, truth = codes.right(truth, answer), codes.sure[truth]
            label_map.check(truth, f"hold-out {task!r}, picture {len(matrices) + 1}")
            matrices.append(confusion_matrix(truth, answer, len(label_map)))
            versions.add(prediction.version_id)
        if not any(matrix.any() for matrix in matrices):
            raise RecordError(
                f"hold-out {task!r}: {len(matrices)} pictures, no labelled pixel in them"
            )
        results[task] = _result(np.stack(matrices), label_map)
    if len(versions) != 1:
        raise RecordError(f"an examination needs hold-outs and one model, got {sorted(versions)}")
    return EvaluationReport(version_id=versions.pop(), tasks=results)


def _check_answer(prediction: Prediction, label_map: LabelMap, picture: int) -> None:
    """Pixels without a class are not counted: who leaves the hard ones out would look better."""
    foreign = np.unique(prediction.mask[prediction.mask >= len(label_map)])
    if IGNORE_INDEX in foreign:
        pixels = int((prediction.mask == IGNORE_INDEX).sum())
        raise ModelOutputError(
            f"version {prediction.version_id}: leaves {pixels} pixels of picture {picture} "
            f"without a class; every pixel of a hold-out must be answered"
        )
    if foreign.size:
        raise ModelOutputError(
            f"version {prediction.version_id}: answers class id {int(foreign.max())}, the label "
            f"map has {len(label_map)} classes"
        )


def read_holdouts(folder: Path) -> dict[str, FileHoldout]:
    """Hold-outs laid out as `{task}/eval/{images,train_ids}`, or one directly in `folder`.

    In a flat folder (`{images,train_ids}`) the learning task is the folder's own name.

    Raises:
        ConfigError: no hold-out is there, or an image has no mask.
    """
    if (folder / "images").is_dir():
        return {folder.resolve().name: FileHoldout(labelled_pairs(folder))}
    tasks = sorted(path.parent for path in folder.glob("*/eval") if path.is_dir())
    if not tasks:
        raise ConfigError(
            f"{folder}: no hold-outs; expected {{task}}/eval/images and {{task}}/eval/train_ids"
        )
    return {task.name: FileHoldout(labelled_pairs(task / "eval")) for task in tasks}


def filled(folder: Path | None) -> Path | None:
    """The folder, or None where nobody has put anything into it yet.

    A folder that holds no more than a label map counts as such, and no other: pictures that lie
    wrongly shall be told of.
    """
    if folder is None or not folder.is_dir():
        return folder
    return folder if any(path.suffix != ".json" for path in folder.iterdir()) else None


def holdouts_of_samples(
    samples: Sequence[Sample], storage: Storage, read: ReadMask | None = None
) -> dict[str, StoredHoldout]:
    """Samples that examine, grouped by learning task in the order they appear."""
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.learning_task, []).append(sample)
    return {task: StoredHoldout(tuple(group), storage, read) for task, group in groups.items()}


def _result(matrices: NDArray[np.int64], label_map: LabelMap) -> TaskResult:
    """Figures of one hold-out from the (N, C, C) confusion matrices of its pictures."""
    matrix = matrices.sum(axis=0)
    values = iou_per_class(matrix)
    occurs = (matrices.sum(axis=2) > 0).sum(axis=0)
    return TaskResult(
        miou=mean_iou(matrix),
        pixel_accuracy=pixel_accuracy(matrix),
        iou={
            name: float(value)
            for name, value in zip(label_map.names, values, strict=True)
            if not np.isnan(value)
        },
        images=len(matrices),
        class_images={
            name: int(count)
            for name, count in zip(label_map.names, occurs, strict=True)
            if count > 0
        },
        counts=packed_counts(matrices, label_map.names),
        taken_for=_taken_for(matrix, label_map.names),
    )


def _taken_for(matrix: NDArray[np.int64], names: Sequence[str]) -> dict[str, str]:
    """Classes that more than half of the answers call by one other name, and which name."""
    most = matrix.argmax(axis=1)
    return {
        names[truth]: names[answer]
        for truth, answer in enumerate(most)
        if answer != truth and 2 * matrix[truth, answer] > matrix[truth].sum()
    }
