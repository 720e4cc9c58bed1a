"""Sedna's train and eval workers: environment in, one bundle out, one report, safe to repeat."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest

from cloud.assembly import Cloud, open_cloud
from cloud.first_model import Picture, begin_with_pictures
from cloud.sedna_eval import eval_worker
from cloud.sedna_train import train_worker
from lifelong.config import Config, GateSection, TrainingSection
from lifelong.errors import ReportRefusedError, SednaError
from lifelong.links.sedna import (
    LcReporter,
    ReportedModel,
    WorkerEnvironment,
    WorkerKind,
    read_environment,
)
from lifelong.model_bundle import read_bundle
from lifelong.records.ids import RoundNumber, sample_id_of, sha256_hex
from lifelong.records.keys import image_key
from lifelong.records.pixels import jpeg_from_image, png_from_mask
from lifelong.records.rounds import Round, RoundState
from lifelong.records.samples import Sample
from tests.builders import a_hard_example, a_sample

TRAINING = TrainingSection(steps=2, batch_size=2, height=32, width=48, threads=1)


class Recorder:
    """Keeps reports instead of sending them."""

    def __init__(self) -> None:
        self.reports: list[object] = []

    def completed(self, model: ReportedModel | None) -> None:
        self.reports.append(model)

    def failed(self) -> None:
        self.reports.append("failed")


def a_picture(seed: int) -> Picture:
    """Sky over road, with the horizon and the colours varying."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((32, 48), dtype=np.uint8)
    mask[: int(rng.integers(10, 20))] = 10
    image = np.where(mask[..., None] == 10, [120, 160, 220], [90, 90, 90])
    noisy = np.clip(image + rng.integers(-20, 20, (32, 48, 3)), 0, 255).astype(np.uint8)
    return Picture(jpeg_from_image(noisy), mask)


def add_sample(cloud: Cloud, seed: int, task: str) -> Sample:
    picture = a_picture(seed)
    sample_id, mask = sample_id_of(picture.image), png_from_mask(picture.mask)
    cloud.storage.put(image_key(sample_id), picture.image)
    cloud.storage.put(f"masks/{sample_id}/1.png", mask)
    sample = a_sample(
        sample_id=sample_id,
        image_sha256=sha256_hex(picture.image),
        mask_key=f"masks/{sample_id}/1.png",
        mask_sha256=sha256_hex(mask),
        learning_task=task,
        class_pixels={0: 1, 10: 1},
    )
    cloud.kb.add([sample], why="test")
    return sample


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    """A first model that knows `day`, and a round in TRAINING with samples of `fog`."""
    for task in ("day", "fog"):
        for part in ("images", "train_ids"):
            (tmp_path / "holdouts" / task / "eval" / part).mkdir(parents=True)
        for seed in range(3):
            picture = a_picture(900 + seed)
            folder = tmp_path / "holdouts" / task / "eval"
            (folder / "images" / f"{seed}.jpg").write_bytes(picture.image)
            (folder / "train_ids" / f"{seed}.png").write_bytes(png_from_mask(picture.mask))
    config = Config(
        storage=str(tmp_path / "storage"),
        holdouts=tmp_path / "holdouts",
        journal_path=tmp_path / "journal",
        training=TRAINING,
        gate=GateSection(max_forgetting=1.0, max_class_drop=1.0),
    )
    opened = open_cloud(config)
    pictures = [a_picture(seed) for seed in range(6)]
    begin_with_pictures(opened, pictures, "day", on_progress=lambda *_: None)
    for seed in range(100, 104):
        add_sample(opened, seed, "fog")
    opened.rounds.save(
        Round(
            number=RoundNumber(1),
            state=RoundState.TRAINING,
            examples=(a_hard_example(0),),
            incumbent=opened.releases.current().version_id,  # type: ignore[union-attr]
        )
    )
    return opened


def environment(tmp_path: Path, stage: str) -> WorkerEnvironment:
    root = tmp_path / "host"
    return WorkerEnvironment(
        namespace="ns",
        job_name="j1",
        worker_name=f"{stage}-worker-abcde",
        lc_server="http://127.0.0.1:9",
        output_url=f"{root}/out/{stage}/1",
        dataset_url=f"{root}/out/data/{stage}/1/data.txt",
        original_dataset_url=f"{root}/data/index.txt",
        model_urls=(f"{root}/out/train/1/index.pkl",) if stage == "eval" else (),
        data_path_prefix=str(root),
    )


def run_train(cloud: Cloud, tmp_path: Path) -> Recorder:
    recorder = Recorder()
    train_worker(
        environment(tmp_path, "train"), cloud.config, cloud.storage, tmp_path / "work", recorder
    )
    return recorder


def run_eval(cloud: Cloud, tmp_path: Path) -> Recorder:
    recorder = Recorder()
    eval_worker(environment(tmp_path, "eval"), cloud.config, cloud.storage, recorder)
    return recorder


def test_a_round_is_trained_judged_and_recorded_and_repeating_changes_nothing(
    cloud: Cloud, tmp_path: Path
) -> None:
    first = run_train(cloud, tmp_path)
    (model,) = first.reports
    assert isinstance(model, ReportedModel)
    output = Path(model.url)
    bundle = read_bundle(output.read_bytes(), str(output))
    cloud.kb.refresh()
    version = cloud.kb.candidate_of(RoundNumber(1))
    assert version is not None
    assert version.version_id == bundle.version_id
    assert len(version.trained_on) == 4
    assert set(cloud.kb.tasks_learned_by(version.version_id)) == {"day", "fog"}
    assert run_train(cloud, tmp_path).reports == first.reports, "the same round, the same candidate"
    verdict = run_eval(cloud, tmp_path)
    cloud.kb.refresh()
    examination = cloud.kb.examinations[version.version_id]
    assert set(examination.candidate.tasks) == {"day", "fog"}
    assert run_eval(cloud, tmp_path).reports == verdict.reports
    assert len(cloud.kb.versions) == 2


def test_lll07_a_refused_candidate_is_completed_without_a_model(
    cloud: Cloud, tmp_path: Path
) -> None:
    """LLL-07: that is how Sedna is told to keep what is deployed."""
    strict = cloud.config.model_copy(update={"gate": GateSection(min_gain=0.99)})
    run_train(cloud, tmp_path)
    recorder = Recorder()
    eval_worker(environment(tmp_path, "eval"), strict, cloud.storage, recorder)
    assert recorder.reports == [None]
    assert not (tmp_path / "host/out/eval/1/index.pkl").exists()
    cloud.kb.refresh()
    (examination,) = cloud.kb.examinations.values()
    assert any("no gain" in reason for reason in examination.decision.reasons)


def test_a_training_failure_is_recorded_and_reported(cloud: Cloud, tmp_path: Path) -> None:
    current = cloud.releases.current()
    assert current is not None
    cloud.storage.delete(f"models/{current.version_id}.safetensors")
    assert run_train(cloud, tmp_path).reports == ["failed"]
    cloud.kb.refresh()
    assert "weights are not in storage" in cloud.kb.failures[RoundNumber(1)].reason


def test_a_damaged_model_is_not_judged(cloud: Cloud, tmp_path: Path) -> None:
    run_train(cloud, tmp_path)
    path = tmp_path / "host/out/train/1/index.pkl"
    path.write_bytes(path.read_bytes()[:-10])
    assert run_eval(cloud, tmp_path).reports == ["failed"]


def test_the_tail_of_an_older_longer_file_is_not_read(cloud: Cloud, tmp_path: Path) -> None:
    """Sedna's copy does not truncate: the new bundle lies over the old one."""
    run_train(cloud, tmp_path)
    path = tmp_path / "host/out/train/1/index.pkl"
    whole = path.read_bytes()
    path.write_bytes(whole + b"the tail of something longer")
    assert read_bundle(path.read_bytes(), "x") == read_bundle(whole, "x")


# -- the report, as the local controller must get it ----------------------------------------------


class Controller:
    """A local controller that answers as it is told and keeps what it gets."""

    def __init__(self, status: int = 200) -> None:
        self.bodies: list[dict[str, object]] = []
        self.paths: list[str] = []
        controller = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                controller.paths.append(self.path)
                controller.bodies.append(json.loads(self.rfile.read(length)))
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture(params=[200])
def controller(request: pytest.FixtureRequest) -> Iterator[Controller]:
    made = Controller(request.param)
    yield made
    made.server.shutdown()
    made.server.server_close()


SEDNA = {
    "NAMESPACE": "sedna",
    "JOB_NAME": "ll-demo",
    "WORKER_NAME": "train-worker-nsccq",
    "KB_SERVER": "http://localhost:9020",
    "DATA_PATH_PREFIX": "/home/data",
    "OUTPUT_URL": "/home/data/output/train/2",
    "TRAIN_DATASET_URL": "/home/data/output/data/train/2/data.txt",
    "ORIGINAL_DATASET_URL": "/home/data/data/train.txt",
    "HAS_COMPLETED_INITIAL_TRAINING": "true",
    "CLOUD_KB_INDEX": "/output/train/1/index.pkl",
}


def test_the_report_is_the_one_that_sednas_controller_takes(controller: Controller) -> None:
    """Golden message of a running Sedna: host path, lower-case kind of owner, one result."""
    where = read_environment(WorkerKind.TRAIN, {**SEDNA, "LC_SERVER": controller.url})
    assert where.previous_index == "/home/data/output/train/1/index.pkl"
    slept: list[float] = []
    reporter = LcReporter(
        where, WorkerKind.TRAIN, not_before_s=15, linger_s=20, clock=lambda: 0, sleep=slept.append
    )
    reporter.completed(
        ReportedModel(
            url="/home/data/output/train/2/index.pkl",
            metrics={"mIoU": np.float32(0.5)},  # type: ignore[dict-item]
            current_metric={"day": {"mIoU": 0.25}},
            classes=("road", "sky"),
        )
    )
    assert controller.paths == ["/sedna/workers/train-worker-nsccq/info"]
    assert controller.bodies == [
        {
            "name": "train-worker-nsccq",
            "namespace": "sedna",
            "ownerName": "ll-demo",
            "ownerKind": "lifelonglearningjob",
            "kind": "train",
            "status": "completed",
            "results": [
                {
                    "format": "pkl",
                    "url": "/output/train/2/index.pkl",
                    "metrics": {"mIoU": 0.5},
                    "current_metric": {"day": {"mIoU": 0.25}},
                    "classes": ["road", "sky"],
                }
            ],
        }
    ]
    assert slept == [15, 20], "late, and alive afterwards"


@pytest.mark.parametrize("controller", [400], indirect=True)
def test_a_report_that_is_refused_is_an_error(controller: Controller) -> None:
    where = read_environment(WorkerKind.TRAIN, {**SEDNA, "LC_SERVER": controller.url})
    reporter = LcReporter(where, WorkerKind.TRAIN, not_before_s=0, linger_s=0)
    with pytest.raises(ReportRefusedError, match="400"):
        reporter.failed()


def test_a_train_worker_never_reports_completed_without_a_model() -> None:
    """It would leave the job in Eval/Waiting for ever."""
    where = read_environment(WorkerKind.TRAIN, {**SEDNA, "LC_SERVER": "http://127.0.0.1:9"})
    with pytest.raises(SednaError, match="one model or"):
        LcReporter(where, WorkerKind.TRAIN, not_before_s=0, linger_s=0).completed(None)


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(SednaError, match="LC_SERVER"):
        read_environment(WorkerKind.TRAIN, SEDNA)


def test_s3_urls_pass_through_without_a_prefix() -> None:
    s3 = {
        k: v.replace("/home/data", "s3:/") for k, v in SEDNA.items() if k != "DATA_PATH_PREFIX"
    } | {"LC_SERVER": "http://127.0.0.1:9", "CLOUD_KB_INDEX": "s3://output/train/1/index.pkl"}
    where = read_environment(WorkerKind.TRAIN, s3)
    assert where.host_url("s3://output/train/2/index.pkl") == "s3://output/train/2/index.pkl"
    assert where.previous_index == "s3://output/train/1/index.pkl"
