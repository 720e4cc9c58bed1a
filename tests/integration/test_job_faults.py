"""K8S-04: five rounds through the local job with each of Sedna's faults, and what must hold after.

Every annotated sample is learned exactly once by what is released, the released model is never
worse than the one before, and no stuck state is left unexplained. Real workers, real knowledge
base, rounds and releases; what is learned is made up (tests/job_room.py). Three faults are
committed on real processes that train.
"""

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from cloud.assembly import Cloud, open_cloud
from cloud.first_model import Picture, begin_with_pictures
from cloud.job.faults import FAULTS, FaultPlan
from cloud.job.local_job import JobOptions, LocalJob
from cloud.job.manifest import load_manifest
from cloud.job.repair import Repairer, patience_for
from cloud.job.training_job import TrainingJob
from cloud.loop import Ports, advance
from lifelong.config import RoundsSection, load_config
from lifelong.model_bundle import read_bundle
from lifelong.records.ids import RoundNumber, sample_id_of, sha256_hex
from lifelong.records.keys import image_key
from lifelong.records.pixels import jpeg_from_image, png_from_mask
from lifelong.records.rounds import Round, RoundState
from lifelong.records.samples import Annotation
from tests.builders import NOON, a_hard_example
from tests.job_room import MANIFEST, Releasing, Room

pytestmark = [pytest.mark.integration, pytest.mark.slow]

# Faults that leave Sedna's job where nobody but people, or `--repair`, moves it on.
STOPS = {
    "early-exit": "marked this stage as done",
    "stuck-eval": "report was lost or never sent",
    "late-report": "marked this stage as done",
    "duplicate-report": "marked this stage as done",
    "swallowed-lines": "counted before and are gone",
    "failed-loses-samples": "never offers its lines again",
    "pod-deleted": "pod was deleted",
    "attached-to-old-pod": "counted before and are gone",
}


@pytest.mark.parametrize("fault", ["", *FAULTS])
def test_k8s_04_five_rounds_with_a_fault_learn_every_sample_once(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = Room(tmp_path, monkeypatch, faults=fault)
    try:
        assert room.play(rounds=5), room.diagnosis()
        states = [str(round_.state) for round_ in room.rounds.all()]
        assert states == ["released", "released", "refused", "released", "released"]
        assert set(room.times_trained().values()) == {1}, "each sample exactly once"
        assert room.released_qualities() == [0.5, 0.6, 0.7, 0.8], "never worse than before"
        current = room.releases.current()
        assert current is not None
        if (
            fault != "failed-eval"
        ):  # whose verdict was given, but Sedna copies only what is reported
            assert room.deployed() == current.version_id
        assert room.deployed() in {release.version_id for release in room.releases.history()}
        assert not room.diagnosis().is_stuck
        happened = {mark.split("@")[0] for mark in room.job.state.struck}
        assert happened == {fault} - {"", "answers-200"}, "the fault has really happened"
    finally:
        room.close()


@pytest.mark.parametrize(("fault", "told"), STOPS.items())
def test_k8s_04_without_repair_sednas_faults_stop_the_job_and_it_says_why(
    fault: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = Room(tmp_path, monkeypatch, faults=f"{fault}@2", repairs=False)
    try:
        for _ in range(10):  # a busy machine needs more ticks to get there
            room.play(rounds=2, ticks=60)
            found = room.diagnosis()
            if found.is_stuck:
                break
        assert found.is_stuck
        assert told in " ".join(found.reasons)
        assert found.reports or found.comment_lines, "and it says what frees it"
        room.repairs = True
        assert room.settle(200), "what `--repair` then does"
        assert set(room.times_trained().values()) == {1}
    finally:
        room.close()


def test_k8s_04_faults_at_once_and_the_job_killed_between_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One fault after the other, a new life of the job each round, and no state left stuck."""
    room = Room(tmp_path, monkeypatch, faults="all", seed=3)
    try:
        for _ in range(5):
            assert room.play(rounds=1), room.diagnosis()
            room.close()
            room.open_job()
        assert set(room.times_trained().values()) == {1}
        qualities = room.released_qualities()
        assert qualities == sorted(qualities)
        assert len(room.job.state.struck) >= 5
    finally:
        room.close()


def test_k8s_04_a_job_that_is_deleted_and_made_anew_trains_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Observed fault 9: a new job over the same outputDir starts at round 1, with all lines."""
    room = Room(tmp_path, monkeypatch)
    try:
        assert room.play(rounds=2)
        room.close()
        for path in sorted(room.state_dir.rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        room.open_job()
        assert room.play(rounds=3), room.diagnosis()
        assert set(room.times_trained().values()) == {1}
        assert room.released_qualities() == [0.5, 0.6, 0.7, 0.8]
    finally:
        room.close()


# -- real processes that train ---------------------------------------------------------------------


def a_picture(seed: int) -> Picture:
    """Sky over road, with the horizon and the colours varying."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((32, 48), dtype=np.uint8)
    mask[: int(rng.integers(10, 20))] = 10
    image = np.where(mask[..., None] == 10, [120, 160, 220], [90, 90, 90])
    noisy = np.clip(image + rng.integers(-20, 20, (32, 48, 3)), 0, 255).astype(np.uint8)
    return Picture(jpeg_from_image(noisy), mask)


def a_cloud(folder: Path) -> tuple[Cloud, Path]:
    """A first model, hold-outs, and the configuration file that workers read."""
    for task in ("day", "fog"):
        hold = folder / "holdouts" / task / "eval"
        for part in ("images", "train_ids"):
            (hold / part).mkdir(parents=True)
        picture = a_picture(900)
        (hold / "images" / "0.jpg").write_bytes(picture.image)
        (hold / "train_ids" / "0.png").write_bytes(png_from_mask(picture.mask))
    path = folder / "config.yaml"
    training = {"steps": 2, "batch_size": 2, "height": 32, "width": 48, "threads": 1}
    content: dict[str, Any] = {
        "storage": "storage",
        "holdouts": "holdouts",
        "journal_path": "journal",
        "training": training,
        "gate": {"max_forgetting": 1.0, "max_class_drop": 1.0, "min_gain": -1.0},
        "job": {
            "dataset_path": "host/data",
            "train_share": 0.8,
            "report_not_before_seconds": 0,
            "linger_seconds": 0,
        },
    }
    path.write_text(yaml.safe_dump(content))
    cloud = open_cloud(load_config(path))
    pictures = [a_picture(seed) for seed in range(6)]
    begin_with_pictures(cloud, pictures, "day", on_progress=lambda *_: None)
    return cloud, path


def a_round_in_training(cloud: Cloud, seeds: range) -> None:
    examples, annotations = [], []
    for seed in seeds:
        picture = a_picture(seed)
        sample_id, mask = sample_id_of(picture.image), png_from_mask(picture.mask)
        cloud.storage.put(image_key(sample_id), picture.image)
        cloud.storage.put(f"masks/{sample_id}/1.png", mask)
        example = a_hard_example(seed, attributes={"condition": "fog"}, sample_id=sample_id)
        examples.append(
            replace(example, image_key=image_key(sample_id), image_sha256=sha256_hex(picture.image))
        )
        annotations.append(
            Annotation(
                sample_id=sample_id,
                round_number=RoundNumber(1),
                annotation_id=seed,
                annotator="anna",
                annotated_at=NOON,
                mask_key=f"masks/{sample_id}/1.png",
                mask_sha256=sha256_hex(mask),
                agreement=0.9,
                changed_pixels=3,
            )
        )
    current = cloud.releases.current()
    cloud.rounds.save(
        Round(
            number=RoundNumber(1),
            state=RoundState.TRAINING,
            examples=tuple(examples),
            annotations=tuple(annotations),
            incumbent=current.version_id if current else None,
        )
    )


@pytest.mark.parametrize("fault", ["worker-killed", "lost-report", "double-start"])
def test_k8s_04_a_fault_on_real_workers_that_train(fault: str, tmp_path: Path) -> None:
    cloud, config = a_cloud(tmp_path)
    a_round_in_training(cloud, range(100, 105))
    path = tmp_path / "job.yaml"
    path.write_text(
        MANIFEST.replace("[train]", "[cornerloop, sedna-train]").replace(
            "[eval]", "[cornerloop, sedna-eval]"
        )
    )
    manifest = load_manifest(path)
    options = JobOptions(tick_seconds=0.2, faults=FaultPlan.parse(f"{fault}@1"))
    job = LocalJob(
        manifest,
        root=tmp_path / "host",
        state_dir=tmp_path / "state",
        config_path=config,
        options=options,
    )
    bridge = TrainingJob(cloud.storage, cloud.kb, cloud.config.job, cloud.journal)
    nobody: Any = None
    ports = Ports(
        inbox=nobody,
        selection=nobody,
        preannotator=nobody,
        annotators=nobody,
        job=bridge,
        releases=Releasing(cloud.releases),
    )
    stop = threading.Event()
    deadline = time.monotonic() + 400
    current: list[Round] = [cloud.rounds.get(RoundNumber(1))]

    def look() -> None:
        """The service's look, and the job's own."""
        if not current[0].is_over:
            after = advance(current[0], [], ports, RoundsSection())
            if after is not current[0]:
                cloud.rounds.save(after)
                current[0] = after
        repairer.look()
        last = job.state.last
        idle = last is not None and last.name == "Train/Waiting" and job.state.rounds_begun > 0
        quiet = not (job.state.repairs_due or job.state.rival_name)
        deployed = (tmp_path / "host/out/j1/deploy/index.pkl").exists()
        if (current[0].is_over and idle and quiet and deployed) or time.monotonic() > deadline:
            stop.set()

    repairer = Repairer(
        manifest,
        job.files,
        job.book,
        append_report=job.append_report,
        awaits_training=lambda: not current[0].is_over,
        patience=patience_for(0.2),
    )
    job.run(stop, look)
    assert current[0].state is RoundState.RELEASED, repairer.diagnosis()
    assert job.state.struck == [f"{fault}@1"]
    cloud.kb.refresh()
    released = cloud.releases.current()
    assert released is not None
    version = cloud.kb.versions[released.version_id]
    assert version.round_number == 1
    assert len(version.trained_on) == 4
    assert len(cloud.kb.versions) == 2, "one candidate, whoever trained it and however often"
    deployed = tmp_path / "host/out/j1/deploy/index.pkl"
    assert read_bundle(deployed.read_bytes(), "deployed").version_id == released.version_id
