"""Which samples examine instead of teaching, and for which learning task they do by now."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from lifelong.evaluation import Examined, Holdouts
from lifelong.learning_tasks import TaskNames
from lifelong.records.ids import SampleId


def held_back(
    tasks: Mapping[SampleId, str], count: int, examined: Collection[str]
) -> frozenset[SampleId]:
    """`count` samples to hold back; learning tasks that nothing examines yet come first.

    A new task of two samples or more gets its share of the places, one at least: otherwise the
    gate could not see it at all. The other places go to the last samples by id, whatever their
    task.

    Args:
        tasks: the learning task of every sample.
        examined: tasks that have hold-outs already.

    >>> found = held_back({"a": "fog", "b": "fog", "c": "day", "d": "day"}, 1, {"day"})
    >>> sorted(found)
    ['b']
    """
    chosen: list[SampleId] = []
    for task in sorted({*tasks.values()} - {*examined}):
        members = sorted((key for key, one in tasks.items() if one == task), reverse=True)
        places = max(1, count * len(members) // len(tasks))
        chosen += members[: min(places, len(members) - 1, count - len(chosen))]
    rest = sorted((key for key in tasks if key not in chosen), reverse=True)
    return frozenset([*chosen, *rest[: max(count - len(chosen), 0)]])


@dataclass(frozen=True, slots=True)
class JoinedHoldout:
    """Hold-outs of learning tasks that are one by now, one after the other."""

    parts: tuple[Iterable[Examined], ...]

    def __iter__(self) -> Iterator[Examined]:
        return chain.from_iterable(self.parts)


def by_todays_names(
    holdouts: Iterable[tuple[str, Iterable[Examined]]], names: TaskNames
) -> Holdouts:
    """Hold-outs under what their learning tasks are called by now; those of one task are joined."""
    parts: dict[str, list[Iterable[Examined]]] = {}
    for task, pictures in holdouts:
        parts.setdefault(names.now(task), []).append(pictures)
    return {
        task: found[0] if len(found) == 1 else JoinedHoldout(tuple(found))
        for task, found in parts.items()
    }
