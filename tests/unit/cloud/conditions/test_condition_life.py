"""KB-06: the whole life of a condition nobody named, with the real workers on tiny pictures."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from cloud.assembly import Cloud, make_conditions, open_cloud
from cloud.conditions.grouping import Conditions
from cloud.conditions.rulings import merge_tasks, name_condition, standing
from cloud.first_model import Picture, begin_with_pictures
from cloud.job.training_job import TrainingJob
from cloud.sedna_eval import examine
from cloud.sedna_train import train_worker
from lifelong.config import Config, JobSection, TrainingSection
from lifelong.links.journal import Journal
from lifelong.links.sedna import ReportedModel, WorkerEnvironment
from lifelong.records.conditions import Condition
from lifelong.records.ids import RoundNumber, sample_id_of, sha256_hex
from lifelong.records.keys import edge_mask_key, example_record_key, image_key
from lifelong.records.pixels import image_from_bytes, jpeg_from_image, png_from_mask
from lifelong.records.rounds import Round, RoundState
from lifelong.records.samples import Annotation, HardExample, Split
from lifelong.records.wire import to_json
from lifelong.segmenter import OnnxSegmenter
from tests.builders import NOON, a_hard_example

TRAINING = TrainingSection(steps=2, batch_size=2, height=32, width=48, threads=1)
FIRST = RoundNumber(1)


def a_picture(seed: int, *, night: bool = False) -> Picture:
    """Sky over road, with the horizon and the colours varying; at night a tenth of the light."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((32, 48), dtype=np.uint8)
    mask[: int(rng.integers(10, 20))] = 10
    image = np.where(mask[..., None] == 10, [120, 160, 220], [90, 90, 90])
    noisy = np.clip(image + rng.integers(-20, 20, (32, 48, 3)), 0, 255)
    return Picture(jpeg_from_image((noisy / (10 if night else 1)).astype(np.uint8)), mask)


def arrived(cloud: Cloud, seeds: range, *, night: bool = False) -> list[HardExample]:
    """Examples as an edge with the newest model sends them, admitted."""
    bundle = cloud.releases.incumbent()
    assert bundle is not None
    segmenter = OnnxSegmenter(bundle, threads=1)
    examples = []
    for seed in seeds:
        picture = a_picture(seed, night=night)
        said = segmenter.segment(image_from_bytes(picture.image, "test"))
        sample_id, mask = sample_id_of(picture.image), png_from_mask(said.mask)
        example = a_hard_example(
            sample_id=sample_id,
            sequence=seed,
            captured_at=NOON + timedelta(hours=10 if night else 0, minutes=seed),
            version_id=bundle.version_id,
            image_key=image_key(sample_id),
            image_sha256=sha256_hex(picture.image),
            mask_key=edge_mask_key(sample_id),
            mask_sha256=sha256_hex(mask),
            height=32,
            width=48,
            attributes={"site": "north"},
            novelty=said.novelty,
            embedding=tuple(said.embedding.tolist()),
        )
        cloud.storage.put(example.image_key, picture.image)
        cloud.storage.put(example.mask_key, mask)
        cloud.storage.put(example_record_key(sample_id), to_json(example))
        examples.append(example)
    return examples


def annotated(cloud: Cloud, examples: list[HardExample]) -> Round:
    """A round in which people corrected all of them."""
    annotations = []
    for example in examples:
        mask = png_from_mask(a_picture(example.sequence).mask)
        key = f"masks/{example.sample_id}/1.png"
        cloud.storage.put(key, mask)
        annotations.append(
            Annotation(
                sample_id=example.sample_id,
                round_number=FIRST,
                annotation_id=example.sequence,
                annotator="anna",
                annotated_at=NOON,
                mask_key=key,
                mask_sha256=sha256_hex(mask),
                agreement=0.9,
                changed_pixels=3,
            )
        )
    release = cloud.releases.current()
    assert release is not None
    return Round(
        number=FIRST,
        state=RoundState.TRAINING,
        examples=tuple(examples),
        annotations=tuple(annotations),
        incumbent=release.version_id,
    )


class Recorder:
    """Keeps reports instead of sending them."""

    def __init__(self) -> None:
        self.reports: list[object] = []

    def completed(self, model: ReportedModel | None) -> None:
        self.reports.append(model)

    def failed(self) -> None:
        self.reports.append("failed")


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Cloud:
    """A first model that knows `day` only."""
    folder = tmp_path_factory.mktemp("life")
    config = Config(
        storage=str(folder / "storage"),
        journal_path=folder / "journal",
        training=TRAINING,
        job=JobSection(dataset_path=folder / "dataset", train_share=0.8),
    )
    opened = open_cloud(config)
    day = [a_picture(seed) for seed in range(40)]
    begin_with_pictures(opened, day, "day", on_progress=lambda *_: None)
    return opened


def journal_events(cloud: Cloud, name: str) -> list[dict]:
    lines = [
        json.loads(line)
        for path in Path(cloud.config.journal_path).rglob("*")
        if path.is_file()
        for line in path.read_text().splitlines()
    ]
    return [line for line in lines if line.get("event") == name]


def state_of(cloud: Cloud, conditions: Conditions, condition: Condition) -> str:
    cloud.kb.refresh()
    return standing(cloud.kb, condition, conditions.known_tasks).state


def trained(cloud: Cloud, folder: Path) -> None:
    """What Sedna does with the round: train, examine; then the service releases."""
    environment = WorkerEnvironment(
        namespace="ns",
        job_name="j1",
        worker_name="train-worker-abcde",
        lc_server="http://127.0.0.1:9",
        output_url=f"{folder}/out/train/1",
        dataset_url=f"{folder}/data.txt",
        original_dataset_url=f"{folder}/index.txt",
        model_urls=(),
        data_path_prefix=str(folder),
    )
    train_worker(environment, cloud.config, cloud.storage, folder / "work", Recorder())


def test_kb_06_unseen_pictures_become_a_cluster_a_named_task_a_trained_one_and_are_merged(
    cloud: Cloud, tmp_path: Path
) -> None:
    conditions = make_conditions(cloud)
    day, night = arrived(cloud, range(100, 112)), arrived(cloud, range(200, 218), night=True)

    # Proposed: the unseen pictures that are alike, and no other.
    (condition,) = conditions.look([*day, *night])
    assert set(condition.pictures) == {example.sample_id for example in night}
    assert condition.name == "day-darker"
    assert "darker than day" in condition.about and "site north" in condition.about
    assert condition.novelty >= 0.6 and condition.nearest == "day"
    assert state_of(cloud, conditions, condition) == "proposed"
    assert conditions.look([*day, *night]) == [], "once"
    (told,) = journal_events(cloud, "condition.proposed")
    assert told["condition_id"] == condition.condition_id

    # KB-05: data decide; what has no name yet is general.
    # A familiar picture may lie beyond what nineteen in twenty reach; it is general then.
    found = [conditions.task_of(example) for example in day]
    assert set(found) <= {"day", "general"} and found.count("day") >= 10
    assert {conditions.task_of(example) for example in night} == {"general"}

    # Named: from now on its pictures are samples of it.
    name_condition(
        cloud.kb, condition.condition_id, "Night", condition.pictures, "anna", lambda: NOON
    )
    assert state_of(cloud, conditions, condition) == "named"
    assert {conditions.task_of(example) for example in night} == {"night"}

    # Annotated: a round whose samples carry the task, some of them held back.
    round_ = annotated(cloud, [*day[:6], *night])
    cloud.rounds.save(round_)
    job = TrainingJob(cloud.storage, cloud.kb, cloud.config.job, cloud.journal, conditions.task_of)
    job.hand_over(round_)
    samples = [s for s in cloud.kb.samples.values() if s.round_number == FIRST]
    assert {(s.learning_task, s.split) for s in samples if s.learning_task == "night"} == {
        ("night", Split.TRAIN),
        ("night", Split.EVAL),
    }
    assert state_of(cloud, conditions, condition) == "annotated"

    # Trained, examined on its own hold-out, released: now the model itself knows it.
    trained(cloud, tmp_path)
    cloud.kb.refresh()
    version = cloud.kb.candidate_of(FIRST)
    assert version is not None
    assert state_of(cloud, conditions, condition) == "trained"
    bundle = cloud.releases.bundle(version.version_id)
    assert set(bundle.manifest.familiarity.prototypes) == {"day", "night"}
    examination = examine(bundle, cloud.config, cloud.storage, Journal(tmp_path, "eval"))
    held_out = [s for s in samples if s.learning_task == "night" and s.split is Split.EVAL]
    assert examination.candidate.tasks["night"].images == len(held_out)
    cloud.releases.publish(version.version_id, FIRST, "round 1 accepted")
    assert state_of(cloud, conditions, condition) == "known"

    # Pictures that an older model judged are looked at again by the new one.
    late = [replace(one, version_id=condition.version_id) for one in arrived_later(cloud)]
    assert {conditions.task_of(example) for example in late} == {"night"}
    assert conditions.look(late) == []

    # Merged: samples, hold-outs and the model's own names follow.
    merge_tasks(cloud.kb, ["night", "day"], "any light", known=(), by="anna", now=lambda: NOON)
    assert state_of(cloud, conditions, condition) == "merged"
    assert {s.learning_task for s in cloud.kb.samples.values()} == {"any-light"}
    assert conditions.known_tasks == ("any-light",)
    assert {conditions.task_of(example) for example in [*day, *late]} == {"any-light"}
    assert cloud.kb.tasks_learned_by(version.version_id) == ["any-light"]


def arrived_later(cloud: Cloud) -> list[HardExample]:
    """Night again, with embeddings of no use: those of another model."""
    return [
        replace(one, embedding=tuple(0.0 for _ in one.embedding))
        for one in arrived(cloud, range(300, 306), night=True)
    ]
