"""Tasks whose picture is to be forgotten: out of Label Studio, or out of the folder."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from annotation.studio_tasks import StudioTask
from annotation.tasks import carries
from lifelong.errors import LabelStudioRefusedError
from lifelong.links.durable_files import write_whole
from lifelong.records.forget_requests import StudioTaskOf
from lifelong.records.ids import SampleId


class RemovalStudio(Protocol):
    """What is asked of Label Studio to remove tasks."""

    def task(self, task_id: int) -> StudioTask | None: ...

    def delete_task(self, task_id: int) -> None: ...


class StudioRemoval:
    """Deletes tasks in Label Studio, with their drafts and annotations."""

    def __init__(self, studio: RemovalStudio) -> None:
        self._studio = studio

    def remove(self, tasks: Sequence[StudioTaskOf]) -> list[StudioTaskOf]:
        """Delete tasks; those that are gone, or whose id means another picture by now, are left.

        Returns:
            Tasks that Label Studio refuses to delete.

        Raises:
            LabelStudioUnavailableError: it cannot be reached; call again.
        """
        left = []
        for task in tasks:
            try:
                found = self._studio.task(task.task_id)
                if found is not None and carries(found.data, task.sample_id, task.round_number):
                    self._studio.delete_task(task.task_id)
            except LabelStudioRefusedError:
                left.append(task)
        return left


class FolderRemoval:
    """Removes the folders of tasks, with what people painted there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "tasks"

    def remove(self, tasks: Sequence[StudioTaskOf]) -> list[StudioTaskOf]:
        """Remove tasks and their lines in the queue.

        Returns:
            Nothing: a folder refuses nothing.

        Raises:
            OSError: the folder cannot be changed.
        """
        by_round: dict[int, set[SampleId]] = {}
        for task in tasks:
            by_round.setdefault(task.round_number, set()).add(task.sample_id)
        for number, samples in by_round.items():
            queue = self._folder / str(number) / "queue.txt"
            if queue.exists():
                lines = queue.read_text(encoding="utf-8").splitlines(keepends=True)
                kept = "".join(line for line in lines if line.strip() not in samples)
                write_whole(queue, kept.encode())
            for sample_id in samples:
                shutil.rmtree(self._folder / str(number) / sample_id, ignore_errors=True)
        return []


def tasks_left(tasks: Sequence[StudioTaskOf]) -> list[Mapping[str, object]]:
    """Tasks for people to delete by hand, JSON-ready."""
    return [{"project": t.project_id, "task": t.task_id, "sample": t.sample_id} for t in tasks]
