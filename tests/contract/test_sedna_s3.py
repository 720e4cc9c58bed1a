"""TR-07, K8S-04: workers, bridge and deployed file in an S3 bucket, as on a cluster without disks.

The server is real HTTP on loopback. Our storage lies in another account than Sedna's URLs.
"""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from cloud.assembly import open_cloud
from cloud.sedna_eval import eval_worker
from cloud.sedna_train import train_worker
from edge.models.deployed_file import DeployedFile
from lifelong.errors import SednaError
from lifelong.links.journal import Journal
from lifelong.links.sedna import ReportedModel, WorkerKind, read_environment, sednas_account
from lifelong.links.storage import open_storage
from lifelong.model_bundle import read_bundle
from tests.contract.test_sedna_messages import EVAL_S3_1, S3, TRAIN_S3_1
from tests.contract.test_storage import BUCKET, s3_server  # noqa: F401
from tests.edge_fixtures import events, street_bundle
from tests.unit.cloud.test_sedna_workers import (  # noqa: F401
    FIRST,
    Recorder,
    prepared,
    settings,
    trained,
)


@pytest.fixture
def sedna(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:  # noqa: F811
    """Sedna's three variables; the storage's own account is nowhere."""
    for name in ("AWS_REGION", "AWS_ENDPOINT_URL", "S3_ENDPOINT_URL", "ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nobody is there
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ours")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    account = {name: S3[name] for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")}
    yield {"S3_ENDPOINT_URL": s3_server, **account}


def at(told: dict[str, str], sedna: dict[str, str], prefix: str) -> dict[str, str]:
    """An observed environment, with our bucket and server in place of theirs."""
    moved = {k: v.replace("s3://out/j1", f"s3://{BUCKET}/{prefix}") for k, v in told.items()}
    return {**moved, **sedna}


def test_tr_07_k8s_04_a_round_on_s3(
    trained: Path,  # noqa: F811
    sedna: dict[str, str],
    tmp_path: Path,
) -> None:
    """The train worker writes its model there, the eval worker reads a download and writes its."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    cloud = open_cloud(settings(tmp_path))
    prefix = uuid4().hex
    bucket = open_storage(f"s3://{BUCKET}/{prefix}", account=sednas_account(sedna))
    told = read_environment(WorkerKind.TRAIN, at(TRAIN_S3_1, sedna, prefix))
    recorder = Recorder()
    for _ in range(2):
        train_worker(told, cloud.config, cloud.storage, tmp_path / "work", recorder)
    assert recorder.reports[0] == recorder.reports[1]
    (model, _) = recorder.reports
    assert isinstance(model, ReportedModel)
    assert model.url == told.host_url(model.url) == f"s3://{BUCKET}/{prefix}/train/1/index.pkl"
    candidate = cloud.kb.candidate_of(FIRST)
    assert candidate is not None
    data = bucket.get("train/1/index.pkl")
    assert read_bundle(data, "s3").version_id == candidate.version_id
    downloads = tmp_path / "downloads/index.pkl"  # as Sedna's initializer fetches it
    downloads.parent.mkdir()
    downloads.write_bytes(data)
    given = read_environment(WorkerKind.EVAL, at(EVAL_S3_1, sedna, prefix))
    for url in (str(downloads), model.url, f"s3://{BUCKET}/{prefix}/none/index.pkl"):
        eval_worker(replace(given, model_urls=(url,)), cloud.config, cloud.storage, recorder)
        answer = recorder.reports[-1]
        assert isinstance(answer, ReportedModel)
        assert answer.url == f"s3://{BUCKET}/{prefix}/eval/1/index.pkl"
        assert bucket.get("eval/1/index.pkl") == data
    assert sorted(bucket.keys("eval")) == ["eval/1/index.pkl"], "no sibling with the same prefix"


def test_tr_07_a_missing_bucket_is_told_before_training(
    prepared: Path,  # noqa: F811
    sedna: dict[str, str],
    tmp_path: Path,
) -> None:
    """A bucket that is not there will not come by starting the worker again."""
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    cloud = open_cloud(settings(tmp_path))
    told = read_environment(WorkerKind.TRAIN, {**TRAIN_S3_1, **sedna})
    recorder = Recorder()
    lost = replace(told, output_url="s3://no-such-bucket/train/1")
    train_worker(lost, cloud.config, cloud.storage, tmp_path / "work", recorder)
    assert recorder.reports == ["failed"]
    cloud.kb.refresh()
    assert "there is no such bucket" in cloud.kb.failures[FIRST].reason


def test_tr_07_k8s_04_the_deployed_file_in_a_bucket(sedna: dict[str, str], tmp_path: Path) -> None:
    journal, account = Journal(tmp_path, "edge-1"), sednas_account(sedna)
    prefix = uuid4().hex
    bucket = open_storage(f"s3://{BUCKET}/{prefix}", account=account)
    url = f"s3://{BUCKET}/{prefix}/deploy/index.pkl"
    deployed = DeployedFile(url, journal, s3=account)
    assert deployed.look() is None
    bundle = street_bundle(1)
    bucket.put("deploy/index.pkl", bundle.to_bytes()[:200])
    assert deployed.look() is None
    bucket.put("deploy/index.pkl", bundle.to_bytes())
    found = deployed.look()
    assert found is not None
    assert found.version_id == bundle.version_id
    assert deployed.read() == bundle
    reasons = [event["reason"] for event in events(tmp_path, "deployed.refused")]
    assert len(reasons) == 2
    assert "truncated" in reasons[1]
    with pytest.raises(SednaError, match="neither a path nor"):
        DeployedFile("s3://index.pkl", journal)
