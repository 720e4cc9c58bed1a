"""Learning tasks: named by attributes, seen or unseen."""

import doctest

from lifelong import learning_tasks as module
from lifelong.learning_tasks import is_unseen, learning_tasks, task_name
from tests.builders import a_sample


def test_the_doctests_hold():
    assert doctest.testmod(module).failed == 0


def test_a_name_is_fit_for_a_folder():
    assert task_name({"condition": "../etc"}) == "etc"
    assert task_name({"condition": " / "}) == "general"


def test_samples_are_grouped_in_the_order_the_tasks_were_met():
    samples = [
        a_sample(0, learning_task="night", class_pixels={0: 10}),
        a_sample(1, learning_task="day", class_pixels={1: 5}),
        a_sample(2, learning_task="night", class_pixels={0: 1, 2: 2}),
    ]
    tasks = learning_tasks(samples)
    assert list(tasks) == ["night", "day"]
    assert (samples[0].sample_id, samples[2].sample_id) == tasks["night"].samples
    assert tasks["night"].class_pixels == {0: 11, 2: 2}


def test_a_condition_that_no_task_stands_for_is_unseen():
    assert is_unseen({"condition": "fog"}, ["day", "night"])
    assert not is_unseen({"condition": "Night"}, ["day", "night"])
