"""What the knowledge base holds, in figures: for `cornerloop kb show`."""

from typing import Any

from cloud.reports import miou_by_task
from cloud.selecting.present_counts import Counted, as_written
from lifelong.knowledge.checkpoints import CHECKPOINTS
from lifelong.knowledge.log import LOG
from lifelong.knowledge_base import KnowledgeBase
from lifelong.learning_tasks import learning_tasks
from lifelong.links.storage import Storage
from lifelong.records.forget_requests import Forgotten
from lifelong.records.label_map import LabelMap
from lifelong.records.model_versions import ModelVersion
from lifelong.records.samples import Sample, Split
from lifelong.records.trainings import DatasetVersion, ExemplarSet, Training


def overview(
    kb: KnowledgeBase, storage: Storage, label_map: LabelMap, counted: Counted = as_written
) -> dict[str, Any]:
    """Counts, learning tasks, versions and sizes, JSON-ready; bytes and pixels."""
    samples = list(kb.samples.values())
    return {
        "changes": kb.changes,
        "head": kb.head,
        "log_bytes": sum(entry.size for entry in storage.entries(LOG)),
        "checkpoint_bytes": sum(entry.size for entry in storage.entries(CHECKPOINTS)),
        "samples": len(samples),
        "train": sum(s.split is Split.TRAIN for s in samples),
        "eval": sum(s.split is Split.EVAL for s in samples),
        "forgotten": len(kb.forgotten),
        "requests_to_forget": len(kb.of(Forgotten)),
        "datasets": len(kb.of(DatasetVersion)),
        "tasks": [task_overview(name, kb, label_map, counted) for name in learning_tasks(samples)],
        "versions": [_version(version, kb) for version in kb.versions.values()],
        "failed_rounds": sorted(kb.failures),
    }


def task_overview(
    name: str, kb: KnowledgeBase, label_map: LabelMap, counted: Counted = as_written
) -> dict[str, Any]:
    """A learning task: how much there is of it, and what it shows; `counted` reads classes."""
    members = [counted(s) for s in kb.samples.values() if s.learning_task == name]
    pixels = learning_tasks(members)[name].class_pixels if members else {}
    return {
        "task": name,
        "train": sum(s.split is Split.TRAIN for s in members),
        "eval": sum(s.split is Split.EVAL for s in members),
        "pixels": {class_name(i, label_map): count for i, count in pixels.items()},
    }


def dataset_overview(dataset_id: str, kb: KnowledgeBase) -> dict[str, Any]:
    """A data set: its samples with their masks, and who was trained on it."""
    dataset = kb.of(DatasetVersion)[dataset_id]
    memories = {m for m, one in kb.of(ExemplarSet).items() if one.dataset_id == dataset_id}
    trainings = kb.of(Training).values()
    return {
        "dataset": dataset_id,
        "samples": [
            {"sample": sample, "mask_sha256": mask, "is_forgotten": sample in kb.forgotten}
            for sample, mask in zip(dataset.samples, dataset.masks, strict=True)
        ],
        "trained": [t.version_id for t in trainings if t.dataset_id == dataset_id],
        "replayed": [t.version_id for t in trainings if t.memory_id in memories],
    }


def class_name(class_id: int, label_map: LabelMap) -> str:
    """The name of a class; what is none is told by its number."""
    return label_map.names[class_id] if class_id < len(label_map) else f"id {class_id}"


def _version(version: ModelVersion, kb: KnowledgeBase) -> dict[str, Any]:
    examination = kb.examinations.get(version.version_id)
    training = kb.of(Training).get(version.version_id)
    memory = kb.of(ExemplarSet).get(training.memory_id) if training else None
    used: set[Any] = {*version.trained_on, *version.replayed}
    return {
        "version": version.version_id,
        "parent": version.parent,
        "round": version.round_number,
        "strategy": version.strategy,
        "trained_on": len(version.trained_on),
        "replayed": len(version.replayed),
        "exemplar_bytes": memory.size if memory else 0,
        "accepted": examination.decision.accepted if examination else None,
        "miou": miou_by_task(examination.candidate) if examination else {},
        "learned_forgotten": len(used & kb.forgotten),
    }


def sample_overview(sample: Sample, label_map: LabelMap) -> dict[str, Any]:
    """A sample by itself."""
    return {
        "sample": sample.sample_id,
        "task": sample.learning_task,
        "split": str(sample.split),
        "pixels": {class_name(i, label_map): n for i, n in sorted(sample.class_pixels.items())},
    }
