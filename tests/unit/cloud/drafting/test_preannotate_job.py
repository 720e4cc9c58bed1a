"""The manifest that shares drafts out to the pods of an indexed Kubernetes Job."""

from pathlib import Path

import yaml
from typer.testing import CliRunner

from cloud.cli import app
from cloud.drafting.raw_pictures import shard_from, share_of

MANIFEST = Path(__file__).parents[4] / "manifests" / "preannotate" / "job.yaml"


def the_job():
    return yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))["spec"]


def test_pre_19_the_pods_of_the_job_draft_every_picture_once():
    """PRE-19, K8S-08: what Kubernetes puts for JOB_COMPLETION_INDEX makes a share of each pod."""
    job = the_job()
    (container,) = job["template"]["spec"]["containers"]
    arguments = container["args"]
    text = arguments[arguments.index("--shard") + 1]

    shards = [
        shard_from(text.replace("$(JOB_COMPLETION_INDEX)", str(index)))
        for index in range(job["completions"])
    ]

    assert job["completionMode"] == "Indexed"
    assert {shard.count for shard in shards} == {job["completions"]}
    pictures = list(range(100))
    assert sorted(p for shard in shards for p in share_of(pictures, shard)) == pictures


def test_k8s_08_the_pods_are_told_to_stay_off_the_network():
    """K8S-08: weights come from the volume."""
    (container,) = the_job()["template"]["spec"]["containers"]
    told = {entry["name"]: entry.get("value") for entry in container["env"]}

    assert told["HF_HUB_OFFLINE"] == "1"
    assert told["CORNERLOOP_WEIGHTS"].startswith(container["volumeMounts"][0]["mountPath"])


def test_the_options_of_the_manifest_exist():
    (container,) = the_job()["template"]["spec"]["containers"]
    told = CliRunner().invoke(app, ["preannotate", "--help"], env={"COLUMNS": "200"}).output

    for option in (argument for argument in container["args"] if argument.startswith("--")):
        assert option in told
