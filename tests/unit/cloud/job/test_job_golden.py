"""K8S-02: a round of the local job, word for word as a running Sedna wrote it (20 Nov 2026)."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cloud.job.faults import FaultPlan
from cloud.job.local_job import JobOptions, LocalJob
from cloud.job.manifest import load_manifest
from cloud.job.status import job_object
from tests.job_scripts import Script, ScriptedKubelet

NOON = datetime(2026, 11, 20, 20, 41, 5, tzinfo=UTC)
TRAINED = (
    '{"format":"pkl","url":"/output/train/1/index.pkl",'
    '"current_metric":{"model-a":{"mIoU":0.25},"model-b":{"mIoU":0.5}},'
    '"classes":["road","grass"],"number_of_labeled_unseen_sample":7}'
)
# stage, type, message, data: as `kubectl get lifelonglearningjob -o json` showed them.
OBSERVED = [
    ("Train", "Waiting", None, None),
    (
        "Train",
        "Ready",
        "reported by lc",
        '{"input":{"dataURL":"/output/data/train/1/data.txt","outputDir":"/output/train/1"}}',
    ),
    ("Train", "Starting", None, None),
    ("Train", "Running", None, None),
    ("Train", "Completed", "reported by lc", '{"output":{"models":[' + TRAINED + "]}}"),
    ("Eval", "Waiting", None, None),
    (
        "Eval",
        "Ready",
        "reported by lc",
        '{"input":{"models":[' + TRAINED + '],"dataURL":"/output/data/eval/1/data.txt",'
        '"outputDir":"/output/eval/1"}}',
    ),
    ("Eval", "Starting", None, None),
    ("Eval", "Running", None, None),
    (
        "Eval",
        "Completed",
        "reported by lc",
        '{"output":{"models":[{"format":"pkl","url":"/output/eval/1/index.pkl",'
        '"metrics":{"mIoU":0.375},"classes":null}]}}',
    ),
    ("Deploy", "Waiting", None, None),
    (
        "Deploy",
        "Ready",
        "reported by lc",
        '{"input":{"models":[{"format":"pkl","url":"/output/eval/1/index.pkl","classes":null}]}}',
    ),
    ("Deploy", "Completed", None, None),
    ("Train", "Waiting", None, None),
]
MANIFEST = """
apiVersion: sedna.io/v1alpha1
kind: Dataset
metadata: {name: ll-demo, namespace: sedna}
spec: {url: /data/train.txt, format: txt, nodeName: edge1}
---
apiVersion: sedna.io/v1alpha1
kind: LifelongLearningJob
metadata: {name: ll-demo, namespace: sedna}
spec:
  dataset: {name: ll-demo, trainProb: 0.8}
  outputDir: /output
  trainSpec:
    trigger: {condition: {metric: num_of_samples, operator: ">=", threshold: 10}}
    template: {spec: {containers: [{name: t, image: none, command: [train]}]}}
  evalSpec:
    template: {spec: {containers: [{name: e, image: none, command: [eval]}]}}
  deploySpec:
    template: {spec: {containers: [{name: i, image: none, command: [infer]}]}}
"""
# Results as the workers sent them; `metrics: null` and unknown keys do not survive.
SENT: dict[str, list[dict[str, Any]]] = {
    "train": [
        {
            "format": "pkl",
            "url": "/output/train/{round}/index.pkl",
            "metrics": None,
            "current_metric": {"model-a": {"mIoU": 0.25}, "model-b": {"mIoU": 0.5}},
            "classes": ["road", "grass"],
            "number_of_labeled_unseen_sample": 7,
            "unknown": "dropped",
        }
    ],
    "eval": [
        {"format": "pkl", "url": "/output/eval/{round}/index.pkl", "metrics": {"mIoU": 0.375}}
    ],
}


class Demo:
    """The observed job, with workers that send what was seen."""

    def __init__(self, folder: Path, faults: str = "") -> None:
        path = folder / "job.yaml"
        path.write_text(MANIFEST)
        self.root = folder / "host"
        (self.root / "data").mkdir(parents=True)
        self.kubelet = ScriptedKubelet(Script(SENT))
        self.manifest = load_manifest(path)
        self.job = LocalJob(
            self.manifest,
            root=self.root,
            state_dir=folder / "state",
            options=JobOptions(faults=FaultPlan.parse(faults), runs_edge=True, seed=1),
            now=lambda: NOON,
            kubelet=self.kubelet,
        )
        self.job.start()

    def lines(self, count: int) -> None:
        with (self.root / "data/train.txt").open("a") as index:
            index.writelines(f"images/{n}.jpg masks/{n}.png\n" for n in range(count))

    def round(self) -> None:
        for _ in range(40):
            self.job.tick()

    @property
    def object(self) -> dict[str, Any]:
        return job_object(self.manifest.job.source, self.job.state)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    made = Demo(tmp_path)
    yield made
    made.job.stop()


def test_k8s_02_a_round_is_the_fourteen_conditions_that_sedna_wrote(demo: Demo) -> None:
    demo.lines(20)
    demo.round()
    conditions = demo.object["status"]["conditions"]
    seen = [(c["stage"], c["type"], c.get("message"), c.get("data")) for c in conditions]
    assert seen == OBSERVED
    for condition in conditions:
        assert condition["status"] == "True"
        assert condition["lastHeartbeatTime"] == "2026-11-20T20:41:05Z"
        assert condition["lastTransitionTime"] == "2026-11-20T20:41:05Z"
    demo.lines(15)
    demo.round()
    assert len(demo.object["status"]["conditions"]) == 27


def test_k8s_02_the_object_has_the_shape_of_the_crd(demo: Demo) -> None:
    demo.lines(20)
    demo.round()
    shown = demo.object
    assert (shown["apiVersion"], shown["kind"]) == ("sedna.io/v1alpha1", "LifelongLearningJob")
    assert shown["metadata"]["name"] == "ll-demo"
    assert shown["spec"]["outputDir"] == "/output"
    # Eval's report carries neither current_metric nor classes, so it resets this to zeros.
    assert shown["status"]["knowledgeBase"]["AIModels"]["numberOfAIModels"] == 0
    assert json.loads(json.dumps(shown)) == shown


def test_k8s_02_each_worker_gets_the_environment_that_sedna_gives(demo: Demo) -> None:
    demo.lines(20)
    demo.job.tick()
    demo.job.tick()
    assert not (demo.root / "output/train/1").exists(), "OUTPUT_URL is the worker's to make"
    demo.round()
    demo.lines(15)
    demo.round()
    root = str(demo.root)
    train, evaluation, infer, second = demo.kubelet.environments[:4]
    lc = train["LC_SERVER"]
    common = {"NAMESPACE": "sedna", "JOB_NAME": "ll-demo", "LC_SERVER": lc}
    prefix = {"DATA_PATH_PREFIX": root}
    kb = {"KB_SERVER": "http://127.0.0.1:9", "ORIGINAL_DATASET_URL": f"{root}/data/train.txt"}
    assert train == {
        **common, **prefix, **kb,
        "WORKER_NAME": train["WORKER_NAME"],
        "OUTPUT_URL": f"{root}/output/train/1",
        "TRAIN_DATASET_URL": f"{root}/output/data/train/1/data.txt",
        "HAS_COMPLETED_INITIAL_TRAINING": "false",
    }  # fmt: skip
    assert evaluation == {
        **common, **prefix, **kb,
        "WORKER_NAME": evaluation["WORKER_NAME"],
        "OUTPUT_URL": f"{root}/output/eval/1",
        "TEST_DATASET_URL": f"{root}/output/data/eval/1/data.txt",
        "MODEL_URLS": f"{root}/output/train/1/index.pkl",
    }  # fmt: skip
    assert infer == {
        **common, **prefix,
        "WORKER_NAME": infer["WORKER_NAME"],
        "OUTPUT_URL": "/output",  # neither translated nor mounted
        "MODEL_URLS": f"{root}/output/deploy/index.pkl",
    }  # fmt: skip
    assert second["HAS_COMPLETED_INITIAL_TRAINING"] == "true"
    assert second["CLOUD_KB_INDEX"] == "/output/train/1/index.pkl"  # a host path
    assert train["WORKER_NAME"].startswith("train-worker-")
    assert evaluation["WORKER_NAME"].startswith("eval-worker-")
    assert infer["WORKER_NAME"].startswith("inferworker-")
    assert lc.startswith("http://127.0.0.1:"), "loopback only"


def test_lll_01_lines_are_cut_as_sedna_cuts_them(demo: Demo) -> None:
    demo.lines(20)
    demo.round()
    demo.lines(15)
    demo.round()
    out = demo.root / "output/data"
    counts = {
        part: len((out / part / "data.txt").read_text().splitlines())
        for part in ("train/1", "eval/1", "train/2", "eval/2")
    }
    assert counts == {"train/1": 16, "eval/1": 4, "train/2": 12, "eval/2": 7}


def test_w14_with_the_fault_eval_lines_are_those_that_were_seen(tmp_path: Path) -> None:
    """Observed fault 8: 11 lines = 4 + (4 + 3)."""
    demo = Demo(tmp_path, faults="repeated-eval-lines")
    try:
        demo.lines(20)
        demo.round()
        demo.lines(15)
        demo.round()
        lines = (demo.root / "output/data/eval/2/data.txt").read_text().splitlines()
        assert len(lines) == 11
    finally:
        demo.job.stop()


def test_observed_fault_5_a_restarted_lc_begins_at_round_1_over_its_own_output(
    tmp_path: Path,
) -> None:
    demo = Demo(tmp_path, faults="lc-restart@2")
    try:
        demo.lines(20)
        demo.round()
        demo.lines(20)
        demo.round()
        again = demo.kubelet.environments[3]
        assert again["OUTPUT_URL"].endswith("/output/train/1")
        assert again["CLOUD_KB_INDEX"] == "/output/train/1/index.pkl", "the file being written"
        lines = Path(again["TRAIN_DATASET_URL"]).read_text().splitlines()
        assert len(lines) == 32, "int(0.8 * 40): all lines again"
    finally:
        demo.job.stop()


def test_w7_a_restart_in_eval_asks_for_round_0_with_an_empty_list(tmp_path: Path) -> None:
    demo = Demo(tmp_path, faults="lc-restart-eval@1")
    try:
        demo.lines(20)
        demo.round()
        evaluation = demo.kubelet.environments[1]
        assert evaluation["TEST_DATASET_URL"].endswith("/data/eval/0/data.txt")
        assert evaluation["OUTPUT_URL"].endswith("/eval/0")
        assert Path(evaluation["TEST_DATASET_URL"]).read_text() == ""
    finally:
        demo.job.stop()


def test_w13_with_the_fault_a_shorter_model_keeps_the_old_tail(tmp_path: Path) -> None:
    demo = Demo(tmp_path, faults="untruncated-deploy@2")
    try:
        demo.kubelet.script.sizes = [144, 64]
        demo.lines(20)
        demo.round()
        demo.lines(20)
        demo.round()
        deployed = (demo.root / "output/deploy/index.pkl").read_bytes()
        assert len(deployed) == 144
        assert deployed[:64] == b"2" * 64
        assert deployed[64:] == b"1" * 80
    finally:
        demo.job.stop()
