"""The doctor at a job: what is wrong is told, and a stuck one is freed by reports (K8S-04, OPS-04).

The local controller that reports go to is a stand-in on loopback that answers as Sedna's does;
end to end it hands them to a local job whose training report was lost.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from cloud.cli import app
from cloud.doctor import doctor_cli
from cloud.doctor.checks import Level, Patient
from cloud.doctor.job import Cluster, cluster_in, diagnosed, look_at_jobs
from cloud.doctor.reports import FilesUnder, proved_reports, send
from cloud.job.faults import FaultPlan
from cloud.job.lc_endpoint import LcEndpoint
from cloud.job.local_job import JobOptions, LocalJob
from cloud.job.manifest import load_manifest
from cloud.job.status import job_object
from cloud.rounds import Rounds
from lifelong.errors import ConfigError, ReportRefusedError, SednaError
from lifelong.knowledge_base import KnowledgeBase
from lifelong.links.storage import open_storage
from lifelong.records.ids import RoundNumber
from lifelong.records.model_versions import (
    EvaluationReport,
    Examination,
    GateDecision,
    ModelVersion,
)
from lifelong.records.rounds import RoundState
from tests.builders import a_round
from tests.tiny_bundle import tiny_bundle

BUNDLE, FOREIGN = tiny_bundle(seed=4), tiny_bundle(seed=5)
NOW = datetime.now(UTC)
TRAINED = "/out/train/2/index.pkl"
JUDGED = "/out/eval/2/index.pkl"
# A round that began, as Sedna lists it: stage, type, data.
TRAIN_READY = ("Train", "Ready", {"input": {"dataURL": "/d", "outputDir": "/out/train/2"}})
EVAL_READY = (
    "Eval",
    "Ready",
    {"input": {"models": [{"format": "pkl", "url": TRAINED}], "outputDir": "/out/eval/2"}},
)
TRAIN_REPORTED = ("Train", "Completed", {"output": {"models": [{"format": "pkl", "url": TRAINED}]}})
Told = tuple[str, str, Mapping[str, Any] | None]


def a_job(*told: Told, minutes: float = 30.0, **changes: Any) -> dict[str, Any]:
    """A job whose last condition is so old."""
    at = f"{NOW - timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%SZ}"
    conditions = [
        {
            "stage": stage,
            "type": type_,
            "status": "True",
            "lastHeartbeatTime": at,
            "lastTransitionTime": at,
            **({} if data is None else {"data": json.dumps(data), "message": "reported by lc"}),
        }
        for stage, type_, data in told
    ]
    trigger = {"condition": {"metric": "num_of_samples", "operator": ">=", "threshold": 1}}
    return {
        "apiVersion": "sedna.io/v1alpha1",
        "kind": "LifelongLearningJob",
        "metadata": {"name": "j", "namespace": "n", "creationTimestamp": at},
        "spec": {
            "dataset": {"name": "d", "trainProb": 0.9},
            "outputDir": "/out",
            "trainSpec": {"trigger": trigger},
        },
        "status": {"conditions": conditions},
    } | changes


LOST = (TRAIN_READY, ("Train", "Completed", None), ("Eval", "Waiting", None))
OLD_DEPLOYED = (
    TRAIN_READY,
    TRAIN_REPORTED,
    EVAL_READY,
    ("Eval", "Completed", None),
    ("Deploy", "Ready", {"input": {"models": [{"format": "pkl", "url": "/out/eval/1/index.pkl"}]}}),
    ("Deploy", "Completed", None),
    ("Train", "Waiting", None),
)


def a_pod(**status: Any) -> dict[str, Any]:
    labels = {
        "lifelonglearningjob.sedna.io/name": "j",
        "lifelonglearningjob.sedna.io/worker-type": "train",
    }
    return {
        "kind": "Pod",
        "metadata": {"name": "j-train-abcde", "namespace": "n", "labels": labels},
        "status": status,
    }


def waiting(reason: str, restarts: int = 0) -> list[dict[str, Any]]:
    state = {"waiting": {"reason": reason, "message": "so it says"}}
    return [{"name": "train", "restartCount": restarts, "state": state}]


class Site:
    """A configuration with a knowledge base, and a job's disk under `host`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host = folder / "host"
        self.config = folder / "config.yaml"
        self.config.write_text("storage: storage\njob: {dataset_path: dataset}\n")
        self.storage = open_storage(str(folder / "storage"))
        (self.host / "out").mkdir(parents=True)

    def know(self, accepted: bool | None = None) -> None:
        """Our knowledge base trained the bundle, and the gate said so."""
        version = ModelVersion(
            version_id=BUNDLE.version_id,
            parent=None,
            round_number=RoundNumber(2),
            bundle_key="models/x.bundle",
            sha256=BUNDLE.sha256,
            label_map_digest="d",
            network="n",
            strategy="replay",
            weights_sha256="1" * 64,
            trained_on=(),
            replayed=(),
        )
        known: list[Any] = [version]
        if accepted is not None:
            report = EvaluationReport(version_id=BUNDLE.version_id, tasks={})
            decision = GateDecision(
                version_id=BUNDLE.version_id,
                incumbent=None,
                accepted=accepted,
                reasons=() if accepted else ("it forgets",),
            )
            known.append(
                Examination(
                    round_number=RoundNumber(2), candidate=report, incumbent=None, decision=decision
                )
            )
        KnowledgeBase(self.storage).add(known, why="test")

    def write(self, url: str, data: bytes = BUNDLE.to_bytes()) -> None:
        path = self.host / url.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def patient(self, now: datetime = NOW) -> Patient:
        return Patient(config_path=self.config, environ={}, now=lambda: now)

    def proved(self, job: Mapping[str, Any]) -> Sequence[Any]:
        patient, cluster = self.patient(), Cluster(jobs=(job,), pods=())
        kb = KnowledgeBase(patient.storage)
        return proved_reports(diagnosed(patient, job, cluster), job, kb, FilesUnder(self.host))

    def doctor(self, job: Mapping[str, Any], *words: str) -> Result:
        return CliRunner().invoke(
            app,
            ["doctor", "-c", str(self.config), "--job", "-", "--root", str(self.host), *words],
            input=json.dumps(job),
            env={"LC_SERVER": ""},
        )


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def paused(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The doctor's waits are written down instead of waited for."""
    pauses: list[float] = []
    # Its clock alone: waiting for a program sleeps, too.
    clock = SimpleNamespace(sleep=pauses.append, time=time.time)
    monkeypatch.setattr(doctor_cli, "time", clock)
    return pauses


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, Any]], None]:
    """Puts a kubectl on PATH that tells of a job."""

    def tells(job: Mapping[str, Any]) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "job.json").write_text(json.dumps({"kind": "LifelongLearningJob", **job}))
        program = folder / "kubectl"
        program.write_text(f'#!/bin/sh\n[ "$1" = get ] && cat {folder}/job.json\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    return tells


@contextmanager
def local_controller(
    accept: Callable[[Mapping[str, Any]], None], refusal: str = ""
) -> Iterator[str]:
    lc = LcEndpoint(accept, lambda _: refusal)
    lc.start()
    try:
        yield lc.address
    finally:
        lc.stop()


@pytest.mark.parametrize(
    ("told", "level", "words"),
    [
        (LOST, Level.BROKEN, "report was lost or never sent"),
        ((TRAIN_READY, ("Train", "Starting", None)), Level.BROKEN, "no pod runs"),
        ((TRAIN_READY, TRAIN_REPORTED, ("Eval", "Waiting", None)), Level.BROKEN, "does not act"),
        (OLD_DEPLOYED, Level.BROKEN, "deployed is /out/eval/1/index.pkl"),
        (
            (TRAIN_READY, TRAIN_READY, ("Train", "Waiting", None)),
            Level.WARNING,
            "round numbers began again",
        ),
        (
            (TRAIN_READY, ("Train", "Failed", None), ("Train", "Waiting", None)),
            Level.WARNING,
            "never offers its lines again",
        ),
        ((("Train", "Waiting", None),), Level.WELL, "waits until num_of_samples >= 1"),
    ],
)
def test_k8s_04_what_is_wrong_is_said_in_words(
    site: Site, told: tuple[Told, ...], level: Level, words: str
) -> None:
    (found, *_) = look_at_jobs(site.patient(), Cluster(jobs=(a_job(*told),), pods=()))
    assert found.level is level
    assert words in found.what
    assert found.where == "job n/j"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"containerStatuses": waiting("CrashLoopBackOff", 7)}, "started again 7 times"),
        ({"containerStatuses": waiting("ImagePullBackOff")}, "ImagePullBackOff so it says"),
        (
            {"initContainerStatuses": waiting("CrashLoopBackOff", 1)},
            "started again 1 times",
        ),
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "message": "no node"}]},
            "finds no node: no node",
        ),
    ],
)
def test_k8s_04_pods_say_why_nothing_moves(site: Site, status: Any, words: str) -> None:
    job = a_job(TRAIN_READY, ("Train", "Running", None), minutes=5)
    found = list(look_at_jobs(site.patient(), Cluster(jobs=(job,), pods=(a_pod(**status),))))
    assert words in " ".join(f.what for f in found if f.level is Level.BROKEN)


def test_k8s_04_a_worker_without_a_pod_is_told(site: Site) -> None:
    job = a_job(TRAIN_READY, ("Train", "Running", None), minutes=5)
    other = a_pod()
    other["metadata"]["labels"] = {}
    (found,) = look_at_jobs(site.patient(), Cluster(jobs=(job,), pods=(other,)))
    assert "its pod was deleted" in found.what
    (healthy,) = look_at_jobs(site.patient(), Cluster(jobs=(job,), pods=(a_pod(),)))
    assert healthy.level is Level.WELL


def test_k8s_04_two_jobs_with_one_folder(site: Site) -> None:
    one, two = a_job(("Train", "Waiting", None)), a_job(("Train", "Waiting", None))
    two["metadata"] = {"name": "k", "namespace": "n"}
    listed = json.dumps({"kind": "List", "items": [one, two, a_pod()]})
    cluster = cluster_in(listed, "here")
    assert (len(cluster.jobs), len(cluster.pods)) == (2, 1)
    assert any("n/j, n/k" in f.what for f in look_at_jobs(site.patient(), cluster))
    two["spec"] = {**two["spec"], "outputDir": "/other"}
    cluster = Cluster(jobs=(one, two), pods=())
    assert all(f.level is Level.WELL for f in look_at_jobs(site.patient(), cluster))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"kind": "Pod"}', '{"items": []}'])
def test_what_is_no_job_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="kubectl get"):
        cluster_in(text, "here")


@pytest.mark.parametrize(
    ("last", "words"),
    [
        ("Eval/Starting", "moved on by itself, to Eval/Starting"),
        (None, "cannot be seen from here"),
    ],
    ids=["moved-on", "no-kubectl"],
)
def test_k8s_04_no_second_report_goes_to_a_job_that_does_not_wait(
    site: Site,
    paused: list[float],
    kubectl: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    last: str | None,
    words: str,
) -> None:
    """Seen with Sedna: the first report alone began a round, which a second one took back."""
    site.know()
    site.write(TRAINED)
    monkeypatch.setenv("PATH", "/nowhere")
    if last is not None:
        monkeypatch.setenv("PATH", "/usr/bin:/bin")
        stage, type_ = last.split("/")
        kubectl(a_job(*LOST, (stage, type_, None)))
    came: list[Mapping[str, Any]] = []
    with local_controller(came.append) as address:
        result = site.doctor(a_job(*LOST), "--repair", "--lc-server", address)
    assert [(b["kind"], b["status"]) for b in came] == [("train", "failed")]
    assert words in result.output


def test_k8s_04_a_lost_report_is_sent_again_as_a_worker_would(
    site: Site, paused: list[float], kubectl: Callable[..., None]
) -> None:
    site.know()
    site.write(TRAINED)
    kubectl(a_job(*LOST, ("Train", "Failed", None), ("Train", "Waiting", None)))
    came: list[Mapping[str, Any]] = []
    with local_controller(came.append) as address:
        result = site.doctor(a_job(*LOST), "--repair", "--lc-server", address)
    assert [(b["kind"], b["status"]) for b in came] == [("train", "failed"), ("train", "completed")]
    assert paused == [20.0]
    first, second = came
    assert first["results"] == []
    assert second["results"][0]["url"] == TRAINED
    assert second["results"][0]["classes"] == list(BUNDLE.manifest.label_map.names)
    assert {b["ownerKind"] for b in came} == {"lifelonglearningjob"}
    assert {(b["namespace"], b["ownerName"]) for b in came} == {("n", "j")}
    assert "train failed" in result.output
    assert f"train completed with {TRAINED}" in result.output
    assert result.output.count("answered 200") == 2
    assert result.exit_code == 1  # only the job's conditions can say that it is well again


def test_k8s_04_nothing_is_ever_sent_without_repair(site: Site, paused: list[float]) -> None:
    site.know(accepted=True)
    site.write(TRAINED)
    site.write(JUDGED)
    came: list[Mapping[str, Any]] = []
    with local_controller(came.append) as address:
        for told in (LOST, OLD_DEPLOYED):
            result = site.doctor(a_job(*told), "--lc-server", address)
            assert result.exit_code == 1
            assert "--repair" in result.output
    assert came == []
    assert paused == []


def test_k8s_04_a_model_that_was_never_written_is_not_reported(site: Site) -> None:
    site.know()
    assert [r.status for r in site.proved(a_job(*LOST))] == ["failed"]


def test_k8s_04_an_accepted_model_is_deployed_and_a_refused_one_never(site: Site) -> None:
    site.write(JUDGED)
    with pytest.raises(SednaError, match="does not know"):
        site.proved(a_job(*OLD_DEPLOYED))
    site.know()
    with pytest.raises(SednaError, match="never examined"):
        site.proved(a_job(*OLD_DEPLOYED))
    site.know(accepted=True)
    (report,) = site.proved(a_job(*OLD_DEPLOYED))
    assert (str(report.kind), report.status, report.model.url) == ("eval", "completed", JUDGED)


def test_k8s_04_a_refused_model_stays_refused(site: Site, paused: list[float]) -> None:
    site.know(accepted=False)
    site.write(JUDGED)
    came: list[Mapping[str, Any]] = []
    with local_controller(came.append) as address:
        result = site.doctor(a_job(*OLD_DEPLOYED), "--repair", "--lc-server", address)
    assert came == []
    assert "the gate refused it" in result.output
    assert result.exit_code == 1


def test_k8s_04_it_refuses_when_it_is_unsure(site: Site, paused: list[float]) -> None:
    site.know()
    came: list[Mapping[str, Any]] = []
    with local_controller(came.append) as address:
        repair = ("--repair", "--lc-server", address)
        site.write(TRAINED, FOREIGN.to_bytes())
        assert "does not know" in site.doctor(a_job(*LOST), *repair).output
        site.write(TRAINED, BUNDLE.to_bytes()[:-1])
        damaged = site.doctor(a_job(*LOST), *repair)
        assert "not done" in damaged.output
        elsewhere = site.doctor(a_job(*LOST), *repair, "--root", str(site.folder / "nowhere"))
        assert "not on this machine" in elsewhere.output
        site.write(TRAINED)
        assert "--lc-server" in site.doctor(a_job(*LOST), "--repair").output
        nobody = a_job(TRAIN_READY, ("Train", "Failed", None))
        assert "no report helps" in site.doctor(nobody, *repair).output
        two = {"kind": "List", "items": [a_job(*LOST), a_job(*LOST)]}
        assert site.doctor(two, *repair).exit_code == 2
    assert came == []


def test_k8s_04_an_old_file_with_a_state_is_not_acted_upon(site: Site, paused: list[float]) -> None:
    site.know()
    site.write(TRAINED)
    path = site.folder / "job.json"
    path.write_text(json.dumps(a_job(*LOST)))
    os.utime(path, (time.time() - 3600, time.time() - 3600))
    came: list[Mapping[str, Any]] = []
    words = ["doctor", "-c", str(site.config), "--root", str(site.host), "--repair"]
    with local_controller(came.append) as address:
        words += ["--lc-server", address, "--job", str(path)]
        assert "60 minutes old" in CliRunner().invoke(app, words).output
        assert came == []
        os.utime(path)
        CliRunner().invoke(app, words)
    assert came


def test_k8s_04_without_our_knowledge_base_no_model_is_reported(
    site: Site, paused: list[float]
) -> None:
    site.write(TRAINED)
    with local_controller(lambda _: None) as address:
        result = CliRunner().invoke(
            app,
            ["doctor", "--job", "-", "--repair", "--lc-server", address],
            input=json.dumps(a_job(*LOST)),
            env={"CORNERLOOP_CONFIG": ""},
        )
    assert "--config" in result.output


def test_k8s_04_a_controller_that_refuses_is_told_and_ends_it(
    site: Site, paused: list[float]
) -> None:
    site.know()
    site.write(TRAINED)
    said: list[str] = []
    with (
        local_controller(lambda _: None, refusal="no such job") as address,
        pytest.raises(ReportRefusedError, match="no such job"),
    ):
        send(
            site.proved(a_job(*LOST)),
            a_job(*LOST),
            address,
            say=said.append,
            sleep=paused.append,
            look=lambda: "Train/Waiting",
        )
    assert len(said) == 1


def test_k8s_04_lost_lines_are_asked_for_again(site: Site) -> None:
    """A failed round's lines are never offered again; lines of `#` start the next one."""
    index = site.folder / "dataset" / "index.txt"
    index.parent.mkdir()
    index.write_text("images/a.jpg masks/a.png\n")
    Rounds(site.storage).save(a_round(RoundState.TRAINING))
    failed = a_job(TRAIN_READY, ("Train", "Failed", None), ("Train", "Waiting", None))
    assert "appends them" in site.doctor(failed).output
    assert index.read_text().count("\n") == 1
    result = site.doctor(failed, "--repair")
    first, *added = index.read_text().splitlines()
    assert first == "images/a.jpg masks/a.png"
    assert added
    assert all(line.startswith("#") for line in added)
    assert "appending" in result.output


# A worker that copies the prepared model, and reports it.
WORKER = r"""
import json, os, pathlib, shutil, urllib.request
env = os.environ
prefix = env["DATA_PATH_PREFIX"]
out = pathlib.Path(env["OUTPUT_URL"])
out.mkdir(parents=True, exist_ok=True)
shutil.copyfile(prefix + "/candidate.bundle", out / "index.pkl")
body = {"name": env["WORKER_NAME"], "namespace": env["NAMESPACE"], "ownerName": env["JOB_NAME"],
        "ownerKind": "lifelonglearningjob", "status": "completed",
        "kind": "train" if "TRAIN_DATASET_URL" in env else "eval",
        "results": [{"format": "pkl", "url": str(out / "index.pkl")[len(prefix):]}]}
urllib.request.urlopen(urllib.request.Request(
    env["LC_SERVER"] + "/sedna/workers/" + env["WORKER_NAME"] + "/info",
    json.dumps(body).encode(), {"Content-Type": "application/json"}), timeout=120).read()
"""


def a_local_job(site: Site, fault: str) -> LocalJob:
    container = {"name": "w", "image": "none", "command": ["python3", "-c", WORKER]}
    template = {"template": {"spec": {"containers": [container]}}}
    trigger = {"condition": {"metric": "num_of_samples", "operator": ">=", "threshold": 1}}
    objects = [
        {
            "kind": "Dataset",
            "metadata": {"name": "d", "namespace": "n"},
            "spec": {"url": "/data/index.txt", "format": "txt", "nodeName": "here"},
        },
        {
            "kind": "LifelongLearningJob",
            "metadata": {"name": "j", "namespace": "n"},
            "spec": {
                "dataset": {"name": "d", "trainProb": 0.9},
                "outputDir": "/out",
                "trainSpec": {"trigger": trigger, **template},
                "evalSpec": template,
                "deploySpec": template,
            },
        },
    ]
    path = site.folder / "job.yaml"
    path.write_text(yaml.safe_dump_all(objects))
    (site.host / "data").mkdir()
    (site.host / "data" / "index.txt").write_text("images/a.jpg masks/a.png\n" * 2)
    site.write("/candidate.bundle")
    return LocalJob(
        load_manifest(path),
        root=site.host,
        state_dir=site.folder / "state",
        options=JobOptions(faults=FaultPlan.parse(fault)),
    )


def test_k8s_04_a_job_stuck_for_ever_is_freed_end_to_end(site: Site) -> None:
    """Train completed without data, the controller has given up: two reports, and it deploys."""
    job = a_local_job(site, "stuck-eval@1")
    site.know(accepted=True)

    def ticks(until: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 240
        while not until() and time.monotonic() < deadline:
            job.tick()
            time.sleep(0.02)
        assert until(), [c.name for c in job.state.conditions]

    def is_at(name: str) -> bool:
        return job.state.last is not None and job.state.last.name == name

    job.start()
    try:
        ticks(lambda: is_at("Eval/Waiting"))
        for _ in range(20):
            job.tick()
        assert is_at("Eval/Waiting")
        source = job.manifest.job.source
        stuck = job_object(source, job.state)
        later = site.patient(NOW + timedelta(hours=1))
        found = diagnosed(later, stuck, Cluster(jobs=(stuck,), pods=()))
        assert found.is_stuck
        kb = KnowledgeBase(site.storage)
        reports = proved_reports(found, stuck, kb, FilesUnder(site.host))
        came: list[Mapping[str, Any]] = []

        def looks(_: float) -> None:
            ticks(lambda: is_at("Train/Waiting"))
            for _ in range(5):
                job.tick()

        def accept(body: Mapping[str, Any]) -> None:
            came.append(body)
            job.append_report(body)

        with local_controller(accept) as address:
            sent_all = send(
                reports,
                stuck,
                address,
                say=lambda _: None,
                sleep=looks,
                look=lambda: job.state.last.name if job.state.last else None,
            )
        assert sent_all
        assert len(came) == 2
        ticks(lambda: is_at("Deploy/Completed"))
        assert (site.host / "out/deploy/index.pkl").read_bytes() == BUNDLE.to_bytes()
        ticks(lambda: is_at("Train/Waiting"))
        well = job_object(source, job.state)
        assert not diagnosed(later, well, Cluster(jobs=(well,), pods=())).is_stuck
    finally:
        job.stop()
