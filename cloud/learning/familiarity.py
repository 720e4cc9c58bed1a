"""What a finished model finds familiar: its description is fitted, then its distances measured.

The model that is asked is the very bundle that will be released, also one of fewer bits.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from lifelong.drift import class_shift
from lifelong.model_bundle import ModelBundle, make_bundle
from lifelong.novelty import HALF_WAY, Acquaintance, cell_classes, class_distances
from lifelong.records.novelty import Familiarity
from lifelong.segmenter import EMBEDDING, STRANGENESS, OnnxSegmenter
from lifelong.training.descriptions import SeenPicture, described_onnx, description_of
from lifelong.training.onnx_export import FEATURES, OUTPUT

# Reference bins of drift and thresholds of hard examples are cut at these.
QUANTILES = ("0.10", "0.25", "0.50", "0.75", "0.90", "0.95", "0.99")

_MOST_FITTED = 128  # pictures; the covariances hardly change after that
_FEWEST_WITH_CLASS = 4  # pictures that must show a class before its distances say anything
_SMALLEST_SCALE = 1e-6


class OfTask(Protocol):
    """Something of a learning task: a sample, a picture."""

    @property
    def learning_task(self) -> str: ...


T = TypeVar("T", bound=OfTask)


@dataclass(frozen=True, slots=True)
class FamiliarPicture:
    """A picture that the model was trained on, and the learning task it belongs to."""

    learning_task: str
    image: NDArray[np.uint8]  # (H, W, 3) RGB


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a described bundle says of one picture."""

    learning_task: str
    embedding: NDArray[np.float64]
    strangest: Mapping[int, float]  # distance by class id
    shares: Mapping[int, float]  # of the picture by class id


def described(
    bundle: ModelBundle,
    familiar: Sequence[FamiliarPicture],
    held_back: Sequence[NDArray[np.uint8]],
) -> ModelBundle:
    """A bundle with output `features` to one that tells the known from the new, if it can.

    Args:
        familiar: pictures to fit to; of more than 128 an even choice of every learning task.
        held_back: (H, W, 3) uint8 RGB each, of the same kinds, not among `familiar`.

    Returns:
        With too few pictures a bundle without description: it answers logits only.

    Raises:
        ModelLoadError: the bundle has no such output.
        ModelOutputError: it cannot answer.
    """
    chosen = chosen_evenly(familiar)
    description = description_of(list(_seen(bundle, chosen))) if held_back else None
    bare = make_bundle(bundle.manifest, described_onnx(bundle.onnx, description))
    if description is None:
        return bare
    known = list(_answers(bare, chosen))
    fresh = list(_answers(bare, [FamiliarPicture("", image) for image in held_back]))
    familiarity = _measured(known, fresh)
    return make_bundle(replace(bundle.manifest, familiarity=familiarity), bare.onnx)


def chosen_evenly(familiar: Sequence[T]) -> list[T]:
    """At most 128, evenly spread over each learning task, no task with more than its share."""
    tasks = sorted({one.learning_task for one in familiar})
    most = max(_MOST_FITTED // max(len(tasks), 1), 1)
    chosen: list[T] = []
    for task in tasks:
        members = [one for one in familiar if one.learning_task == task]
        places = np.linspace(0, len(members) - 1, min(most, len(members))).astype(int)
        chosen += [members[place] for place in places]
    return chosen


def quantiles_of(values: Sequence[float]) -> dict[str, float]:
    """By name, rounded to what is worth writing down."""
    return {name: round(float(np.quantile(values, float(name))), 6) for name in QUANTILES}


def _measured(known: Sequence[_Answer], fresh: Sequence[_Answer]) -> Familiarity:
    prototypes = {
        task: _mean_of([answer.embedding for answer in known if answer.learning_task == task])
        for task in sorted({answer.learning_task for answer in known})
    }
    acquaintance = Acquaintance(Familiarity(prototypes=prototypes))
    shares = _mean_shares([*known, *fresh])
    return Familiarity(
        prototypes=prototypes,
        distance_quantiles=quantiles_of(
            [acquaintance.distance(answer.embedding) or 0.0 for answer in fresh]
        ),
        class_distances=_class_scales(known, fresh),
        class_shares=shares,
        class_shift_quantiles=quantiles_of(
            [class_shift(answer.shares, shares) for answer in fresh]
        ),
        pictures=len(fresh),
    )


def _class_scales(known: Sequence[_Answer], fresh: Sequence[_Answer]) -> dict[int, float]:
    """The strangeness that counts as 0.5 by class; see `Familiarity.class_distances`."""
    by_class: dict[int, list[float]] = {}
    for answer in (*known, *fresh):
        for class_id, distance in answer.strangest.items():
            by_class.setdefault(class_id, []).append(distance)
    usual = {
        class_id: max(float(np.quantile(distances, float(HALF_WAY))), _SMALLEST_SCALE)
        for class_id, distances in sorted(by_class.items())
        if len(distances) >= _FEWEST_WITH_CLASS
    }
    strangest = [
        max((d / usual[c] for c, d in answer.strangest.items() if c in usual), default=0.0)
        for answer in fresh
    ]
    stretch = max(float(np.quantile(strangest, float(HALF_WAY))), _SMALLEST_SCALE)
    return {class_id: round(distance * stretch, 6) for class_id, distance in usual.items()}


def _seen(bundle: ModelBundle, pictures: Iterable[FamiliarPicture]) -> Iterator[SeenPicture]:
    segmenter = OnnxSegmenter(bundle)
    for picture in pictures:
        logits, features = segmenter.outputs(picture.image, (OUTPUT, FEATURES))
        yield SeenPicture(
            learning_task=picture.learning_task,
            features=features[0],
            classes=cell_classes(logits[0], (features.shape[2], features.shape[3])),
        )


def _answers(bundle: ModelBundle, pictures: Iterable[FamiliarPicture]) -> Iterator[_Answer]:
    segmenter = OnnxSegmenter(bundle)
    names = (OUTPUT, EMBEDDING, STRANGENESS)
    for picture in pictures:
        logits, embedding, strangeness = segmenter.outputs(picture.image, names)
        classes, counts = np.unique(logits[0].argmax(axis=0), return_counts=True)
        yield _Answer(
            learning_task=picture.learning_task,
            embedding=embedding[0].astype(np.float64),
            strangest=class_distances(strangeness[0], logits[0]),
            shares={
                int(class_id): float(count) / logits[0, 0].size
                for class_id, count in zip(classes, counts, strict=True)
            },
        )


def _mean_of(embeddings: Sequence[NDArray[np.float64]]) -> tuple[float, ...]:
    return tuple(round(float(value), 6) for value in np.mean(embeddings, axis=0))


def _mean_shares(answers: Sequence[_Answer]) -> dict[int, float]:
    classes = sorted({class_id for answer in answers for class_id in answer.shares})
    return {
        class_id: round(sum(a.shares.get(class_id, 0.0) for a in answers) / len(answers), 6)
        for class_id in classes
    }
