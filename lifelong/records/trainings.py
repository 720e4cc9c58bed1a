"""What a training was made of: exact samples, replay memory, learning tasks, code.

Everything here is named by its content: the same samples with the same masks are the same data
set, on every machine and in every year.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from lifelong.records.ids import RoundNumber, SampleId, VersionId, sha256_hex
from lifelong.records.samples import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetVersion:
    """An exact set of samples with their masks."""

    dataset_id: str  # 16 hex digits, see `dataset_of`
    samples: tuple[SampleId, ...]  # sorted
    masks: tuple[str, ...]  # SHA-256 of each sample's mask, in the same order


@dataclass(frozen=True, slots=True, kw_only=True)
class ExemplarSet:
    """The replay memory that a training used, and how it was chosen."""

    memory_id: str  # 16 hex digits, see `exemplars_of`
    dataset_id: str  # the samples in it
    offered: int  # samples that it was chosen from
    choice: str  # a key of `lifelong.replay.CHOICES`
    seed: int
    budget: int  # bytes
    size: int  # bytes of the images and masks in it


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningTaskVersion:
    """A learning task as it stood at a training: everything that had been learned of it."""

    task_version_id: str  # 16 hex digits, see `task_version_of`
    name: str
    dataset_id: str  # of its training samples; listed in the log by their own records
    samples: int
    class_pixels: Mapping[int, int] = field(default_factory=dict)  # class id -> pixels in all


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeVersion:
    """Which program did it."""

    package: str  # version of Cornerloop
    revision: str  # of git, 40 hex digits; "" when it does not run from a checkout
    source_sha256: str  # of the source files, also when they differ from the revision
    python: str
    libraries: Mapping[str, str] = field(default_factory=dict)  # name -> version


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How a model version came about; the version's own record has settings and seed."""

    version_id: VersionId
    round_number: RoundNumber
    dataset_id: str  # what was new
    memory_id: str  # what was replayed; "" for nothing
    tasks: Mapping[str, str]  # name of each learning task -> its version, after this training
    code: CodeVersion
    trained_at: datetime  # UTC
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdout:
    """What a model was examined on, in one learning task."""

    task: str
    dataset_id: str  # of the pictures and masks, as `dataset_of` names them
    images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExaminationSetting:
    """On which hold-outs a candidate was examined, and by which program."""

    version_id: VersionId
    holdouts: tuple[Holdout, ...]
    code: CodeVersion


def content_id(*parts: str) -> str:
    """The first 16 hex digits of the SHA-256 of these lines."""
    return sha256_hex("\n".join(parts).encode())[:16]


def dataset_of(pairs: Iterable[tuple[SampleId, str]]) -> DatasetVersion:
    """The data set of these sample ids and SHA-256 of masks, in any order; twins count once."""
    ordered = sorted(set(pairs))
    return DatasetVersion(
        dataset_id=content_id("dataset", *(f"{sample} {mask}" for sample, mask in ordered)),
        samples=tuple(sample for sample, _ in ordered),
        masks=tuple(mask for _, mask in ordered),
    )


def dataset_of_samples(samples: Iterable[Sample]) -> DatasetVersion:
    """The data set of these samples."""
    return dataset_of((sample.sample_id, sample.mask_sha256) for sample in samples)


def exemplars_of(
    dataset: DatasetVersion, *, offered: int, choice: str, seed: int, budget: int, size: int
) -> ExemplarSet:
    """A replay memory, named by what is in it and how it was chosen."""
    how = (choice, str(seed), str(budget), str(offered), str(size))
    return ExemplarSet(
        memory_id=content_id("exemplars", dataset.dataset_id, *how),
        dataset_id=dataset.dataset_id,
        offered=offered,
        choice=choice,
        seed=seed,
        budget=budget,
        size=size,
    )


def task_version_of(name: str, samples: Iterable[Sample]) -> LearningTaskVersion:
    """A learning task with these training samples."""
    members = list(samples)
    pixels: dict[int, int] = {}
    for sample in members:
        for class_id, count in sample.class_pixels.items():
            pixels[class_id] = pixels.get(class_id, 0) + count
    dataset = dataset_of_samples(members)
    return LearningTaskVersion(
        task_version_id=content_id("learning task", name, dataset.dataset_id),
        name=name,
        dataset_id=dataset.dataset_id,
        samples=len(dataset.samples),
        class_pixels=dict(sorted(pixels.items())),
    )
