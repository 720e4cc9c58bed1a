"""INT-09: the next tasks of a project are prepared when somebody begins one."""

import threading
from collections.abc import Iterable, Mapping, Sequence

from annotation.assist.look_ahead import LookAhead
from lifelong.errors import LabelStudioUnavailableError


class Lists:
    """Tasks 1 to 9; tells what it was asked, and may be held up."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int, int]] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.is_down = False

    def tasks_to_come(
        self, project_id: int, *, after: int, count: int
    ) -> Sequence[tuple[int, Mapping[str, object]]]:
        self.asked.append((project_id, after, count))
        self.may_answer.wait(60)
        if self.is_down:
            raise LabelStudioUnavailableError("down")
        return [(n, {"image": f"{n}.jpg"}) for n in range(after + 1, min(after + count, 9) + 1)]


class Embedded:
    def __init__(self) -> None:
        self.tasks: list[tuple[int, list[int]]] = []

    def __call__(self, project: int, coming: Iterable[tuple[int, Mapping[str, object]]]) -> None:
        self.tasks.append((project, [number for number, _ in coming]))


def looked(ahead: LookAhead) -> None:
    """Wait for what was begun."""
    ahead._pool.submit(lambda: None).result(10)


def test_int_09_the_next_tasks_behind_the_one_that_was_begun_are_embedded() -> None:
    lists, embedded = Lists(), Embedded()
    ahead = LookAhead(lists, embedded, count=3)
    ahead.begun(7, 2)
    looked(ahead)
    assert embedded.tasks == [(7, [3, 4, 5])]


def test_int_09_the_second_click_on_a_task_asks_nothing() -> None:
    lists, embedded = Lists(), Embedded()
    ahead = LookAhead(lists, embedded, count=3)
    for _ in range(3):
        ahead.begun(7, 2)
        looked(ahead)
    ahead.begun(8, 2)
    looked(ahead)
    assert lists.asked == [(7, 2, 3), (8, 2, 3)]


def test_int_09_while_label_studio_thinks_only_the_newest_task_waits() -> None:
    lists, embedded = Lists(), Embedded()
    ahead = LookAhead(lists, embedded, count=1)
    lists.may_answer.clear()
    for task in (1, 2, 3, 4):
        ahead.begun(7, task)
    lists.may_answer.set()
    looked(ahead)
    assert len(lists.asked) <= 2 and lists.asked[-1] == (7, 4, 1)


def test_int_09_nobody_is_told_when_label_studio_is_down_and_the_next_one_is_tried() -> None:
    lists, embedded = Lists(), Embedded()
    ahead = LookAhead(lists, embedded, count=2)
    lists.is_down = True
    ahead.begun(7, 1)
    looked(ahead)
    lists.is_down = False
    ahead.begun(7, 2)
    looked(ahead)
    assert embedded.tasks == [(7, [3, 4])]


def test_nothing_is_looked_up_without_a_token_or_a_project() -> None:
    lists, embedded = Lists(), Embedded()
    LookAhead(None, embedded, count=3).begun(7, 1)
    LookAhead(lists, embedded, count=0).begun(7, 1)
    ahead = LookAhead(lists, embedded, count=3)
    ahead.begun(None, 1)
    ahead.begun(7, None)
    looked(ahead)
    assert not lists.asked and not embedded.tasks
