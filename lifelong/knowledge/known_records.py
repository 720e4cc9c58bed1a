"""Which kinds of record the knowledge base keeps, under which ids, and which it refuses to read.

A new kind is one line in `_IDS`. A record with a field `sample_id` is about that sample, and is
emptied when the sample is forgotten.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from lifelong.errors import CorruptRecordError, RecordError, StorageError
from lifelong.links.storage import checked_key
from lifelong.records.conditions import Condition, ConditionRuling, TaskMerge
from lifelong.records.forget_requests import Forgotten
from lifelong.records.model_versions import Examination, ModelVersion, TrainingFailure
from lifelong.records.samples import Sample
from lifelong.records.trainings import (
    DatasetVersion,
    ExaminationSetting,
    ExemplarSet,
    LearningTaskVersion,
    Training,
)

Known = Any  # a record of one of the kinds below

_IDS: Mapping[type[Known], Callable[[Known], str]] = {
    ModelVersion: lambda record: record.version_id,
    Sample: lambda record: record.sample_id,
    Examination: lambda record: record.decision.version_id,
    TrainingFailure: lambda record: str(record.round_number),
    DatasetVersion: lambda record: record.dataset_id,
    ExemplarSet: lambda record: record.memory_id,
    LearningTaskVersion: lambda record: record.task_version_id,
    Training: lambda record: record.version_id,
    ExaminationSetting: lambda record: record.version_id,
    Forgotten: lambda record: record.forgotten_id,
    Condition: lambda record: record.condition_id,
    ConditionRuling: lambda record: f"{record.condition_id}/{record.number}",
    TaskMerge: lambda record: str(record.number),
}
KINDS: Mapping[str, type[Known]] = {kind.__name__: kind for kind in _IDS}

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}\Z")  # becomes a part of keys and paths
_KEY_FIELDS = {
    kind: tuple(field.name for field in fields(kind) if field.name.endswith("_key"))
    for kind in _IDS
}
_NAME_FIELDS = {
    kind: tuple(
        field.name
        for field in fields(kind)
        if field.name in {"sample_id", "version_id", "parent", "edge_id"}
    )
    for kind in _IDS
}


def id_of(record: Known) -> str:
    """Under which id a record is known among those of its kind.

    Raises:
        RecordError: the knowledge base keeps none of that kind.
    """
    if type(record) not in _IDS:
        raise RecordError(
            f"knowledge base: keeps no {type(record).__name__}; there are {', '.join(KINDS)}"
        )
    return _IDS[type(record)](record)


def kind_named(name: object, where: str) -> type[Known]:
    """The kind that a log names.

    Raises:
        CorruptRecordError: there is none of that name.
    """
    if not isinstance(name, str) or name not in KINDS:
        raise CorruptRecordError(f"{where}: unknown kind of record {name!r}; update Cornerloop")
    return KINDS[name]


def subject_of(body: object) -> str:
    """The sample that a plain record is about; "" when it is about none."""
    subject = body.get("sample_id") if isinstance(body, dict) else None
    return subject if isinstance(subject, str) else ""


def refuse_unsafe(record: Known, where: str) -> None:
    """Refuse ids and keys that could climb out of a folder; they become parts of paths.

    Raises:
        CorruptRecordError: names the field.
    """
    for name in _KEY_FIELDS[type(record)]:
        key = getattr(record, name)
        try:
            if key:
                checked_key(key)
        except StorageError as error:
            raise CorruptRecordError(f"{where}: {name}: {error}") from error
    for name in _NAME_FIELDS[type(record)]:
        value = getattr(record, name)
        if value and not _NAME.match(value):
            raise CorruptRecordError(
                f"{where}: {name} {value[:80]!r}: no name of ours; it could leave its folder"
            )
