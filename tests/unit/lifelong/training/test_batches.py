"""LLL-05: what a batch holds of the new and of every learning task before it."""

import numpy as np
import pytest

from lifelong.training.batches import replayed
from lifelong.training.datasets import draw, joined, no_pictures, pictures_from_pairs
from tests.unit.lifelong.training.lessons import DARK, HOW, LIGHT, a_lesson, scenes


def memory_of(tasks):
    """A memory with so many pictures of each task."""
    found = no_pictures(HOW)
    for name, count in tasks.items():
        pictures = pictures_from_pairs(scenes(count, DARK), HOW, learning_task=name)
        found = joined(found, pictures)
    return found


def a_batch(tasks, **changes):
    lesson = a_lesson(new=scenes(4, LIGHT), batch_size=12, **changes)
    lesson = type(lesson)(
        section=lesson.section,
        classes=lesson.classes,
        new=lesson.new,
        memory=memory_of(tasks),
        incumbent=None,
    )
    return replayed(lesson)(np.random.default_rng(0))


@pytest.mark.parametrize(
    ("tasks", "most", "old"),
    [
        ({}, 0.75, 0),
        ({"day": 3}, 0.75, 6),  # as much of day as of the new
        ({"day": 3, "dusk": 3}, 0.75, 8),  # a third each
        ({"day": 3, "dusk": 3, "fog": 3, "rain": 3}, 0.75, 9),  # the bound
        ({"day": 3}, 0.25, 3),
        ({"day": 3}, 0.0, 0),
        ({str(number): 1 for number in range(30)}, 1.0, 11),  # something new always
    ],
)
def test_lll_05_every_old_task_is_replayed_as_much_as_the_new_up_to_the_share(tasks, most, old):
    drawn = a_batch(tasks, replay_share=most)
    assert drawn.old == old
    assert len(drawn.pictures) == 12
    assert set(drawn.pictures.learning_tasks[: 12 - old]) == {"light"}
    assert set(drawn.pictures.learning_tasks[12 - old :]) <= set(tasks)


def test_what_was_learned_from_much_is_replayed_more_but_not_by_its_size():
    pictures = memory_of({"many": 64, "few": 4})
    shares = {}
    for power in (0.0, 0.5, 1.0):
        chosen = draw(pictures, 4000, np.random.default_rng(0), by_size=power)
        shares[power] = float(np.mean(np.array(pictures.learning_tasks)[chosen] == "many"))
    assert shares == pytest.approx({0.0: 1 / 2, 0.5: 8 / 10, 1.0: 16 / 17}, abs=0.03)
