"""Corrections made on a page of ours, handed in as files where `annotation/folder_exchange.py`
looks for them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotation.correcting.work import HandedIn, Opened, Outcome
from annotation.folder_exchange import palette_png
from annotation.folder_marks import read_mark, write_mark
from lifelong.links.durable_files import write_whole
from lifelong.links.storage import Storage
from lifelong.records.label_map import LabelMap
from lifelong.records.pixels import mask_from_png
from lifelong.records.samples import AnnotationTask

_FINISHED = ("corrected.png", "skip.txt")


class FolderCorrections:
    """Tasks in a folder; every call may be repeated.

    A file that somebody saves with a paint program between our look and our write is replaced:
    a file system has no word for "write this unless it is there" that also writes it whole.
    """

    def __init__(self, *, storage: Storage, folder: Path, label_map: LabelMap) -> None:
        self._storage = storage
        self._folder = folder
        self._label_map = label_map

    def waiting(self, tasks: Sequence[AnnotationTask]) -> list[AnnotationTask]:
        """Those that want somebody, best first as `queue.txt` says."""
        places: dict[tuple[int, str], int] = {}
        for number in {task.round_number for task in tasks}:
            path = self._folder / "tasks" / str(number) / "queue.txt"
            lines = path.read_text(encoding="utf-8").split() if path.exists() else []
            places |= {(number, sample_id): place for place, sample_id in enumerate(lines)}
        last = len(places)
        wanting = [task for task in tasks if self._is_open(task)]
        return sorted(wanting, key=lambda t: places.get((t.round_number, t.sample_id), last))

    def open(self, task: AnnotationTask, by: str) -> Opened | None:
        """What to begin with; None: it is finished, or gone.

        Raises:
            StorageError, ImageError: its draft cannot be read.
        """
        if not self._is_open(task):
            return None
        return Opened(mask=mask_from_png(self._storage.get(task.draft_key), task.draft_key))

    def accept(self, task: AnnotationTask, mask: NDArray[np.uint8], made: HandedIn) -> Outcome:
        """Write a mask, (H, W) uint8, as the task's `corrected.png`.

        Raises:
            OSError: the disk is full or gone.
        """
        return self._hand_in(task, "corrected.png", palette_png(mask, self._label_map), made)

    def skip(self, task: AnnotationTask, reason: str, made: HandedIn) -> Outcome:
        """Write why nobody will.

        Raises:
            OSError: the disk is full or gone.
        """
        return self._hand_in(task, "skip.txt", f"{reason} ({made.by})\n".encode(), made)

    def _hand_in(self, task: AnnotationTask, name: str, data: bytes, made: HandedIn) -> Outcome:
        place = self._place(task)
        if not (place / "task.json").exists():
            return Outcome.GONE
        if not self._is_open(task):
            return Outcome.TAKEN if _is_there(place, made.submission) else Outcome.FINISHED
        seconds = round(made.seconds, 3)
        write_mark(place, data, by=made.by, submission=made.submission, seconds=seconds)
        write_whole(place / name, data)
        return Outcome.TAKEN

    def _is_open(self, task: AnnotationTask) -> bool:
        place = self._place(task)
        finished = any((place / name).exists() for name in _FINISHED)
        return not finished and (place / "task.json").exists()

    def _place(self, task: AnnotationTask) -> Path:
        return self._folder / "tasks" / str(task.round_number) / task.sample_id


def _is_there(place: Path, submission: str) -> bool:
    for name in _FINISHED:
        try:
            mark = read_mark(place, (place / name).read_bytes())
        except OSError:
            continue
        if mark is not None and mark.submission == submission:
            return True
    return False
