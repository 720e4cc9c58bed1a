"""What a step learns from: the new alone, the new with the replayed, or all from one pool."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lifelong.training.datasets import Pictures, draw, joined
from lifelong.training.lesson import Lesson

# Between all tasks alike and all pictures alike: what was learned from much has more to lose.
_BY_SIZE = 0.5


@dataclass(frozen=True, slots=True)
class Drawn:
    """The pictures of one step."""

    pictures: Pictures
    old: int  # how many of them, at the end, are replayed


# Makes, once for a run, what then draws each step's pictures.
Batches = Callable[[Lesson], Callable[[np.random.Generator], Drawn]]


def fresh(lesson: Lesson) -> Callable[[np.random.Generator], Drawn]:
    """The new pictures alone; the memory where nothing is new."""
    known = lesson.new if len(lesson.new) else lesson.memory

    def drawn(rng: np.random.Generator) -> Drawn:
        return Drawn(known.take(draw(known, lesson.section.batch_size, rng).tolist()), 0)

    return drawn


def replayed(lesson: Lesson) -> Callable[[np.random.Generator], Drawn]:
    """A part of every batch comes from the memory: of each old learning task as much as of the new.

    So the old ones' part grows with their number, up to `training.replay_share`.
    """
    size = lesson.section.batch_size
    tasks = len(set(lesson.memory.learning_tasks))
    old = round(size * min(lesson.section.replay_share, tasks / (tasks + 1)))
    old = min(old, size - 1)  # a batch without anything new would teach nothing
    if not old or not len(lesson.new):
        return fresh(lesson)

    def drawn(rng: np.random.Generator) -> Drawn:
        new = lesson.new.take(draw(lesson.new, size - old, rng).tolist())
        again = draw(lesson.memory, old, rng, by_size=_BY_SIZE)
        return Drawn(joined(new, lesson.memory.take(again.tolist())), old)

    return drawn


def pooled(lesson: Lesson) -> Callable[[np.random.Generator], Drawn]:
    """New and old from one pool, every learning task alike."""
    pool = joined(lesson.new, lesson.memory)

    def drawn(rng: np.random.Generator) -> Drawn:
        return Drawn(pool.take(draw(pool, lesson.section.batch_size, rng).tolist()), 0)

    return drawn
