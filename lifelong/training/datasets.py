"""Samples as tensors: decoded once, kept as uint8 at the network's size, drawn in mixed batches."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from lifelong.errors import TrainingError
from lifelong.labels.readings import LabelReader
from lifelong.links.storage import Storage
from lifelong.preprocessing import Preprocessing, network_target
from lifelong.records.pixels import image_from_bytes, mask_from_png
from lifelong.records.samples import Sample

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]  # (H, W, 3) RGB and (H, W) class ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Pictures and masks at the network's input size; 150 kB each at 160x240."""

    images: Tensor  # (N, 3, h, w), uint8, RGB
    masks: Tensor  # (N, h, w), uint8, label codes: class ids, 255, and codes of several classes
    learning_tasks: tuple[str, ...]  # N names
    weights: Tensor | None = None  # (N,), float32: how much each counts; None: all alike

    def __len__(self) -> int:
        return len(self.learning_tasks)

    def digest(self) -> str:
        """64 hex digits of the pixels and names: equal pictures, equal digest."""
        state = hashlib.sha256("\0".join(self.learning_tasks).encode())
        state.update(self.images.numpy().tobytes())
        state.update(self.masks.numpy().tobytes())
        if self.weights is not None:
            state.update(self.weights.numpy().tobytes())
        return state.hexdigest()

    def take(self, indices: Sequence[int]) -> "Pictures":
        """The pictures at `indices`, in that order."""
        chosen = torch.as_tensor(list(indices), dtype=torch.long)
        return Pictures(
            images=self.images[chosen],
            masks=self.masks[chosen],
            learning_tasks=tuple(self.learning_tasks[index] for index in indices),
            weights=None if self.weights is None else self.weights[chosen],
        )

    def weighed(self) -> Tensor:
        """(N,) float32: how much each picture counts."""
        return torch.ones(len(self)) if self.weights is None else self.weights


def pictures_from_pairs(
    pairs: Iterable[Pair], how: Preprocessing, *, learning_task: str = ""
) -> Pictures:
    """Scale (image, mask) pairs to the network's size, one at a time."""
    images, masks = [], []
    for image, mask in pairs:
        if image.shape[:2] != mask.shape:
            raise TrainingError(f"an image {image.shape} with a mask {mask.shape}")
        size = (how.width, how.height)
        scaled = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)
        images.append(np.ascontiguousarray(np.asarray(scaled).transpose(2, 0, 1)))
        masks.append(network_target(mask, how))
    if not images:
        return no_pictures(how)
    return Pictures(
        images=torch.from_numpy(np.stack(images)),
        masks=torch.from_numpy(np.stack(masks)),
        learning_tasks=(learning_task,) * len(images),
    )


def pictures_from_samples(
    samples: Sequence[Sample],
    storage: Storage,
    reader: LabelReader,
    how: Preprocessing,
    *,
    weight_of: Callable[[Sample], float] = lambda sample: 1.0,
) -> Pictures:
    """Read, verify, decode and scale samples; their masks hold `reader`'s label codes.

    Args:
        weight_of: how much a sample counts, 0 .. 1.

    Raises:
        ChecksumError, ObjectNotFoundError: an object is damaged or gone.
        ImageError, LabelMapError: bytes that are not an image, ids that are not classes.
    """
    pictures = pictures_from_pairs((_pair(sample, storage, reader) for sample in samples), how)
    weights = [weight_of(sample) for sample in samples]
    return Pictures(
        images=pictures.images,
        masks=pictures.masks,
        learning_tasks=tuple(sample.learning_task for sample in samples),
        weights=None if all(weight == 1.0 for weight in weights) else torch.tensor(weights),
    )


def no_pictures(how: Preprocessing) -> Pictures:
    """An empty set at the network's size."""
    return Pictures(
        images=torch.zeros((0, 3, how.height, how.width), dtype=torch.uint8),
        masks=torch.zeros((0, how.height, how.width), dtype=torch.uint8),
        learning_tasks=(),
    )


def joined(first: Pictures, second: Pictures) -> Pictures:
    """Both sets, `first` in front."""
    return Pictures(
        images=torch.cat([first.images, second.images]),
        masks=torch.cat([first.masks, second.masks]),
        learning_tasks=first.learning_tasks + second.learning_tasks,
        weights=None
        if first.weights is None and second.weights is None
        else torch.cat([first.weighed(), second.weighed()]),
    )


def draw(
    pictures: Pictures, count: int, rng: np.random.Generator, *, by_size: float = 0.0
) -> NDArray[np.int64]:
    """Indices of `count` pictures: first a learning task, then any picture of it.

    A memory holds many pictures of the first condition and few of the last; drawn evenly over
    pictures, the last condition would hardly be replayed.

    Args:
        by_size: a task of n pictures is as likely as n to this power; 0 is all tasks alike, 1 all
            pictures alike.
    """
    names = np.array(pictures.learning_tasks)
    kinds = sorted(set(pictures.learning_tasks))
    members = [np.flatnonzero(names == kind) for kind in kinds]
    likely = np.array([float(len(group)) for group in members]) ** by_size
    kind_of = rng.choice(len(kinds), size=count, p=likely / likely.sum())
    chosen = [members[int(kind)] for kind in kind_of]
    return np.array([group[int(rng.integers(len(group)))] for group in chosen], dtype=np.int64)


def _pair(sample: Sample, storage: Storage, reader: LabelReader) -> Pair:
    image = image_from_bytes(
        storage.get(sample.image_key, sha256=sample.image_sha256), sample.image_key
    )
    mask = mask_from_png(storage.get(sample.mask_key, sha256=sample.mask_sha256), sample.mask_key)
    mask = reader.read(mask, sample.label_map_digest, sample.mask_key)
    if image.shape[:2] != mask.shape:
        raise TrainingError(
            f"sample {sample.sample_id}: image {image.shape[:2]} and mask {mask.shape} differ in "
            "size; annotate it again"
        )
    return image, mask
