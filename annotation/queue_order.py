"""Who comes next, shown in Label Studio: a place in each task's data, and one view ordered by it.

Places are texts with leading zeros, because Label Studio orders a field of the data as text. They
are far apart, so that a task can move without the others.
"""

import logging
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from annotation.labeling_config import PROMPT_TEXT
from annotation.regions import Region
from annotation.studio_tasks import StudioTask, latest_submitted
from annotation.task_fields import PROMPT, RANK, ROUND, SAMPLE
from lifelong.records.ids import SampleId
from lifelong.records.samples import AnnotationTask

logger = logging.getLogger(__name__)

VIEW_TITLE = "Next best"
STEP = 1000  # between two places of a fresh order
_DIGITS = 10
_PROMPT_AHEAD = 10  # open tasks that are given the last text prompt
_PROMPT_BACK = 10  # finished tasks that are asked for it


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A tab of Label Studio's data manager."""

    view_id: int | None  # None: not made yet
    data: Mapping[str, object]  # title, filters, ordering, and what the page adds

    @property
    def title(self) -> str:
        """What stands on the tab."""
        return str(self.data.get("title", ""))


class OrderStudio(Protocol):
    """What is asked of Label Studio to order tasks."""

    def round_tasks(self, project_id: int, round_number: int) -> list[StudioTask]: ...

    def full_tasks(self, project_id: int, task_ids: Iterable[int]) -> list[StudioTask]: ...

    def set_task_data(self, task_id: int, data: Mapping[str, object]) -> bool:
        """Replace a task's data; False when there is no such task."""

    def views(self, project_id: int) -> list[View]: ...

    def save_view(self, project_id: int, view: View) -> None: ...

    def delete_view(self, view_id: int) -> None: ...


def place_text(place: int) -> str:
    """A place as it stands in a task's data."""
    return f"{place:0{_DIGITS}d}"


def first_place(position: int) -> str:
    """The place of the task at `position`, from 0, of a fresh order."""
    return place_text((position + 1) * STEP)


def ensure_view(studio: OrderStudio, project_id: int, round_number: int) -> None:
    """Make the one view "Next best" show this round's tasks, best first; repair it if need be.

    Columns that people hid or widened stay as they are.
    """
    wanted: dict[str, object] = {
        "title": VIEW_TITLE,
        "ordering": [f"tasks:data.{RANK}"],
        "filters": {
            "conjunction": "and",
            "items": [
                {
                    "filter": f"filter:tasks:data.{ROUND}",
                    "operator": "equal",
                    "type": "Number",
                    "value": round_number,
                }
            ],
        },
    }
    ours = [view for view in studio.views(project_id) if view.title == VIEW_TITLE]
    for twin in ours[1:]:
        if twin.view_id is not None:
            studio.delete_view(twin.view_id)
    there = ours[0] if ours else View(view_id=None, data={"type": "list", "target": "tasks"})
    if any(there.data.get(name) != value for name, value in wanted.items()):
        studio.save_view(project_id, View(view_id=there.view_id, data=dict(there.data) | wanted))


class QueueOrder:
    """Keeps the places of open tasks up to date; every call may be repeated."""

    def __init__(self, studio: OrderStudio, at_once: int) -> None:
        """
        Args:
            at_once: tasks changed in one call, the first of the order before the others.
        """
        self._studio = studio
        self._at_once = at_once
        self._settled: tuple[int, int, tuple[SampleId, ...]] | None = None
        self._prompts: dict[int, tuple[datetime | None, str]] = {}

    def sort(self, tasks: Sequence[AnnotationTask], order: Sequence[SampleId]) -> int:
        """Give the open tasks of a round the places that `order` says, and the last text prompt.

        Finished tasks are left alone, so what was pulled need not be pulled again. Only tasks
        that must move are written, at most `at_once`; the next call goes on. An order that was
        written whole costs nothing when it is asked for again.

        Returns:
            How many tasks were changed.
        """
        if not tasks or self._at_once == 0:
            return 0
        project_id, number = tasks[0].project_id, tasks[0].round_number
        if self._settled == (project_id, number, tuple(order)):
            return 0
        listed = self._studio.round_tasks(project_id, number)
        open_ = {str(t.data.get(SAMPLE)): t for t in listed if not t.is_finished}
        wanted = [open_[sample_id] for sample_id in order if sample_id in open_]
        places = new_places([_place(task) for task in wanted])
        prompt = self._last_prompt(project_id, [task for task in listed if task.is_finished])
        changes = [
            (task.task_id, data)
            for position, task in enumerate(wanted)
            if (data := _changed(task, places[position], prompt, position)) != dict(task.data)
        ]
        for task_id, data in changes[: self._at_once]:
            if not self._studio.set_task_data(task_id, data):
                logger.info("task %d is gone; it has no place", task_id)
        if len(changes) <= self._at_once:
            self._settled = (project_id, number, tuple(order))
        return min(len(changes), self._at_once)

    def _last_prompt(self, project_id: int, finished: Sequence[StudioTask]) -> str:
        """The words of the last submitted annotation that has any."""
        newest = sorted(
            (task for task in finished if task.submitted and task.updated_at is not None),
            key=lambda task: (task.updated_at, task.task_id),
            reverse=True,
        )[:_PROMPT_BACK]
        unread = [t.task_id for t in newest if self._seen(t) is None]
        for full in self._studio.full_tasks(project_id, unread) if unread else []:
            submitted = latest_submitted(full)
            written = prompt_in(submitted.regions) if submitted is not None else ""
            self._prompts[full.task_id] = (full.updated_at, written)
        return next((words for task in newest if (words := self._seen(task))), "")

    def _seen(self, task: StudioTask) -> str | None:
        at, words = self._prompts.get(task.task_id, (None, ""))
        return words if at is not None and at == task.updated_at else None


def prompt_in(regions: Iterable[Region]) -> str:
    """The words of the text prompt among an annotation's regions, "" when there are none."""
    for region in regions:
        value = region.get("value")
        if region.get("from_name") == PROMPT_TEXT and isinstance(value, Mapping):
            text = value.get("text")
            lines = text if isinstance(text, list) else [text]
            return " ".join(line.strip() for line in lines if isinstance(line, str)).strip()
    return ""


def new_places(places: Sequence[int | None]) -> list[int]:
    """Increasing places for tasks in their wanted order; most keep the place they have.

    What is in order already stays (a longest increasing subsequence); the others are spread
    between those that stay, as evenly as whole numbers allow. Where there is no room, the
    neighbour behind moves too.

    Args:
        places: what each task has now, in the wanted order; None: nothing that can be read.

    >>> new_places([1000, 2000, 3000])  # the one before them was done
    [1000, 2000, 3000]
    >>> new_places([3000, 1000, 2000])  # the last one comes first: one task moves
    [500, 1000, 2000]
    >>> new_places([1, 3, 2, None])  # no room between 1 and 2
    [1, 1001, 2001, 3001]
    """
    kept = _longest_increasing(places)
    while True:
        made, full = _filled(places, kept)
        if full is None:
            return made
        kept.remove(full)


def _filled(places: Sequence[int | None], kept: Sequence[int]) -> tuple[list[int], int | None]:
    """Places with these kept, or the kept one that must give way."""
    made: list[int] = []
    low, start = 0, 0
    for stop in kept:
        high, count = places[stop], stop - start
        assert high is not None
        if high - low - 1 < count:
            return [], stop
        made += [low + (high - low) * (i + 1) // (count + 1) for i in range(count)] + [high]
        low, start = high, stop + 1
    return made + [low + STEP * (i + 1) for i in range(len(places) - start)], None


def _longest_increasing(places: Sequence[int | None]) -> list[int]:
    """Positions of a longest strictly increasing subsequence of what is not None (patience)."""
    tails: list[int] = []
    heads: list[int] = []  # position of the last element of the best subsequence of each length
    before: dict[int, int | None] = {}
    for position, place in enumerate(places):
        if place is None or place <= 0:
            continue
        length = bisect_left(tails, place)
        before[position] = heads[length - 1] if length else None
        tails[length : length + 1] = [place]
        heads[length : length + 1] = [position]
    found: list[int] = []
    at = heads[-1] if heads else None
    while at is not None:
        found.append(at)
        at = before[at]
    return found[::-1]


def _place(task: StudioTask) -> int | None:
    text = str(task.data.get(RANK, ""))
    return int(text) if text.isascii() and text.isdigit() and len(text) == _DIGITS else None


def _changed(task: StudioTask, place: int, prompt: str, position: int) -> dict[str, object]:
    data = dict(task.data) | {RANK: place_text(place)}
    if prompt and position < _PROMPT_AHEAD:
        data[PROMPT] = prompt
    return data
