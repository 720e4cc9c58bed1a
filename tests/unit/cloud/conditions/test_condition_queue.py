"""KB-06: a round sees enough of a new condition to learn it."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cloud.conditions.places import PlacesForConditions
from cloud.demo.scenes import draw_scene
from cloud.selecting.selection import Queue
from lifelong.knowledge_base import KnowledgeBase
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage, open_storage
from lifelong.records.ids import SampleId, VersionId, sample_id_of
from lifelong.records.keys import image_key
from lifelong.records.pixels import jpeg_from_image
from lifelong.records.samples import HardExample
from lifelong.sections.queue import QueueSection
from tests.builders import a_hard_example, a_mask_png, a_sample

SIZE = (32, 48)
VERSION = VersionId("00000000000000aa")


@pytest.fixture
def storage() -> Storage:
    return open_storage("memory://")


def stored(storage: Storage, seed: int, condition: str) -> SampleId:
    picture = jpeg_from_image(draw_scene(seed, condition, *SIZE).image)
    storage.put(image_key(sample_id_of(picture)), picture)
    return sample_id_of(picture)


def a_queue(storage: Storage, folder: Path) -> Queue:
    kb, journal = KnowledgeBase(storage), Journal(folder, "cloud")
    taught = [stored(storage, seed, "clear") for seed in range(30)]
    kb.add([a_sample(sample_id=key, learning_task="clear") for key in taught], why="test")
    return Queue(
        section=QueueSection(),
        kb=kb,
        storage=storage,
        journal=journal,
        bundle=lambda version: pytest.fail("no model is needed"),
    )


def waiting_ones(storage: Storage, known: int, **new: int) -> dict[str, list[HardExample]]:
    """Equally doubtful frames by condition, in storage."""
    found: dict[str, list[HardExample]] = {}
    for place, (condition, count) in enumerate({"clear": known, **new}.items(), 1):
        keys = [stored(storage, 1000 * place + seed, condition) for seed in range(count)]
        found[condition] = [
            a_hard_example(0, sample_id=key, sequence=number, image_key=image_key(key))
            for number, key in enumerate(keys)
        ]
    storage.put("mask.png", a_mask_png(0))
    return {c: [replace(e, mask_key="mask.png") for e in one] for c, one in found.items()}


def ids(examples: Iterable[HardExample]) -> frozenset[SampleId]:
    return frozenset(example.sample_id for example in examples)


def test_kb_06_of_12_unseen_frames_among_188_known_ones_a_round_of_24_takes_all(
    storage: Storage, tmp_path: Path
) -> None:
    """By chance a round would take 1.4 of them; the queue alone takes 4 of fog (diversity)."""
    waiting = waiting_ones(storage, 188, fog=12)
    fog = ids(waiting["fog"])
    queue = PlacesForConditions(a_queue(storage, tmp_path), lambda: {"c-1": (12, fog)})
    chosen = queue.choose(
        [*waiting["clear"], *waiting["fog"]], incumbent=VERSION, budget=24, at_least=1
    )
    assert len(chosen) == len(ids(chosen)) == 24
    assert len(ids(chosen) & fog) == 12


def test_two_open_conditions_share_half_of_the_round(storage: Storage, tmp_path: Path) -> None:
    waiting = waiting_ones(storage, 40, fog=10, night=10)
    everything = [example for part in waiting.values() for example in part]
    wanted = {name: (12, ids(waiting[name])) for name in ("fog", "night")}
    plain = a_queue(storage, tmp_path)
    chosen = PlacesForConditions(plain, lambda: wanted).choose(
        everything, incumbent=VERSION, budget=16, at_least=1
    )
    assert len(chosen) == len(ids(chosen)) == 16
    assert min(len(ids(chosen) & ids(waiting[name])) for name in wanted) >= 4


def test_without_open_conditions_the_choice_is_the_queues_own(
    storage: Storage, tmp_path: Path
) -> None:
    waiting = waiting_ones(storage, 12, fog=6)
    everything = [example for part in waiting.values() for example in part]
    plain = a_queue(storage, tmp_path)
    asked: dict[str, Any] = {"incumbent": VERSION, "budget": 8, "at_least": 1}
    own = plain.choose(everything, **asked)
    enough = {"c-1": (0, ids(waiting["fog"]))}  # people have seen twelve of it
    for queue in (PlacesForConditions(plain, dict), PlacesForConditions(plain, lambda: enough)):
        assert queue.choose(everything, **asked) == own
    fewer = PlacesForConditions(plain, lambda: enough)
    assert fewer.choose(everything[:3], incumbent=VERSION, budget=8, at_least=9) == ()
    assert fewer.order(everything, done=(), incumbent=VERSION) == plain.order(
        everything, done=(), incumbent=VERSION
    )
