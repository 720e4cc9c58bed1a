"""K8S-03, LLL-01: what users write for Sedna is taken in, or refused by field with what to do."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloud.job.local_job import LocalJob
from cloud.job.manifest import load_manifest, notices
from cloud.job.trigger import condition_holds, timer_holds
from cloud.job.volumes import collisions, volume_name
from lifelong.errors import ConfigError, SednaError

# The fields and the habits of Sedna's segmentation example, filled in: unquoted hours, no command,
# a check period, resources as bare numbers, mounts, hostNetwork, an environment of its own.
LIKE_SEDNAS = """
apiVersion: sedna.io/v1alpha1
kind: Dataset
metadata:
  name: street-dataset
spec:
  url: "/data/streets/index.txt"
  format: "txt"
  nodeName: "edge-node"
---
apiVersion: sedna.io/v1alpha1
kind: LifelongLearningJob
metadata:
  name: street-job
spec:
  dataset:
    name: "street-dataset"
    trainProb: 0.8
  trainSpec:
    template:
      spec:
        nodeName: cloud-node
        dnsPolicy: ClusterFirstWithHostNet
        containers:
          - image: example.org/street-train:v1
            name: train-worker
            imagePullPolicy: IfNotPresent
            args: ["train.py"]
            env:
              - name: "num_class"
                value: "24"
            resources: {limits: {cpu: 6, memory: 12Gi}, requests: {cpu: 4, memory: 10Gi}}
            volumeMounts:
              - mountPath: /dev/shm
                name: cache
        volumes:
          - emptyDir: {medium: Memory, sizeLimit: 256Mi}
            name: cache
    trigger:
      checkPeriodSeconds: 30
      timer:
        start: 23:30
        end: 24:00
      condition: {operator: ">", threshold: 100, metric: num_of_samples}
  evalSpec:
    template:
      spec:
        nodeName: cloud-node
        containers:
          - {image: example.org/street-eval:v1, name: eval-worker, args: ["evaluate.py"]}
  deploySpec:
    template:
      spec:
        nodeName: edge-node
        hostNetwork: true
        containers:
          - image: example.org/street-infer:v1
            name: infer-worker
            args: ["predict.py"]
            env:
              - {name: "UNSEEN_SAVE_URL", value: "/data/unseen_samples"}
  unseenEstimator: {method: none}
  outputDir: /output/street-job
"""


def written(folder: Path, text: str = LIKE_SEDNAS, **changes: str) -> Path:
    path = folder / "job.yaml"
    for old, new in changes.items():
        text = text.replace(old, new)
    path.write_text(text)
    return path


def test_k8s_03_a_manifest_like_sednas_own_example_is_taken_in(tmp_path: Path) -> None:
    manifest = load_manifest(written(tmp_path))
    timer = manifest.job.spec.train.trigger.timer
    assert timer is not None
    assert (timer.start, timer.end) == ("23:30", "24:00"), "YAML 1.1 would read 1410 and 1440"
    assert manifest.job.source["spec"]["trainSpec"]["trigger"]["timer"]["start"] == "23:30"
    told = "\n".join(notices(manifest))
    assert "checkPeriodSeconds" in told
    assert "spec.unseenEstimator: no field of Sedna's" in told


def test_k8s_03_its_images_cannot_run_here_which_is_said_and_mapped(tmp_path: Path) -> None:
    path = written(tmp_path)
    ours = load_manifest(path, our_workers=True).job.spec
    container = ours.train.template.spec.containers[0]
    assert (container.command, container.args) == (("cornerloop", "sedna-train"), ())
    assert [(e.name, e.value) for e in container.env] == [("num_class", "24")]
    root, state = tmp_path / "host", tmp_path / "state"
    with pytest.raises(SednaError, match=r"trainSpec.*command: is missing.*--our-workers"):
        LocalJob(load_manifest(path), root=root, state_dir=state)
    in_a_bucket = written(tmp_path, **{"/output/street-job": "s3://bucket/job"})
    with pytest.raises(SednaError, match="s3://bucket/job: the local job works on host paths"):
        LocalJob(load_manifest(in_a_bucket, our_workers=True), root=root, state_dir=state)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "      condition: {operator",
            "      kondition: {operator",
            r"trigger\.condition: is miss",
        ),
        ("trainProb: 0.8", "trainProb: 1.8", r"trainProb: 1\.8 .*share of new lines"),
        ("trainProb: 0.8", "trainProb: 0", r"trainProb: 0 .*above 0"),
        ("outputDir: /output/street-job", "outputDir: http://x/y", r"outputDir: 'http.*dies of"),
        ("outputDir: /output/street-job", "outputDir: relative", r"outputDir: 'relative'"),
        ("outputDir: /output/street-job", "", r"outputDir: is missing.*host path"),
        ('format: "txt"', "format: json", r"format: 'json'.*txt or csv"),
        ('"/data/streets/index.txt"', "$data_url", r"'\$data_url' is a variable.*envsubst"),
        ('"/data/streets/index.txt"', "file:///x", r"spec\.url.*refuses http"),
        ('nodeName: "edge-node"', 'nodeName: ""', r"nodeName.*nobody watches"),
        ("start: 23:30", "start: 2:00", r"timer\.start: '2:00'.*leading zero"),
        ("threshold: 100", "threshold: many", r"threshold: 'many'.*a number"),
        ('name: "street-dataset"\n    train', 'name: "other"\n    train', r"no Dataset here"),
        (
            "metadata:\n  name: street-job",
            "metadata:\n  name: street-job\n  namespace: b",
            "namesp",
        ),
        (
            "outputDir: /output/street-job",
            "outputDir: /a-folder/that-is-rather-deep/and-whose-name-is-long/for-sedna-output/j1",
            r"cut at 63 characters.*under 40",
        ),
    ],
)
def test_k8s_03_each_refusal_names_the_field_and_what_to_do(
    old: str, new: str, told: str, tmp_path: Path
) -> None:
    assert old in LIKE_SEDNAS
    with pytest.raises(ConfigError, match=told):
        load_manifest(written(tmp_path, **{old: new}))


def test_w8_two_folders_of_one_volume_name_are_found_out() -> None:
    assert volume_name("/Data/A_b//c/") == "data-a-b-c"
    assert collisions("/a/b", "/a-b/eval/index.txt")
    assert collisions("/var/lib/cornerloop/job", "/var/lib/cornerloop/dataset/index.txt") == ()


@pytest.mark.parametrize(
    ("operator", "threshold", "count", "holds"),
    [
        (">", 3, 3, False), ("gt", 3, 4, True), (">=", 3, 3, True), ("ge", 3.0000005, 3, True),
        (">", 2.9999995, 3, False), ("=", 3.0000005, 3, True), ("==", 3, 3, True),
        ("eq", 4, 3, False), ("!=", 3.0000005, 3, False), ("ne", 4, 3, True), ("<=", 3, 3, True),
        ("le", 2.9999995, 3, True), ("<", 3.0000005, 3, False), ("lt", 4, 3, True),
        ("~", 0, 3, False), ("GE", 0, 3, False),
    ],
)  # fmt: skip
def test_lll_01_each_operator_with_sednas_tolerance(
    operator: str, threshold: float, count: int, holds: bool
) -> None:
    assert condition_holds("num_of_samples", operator, threshold, count) is holds


def test_lll_01_an_unknown_metric_never_fires_and_is_told(tmp_path: Path) -> None:
    assert not condition_holds("precision", ">=", 0, 100)
    odd = written(tmp_path, **{"metric: num_of_samples": "metric: precision"})
    assert "never fires" in " ".join(notices(load_manifest(odd)))


@pytest.mark.parametrize(
    ("start", "end", "clock", "holds"),
    [
        ("02:00", "24:00", "02:00", True),
        ("02:00", "24:00", "01:59", False),
        ("02:00", "24:00", "23:59", True),
        ("22:00", "06:00", "23:30", True),
        ("22:00", "06:00", "06:00", True),
        ("22:00", "06:00", "06:01", False),
        ("22:00", "06:00", "12:00", False),
    ],
)
def test_lll_01_the_timer_is_utc_and_wraps_over_midnight(
    start: str, end: str, clock: str, holds: bool
) -> None:
    hour, minute = map(int, clock.split(":"))
    now = datetime(2026, 7, 1, hour, minute, tzinfo=UTC)
    assert timer_holds(start, end, now) is holds


def a_kustomization(folder: Path) -> Path:
    base = folder / "base"
    base.mkdir()
    written(base)
    (base / "kustomization.yaml").write_text("resources: [job.yaml]\n")
    overlay = folder / "overlay"
    overlay.mkdir()
    (overlay / "kustomization.yaml").write_text(
        "resources: [../base]\n"
        "patches:\n"
        "- patch: |-\n    - {op: replace, path: /spec/outputDir, value: /patched}\n"
        "  target: {kind: LifelongLearningJob}\n"
    )
    return overlay


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl on PATH")
def test_k8s_01_a_kustomize_folder_is_rendered(tmp_path: Path) -> None:
    overlay = a_kustomization(tmp_path)
    assert load_manifest(overlay).job.spec.output_dir == "/patched"
    (overlay / "kustomization.yaml").write_text("resources: [../nowhere]\n")
    with pytest.raises(ConfigError, match="kubectl kustomize"):
        load_manifest(overlay)


def test_k8s_01_without_kubectl_an_overlay_is_refused_and_plain_files_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overlay = a_kustomization(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="no `kubectl` on PATH"):
        load_manifest(overlay)
    assert load_manifest(tmp_path / "base").job.metadata.name == "street-job"
    folder = tmp_path / "plain"
    folder.mkdir()
    dataset, job = LIKE_SEDNAS.split("---")
    (folder / "dataset.yaml").write_text(dataset)
    (folder / "job.yml").write_text(job)
    assert load_manifest(folder).dataset.metadata.name == "street-dataset"
    with pytest.raises(ConfigError, match=r"no \.yaml file"):
        load_manifest(tmp_path)
