"""The dataset bridge: each corrected sample once in the knowledge base and once in the index."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloud.leak_watch import LeakWatch
from cloud.training_job import TrainingJob, append_to_index
from cloud.worker_files import index_lines
from lifelong.config import JobSection
from lifelong.knowledge_base import KnowledgeBase
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage, open_storage
from lifelong.records.conditions import TaskMerge
from lifelong.records.ids import RoundNumber, SampleId, sha256_hex
from lifelong.records.keys import image_key
from lifelong.records.rounds import Round, RoundState
from lifelong.records.samples import Annotation, Sample, Split
from tests.builders import a_hard_example, a_jpeg, a_mask_png, a_round, a_sample

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def a_handed_round(storage: Storage, count: int) -> Round:
    """A round in TRAINING whose pictures and corrected masks lie in storage."""
    examples, annotations = [], []
    for seed in range(count):
        example = a_hard_example(seed, attributes={"condition": "night"})
        example = replace(example, image_key=image_key(example.sample_id))
        key = f"masks/{example.sample_id}/{seed + 1}.png"
        storage.put(example.image_key, a_jpeg(seed))
        storage.put(key, a_mask_png(seed))
        examples.append(example)
        annotations.append(
            Annotation(
                sample_id=example.sample_id,
                round_number=RoundNumber(1),
                annotation_id=seed + 1,
                annotator="anna",
                annotated_at=NOON,
                mask_key=key,
                mask_sha256=sha256_hex(a_mask_png(seed)),
                agreement=0.9,
                changed_pixels=3,
            )
        )
    return a_round(RoundState.TRAINING, examples=tuple(examples), annotations=tuple(annotations))


def a_job(storage: Storage, folder: Path, share: float = 0.8) -> TrainingJob:
    section = JobSection(dataset_path=folder / "dataset", train_share=share)
    return TrainingJob(storage, KnowledgeBase(storage), section, Journal(folder, "cloud"))


@pytest.mark.parametrize(("count", "share", "train"), [(5, 0.8, 4), (10, 0.9, 9), (1, 0.9, 1)])
def test_samples_are_cut_as_sedna_cuts_lines(
    count: int, share: float, train: int, tmp_path: Path
) -> None:
    """int(trainProb · n) train; a single sample trains, or it would never count."""
    storage = open_storage("memory://")
    round_ = a_handed_round(storage, count)
    a_job(storage, tmp_path, share).hand_over(round_)
    samples = list(KnowledgeBase(storage).samples.values())
    assert sum(s.split is Split.TRAIN for s in samples) == train
    assert len(samples) == count
    assert {s.learning_task for s in samples} == {"night"}
    assert all(sum(s.class_pixels.values()) == 64 * 48 for s in samples)


def test_handing_over_again_after_a_restart_changes_nothing(tmp_path: Path) -> None:
    storage = open_storage("memory://")
    round_ = a_handed_round(storage, 4)
    for _ in range(3):
        a_job(storage, tmp_path).hand_over(round_)
    folder = tmp_path / "dataset"
    lines = (folder / "index.txt").read_text().splitlines()
    assert len(lines) == len(set(lines)) == 4
    for line in lines:
        image, mask = line.split()
        assert (folder / image).is_file()
        assert (folder / mask).is_file()
    assert len(KnowledgeBase(storage).samples) == 4
    assert index_lines(str(folder / "index.txt")) == lines


def test_a_line_torn_by_a_crash_is_ended_and_its_sample_written_again(tmp_path: Path) -> None:
    storage = open_storage("memory://")
    round_ = a_handed_round(storage, 3)
    a_job(storage, tmp_path).hand_over(round_)
    index = tmp_path / "dataset" / "index.txt"
    whole = index.read_text()
    index.write_text(whole[:-10])
    a_job(storage, tmp_path).hand_over(round_)
    lines = index.read_text().splitlines()
    assert set(whole.splitlines()) <= set(lines)
    assert index.read_text().endswith("\n")


def test_nothing_is_appended_for_samples_that_are_there(tmp_path: Path) -> None:
    storage = open_storage("memory://")
    a_job(storage, tmp_path).hand_over(a_handed_round(storage, 2))
    samples: list[Sample] = list(KnowledgeBase(storage).samples.values())
    assert append_to_index(storage, tmp_path / "dataset", "index.txt", samples) == 0


def test_lll13_a_twin_of_a_hold_outs_picture_never_trains(tmp_path: Path) -> None:
    """LLL-13: it is put aside before training; journal, round and a restart say so."""
    storage = open_storage("memory://")
    place = tmp_path / "holdouts" / "day" / "eval"
    (place / "images").mkdir(parents=True)
    (place / "train_ids").mkdir()
    (place / "images" / "held.jpg").write_bytes(a_jpeg(1))
    (place / "train_ids" / "held.png").write_bytes(a_mask_png(1))
    round_ = a_handed_round(storage, 4)
    section = JobSection(dataset_path=tmp_path / "dataset", train_share=1.0)

    def hand_over() -> tuple[str, ...]:
        kb, journal = KnowledgeBase(storage), Journal(tmp_path, "cloud")
        return TrainingJob(storage, kb, section, journal, holdouts=tmp_path / "holdouts").hand_over(
            round_
        )

    (told,) = hand_over()
    leaking = round_.examples[1].sample_id
    assert told == f"{leaking} is day/held.jpg, of a hold-out: it never trains"
    samples = KnowledgeBase(storage).samples
    assert {key for key, s in samples.items() if s.split is Split.EVAL} == {leaking}
    assert hand_over() == (told,), "after a restart"
    journal = "".join(path.read_text() for path in (tmp_path / "cloud").iterdir())
    assert journal.count("samples.leaking") == 1


def test_lll13_a_twin_of_what_trains_already_does_not_examine(tmp_path: Path) -> None:
    """LLL-13: nor does a new sample train whose twin is held back in the same round."""
    storage = open_storage("memory://")
    kb = KnowledgeBase(storage)
    round_ = a_handed_round(storage, 4)
    a_job(storage, tmp_path, share=0.5).hand_over(round_)
    first = KnowledgeBase(storage).samples
    trains = next(s for s in first.values() if s.split is Split.TRAIN)
    examines = next(s for s in first.values() if s.split is Split.EVAL)
    twins = [
        replace(trains, sample_id=SampleId("a" * 16), split=Split.EVAL),
        replace(examines, sample_id=SampleId("b" * 16), split=Split.TRAIN),
    ]
    kb.refresh()
    settled = LeakWatch(storage, kb, None).settle(twins)
    assert [s.split for s in settled.samples] == [Split.TRAIN, Split.EVAL]
    assert len(settled.told) == 2


def test_kb_05_a_sample_has_the_task_that_was_found_for_it_and_keeps_it(tmp_path: Path) -> None:
    """A crash after the knowledge base and before the index: what was written counts."""
    storage = open_storage("memory://")
    round_ = a_handed_round(storage, 6)
    section = JobSection(dataset_path=tmp_path / "dataset", train_share=0.5)
    journal = Journal(tmp_path, "cloud")
    first = TrainingJob(storage, KnowledgeBase(storage), section, journal, lambda _: "fog")
    first.hand_over(round_)
    (tmp_path / "dataset" / "index.txt").unlink()
    kb = KnowledgeBase(storage)
    before = kb.of(Sample)
    kb.add([TaskMerge(number=1, tasks=("fog",), into="haze", by="anna", at=NOON)], why="a merge")
    TrainingJob(storage, kb, section, journal, lambda _: "night").hand_over(round_)
    assert {s.learning_task for s in kb.of(Sample).values()} == {"fog"}
    assert {s.learning_task for s in kb.samples.values()} == {"haze"}
    assert kb.of(Sample) == before
    lines = index_lines(str(tmp_path / "dataset" / "index.txt"))
    train = [key for key, s in before.items() if s.split is Split.TRAIN]
    assert [line.split()[0] for line in lines[:3]] == [f"images/{key}.jpg" for key in sorted(train)]


def test_kb_06_a_round_holds_some_of_a_new_task_back(tmp_path: Path) -> None:
    """Two of twenty are held back; one of them is of the task that nothing examines yet."""
    storage = open_storage("memory://")
    round_ = a_handed_round(storage, 20)
    ranked = sorted(example.sample_id for example in round_.examples)
    kb = KnowledgeBase(storage)
    kb.add([a_sample(999, learning_task="night", split=Split.EVAL)], why="test")
    section = JobSection(dataset_path=tmp_path / "dataset", train_share=0.9)
    fog = set(ranked[:6])
    job = TrainingJob(
        storage,
        kb,
        section,
        Journal(tmp_path, "cloud"),
        lambda example: "fog" if example.sample_id in fog else "night",
    )
    job.hand_over(round_)
    held_back = [s for s in kb.samples.values() if s.split is Split.EVAL and s.round_number == 1]
    tasks = sorted((s.learning_task, s.sample_id) for s in held_back if s.sample_id in ranked)
    assert tasks == [("fog", ranked[5]), ("night", ranked[-1])]
