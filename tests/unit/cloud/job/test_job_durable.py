"""K8S-04: the local job survives a death at any write, and no report that was answered is lost."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloud.job.conditions import named
from cloud.job.lc_endpoint import LcEndpoint, ReportBox
from cloud.job.local_job import JobOptions, LocalJob
from cloud.job.manifest import load_manifest
from cloud.job.states import read_state
from lifelong.links.durable_files import write_whole
from tests.job_scripts import Script, ScriptedKubelet, post
from tests.unit.cloud.job.test_job_golden import MANIFEST, OBSERVED, SENT

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


class ProcessDiedError(Exception):
    """The job's process is gone."""


class DyingWrites:
    """Writes files until the n-th one, and dies before or after it."""

    def __init__(self, at: int, *, after: bool) -> None:
        self.left, self.after = at, after

    def __call__(self, path: Path, data: bytes) -> None:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise ProcessDiedError
        write_whole(path, data)
        if self.left == 0:
            raise ProcessDiedError


def a_job(folder: Path, write: Callable[[Path, bytes], None] = write_whole) -> LocalJob:
    path = folder / "job.yaml"
    path.write_text(MANIFEST)
    (folder / "host/data").mkdir(parents=True, exist_ok=True)
    return LocalJob(
        load_manifest(path),
        root=folder / "host",
        state_dir=folder / "state",
        options=JobOptions(seed=1),
        now=lambda: NOON,
        kubelet=ScriptedKubelet(Script(SENT)),
        write=write,
    )


def played(job: LocalJob) -> None:
    job.start()
    try:
        for _ in range(30):
            job.tick()
    finally:
        job.stop()


def ended(folder: Path) -> tuple[list[tuple[str, str]], list[str], list[str]]:
    """Conditions and lists, as they are in the end."""
    state = read_state(folder / "state")
    out = folder / "host/output/data"
    train = (out / "train/1/data.txt").read_text().splitlines()
    evaluation = (out / "eval/1/data.txt").read_text().splitlines()
    assert not (out / "train/2").exists(), "no line counted twice, no round begun twice"
    return [(c.stage, c.type) for c in state.conditions], train, evaluation


@pytest.mark.parametrize("after", [False, True])
def test_k8s_04_a_death_at_each_write_changes_nothing(after: bool, tmp_path: Path) -> None:
    expected = [(stage, kind) for stage, kind, _, _ in OBSERVED]
    writes = 0
    while True:
        writes += 1
        folder = tmp_path / str(writes)
        folder.mkdir()
        (folder / "host/data").mkdir(parents=True)
        lines = [f"images/{n}.jpg masks/{n}.png\n" for n in range(20)]
        (folder / "host/data/train.txt").write_text("".join(lines))
        dying = DyingWrites(writes, after=after)
        try:
            played(a_job(folder, dying))
        except ProcessDiedError:
            played(a_job(folder))
        conditions, train, evaluation = ended(folder)
        assert conditions == expected, f"died at write {writes}"
        assert (len(train), len(evaluation)) == (16, 4)
        assert (folder / "host/output/deploy/index.pkl").read_bytes() == b"1" * 10
        if dying.left > 0:
            break
    assert writes > 15, "there were many places to die at"


def test_a_report_that_was_answered_200_is_found_by_the_next_life(tmp_path: Path) -> None:
    """The answer comes after the report is on disk; a job killed right then has it."""
    (tmp_path / "host/data").mkdir(parents=True)
    (tmp_path / "host/data/train.txt").write_text("a b\n" * 20)
    job = a_job(tmp_path)
    job.start()
    while (last := job.state.last) is None or last.name != "Train/Starting":
        job.tick()
    kubelet = job._pods._kubelet
    assert isinstance(kubelet, ScriptedKubelet)
    environment = kubelet.environments[0]
    body = {
        "name": environment["WORKER_NAME"],
        "namespace": "sedna",
        "ownerName": "ll-demo",
        "ownerKind": "lifelonglearningjob",
        "kind": "train",
        "status": "completed",
        "results": [{"format": "pkl", "url": "/output/train/1/index.pkl"}],
    }
    assert post(environment, body) == (200, "OK")
    job._lc.stop()  # killed: nothing else is done
    again = a_job(tmp_path)
    again.start()
    again.tick()
    again.stop()
    (done,) = named(again.state.conditions, "Train/Completed")
    assert done.models("output")[0]["url"] == "/output/train/1/index.pkl"


@pytest.mark.parametrize(
    ("change", "status", "told"),
    [
        ({}, 200, "OK"),
        ({"name": "other"}, 400, "must equal"),
        ({"ownerKind": "LifelongLearningJob"}, 400, "lower case"),
        ({"status": "running"}, 400, "running"),
        ({"kind": "inference"}, 400, "inference"),
        ({"results": "x"}, 400, "list"),
        ({"results": [{"url": "/x", "classes": "road"}]}, 400, "classes"),
        ({"results": [{"url": "/x", "metrics": [1]}]}, 400, "metrics"),
        ({"results": [{"url": "/x", "current_metric": {"a": 1}}]}, 400, "current_metric"),
        ({"ownerName": "another"}, 400, "does not run here"),
    ],
)
def test_the_endpoint_says_what_sedna_would_drop_in_silence(
    change: dict[str, object], status: int, told: str, tmp_path: Path
) -> None:
    box = ReportBox(tmp_path)
    quirk = threading.Event()

    def refusal(body: object) -> str:
        assert isinstance(body, dict)
        return "" if body["ownerName"] == "j1" else "does not run here"

    endpoint = LcEndpoint(box.put, refusal, answers_200=quirk.is_set)
    endpoint.start()
    try:
        environment = {"LC_SERVER": endpoint.address, "WORKER_NAME": "train-worker-abcde"}
        body: dict[str, object] = {
            "name": "train-worker-abcde",
            "namespace": "ns",
            "ownerName": "j1",
            "ownerKind": "lifelonglearningjob",
            "kind": "train",
            "status": "completed",
            "results": [],
        }
        answer, message = post(environment, {**body, **change})
        assert (answer, told in message) == (status, True)
        assert len(list(box.waiting())) == (status == 200)
        quirk.set()  # --faults answers-200
        answer, _ = post(environment, {**body, **change})
        is_refused_by_sedna_too = change.get("name") == "other" or change.get("results") == "x"
        assert answer == (400 if is_refused_by_sedna_too else 200)
        assert len(list(box.waiting())) == 2 * (status == 200), "200, and dropped"
    finally:
        endpoint.stop()


def test_the_endpoint_wants_jsons_content_type_and_json(tmp_path: Path) -> None:
    endpoint = LcEndpoint(ReportBox(tmp_path).put, lambda body: "")
    endpoint.start()
    try:
        environment = {"LC_SERVER": endpoint.address, "WORKER_NAME": "w"}
        assert post(environment, b"{}", content_type="text/plain")[0] == 415
        assert post(environment, b"{")[0] == 400
        assert post(environment, b"[]")[0] == 400
        assert post(environment, {}, name="a/b")[0] == 404
    finally:
        endpoint.stop()
