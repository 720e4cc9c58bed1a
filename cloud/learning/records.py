"""What the knowledge base keeps of a training and of an examination, beside model and verdict."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from lifelong.evaluation import FileHoldout, StoredHoldout
from lifelong.knowledge.known_records import Known
from lifelong.knowledge_base import KnowledgeBase
from lifelong.links.storage import Storage
from lifelong.records.ids import SampleId, VersionId, sample_id_of, sha256_hex
from lifelong.records.model_versions import ModelVersion
from lifelong.records.samples import Sample
from lifelong.records.trainings import (
    CodeVersion,
    DatasetVersion,
    ExaminationSetting,
    ExemplarSet,
    Holdout,
    LearningTaskVersion,
    Training,
    dataset_of,
    dataset_of_samples,
    exemplars_of,
    task_version_of,
)


def training_records(
    version: ModelVersion,
    kb: KnowledgeBase,
    storage: Storage,
    *,
    code: CodeVersion,
    at: datetime,
    seconds: float,
) -> list[Known]:
    """A model version with all that says how it came about, to be added in one change.

    Args:
        kb: knows the samples.
        at: UTC, when training ended.
    """
    if version.version_id in kb.of(Training):  # cut off after it was recorded, and repeated
        return [version]
    new, replayed = _samples(version.trained_on, kb), _samples(version.replayed, kb)
    dataset = dataset_of_samples(new)
    found: list[Known] = [version, dataset]
    memory_id = ""
    if replayed:
        memory, chosen = _memory(version, kb, replayed, storage)
        memory_id = memory.memory_id
        found += [chosen, memory] if chosen.dataset_id != dataset.dataset_id else [memory]
    tasks = _tasks([*kb.learned_by(version.parent), *new])
    found += tasks.values()
    found.append(
        Training(
            version_id=version.version_id,
            round_number=version.round_number,
            dataset_id=dataset.dataset_id,
            memory_id=memory_id,
            tasks={name: task.task_version_id for name, task in tasks.items()},
            code=code,
            trained_at=at,
            seconds=round(seconds, 2),
        )
    )
    return found


def examination_setting(
    version_id: VersionId, holdouts: Mapping[str, object], code: CodeVersion
) -> ExaminationSetting:
    """On what a candidate was examined; hold-outs of a foreign kind are named without content."""
    return ExaminationSetting(
        version_id=version_id,
        holdouts=tuple(_holdout(task, pictures) for task, pictures in sorted(holdouts.items())),
        code=code,
    )


def _holdout(task: str, pictures: object) -> Holdout:
    if isinstance(pictures, StoredHoldout):
        pairs = [(s.sample_id, s.mask_sha256) for s in pictures.samples]
    elif isinstance(pictures, FileHoldout):
        pairs = [_pair_of_files(image, mask) for image, mask in pictures.paths]
    else:
        return Holdout(task=task, dataset_id="", images=0)
    return Holdout(task=task, dataset_id=dataset_of(pairs).dataset_id, images=len(pairs))


def _pair_of_files(image: Path, mask: Path) -> tuple[SampleId, str]:
    return sample_id_of(image.read_bytes()), sha256_hex(mask.read_bytes())


def _samples(ids: Sequence[SampleId], kb: KnowledgeBase) -> list[Sample]:
    return [kb.samples[sample_id] for sample_id in ids if sample_id in kb.samples]


def _memory(
    version: ModelVersion, kb: KnowledgeBase, replayed: list[Sample], storage: Storage
) -> tuple[ExemplarSet, DatasetVersion]:
    chosen = dataset_of_samples(replayed)
    keys = [key for sample in replayed for key in (sample.image_key, sample.mask_key)]
    memory = exemplars_of(
        chosen,
        offered=len(kb.learned_by(version.parent)),
        choice=version.settings.get("replay_choice", ""),
        seed=version.seed,
        budget=round(float(version.settings.get("replay_mib", 0)) * 2**20),
        size=sum(storage.size(key) or 0 for key in keys),
    )
    return memory, chosen


def _tasks(samples: Iterable[Sample]) -> dict[str, LearningTaskVersion]:
    members: dict[str, dict[SampleId, Sample]] = {}
    for sample in samples:
        members.setdefault(sample.learning_task, {})[sample.sample_id] = sample
    return {name: task_version_of(name, group.values()) for name, group in members.items()}
