"""Learning tasks: named by attributes, seen or unseen; what they are called by now."""

import doctest
from dataclasses import replace

from lifelong import learning_tasks as module
from lifelong.knowledge_base import KnowledgeBase
from lifelong.learning_tasks import TaskNames, is_unseen, learning_tasks, task_name
from lifelong.links.storage import open_storage
from lifelong.records.conditions import ConditionRuling, TaskMerge, Verdict
from lifelong.records.samples import Sample
from tests.builders import NOON, a_sample


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


def a_ruling(*seeds: int, name: str = "fog", **changes) -> ConditionRuling:
    ruling = ConditionRuling(
        condition_id="c-1",
        number=1,
        verdict=Verdict.NAMED,
        name=name,
        pictures=tuple(a_sample(seed).sample_id for seed in seeds),
        by="anna",
        at=NOON,
    )
    return replace(ruling, **changes)


def a_merge(number: int, *tasks: str, into: str) -> TaskMerge:
    return TaskMerge(number=number, tasks=tasks, into=into, by="anna", at=NOON)


def test_kb_06_samples_of_no_task_follow_the_condition_their_pictures_show():
    names = TaskNames([a_ruling(0, 1)])
    assert names.of(a_sample(0, learning_task="general")).learning_task == "fog"
    assert names.of(a_sample(1, learning_task="night")).learning_task == "night", "it was named"
    assert names.of(a_sample(2, learning_task="general")).learning_task == "general"


def test_a_dismissed_condition_takes_no_sample():
    dismissed = a_ruling(0, number=2, verdict=Verdict.DISMISSED, name="")
    names = TaskNames([dismissed, a_ruling(0)])
    assert names.of(a_sample(0, learning_task="general")).learning_task == "general"


def test_kb_06_merges_hold_in_their_order_and_names_may_be_taken_up_again():
    merges = [a_merge(2, "mist", into="haze"), a_merge(1, "fog", "haze", into="mist")]
    names = TaskNames([a_ruling(0)], merges)
    assert [names.now(task) for task in ("fog", "mist", "haze", "day")] == ["haze"] * 3 + ["day"]
    assert names.of(a_sample(0, learning_task="general")).learning_task == "haze"


def test_kb_06_the_knowledge_base_reads_samples_by_todays_names_and_keeps_what_was_written():
    storage = open_storage("memory://")
    kb = KnowledgeBase(storage)
    old = [a_sample(0, learning_task="fog"), a_sample(1, learning_task="general")]
    kb.add(old, why="test")
    kb.add([a_merge(1, "fog", into="mist"), a_ruling(1)], why="test")
    for reader in (kb, KnowledgeBase(storage)):
        assert [s.learning_task for s in reader.samples.values()] == ["mist", "mist"]
        assert list(reader.of(Sample).values()) == old
        assert reader.add(old, why="again") == 0, "they are known as they were written"
