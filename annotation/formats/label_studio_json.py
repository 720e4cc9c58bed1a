"""Label Studio's exports JSON and JSON-MIN: tasks with what people submitted, and their masks.

JSON-MIN has one entry an annotation and loses region ids and skips; entries of the same task are
brought together again. Both may hold only a part of a project: that is no error.

`entries_of_export` reads a file of any length in constant memory; entries of JSON-MIN, which may
lie anywhere in the file, wait for their task on the disk.
"""

import json
import sqlite3
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import IO

import ijson
import numpy as np
from numpy.typing import NDArray

from annotation.regions import Region
from annotation.studio_tasks import (
    StudioAnnotation,
    StudioTask,
    latest_submitted,
    moment,
    number_or_none,
    studio_task,
)
from annotation.tasks import mask_from_annotation
from lifelong.errors import CorruptRecordError, ShapeError
from lifelong.records.label_map import LabelMap

_KINDS = (
    "brushlabels",
    "polygonlabels",
    "rectanglelabels",
    "ellipselabels",
    "keypointlabels",
    "labels",  # last: key points carry it beside their own
)
_OWN_FIELDS = frozenset(
    {"id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time"}
)


Entry = Mapping[str, object]  # one object of an export's list


def entries_of_export(path: Path) -> Iterator[tuple[Entry, ...]]:
    """Read an export, JSON or JSON-MIN, as a stream: what belongs to one task, task by task.

    Entries of JSON come in the file's order, each alone; those of JSON-MIN by task id.

    Raises:
        CorruptRecordError: not such an export; names the file.
    """
    with path.open("rb") as file:
        entries = _entries(file, path.name)
        first = next(entries, None)
        if first is None:
            return
        if "annotations" in first or "predictions" in first:
            yield (first,)
            for entry in entries:
                yield (entry,)
            return
        yield from _by_task(first, entries, path.name)


def task_of_entries(entries: tuple[Entry, ...], where: str) -> StudioTask:
    """One task from what `entries_of_export` yields.

    Raises:
        CorruptRecordError: no id; names `where`.
    """
    tasks = [
        studio_task(entry, lambda user_id: f"user {user_id}")
        if "annotations" in entry or "predictions" in entry
        else _task_from_min(entry, where)
        for entry in entries
    ]
    annotations = tuple(one for task in tasks for one in task.annotations)
    submitted = sum(not one.is_skip for one in annotations)
    return replace(
        tasks[0],
        annotations=annotations,
        submitted=submitted,
        skipped=len(annotations) - submitted,
    )


def _entries(file: IO[bytes], where: str) -> Iterator[dict[str, object]]:
    """The objects of the one list that the file is."""
    start = file.peek(64)[:64].lstrip() if hasattr(file, "peek") else b"["
    if not start.startswith(b"["):
        raise CorruptRecordError(f"{where}: expected a list of tasks as Label Studio exports it")
    try:
        for entry in ijson.items(file, "item", use_float=True):
            if not isinstance(entry, dict):
                raise CorruptRecordError(
                    f"{where}: expected a list of tasks as Label Studio exports it, one is "
                    f"{str(entry)[:40]!r}"
                )
            yield entry
    except (ijson.JSONError, UnicodeDecodeError, ValueError) as error:
        raise CorruptRecordError(f"{where}: not JSON ({error})") from error


def _by_task(
    first: dict[str, object], others: Iterator[dict[str, object]], where: str
) -> Iterator[tuple[Entry, ...]]:
    """Entries of JSON-MIN sorted by task id; those of one task in the file's order."""
    with tempfile.TemporaryDirectory(prefix="cornerloop-") as folder:
        shelf = sqlite3.connect(Path(folder) / "entries.sqlite")
        try:
            shelf.execute("PRAGMA journal_mode=OFF")
            shelf.execute("CREATE TABLE entries (task INTEGER, place INTEGER, body BLOB)")
            place = 0
            entry: dict[str, object] | None = first
            while entry is not None:
                task_id = entry.get("id")
                if not isinstance(task_id, int):
                    raise CorruptRecordError(
                        f"{where}, entry {place}: neither annotations nor an id; is it an export?"
                    )
                body = zlib.compress(json.dumps(entry).encode(), 1)
                shelf.execute("INSERT INTO entries VALUES (?, ?, ?)", (task_id, place, body))
                place += 1
                entry = next(others, None)
            shelf.execute("CREATE INDEX by_task ON entries (task, place)")
            rows = shelf.execute("SELECT task, body FROM entries ORDER BY task, place")
            for _, group in groupby(rows, key=lambda row: row[0]):
                yield tuple(json.loads(zlib.decompress(body)) for _, body in group)
        finally:
            shelf.close()


def tasks_from_export(data: bytes, where: str) -> list[StudioTask]:
    """Read an export, JSON or JSON-MIN (told apart by `annotations`), in task id order.

    Raises:
        CorruptRecordError: not such an export; names `where`.
    """
    try:
        entries = json.loads(data)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise CorruptRecordError(f"{where}: not JSON ({error})") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise CorruptRecordError(f"{where}: expected a list of tasks as Label Studio exports it")
    tasks: dict[int, StudioTask] = {}
    for entry in entries:
        if "annotations" in entry:
            task = studio_task(entry, lambda user_id: f"user {user_id}")
        else:
            task = _task_from_min(entry, where)
        twin = tasks.get(task.task_id)
        if twin is not None:
            task = replace(twin, annotations=twin.annotations + task.annotations)
        submitted = sum(not one.is_skip for one in task.annotations)
        skipped = len(task.annotations) - submitted
        tasks[task.task_id] = replace(task, submitted=submitted, skipped=skipped)
    return [tasks[task_id] for task_id in sorted(tasks)]


def mask_of_task(
    task: StudioTask, label_map: LabelMap, *, size: tuple[int, int] | None = None
) -> NDArray[np.uint8] | None:
    """The mask of the latest annotation, (H, W) uint8, or None when there is no annotation.

    Raises:
        LabelMapError: an unknown label; names the task.
        ShapeError: another size than `size`, regions of different sizes, or no region at all.
        CorruptRecordError: a region that cannot be read.
    """
    annotation = latest_submitted(task)
    if annotation is None:
        return None
    if size is None and not annotation.regions:
        raise ShapeError(f"task {task.task_id}: annotated without a region, its size is unknown")
    return mask_from_annotation(task, annotation, label_map, size=size)


def _task_from_min(entry: Mapping[str, object], where: str) -> StudioTask:
    task_id, annotation_id = entry.get("id"), entry.get("annotation_id")
    if not isinstance(task_id, int) or not isinstance(annotation_id, int):
        raise CorruptRecordError(f"{where}: entry without id and annotation_id; is it JSON-MIN?")
    regions = []
    data = {}
    for name, value in entry.items():
        shapes = _shapes(value)
        if shapes:
            regions += [_region(name, shape) for shape in shapes]
        elif name not in _OWN_FIELDS:
            data[name] = value
    annotation = StudioAnnotation(
        annotation_id=annotation_id,
        annotator=f"user {entry.get('annotator')}",
        at=moment(entry.get("updated_at")),
        is_skip=False,
        seconds=number_or_none(entry.get("lead_time")),
        regions=tuple(regions),
    )
    return StudioTask(
        task_id=task_id,
        data=data,
        meta={},
        updated_at=annotation.at,
        submitted=1,
        skipped=0,
        annotations=(annotation,),
    )


def _shapes(value: object) -> list[dict[str, object]]:
    """The regions under a tool's name; empty when the field is something else."""
    if not isinstance(value, list):
        return []
    return [item for item in value if isinstance(item, dict) and "original_width" in item]


def _region(tool: str, shape: dict[str, object]) -> Region:
    sizes = {name: shape.get(name) for name in ("original_width", "original_height")}
    region = Region(
        type=next((kind for kind in _KINDS if kind in shape), "unlabelled"),
        from_name=tool,
        value={key: value for key, value in shape.items() if key not in sizes},
    )
    if isinstance(sizes["original_width"], int) and isinstance(sizes["original_height"], int):
        region["original_width"] = sizes["original_width"]
        region["original_height"] = sizes["original_height"]
    return region
