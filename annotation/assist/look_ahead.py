"""Pictures that somebody will open next, embedded before they do."""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from lifelong.errors import LifelongError

logger = logging.getLogger(__name__)


class TaskLists(Protocol):
    """Who knows which tasks come next: Label Studio."""

    def tasks_to_come(
        self, project_id: int, *, after: int, count: int
    ) -> Sequence[tuple[int, Mapping[str, object]]]:
        """Ids and data of the next tasks behind `after` that nobody has worked on, by id."""


# Project, task and its data, for each of the next tasks -> have their pictures embedded.
Embed = Callable[[int, Iterable[tuple[int, Mapping[str, object]]]], None]


class LookAhead:
    """Asks for the next tasks when somebody begins one; at most one question a project at a time.

    Nobody waits for it, and nothing depends on it: when Label Studio does not answer, the first
    click on the next picture takes as long as its embedding.
    """

    def __init__(self, tasks: TaskLists | None, embed: Embed, *, count: int) -> None:
        """Args:
        tasks: None where there is no token for Label Studio; then nothing is looked up.
        count: how many tasks ahead; 0: none.
        """
        self._tasks, self._embed, self._count = tasks, embed, count
        self._lock = threading.Lock()
        self._newest: dict[int, int] = {}  # project -> task that waits to be looked behind
        self._last: dict[int, int] = {}  # project -> task that was looked behind
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="look-ahead")

    def begun(self, project: int | None, task: int | None) -> None:
        """Somebody works on a task, or the project was opened (`task` 0); returns at once."""
        if self._tasks is None or not self._count or project is None or task is None:
            return
        with self._lock:
            if self._last.get(project) == task or self._newest.get(project) == task:
                return
            waits = project in self._newest
            self._newest[project] = task
        if not waits:
            self._pool.submit(self._look, project)

    def close(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _look(self, project: int) -> None:
        with self._lock:
            task = self._newest.pop(project)
            self._last[project] = task
        assert self._tasks is not None
        try:
            coming = self._tasks.tasks_to_come(project, after=task, count=self._count)
            self._embed(project, coming)
        except LifelongError as error:
            logger.info("project %d: the next pictures are not prepared: %s", project, error)
