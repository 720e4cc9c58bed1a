"""K8S-04, SEC-02: the node beside Sedna's deployed file; what it takes, and what it never takes."""

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

from edge.node import EdgeNode
from edge.sedna_inference import await_state, inference_node, run_inference
from edge.stop import Stop
from lifelong.errors import LabelMapError, SednaError
from lifelong.links.sedna import WorkerKind, read_environment
from lifelong.links.storage import Storage, open_storage
from lifelong.model_bundle import ModelBundle, make_bundle
from lifelong.records.ids import RoundNumber
from lifelong.records.keys import CURRENT_RELEASE
from lifelong.records.wire import to_json
from tests.builders import a_frame
from tests.edge_fixtures import (
    UNSIGNED,
    FlakyStorage,
    edge_config,
    events,
    release,
    street_bundle,
    write_frames,
)
from tests.signing import a_ring, a_signer
from tests.tiny_bundle import tiny_bundle

A_PICKLE = bytes.fromhex("80049528000000000000008c08")  # as Sedna's own library begins one


def environ(folder: Path, **changes: str) -> dict[str, str]:
    """What Sedna tells an inference worker on this host."""
    return {
        "NAMESPACE": "sedna",
        "JOB_NAME": "ll-demo",
        "WORKER_NAME": "inferworker-pzxht",
        "LC_SERVER": "http://127.0.0.1:9",
        "DATA_PATH_PREFIX": str(folder / "host"),
        "OUTPUT_URL": "/output",
        "MODEL_URLS": str(deployed_path(folder)),
        **changes,
    }


def deployed_path(folder: Path) -> Path:
    return folder / "host/output/deploy/index.pkl"


def deploy(folder: Path, data: bytes) -> None:
    deployed_path(folder).parent.mkdir(parents=True, exist_ok=True)
    deployed_path(folder).write_bytes(data)


def a_bundle(seed: int, round_number: int = 0) -> ModelBundle:
    bundle = street_bundle(seed)
    manifest = replace(bundle.manifest, round_number=RoundNumber(round_number))
    return make_bundle(manifest, bundle.onnx)


def a_node(folder: Path, storage: Storage | None = None, **edge: object) -> EdgeNode:
    """A node that has looked once at what there is to run."""
    environment = read_environment(WorkerKind.INFER, environ(folder))
    node = inference_node(
        edge_config(folder, **edge),
        environment,
        Stop(),
        storage=storage or open_storage(str(folder / "storage")),
        inline=True,
    )
    node.slot.start()
    node.slot.refresh()
    return node


def unlocked() -> None:
    """Gives the states of all nodes of this test back, as the end of their processes does."""
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if str(entry.readlink()).endswith("/state/lock"):
                os.close(int(entry.name))


@pytest.fixture(autouse=True)
def _locks() -> Iterator[None]:
    yield
    unlocked()


def told(folder: Path, name: str) -> list[dict]:
    return events(folder / "state/journal", name)


def test_k8s_04_the_deployed_model_runs_where_nothing_is_released(tmp_path: Path) -> None:
    bundle = a_bundle(1)
    deploy(tmp_path, bundle.to_bytes())
    node = a_node(tmp_path)
    assert node.slot.version_id == bundle.version_id
    assert node.see(a_frame(1)).version_id == bundle.version_id
    (taken,) = told(tmp_path, "deployed.taken")
    assert taken["version_id"] == bundle.version_id
    assert "nothing is released" in taken["why"]


def test_k8s_04_a_changed_file_is_swapped_in_between_frames(tmp_path: Path) -> None:
    one, other = a_bundle(1), a_bundle(2, round_number=1)
    deploy(tmp_path, one.to_bytes())
    node = a_node(tmp_path)
    assert node.see(a_frame(1)).version_id == one.version_id
    deploy(tmp_path, other.to_bytes())
    assert node.see(a_frame(2)).version_id == one.version_id, "never inside a frame"
    node.slot.refresh()
    assert node.see(a_frame(3)).version_id == other.version_id
    (first, swap) = told(tmp_path, "model.swapped")
    assert (first["to"], swap["from"], swap["to"]) == (
        one.version_id,
        one.version_id,
        other.version_id,
    )


def test_k8s_04_the_tail_of_a_longer_older_model_is_passed_over(tmp_path: Path) -> None:
    """Sedna copies without truncating."""
    bundle = a_bundle(1)
    deploy(tmp_path, bundle.to_bytes() + street_bundle(7, height=64).to_bytes())
    assert a_node(tmp_path).slot.version_id == bundle.version_id


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (None, "cannot be read"),
        (b"", "not a model bundle"),
        (A_PICKLE, "not a model bundle"),
        (a_bundle(1).to_bytes()[:300], "truncated"),
        (a_bundle(1).to_bytes()[:-1] + b"?", "does not match its SHA-256"),
    ],
    ids=["missing", "empty", "pickle", "torn", "damaged"],
)
def test_k8s_04_a_broken_file_is_refused_with_words_and_looked_at_again(
    tmp_path: Path, data: bytes | None, why: str
) -> None:
    if data is not None:
        deploy(tmp_path, data)
    node = a_node(tmp_path)
    for _ in range(3):
        node.slot.refresh()
    assert node.slot.version_id is None
    (refused,) = told(tmp_path, "deployed.refused")
    assert why in refused["reason"]
    assert refused["url"] == str(deployed_path(tmp_path))
    deploy(tmp_path, a_bundle(2).to_bytes())
    node.slot.refresh()
    assert node.slot.version_id == a_bundle(2).version_id


@pytest.mark.parametrize("data", [None, b"", A_PICKLE, a_bundle(2).to_bytes()[:300]])
def test_k8s_04_at_a_start_the_last_good_model_runs_when_the_file_is_broken(
    tmp_path: Path, data: bytes | None
) -> None:
    good = a_bundle(1)
    deploy(tmp_path, good.to_bytes())
    a_node(tmp_path).slot.finish()
    unlocked()
    deployed_path(tmp_path).unlink()
    if data is not None:
        deploy(tmp_path, data)
    node = a_node(tmp_path)
    assert node.see(a_frame(1)).version_id == good.version_id
    (started,) = told(tmp_path, "model.started")
    assert started["version_id"] == good.version_id
    assert len(told(tmp_path, "deployed.refused")) == 1


def test_k8s_04_sedna_never_brings_an_older_model_back(tmp_path: Path) -> None:
    """After a lost report it deploys the previous evaluation's index silently."""
    old, new = a_bundle(1, round_number=1), a_bundle(2, round_number=2)
    deploy(tmp_path, new.to_bytes())
    node = a_node(tmp_path)
    deploy(tmp_path, old.to_bytes())
    for _ in range(3):
        node.slot.refresh()
    assert node.slot.version_id == new.version_id
    (refused,) = told(tmp_path, "model.refused")
    assert "from round 1" in refused["reason"]
    assert refused["error"] == "OlderModelError"


def test_a_model_for_other_classes_is_refused(tmp_path: Path) -> None:
    deploy(tmp_path, tiny_bundle().to_bytes())
    assert a_node(tmp_path).slot.version_id is None
    assert told(tmp_path, "model.refused")[0]["error"] == LabelMapError.__name__


# -- releases and keys ----------------------------------------------------------------------------


def trusting(folder: Path) -> dict[str, object]:
    """Settings of a node that trusts key 1 alone."""
    ring = folder / "ring.json"
    ring.write_bytes(to_json(a_ring(a_signer())))
    return {**UNSIGNED, "unsigned": "refuse", "trusted_keys": ring}


def test_sec_02_where_keys_are_trusted_the_deploy_folder_brings_nothing_unsigned(
    tmp_path: Path,
) -> None:
    """SEC-02: anybody on its network can make Sedna's controller copy a file there."""
    bundle = a_bundle(1)
    deploy(tmp_path, bundle.to_bytes())
    storage = open_storage(str(tmp_path / "storage"))
    node = a_node(tmp_path, storage, updates=trusting(tmp_path))
    assert node.slot.version_id is None
    (passed,) = told(tmp_path, "deployed.passed_over")
    assert "no release that this node believes" in passed["reason"]
    forged = release(storage, bundle)
    storage.put(CURRENT_RELEASE, to_json(a_signer(2).release(forged)))
    node.slot.refresh()
    assert node.slot.version_id is None
    storage.put(CURRENT_RELEASE, to_json(a_signer(1).release(forged)))
    node.slot.refresh()
    assert node.slot.version_id == bundle.version_id


def test_sec_02_a_signed_release_is_read_from_the_deployed_file(tmp_path: Path) -> None:
    """Nothing but the release comes over the link; the file's bytes are what it names."""
    bundle = a_bundle(1)
    deploy(tmp_path, bundle.to_bytes() + b"a tail")
    storage = open_storage(str(tmp_path / "storage"))
    signed = a_signer().release(release(storage, bundle))
    storage.put(CURRENT_RELEASE, to_json(signed))
    storage.delete(signed.bundle_key)
    node = a_node(tmp_path, storage, updates=trusting(tmp_path))
    assert node.slot.version_id == bundle.version_id
    assert node.slot.release_number == 1
    assert told(tmp_path, "model.fetched")[0]["transferred"] == 0
    assert told(tmp_path, "deployed.taken")[0]["why"] == "release 1 names it"


def test_k8s_04_what_is_released_counts_and_the_journal_says_so_once(tmp_path: Path) -> None:
    """A roll-back reaches a node though Sedna still has the newer model in its folder."""
    released, other = a_bundle(1, round_number=1), a_bundle(2, round_number=2)
    storage = open_storage(str(tmp_path / "storage"))
    release(storage, released)
    deploy(tmp_path, other.to_bytes())
    node = a_node(tmp_path, storage)
    for _ in range(5):
        node.slot.refresh()
    assert node.slot.version_id == released.version_id
    (passed,) = told(tmp_path, "deployed.passed_over")
    assert passed["version_id"] == other.version_id
    assert str(released.version_id) in passed["reason"]


@pytest.mark.parametrize("is_signed", [False, True])
def test_k8s_04_without_a_link_a_deployed_model_runs_only_if_nobody_need_have_signed_it(
    tmp_path: Path, is_signed: bool
) -> None:
    deploy(tmp_path, a_bundle(1).to_bytes())
    storage = FlakyStorage()
    storage.is_down = True
    updates = trusting(tmp_path) if is_signed else UNSIGNED
    node = a_node(tmp_path, storage, updates=updates)
    assert (node.slot.version_id is None) is is_signed


# -- the worker -----------------------------------------------------------------------------------


@pytest.mark.parametrize("models", ["", "/a/index.pkl;/b/index.pkl", "http://host/index.pkl"])
def test_an_environment_without_one_model_is_told(tmp_path: Path, models: str) -> None:
    with pytest.raises(SednaError, match="MODEL_URLS"):
        run_inference(edge_config(tmp_path), environ(tmp_path, MODEL_URLS=models), Stop())


def test_k8s_04_a_new_pod_waits_for_the_end_of_the_old_one(tmp_path: Path) -> None:
    """Sedna starts it without waiting, and often two of them."""
    lock = tmp_path / "lock"
    handle = os.open(lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 30:
            os.close(handle)

    await_state(tmp_path, Stop(sleep))
    assert 30 <= len(waits) < 60
    await_state(tmp_path / "never used", Stop(sleep))
    assert len(waits) < 60


def test_k8s_04_the_command_runs_a_node_and_never_speaks_to_the_controller(tmp_path: Path) -> None:
    """A report of an inference worker would rewind the job."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.send_error(500)

        do_GET = do_POST  # noqa: N815 - the server's names

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    bundle = a_bundle(1)
    deploy(tmp_path, bundle.to_bytes())
    write_frames(tmp_path, 3)
    config = edge_config(tmp_path).model_dump(mode="json", exclude_defaults=True)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    url = f"http://127.0.0.1:{server.server_address[1]}"
    done = subprocess.run(
        [sys.executable, "-m", "edge", "sedna-infer"],
        env={**os.environ, **environ(tmp_path, LC_SERVER=url), "CORNERLOOP_CONFIG": str(path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    server.shutdown()
    server.server_close()
    assert done.returncode == 0, done.stderr
    health = json.loads((tmp_path / "state/health.json").read_text())
    assert health["frames"] == 3
    assert health["version"] == bundle.version_id
    assert asked == []
