"""The replay memory: which old samples are kept to be learned again, within a budget of bytes.

A choice is a pure function of the samples, so a sample that was deleted (somebody asked for it)
is gone from the next memory by not being offered.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lifelong.errors import ConfigError
from lifelong.records.ids import SampleId
from lifelong.records.samples import Sample

Sizes = Mapping[SampleId, int]  # bytes of the encoded image and mask together
Features = Mapping[SampleId, NDArray[np.float64]]  # (D,), what herding compares pictures by


def choose_exemplars(
    samples: Sequence[Sample],
    sizes: Sizes,
    budget: int,
    *,
    choice: str,
    seed: int,
    features: Features | None = None,
) -> tuple[Sample, ...]:
    """The samples to keep, at most `budget` bytes, in the order in which they were offered.

    The same samples in any order, sizes, budget and seed give the same memory.

    Args:
        choice: a key of `CHOICES`.
        features: only read by `herding`; None: the share of each class in the picture.

    Raises:
        ConfigError: no choice of that name.
    """
    if choice not in CHOICES:
        raise ConfigError(f"training.replay_choice: no {choice!r}; there are {', '.join(CHOICES)}")
    ranked = sorted(samples, key=lambda sample: _lot(seed, sample.sample_id))
    if sum(sizes[sample.sample_id] for sample in ranked) <= budget:
        kept = {sample.sample_id for sample in ranked}
    else:
        kept = CHOICES[choice](ranked, sizes, budget, features)
    return tuple(sample for sample in samples if sample.sample_id in kept)


def _reservoir(
    ranked: Sequence[Sample], sizes: Sizes, budget: int, _features: Features | None
) -> set[SampleId]:
    """A uniform choice from everything ever seen (Vitter 1985, by a fixed lot for each sample).

    A sample's lot depends on its id and the seed alone: whoever is offered later, a kept sample
    is only ever pushed out by better lots, as in a reservoir over the whole stream.
    """
    kept: set[SampleId] = set()
    used = 0
    for sample in ranked:
        size = sizes[sample.sample_id]
        if size > budget:
            continue  # alone larger than the memory
        if used + size > budget:
            break  # taking the next smaller one instead would favour small pictures
        kept.add(sample.sample_id)
        used += size
    return kept


def _class_balanced(
    ranked: Sequence[Sample], sizes: Sizes, budget: int, _features: Features | None
) -> set[SampleId]:
    """Every learning task gets an equal share of the bytes, every class as many pixels as can be.

    Within a task the next sample is the one that adds most to Σ_c ln(1 + pixels_c) for each byte:
    the first thousand pixels of a bicycle count more than the next million of road.
    """
    classes = sorted({class_id for sample in ranked for class_id in sample.class_pixels})
    pixels = {
        sample.sample_id: np.array(
            [sample.class_pixels.get(class_id, 0) for class_id in classes], dtype=np.float64
        )
        for sample in ranked
    }

    def gain(group: Sequence[Sample], kept: Sequence[int]) -> NDArray[np.float64]:
        offered = np.stack([pixels[sample.sample_id] for sample in group])
        held = offered[list(kept)].sum(axis=0)
        # Every sample adds a little, so that memory is filled even when pixels are not known.
        added = np.log1p(held + offered).sum(axis=1) - np.log1p(held).sum() + 1e-9
        return np.asarray(added / np.array([sizes[sample.sample_id] for sample in group]))

    return _by_task(ranked, sizes, budget, gain)


def _herding(
    ranked: Sequence[Sample], sizes: Sizes, budget: int, features: Features | None
) -> set[SampleId]:
    """The samples whose mean stays closest to the mean of their learning task (iCaRL, 2017)."""
    known = features if features is not None else class_shares(ranked)

    def gain(group: Sequence[Sample], kept: Sequence[int]) -> NDArray[np.float64]:
        offered = np.stack([known[sample.sample_id] for sample in group])
        total = offered[list(kept)].sum(axis=0)
        means = (total + offered) / (len(kept) + 1)
        return np.asarray(-np.linalg.norm(means - offered.mean(axis=0), axis=1))

    return _by_task(ranked, sizes, budget, gain)


def class_shares(samples: Sequence[Sample]) -> Features:
    """What a picture shows, as the share of each class in it: herding's features without torch."""
    classes = sorted({class_id for sample in samples for class_id in sample.class_pixels})
    shares = {}
    for sample in samples:
        counts = np.array([sample.class_pixels.get(c, 0) for c in classes], dtype=np.float64)
        shares[sample.sample_id] = counts / max(1.0, counts.sum())
    return shares


Gain = Callable[[Sequence[Sample], Sequence[int]], NDArray[np.float64]]
Choice = Callable[[Sequence[Sample], Sizes, int, Features | None], set[SampleId]]
CHOICES: Mapping[str, Choice] = {
    "reservoir": _reservoir,
    "class_balanced": _class_balanced,
    "herding": _herding,
}


def _by_task(ranked: Sequence[Sample], sizes: Sizes, budget: int, gain: Gain) -> set[SampleId]:
    """Choose greedily within each learning task; what a small task leaves goes to the others."""
    groups: dict[str, list[Sample]] = {}
    for sample in ranked:
        groups.setdefault(sample.learning_task, []).append(sample)
    kept: set[SampleId] = set()
    left = budget
    by_bytes = sorted(
        groups.values(), key=lambda g: (sum(sizes[s.sample_id] for s in g), g[0].learning_task)
    )
    for position, group in enumerate(by_bytes):
        chosen = _greedy(group, sizes, left // (len(by_bytes) - position), gain)
        kept |= chosen
        left -= sum(sizes[sample_id] for sample_id in chosen)
    return kept


def _greedy(group: Sequence[Sample], sizes: Sizes, budget: int, gain: Gain) -> set[SampleId]:
    bytes_of = np.array([sizes[sample.sample_id] for sample in group])
    open_ = np.ones(len(group), dtype=bool)
    kept: list[int] = []
    while True:
        open_ &= bytes_of <= budget
        if not open_.any():
            return {group[index].sample_id for index in kept}
        best = int(np.argmax(np.where(open_, gain(group, kept), -np.inf)))
        kept.append(best)
        open_[best] = False
        budget -= int(bytes_of[best])


def _lot(seed: int, sample_id: SampleId) -> str:
    return hashlib.sha256(f"{seed}/{sample_id}".encode()).hexdigest()
