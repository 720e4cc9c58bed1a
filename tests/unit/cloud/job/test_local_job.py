"""The local job: Sedna's states and environment, real worker processes, killed for real."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import yaml

from cloud.job.local_job import JobOptions, LocalJob
from cloud.job.manifest import load_manifest
from cloud.job.states import read_state
from lifelong.errors import ConfigError

# A worker in a few lines: writes its environment down, then does what its folder tells it to.
WORKER = r"""
import json, os, sys, time, urllib.request, pathlib
env = dict(os.environ)
root = pathlib.Path(env["DATA_PATH_PREFIX"])
with open(root / "seen.jsonl", "a") as f:
    f.write(json.dumps(env) + "\n")
kind = "train" if "TRAIN_DATASET_URL" in env else "eval"
plan = json.loads((root / "plan.json").read_text())
todo = plan.get(kind, [])
step = todo.pop(0) if todo else "good"
(root / "plan.json").write_text(json.dumps(plan))
if step == "crash":
    sys.exit(3)
if step == "silent":
    sys.exit(0)
if step == "slow":
    (root / "slow.pid").write_text(str(os.getpid()))
    time.sleep(3)
out = pathlib.Path(env["OUTPUT_URL"])
out.mkdir(parents=True, exist_ok=True)
(out / "index.pkl").write_bytes(b"bundle of " + env["OUTPUT_URL"].encode())
url = str(out / "index.pkl")[len(env["DATA_PATH_PREFIX"]):]
results = [] if step in ("refuse", "failed") else [{"format": "pkl", "url": url}]
body = {"name": env["WORKER_NAME"], "namespace": env["NAMESPACE"], "ownerName": env["JOB_NAME"],
        "ownerKind": "lifelonglearningjob", "kind": kind,
        "status": "failed" if step == "failed" else "completed", "results": results}
request = urllib.request.Request(
    env["LC_SERVER"] + "/sedna/workers/" + env["WORKER_NAME"] + "/info",
    json.dumps(body).encode(), {"Content-Type": "application/json"})
for _ in range(50):
    try:
        urllib.request.urlopen(request, timeout=5).read()
        break
    except OSError:
        time.sleep(0.2)
"""


def a_manifest(folder: Path, **spec: object) -> Path:
    template = {
        "spec": {
            "containers": [
                {
                    "name": "worker",
                    "image": "none",
                    "command": ["python3", "-c", WORKER],
                    "env": [{"name": "FROM_TEMPLATE", "value": "yes"}],
                }
            ]
        }
    }
    trigger = {"condition": {"metric": "num_of_samples", "operator": ">=", "threshold": 2}}
    job = {
        "apiVersion": "sedna.io/v1alpha1",
        "kind": "LifelongLearningJob",
        "metadata": {"name": "j1", "namespace": "ns"},
        "spec": {
            "dataset": {"name": "d1", "trainProb": 0.8},
            "outputDir": "/out/j1",
            "trainSpec": {"trigger": trigger, "template": template},
            "evalSpec": {"template": template},
            "deploySpec": {"template": template},
            **spec,
        },
    }
    dataset = {
        "apiVersion": "sedna.io/v1alpha1",
        "kind": "Dataset",
        "metadata": {"name": "d1", "namespace": "ns"},
        "spec": {"url": "/data/index.txt", "format": "txt", "nodeName": "here"},
    }
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump_all([dataset, job]))
    return path


class Stage:
    """A job in a folder, with its host root and a plan for its workers."""

    def __init__(self, folder: Path, **plan: list[str]) -> None:
        self.root = folder / "host"
        (self.root / "data").mkdir(parents=True)
        self.state = folder / "state"
        self.manifest = load_manifest(a_manifest(folder))
        (self.root / "plan.json").write_text(json.dumps(plan))

    def lines(self, count: int) -> None:
        path = self.root / "data" / "index.txt"
        with path.open("a") as index:
            start = len(path.read_text().splitlines())
            index.writelines(f"images/{i}.jpg masks/{i}.png\n" for i in range(start, start + count))

    def job(self) -> LocalJob:
        options = JobOptions(tick_seconds=0.05)
        return LocalJob(self.manifest, root=self.root, state_dir=self.state, options=options)

    def play(self, until: str, times: int = 1, seconds: float = 120.0) -> list[str]:
        """Run a job until its conditions hold `until` so many times; answers them all."""
        stop = threading.Event()
        thread = threading.Thread(target=self.job().run, args=(stop,))
        thread.start()
        deadline = time.monotonic() + seconds
        try:
            while time.monotonic() < deadline:
                if self.conditions().count(until) >= times:
                    break
                time.sleep(0.05)
        finally:
            stop.set()
            thread.join()
        return self.conditions()

    def conditions(self) -> list[str]:
        return [f"{c.stage}/{c.type}" for c in read_state(self.state).conditions]

    def environments(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in (self.root / "seen.jsonl").read_text().splitlines()]

    @property
    def deployed(self) -> bytes:
        return (self.root / "out/j1/deploy/index.pkl").read_bytes()


ROUND = [
    "Train/Waiting", "Train/Ready", "Train/Starting", "Train/Running", "Train/Completed",
    "Eval/Waiting", "Eval/Ready", "Eval/Starting", "Eval/Running", "Eval/Completed",
    "Deploy/Waiting", "Deploy/Ready", "Deploy/Completed",
]  # fmt: skip


def test_a_round_goes_through_sednas_conditions_with_sednas_environment(tmp_path: Path) -> None:
    stage = Stage(tmp_path, train=["slow"], eval=["slow"])
    stage.lines(5)
    assert stage.play("Deploy/Completed")[:13] == ROUND
    train, evaluation = stage.environments()
    root = str(stage.root)
    assert train["OUTPUT_URL"] == f"{root}/out/j1/train/1"
    assert train["TRAIN_DATASET_URL"] == f"{root}/out/j1/data/train/1/data.txt"
    assert train["ORIGINAL_DATASET_URL"] == f"{root}/data/index.txt"
    assert train["HAS_COMPLETED_INITIAL_TRAINING"] == "false"
    assert train["FROM_TEMPLATE"] == "yes"
    assert "CLOUD_KB_INDEX" not in train
    assert evaluation["MODEL_URLS"] == f"{root}/out/j1/train/1/index.pkl"
    assert evaluation["TEST_DATASET_URL"] == f"{root}/out/j1/data/eval/1/data.txt"
    assert len(Path(train["TRAIN_DATASET_URL"]).read_text().splitlines()) == 4  # int(0.8 * 5)
    assert stage.deployed == b"bundle of " + evaluation["OUTPUT_URL"].encode()
    stage.lines(5)
    stage.play("Deploy/Completed", times=2)
    second = stage.environments()[2]
    assert second["HAS_COMPLETED_INITIAL_TRAINING"] == "true"
    assert second["CLOUD_KB_INDEX"] == "/out/j1/train/1/index.pkl"  # a host path, as Sedna has it
    assert second["OUTPUT_URL"] == f"{root}/out/j1/train/2"


def test_a_refused_candidate_leaves_the_deployed_one(tmp_path: Path) -> None:
    stage = Stage(tmp_path, eval=["good", "refuse"])
    stage.lines(3)
    stage.play("Deploy/Completed")
    before = stage.deployed
    stage.lines(3)
    stage.play("Deploy/Completed", times=2)
    assert stage.deployed == before
    assert stage.conditions().count("Deploy/Ready") == 1


def test_a_worker_that_crashes_is_started_again_in_place(tmp_path: Path) -> None:
    stage = Stage(tmp_path, train=["crash", "crash", "good"])
    stage.lines(3)
    stage.play("Deploy/Completed")
    names = {e["WORKER_NAME"] for e in stage.environments() if "TRAIN_DATASET_URL" in e}
    assert len(names) == 1, "kubelet restarts a container with the same environment"
    assert stage.conditions()[:13] == ROUND


@pytest.mark.parametrize("way", ["failed", "silent"])
def test_a_failed_stage_ships_nothing_and_waits_for_new_lines(tmp_path: Path, way: str) -> None:
    """`silent`: a worker that ends without a report; Sedna would call that completed."""
    stage = Stage(tmp_path, train=[way, "good"])
    stage.lines(3)
    stage.play("Train/Failed")
    assert stage.play("Train/Waiting", times=2)[-1] == "Train/Waiting"
    stage.lines(3)
    stage.play("Deploy/Completed")
    assert stage.deployed.endswith(b"/out/j1/eval/2")


def test_a_killed_job_finds_its_worker_again(tmp_path: Path) -> None:
    """The state is on disk before anything else happens; the port stays, so the report arrives."""
    stage = Stage(tmp_path, train=["slow"])
    stage.lines(3)
    process = os.fork()
    if process == 0:  # a job of its own, so that it can be killed for real
        try:
            stage.job().run(threading.Event())
        finally:
            os._exit(0)
    pid_file = stage.root / "slow.pid"
    deadline = time.monotonic() + 120
    while not pid_file.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    stage.play("Deploy/Completed")
    trained = [e for e in stage.environments() if "TRAIN_DATASET_URL" in e]
    assert len(trained) == 1, "the worker that was at work is not started a second time"
    assert stage.conditions()[:13] == ROUND


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"outputDir": "http://x/y"}, "outputDir"),
        ({"dataset": {"name": "other", "trainProb": 0.8}}, "other"),
        ({"dataset": {"name": "d1", "trainProb": 1.8}}, "trainProb"),
        ({"evalSpec": {}}, "evalSpec.template"),
    ],
)
def test_a_wrong_manifest_is_refused_by_field(
    change: dict[str, object], told: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=told):
        load_manifest(a_manifest(tmp_path, **change))


def test_unquoted_hours_stay_hours(tmp_path: Path) -> None:
    """PyYAML alone would read `24:00` as 1440."""
    path = a_manifest(tmp_path)
    path.write_text(
        path.read_text().replace(
            "    trigger:\n", "    trigger:\n      timer: {start: 02:00, end: 24:00}\n"
        )
    )
    timer = load_manifest(path).job.spec.train.trigger.timer
    assert timer is not None
    assert (timer.start, timer.end) == ("02:00", "24:00")


def test_the_shipped_manifest_is_read() -> None:
    manifest = load_manifest(Path(__file__).parents[4] / "manifests" / "one-node")
    container = manifest.job.spec.train.template.spec.containers[0]
    assert container.command == ("cornerloop", "sedna-train")
    assert len(manifest.job.spec.output_dir) < 40, "Sedna cuts volume names at 63 characters"
