"""The dataset bridge: each corrected sample once in the knowledge base and once in the index."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from cloud.job.dataset_index import append_to_index, open_dataset
from cloud.job.training_job import TrainingJob
from cloud.job.worker_files import index_lines
from cloud.learning.leak_watch import LeakWatch
from lifelong.config import JobSection, load_config
from lifelong.knowledge_base import KnowledgeBase
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage, open_storage
from lifelong.records.conditions import TaskMerge
from lifelong.records.ids import RoundNumber, SampleId, sha256_hex
from lifelong.records.keys import image_key
from lifelong.records.rounds import Round, RoundState
from lifelong.records.samples import Annotation, Sample, Split
from tests.builders import a_hard_example, a_jpeg, a_mask_png, a_round, a_sample
from tests.contract.test_storage import BUCKET, pointed_at, s3_server  # noqa: F401

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


# -- the index, in a folder and in a bucket -------------------------------------------------------


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path | str]:
    """Where a Dataset may lie."""
    if request.param == "folder":
        yield tmp_path / "dataset"
        return
    monkeypatch = request.getfixturevalue("monkeypatch")
    pointed_at(request.getfixturevalue("s3_server"), monkeypatch)
    yield f"s3://{BUCKET}/datasets/{uuid4().hex}"


def content(place: Path | str, name: str) -> bytes:
    return open_dataset(place).read(name)[0]


def test_k8s_04_tr_07_each_sample_has_one_line_and_its_files_lie_beside_it(
    place: Path | str, tmp_path: Path
) -> None:
    """K8S-04: handed over again after a restart, and by a second service."""
    storage = open_storage("memory://")
    round_ = a_handed_round(storage, 5)
    section = JobSection(dataset_path=place, train_share=0.8)
    for _ in range(3):
        journal = Journal(tmp_path / "journal", "cloud")
        TrainingJob(storage, KnowledgeBase(storage), section, journal).hand_over(round_)
    lines = content(place, "index.txt").decode().splitlines()
    assert len(lines) == len(set(lines)) == 5
    samples = KnowledgeBase(storage).samples
    for line in lines:
        image, mask = line.split(" ")
        sample = samples[SampleId(Path(image).stem)]
        assert sha256_hex(content(place, image)) == sample.image_sha256
        assert sha256_hex(content(place, mask)) == sample.mask_sha256
    train = [Path(line.split()[0]).stem for line in lines[: int(0.8 * 5)]]
    assert {samples[SampleId(key)].split for key in train} == {Split.TRAIN}


def test_k8s_04_lines_of_others_stay_as_they_are(place: Path | str) -> None:
    """A person may add comments, blank lines, and leave the last line without its end."""
    files = open_dataset(place)
    files.put("index.txt", b"# by hand\n\nother/a.jpg other/a.png")
    storage = open_storage("memory://")
    a_handed_round(storage, 2)
    samples = [stored_sample(storage, seed) for seed in range(2)]
    assert append_to_index(storage, place, "index.txt", samples) == 2
    assert append_to_index(storage, place, "index.txt", samples) == 0
    lines = content(place, "index.txt").decode().split("\n")
    assert lines[:3] == ["# by hand", "", "other/a.jpg other/a.png"]
    assert len(lines) == 6
    assert lines[-1] == ""


def test_k8s_04_two_writers_lose_no_line(
    place: Path | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody appends after we have read: we read again."""
    storage = open_storage("memory://")
    a_handed_round(storage, 2)
    real = open_dataset(place)
    kind = type(real)
    others = iter([b"theirs\n", b"theirs\nand more\n"])
    replace_, put = kind.replace, kind.put

    def late(self: object, name: str, data: bytes, mark: str) -> bool:
        theirs = next(others, None)
        if theirs is not None:
            put(real, name, theirs)
        return replace_(self, name, data, mark)  # type: ignore[arg-type]

    monkeypatch.setattr(kind, "replace", late)
    assert append_to_index(storage, place, "index.txt", [stored_sample(storage, 0)]) == 1
    lines = content(place, "index.txt").decode().splitlines()
    assert lines[:2] == ["theirs", "and more"]
    assert len(lines) == 3


def stored_sample(storage: Storage, seed: int, **changes: object) -> Sample:
    """A sample whose picture and mask `a_handed_round` put into storage."""
    return a_sample(seed, **changes)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_k8s_04_sednas_cut_always_leaves_a_line_to_train_on(
    share: float, count: int, tmp_path: Path
) -> None:
    """LLL-01: it rounds down for each batch; a single line at 0.9 would wait for ever."""
    storage = open_storage("memory://")
    a_job(storage, tmp_path, share).hand_over(a_handed_round(storage, count))
    lines = (tmp_path / "dataset/index.txt").read_text().splitlines()
    sednas_train = lines[: int(share * len(lines))]
    assert sednas_train, "Sedna's trigger counts these"
    assert index_lines(str(tmp_path / "dataset/index.txt")) == [
        line for line in lines if not line.startswith("#")
    ]
    assert not sednas_train[0].startswith("#")


@pytest.mark.parametrize("sednas", [0.2, 0.8, 1.0])
def test_k8s_04_a_picture_that_examines_never_trains_whatever_sednas_cut_was(
    sednas: float, tmp_path: Path
) -> None:
    """The split of the knowledge base decides; Sedna's cut is only the occasion."""
    storage = open_storage("memory://")
    a_job(storage, tmp_path, 0.5).hand_over(a_handed_round(storage, 6))
    kb = KnowledgeBase(storage)
    lines = (tmp_path / "dataset/index.txt").read_text().splitlines()
    handed = {Path(line.split()[0]).stem for line in lines[: int(sednas * len(lines))]}
    examines = {key for key, s in kb.samples.items() if s.split is Split.EVAL}
    trains = {sample.sample_id for sample in kb.not_learned_by(None)}
    assert len(examines) == len(trains) == 3
    assert not trains & examines
    assert handed - trains or trains - handed, "Sedna's cut is another one here"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"index": "index.tar.gz"}, "unpacks and deletes"),
        ({"index": "lines.ZIP"}, "unpacks and deletes"),
        ({"index": "a/index.txt"}, "plain file name"),
        ({"dataset_path": "http://host/dataset"}, "s3://bucket/prefix"),
        ({"dataset_path": "s3://"}, "s3://bucket/prefix"),
    ],
)
def test_k8s_02_what_sedna_cannot_read_is_refused(changes: dict[str, str], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        JobSection.model_validate(changes)


def test_k8s_02_a_dataset_may_lie_in_a_bucket(tmp_path: Path) -> None:
    """Relative folders start at the file; a bucket's URL stays as it is."""
    path = tmp_path / "config.yaml"
    path.write_text("job: {dataset_path: 's3://bucket/data/', index: lines.txt}")
    assert load_config(path).job.dataset_path == "s3://bucket/data"
    path.write_text("job: {dataset_path: data}")
    assert load_config(path).job.dataset_path == tmp_path / "data"


def test_k8s_04_a_full_disk_keeps_the_old_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_storage("memory://")
    round_ = a_handed_round(storage, 2)
    first = stored_sample(storage, 0)
    append_to_index(storage, tmp_path / "dataset", "index.txt", [first])
    before = (tmp_path / "dataset/index.txt").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lifelong.links.durable_files.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        append_to_index(
            storage, tmp_path / "dataset", "index.txt", [first, stored_sample(storage, 1)]
        )
    monkeypatch.undo()
    assert (tmp_path / "dataset/index.txt").read_bytes() == before
    a_job(storage, tmp_path).hand_over(round_)
    assert len(index_lines(str(tmp_path / "dataset/index.txt"))) == 2
