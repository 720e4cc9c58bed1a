"""KB-01, KB-02: a training and an examination say what they were made of."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from cloud.code_version import code_version, git_revision, source_sha256
from cloud.learning.records import examination_setting, training_records
from lifelong.evaluation import FileHoldout, StoredHoldout
from lifelong.knowledge.checks import verify
from lifelong.knowledge_base import KnowledgeBase
from lifelong.links.storage import Storage, open_storage
from lifelong.records.ids import VersionId
from lifelong.records.model_versions import ModelVersion
from lifelong.records.pixels import jpeg_from_image, png_from_mask
from lifelong.records.trainings import (
    DatasetVersion,
    ExemplarSet,
    LearningTaskVersion,
    Training,
    dataset_of_samples,
)
from tests.builders import NOON, a_jpeg, a_mask_png, a_sample
from tests.unit.cloud.knowledge.forgetting_room import a_version

ROOT = Path(__file__).parents[4]


def a_knowledge_base() -> tuple[Storage, KnowledgeBase]:
    storage = open_storage("memory://")
    kb = KnowledgeBase(storage)
    samples = [a_sample(seed, learning_task="day" if seed < 2 else "night") for seed in range(4)]
    for seed, sample in enumerate(samples):
        storage.put(sample.image_key, a_jpeg(seed))
        storage.put(sample.mask_key, a_mask_png(seed))
    kb.add(samples, why="samples")
    return storage, kb


def added(kb: KnowledgeBase, storage: Storage, version: ModelVersion) -> Training:
    records = training_records(version, kb, storage, code=code_version(), at=NOON, seconds=1.234)
    kb.add(records, why="trained")
    return kb.of(Training)[version.version_id]


def test_kb_01_a_training_leaves_data_set_memory_and_tasks() -> None:
    """KB-01: the exact samples with their masks, the replay memory with choice and budget."""
    storage, kb = a_knowledge_base()
    first = added(kb, storage, a_version("v", None, 0, 1))
    second = added(kb, storage, a_version("vv", "v", 2, 3, replayed=(0,)))
    samples = list(kb.samples.values())
    datasets = kb.of(DatasetVersion)
    assert datasets[first.dataset_id] == dataset_of_samples(samples[:2])
    assert datasets[second.dataset_id] == dataset_of_samples(samples[2:])
    memory = kb.of(ExemplarSet)[second.memory_id]
    assert datasets[memory.dataset_id] == dataset_of_samples(samples[:1])
    assert memory.size == len(a_jpeg(0)) + len(a_mask_png(0)) and memory.offered == 2
    assert first.memory_id == ""
    tasks = kb.of(LearningTaskVersion)
    assert list(first.tasks) == ["day"] and list(second.tasks) == ["day", "night"]
    assert first.tasks["day"] == second.tasks["day"]  # it did not change meanwhile
    assert tasks[second.tasks["night"]].samples == 2
    assert verify(storage).findings == ()


def test_a_training_that_was_recorded_before_is_not_recorded_twice() -> None:
    """The first model is made again when the process died before its release."""
    storage, kb = a_knowledge_base()
    version = a_version("v", None, 0)
    added(kb, storage, version)
    before = kb.changes
    again = training_records(version, kb, storage, code=code_version(), at=NOON, seconds=99.0)
    assert kb.add(again, why="trained again") == 0 and kb.changes == before


def test_kb_02_hold_outs_are_named_by_their_content(tmp_path: Path) -> None:
    """KB-02: what a model was judged on is the same data set wherever its files lie."""
    storage, kb = a_knowledge_base()
    image, mask = (
        jpeg_from_image(np.zeros((8, 8, 3), dtype=np.uint8)),
        png_from_mask(np.zeros((8, 8), dtype=np.uint8)),
    )
    paths = []
    for name in ("a", "b"):
        (tmp_path / f"{name}.jpg").write_bytes(image)
        (tmp_path / f"{name}.png").write_bytes(mask)
        paths.append((tmp_path / f"{name}.jpg", tmp_path / f"{name}.png"))
    samples = tuple(kb.samples.values())
    holdouts = {
        "fog": FileHoldout(tuple(paths[:1])),
        "moved": FileHoldout(tuple(paths[1:])),
        "night": StoredHoldout(samples[2:], storage),
        "odd": [],
    }
    setting = examination_setting(VersionId("v"), holdouts, code_version())
    found = {one.task: one for one in setting.holdouts}
    assert found["fog"].dataset_id == found["moved"].dataset_id != ""
    assert found["night"].dataset_id == dataset_of_samples(samples[2:]).dataset_id
    assert (found["night"].images, found["odd"].dataset_id) == (2, "")


def test_kb_02_the_code_is_named_by_package_revision_and_source(tmp_path: Path) -> None:
    """KB-02: the revision is git's own; the source is told also when it differs from that."""
    code = code_version()
    assert re.fullmatch(r"[0-9a-f]{64}", code.source_sha256)
    assert code.libraries["numpy"] == np.__version__
    (tmp_path / "room").mkdir()
    (tmp_path / "room/a.py").write_text("x = 1\n", encoding="utf-8")
    before = source_sha256([tmp_path / "room"])
    assert before == source_sha256([tmp_path / "room"])
    (tmp_path / "room/a.py").write_text("x = 2\n", encoding="utf-8")
    assert before != source_sha256([tmp_path / "room"])
    assert git_revision(tmp_path) == ""


@pytest.mark.parametrize("packed", [False, True])
def test_the_revision_is_what_git_says(tmp_path: Path, packed: bool) -> None:
    def git(*words: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@x.org"]
        done = subprocess.run(
            ["git", *who, *words], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "one")
    if packed:
        git("pack-refs", "--all")
    assert git_revision(tmp_path) == git("rev-parse", "HEAD")
    git("checkout", "-q", "--detach")
    assert git_revision(tmp_path) == git("rev-parse", "HEAD")
