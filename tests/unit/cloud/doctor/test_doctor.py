"""`cornerloop doctor`: a healthy set-up has no finding; each injected fault is named (OPS-04)."""

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import pytest

from cloud.doctor import machine_checks
from cloud.doctor.checks import MASKED, Check, Level, Patient, examine, well
from cloud.doctor.label_studio_checks import kind_of_token
from cloud.doctor.list_of_checks import CHECKS
from cloud.doctor.models_checks import USUAL_SIZES
from cloud.doctor.setup_checks import MADE_WHEN_NEEDED, MUST_BE_THERE
from cloud.job.dataset_index import append_to_index
from cloud.lease import Lease, Term
from cloud.releasing.signing_keys import write_secret
from cloud.rounds import FIRST
from cloud.weights.catalogue import entry_named
from cloud.weights.store import place_of
from lifelong.config import Config
from lifelong.errors import LifelongError, StorageUnavailableError
from lifelong.knowledge_base import KnowledgeBase
from lifelong.links.storage import Storage, open_storage
from lifelong.records.ids import RoundNumber
from lifelong.records.keys import CURRENT_RELEASE, KEY_RING, bundle_key
from lifelong.records.label_map import CITYSCAPES
from lifelong.records.wire import from_json, to_json
from tests.builders import a_sample
from tests.contract.test_storage import BUCKET, pointed_at, s3_server  # noqa: F401
from tests.signing import a_ring, a_signer
from tests.tiny_bundle import tiny_bundle
from tests.unit.cloud.doctor.doctor_room import (
    BUNDLE,
    HOOK_SECRET,
    PASSWORD,
    TOKEN,
    Ward,
    Web,
    ill,
    much_room,
    serving,
)


@pytest.fixture
def ward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ward]:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9000000 kB\nMemAvailable: 8000000 kB\n")
    monkeypatch.setattr(machine_checks, "_MEMINFO", meminfo)
    monkeypatch.delenv("CORNERLOOP_WEIGHTS", raising=False)
    with serving(Web()) as web, ExitStack() as held_open:
        yield Ward(tmp_path, web, held_open)


def test_ops_04_a_healthy_set_up_has_no_finding(ward: Ward) -> None:
    found = ward.look()
    assert ill(found) == {}
    assert list(found) == list(CHECKS)
    assert all(looked.findings or name == "project" for name, looked in found.items())


def test_ops_04_what_the_first_model_learned_needs_no_line(ward: Ward) -> None:
    KnowledgeBase(ward.storage).add([a_sample(77, round_number=FIRST)], why="first model")
    assert ill(ward.look()) == {}


def test_ops_04_nothing_is_changed_by_looking(ward: Ward) -> None:
    def content() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in sorted(ward.folder.rglob("*")) if p.is_file()}

    ward.write()
    before, hooks = content(), dict(ward.studio.hooks)
    ward.look()
    assert content() == before
    assert ward.studio.hooks == hooks


Injury = Callable[[Ward], object]


def setting(path: str, value: Any) -> Injury:
    def injure(ward: Ward) -> None:
        section: Any = ward.settings
        *rooms, name = path.split(".")
        for room in rooms:
            section = section.setdefault(room, {})
        section[name] = value

    return injure


def variable(name: str, value: str | None) -> Injury:
    def injure(ward: Ward) -> None:
        ward.environ.pop(name, None)
        if value is not None:
            ward.environ[name] = value

    return injure


def both(*injuries: Injury) -> Injury:
    def injure(ward: Ward) -> None:
        for one in injuries:
            one(ward)

    return injure


def disk(**changes: int) -> Injury:
    names = ("f_bsize", "f_frsize", "f_blocks", "f_bfree", "f_bavail", "f_files", "f_ffree",
             "f_favail", "f_flag", "f_namemax")  # fmt: skip

    def injure(ward: Ward) -> None:
        whole = dict(zip(names, tuple(much_room(Path())), strict=True)) | changes
        ward.disk = lambda _: os.statvfs_result(tuple(whole[name] for name in names))

    return injure


def an_access_token(kind: str, seconds: float) -> str:
    ends = datetime.now(UTC) + timedelta(seconds=seconds)
    return jwt.encode({"token_type": kind, "exp": ends.timestamp()}, "x" * 32)


def storage_away(ward: Ward) -> None:
    shutil.rmtree(ward.folder / "storage")


def altered(path: str, change: Callable[[str], str]) -> Injury:
    def injure(ward: Ward) -> None:
        file = ward.folder / path
        file.write_text(change(file.read_text(encoding="utf-8")), encoding="utf-8")

    return injure


def altered_change(ward: Ward) -> None:
    key = next(iter(ward.storage.keys("kb/log")))
    ward.storage.put(key, ward.storage.get(key).replace(b"anna@x.org", b"anna@y.org"))


def no_bundle(ward: Ward) -> None:
    ward.storage.delete(bundle_key(BUNDLE.version_id))


def other_bundle(ward: Ward) -> None:
    ward.storage.put(bundle_key(BUNDLE.version_id), BUNDLE.to_bytes() + b"!")


def earlier_bundle(ward: Ward) -> None:
    """A second release is fine, and the first one's bundle is not what it was."""
    later = tiny_bundle(seed=77)
    ward.storage.put(bundle_key(later.version_id), later.to_bytes())
    ward.releases.publish(later.version_id, RoundNumber(2), "second")
    other_bundle(ward)


def pointer_away(ward: Ward) -> None:
    ward.storage.delete(CURRENT_RELEASE)


def forged(ward: Ward) -> None:
    data = ward.storage.get(CURRENT_RELEASE)
    ward.storage.put(CURRENT_RELEASE, data.replace(b'"first"', b'"other"'))


def ring_of_others(ward: Ward) -> None:
    ward.storage.put(KEY_RING, to_json(a_ring(a_signer(3))))


def held(**changes: Any) -> Injury:
    """The lease in somebody's hands."""

    def injure(ward: Ward) -> None:
        assert Lease(ward.storage, 30.0, ward.now).hold()
        key = next(iter(ward.storage.keys("lease")))
        term = from_json(Term, ward.storage.get(key), key)
        made = {name: value(term) for name, value in changes.items()}
        ward.storage.put(key, to_json(replace(term, **made)))

    return injure


def silent_node(ward: Ward) -> None:
    ward.later(hours=2)


def labels_of_others(ward: Ward) -> None:
    config = ward.studio.label_config(1).replace('value="road"', 'value="street"')
    ward.studio.set_label_config(1, config)


def hook_changed(**changes: Any) -> Injury:
    def injure(ward: Ward) -> None:
        number, (project, hook) = next(iter(ward.studio.hooks.items()))
        ward.studio.hooks[number] = (project, replace(hook, **changes))

    return injure


def web_says(path: str, answer: Any) -> Injury:
    return lambda ward: ward.web.answers.__setitem__(path, answer)


def port_taken(ward: Ward) -> None:
    holder = ward.held_open.enter_context(socket.create_server(("127.0.0.1", 0)))
    ward.settings["web"]["port"] = holder.getsockname()[1]


def a_manifest(*changes: tuple[str, str]) -> Injury:
    def injure(ward: Ward) -> None:
        folder = ward.folder / "manifest"
        folder.mkdir()
        for name, text in JOB_FILES.items():
            for old, new in changes:
                text = text.replace(old, new)
            (folder / name).write_text(text, encoding="utf-8")
        ward.manifest = folder

    return injure


_POD = "{template: {spec: {containers: [{name: c, image: i, command: [x]}]}}"
JOB_FILES = {
    "dataset.yaml": """
kind: Dataset
metadata: {name: d}
spec: {url: /data/index.txt, format: txt, nodeName: n}
""",
    "job.yaml": f"""
kind: LifelongLearningJob
metadata: {{name: j}}
spec:
  dataset: {{name: d, trainProb: 0.9}}
  outputDir: /out
  trainSpec:
    trigger:
      timer: {{start: "02:00", end: "24:00"}}
      condition: {{operator: ">=", threshold: 1, metric: num_of_samples}}
    template: {{spec: {{containers: [{{name: c, image: i, command: [x]}}]}}}}
  evalSpec: {_POD}}}
  deploySpec: {_POD}}}
""",
}

FAULTS: dict[str, tuple[Injury, str, Level, str]] = {
    # configuration
    "not YAML": (altered("config.yaml", lambda _: "a: ["), "configuration", Level.BROKEN, "YAML"),
    "unknown key": (setting("storrage", "x"), "configuration", Level.BROKEN, "did you mean"),
    "label map away": (
        setting("label_map", "no.json"), "configuration", Level.BROKEN, "no.json"),
    "hold-outs away": (setting("holdouts", "none"), "configuration", Level.BROKEN, "holdouts"),
    "key away": (
        setting("releases.signing_key", "none"), "configuration", Level.BROKEN, "signing_key"),
    # environment
    "no token": (variable("LS_TOKEN", None), "environment", Level.BROKEN, "LS_TOKEN: is not set"),
    "empty token": (variable("LS_TOKEN", ""), "environment", Level.BROKEN, "is empty"),
    "token under the SDK's name": (
        both(variable("LS_TOKEN", None), variable("LABEL_STUDIO_API_KEY", TOKEN)),
        "environment", Level.BROKEN, "LABEL_STUDIO_API_KEY is set"),
    "token in another case": (
        both(variable("LS_TOKEN", None), variable("ls_token", TOKEN)),
        "environment", Level.BROKEN, "ls_token is set"),
    "token misspelt": (
        both(variable("LS_TOKEN", None), variable("LS_TOKENN", TOKEN)),
        "environment", Level.BROKEN, "LS_TOKENN is set"),
    "newline": (variable("LS_TOKEN", TOKEN + "\n"), "environment", Level.BROKEN, "newline"),
    "blank": (variable("LS_TOKEN", " " + TOKEN), "environment", Level.BROKEN, "blank"),
    "quotes": (variable("LS_TOKEN", f'"{TOKEN}"'), "environment", Level.BROKEN, "quotes"),
    "placeholder": (variable("LS_TOKEN", "${TOKEN}"), "environment", Level.BROKEN, "placeholder"),
    "word before": (
        variable("LS_TOKEN", f"Token {TOKEN}"), "environment", Level.BROKEN, "word before"),
    "no secret for hints": (
        variable("HOOK_SECRET", None), "environment", Level.BROKEN, "webhook_url"),
    "no password": (
        variable("KEY_PASSWORD", None), "environment", Level.BROKEN, "password of"),
    "no keys of the bucket": (
        setting("storage", "s3://bucket/x"), "environment", Level.WARNING, "ACCESS_KEY_ID"),
    "proxy for everything": (
        variable("HTTP_PROXY", "http://proxy:3128"), "environment", Level.WARNING, "NO_PROXY"),
    "proxy in small letters": (
        both(variable("https_proxy", "http://proxy:3128"), variable("NO_PROXY", ".local")),
        "environment", Level.WARNING, "NO_PROXY"),
    "no http address": (
        variable("S3_ENDPOINT_URL", "minio://store:9000"), "environment", Level.BROKEN, "no http"),
    "bucket in the endpoint": (
        variable("S3_ENDPOINT_URL", "http://s:9000/bucket"), "environment", Level.WARNING, "path"),
    "no folder of weights": (
        variable("CORNERLOOP_WEIGHTS", "/nowhere/w"), "environment", Level.BROKEN, "no folder"),
    # machine
    "disk full": (disk(f_bavail=100), "disk", Level.BROKEN, "MiB are free"),
    "disk nearly full": (disk(f_bavail=2**17), "disk", Level.WARNING, "512 MiB are free"),
    "no inodes": (disk(f_favail=3), "disk", Level.BROKEN, "inodes"),
    "few inodes": (disk(f_favail=5000), "disk", Level.WARNING, "inodes"),
    "read-only": (disk(f_flag=os.ST_RDONLY), "disk", Level.BROKEN, "read-only"),
    "a file for a folder": (
        setting("job.dataset_path", "config.yaml"), "disk", Level.BROKEN, "is a file"),
    "no such device": (setting("training.device", "tpu"), "device", Level.BROKEN, "no device"),
    "no GPU 63": (setting("preannotation.device", "cuda:63"), "device", Level.BROKEN, "cuda:63"),
    "port taken": (port_taken, "port", Level.BROKEN, "not `cornerloop serve`"),
    "no address": (
        both(setting("web.host", "203.0.113.7"), setting("web.port", 8000)),
        "port", Level.BROKEN, "cannot be taken"),
    # storage and what lies in it
    "storage away": (storage_away, "storage", Level.BROKEN, "mount its disk"),
    "clocks apart": (
        lambda ward: ward.later(hours=1), "storage", Level.WARNING, "s apart"),
    "altered change": (altered_change, "kb-log", Level.BROKEN, "restore it"),
    "no bundle": (no_bundle, "releases", Level.BROKEN, "is not there"),
    "other bundle": (other_bundle, "releases", Level.BROKEN, "SHA-256"),
    "earlier bundle": (
        earlier_bundle, "releases", Level.WARNING, "nobody can go back to version"),
    "pointer away": (pointer_away, "releases", Level.BROKEN, "cornerloop rollback"),
    "forged pointer": (forged, "releases", Level.BROKEN, "nodes refuse it"),
    "open key file": (
        lambda ward: ward.key.chmod(0o644), "keys", Level.BROKEN, "chmod 600"),
    "other password": (
        variable("KEY_PASSWORD", "another one"), "keys", Level.BROKEN, "does not open"),
    "key not in the ring": (ring_of_others, "keys", Level.BROKEN, "unknown in the published"),
    "ring not published": (
        lambda ward: ward.storage.delete(KEY_RING), "keys", Level.WARNING, "no key ring"),
    "no key, but a ring": (
        setting("releases.signing_key", None), "keys", Level.WARNING, "is not set"),
    "another ring beside the key": (
        altered("keys/ring.json", lambda text: text + " "), "keys", Level.BROKEN, "is published"),
    "lease of the dead": (
        held(started=lambda _: "long ago"), "lease", Level.WARNING, "which has ended"),
    "lease from the future": (
        held(until=lambda term: term.until + timedelta(days=2), host=lambda _: "other"),
        "lease", Level.BROKEN, "clock runs ahead"),
    "silent node": (silent_node, "edges", Level.WARNING, "silent for 2 h"),
    "node in alarm": (
        lambda ward: ward.report("edge-2", alarms={"heat": "it is hot"}),
        "edges", Level.WARNING, "it is hot"),
    # models
    "no weights of SAM": (
        setting("preannotation.masks", {"type": "sam", "model": "vit_b"}),
        "weights", Level.BROKEN, "cornerloop models pull sam_vit_b"),
    "weights path away": (
        setting("preannotation.semantic", {"type": "onnx", "model": "/nowhere/m.onnx"}),
        "weights", Level.BROKEN, "/nowhere/m.onnx is not there"),
    "student away": (
        setting("training.init", "mit_b0"), "student", Level.BROKEN, "models pull mit_b0"),
    "student's path away": (
        setting("training.init", "/nowhere/w"), "student", Level.BROKEN, "nothing there"),
    # index and manifest
    "index away": (
        lambda ward: (ward.folder / "dataset/index.txt").unlink(),
        "index", Level.BROKEN, "has 4 samples"),
    "torn line": (
        altered("dataset/index.txt", lambda text: text[:-5]), "index", Level.BROKEN, "no end"),
    "line away": (
        altered("dataset/index.txt", lambda text: text.split("\n", 1)[1]),
        "index", Level.WARNING, "have no line"),
    "line twice": (
        altered("dataset/index.txt", lambda text: text + text.split("\n")[0] + "\n"),
        "index", Level.WARNING, "more than one line"),
    "files away": (
        lambda ward: shutil.rmtree(ward.folder / "dataset/masks"),
        "index", Level.BROKEN, "4 files of its lines"),
    "strange line": (
        altered("dataset/index.txt", lambda text: text + "images/strange.jpg masks/strange.png\n"),
        "index", Level.WARNING, "1 lines are of no sample"),
    "long line": (
        altered("dataset/index.txt", lambda text: text + "#" * 70000 + "\n"),
        "index", Level.BROKEN, "stops reading"),
    "other share": (
        a_manifest(("0.9", "0.8")), "manifest", Level.BROKEN, "job.train_share is 0.9"),
    "long outputDir": (
        a_manifest(("/out", "/a/folder/with/a/name/of/more/than/40/characters")),
        "manifest", Level.BROKEN, "cuts the names"),
    "outputDir as an archive": (
        a_manifest(("/out", "/out.tar")), "manifest", Level.BROKEN, "archive"),
    "time without quotes": (
        a_manifest(('"24:00"', "24:00")), "manifest", Level.BROKEN, "timer.end"),
    "other index": (
        a_manifest(("index.txt", "data.txt")), "manifest", Level.BROKEN, "data.txt is not"),
    "trigger that never fires": (
        a_manifest(("num_of_samples", "accuracy")), "manifest", Level.WARNING, "never fires"),
    "no manifest": (
        lambda ward: setattr(ward, "manifest", ward.folder / "none.yaml"),
        "manifest", Level.BROKEN, "cannot be read"),
    # Label Studio
    "nobody there": (
        web_says("/api/version/", None), "label-studio", Level.BROKEN, "no Label Studio"),
    "old Label Studio": (
        web_says("/api/version/", {"release": "1.7.1"}), "label-studio", Level.BROKEN, "1.13"),
    "older Label Studio": (
        web_says("/api/version/", {"release": "1.20.0"}), "label-studio", Level.WARNING, "1.20"),
    "access token": (
        variable("LS_TOKEN", an_access_token("access", 300)),
        "label-studio", Level.BROKEN, "five minutes"),
    "token run out": (
        variable("LS_TOKEN", an_access_token("refresh", -60)),
        "label-studio", Level.BROKEN, "run out"),
    "token cut": (
        variable("LS_TOKEN", "eyJh.e30xx.x"), "label-studio", Level.BROKEN, "cannot be read"),
    "Label Studio goes away": (
        lambda ward: setattr(ward.studio, "is_up", False),
        "label-studio", Level.BROKEN, ""),
    "other labels": (labels_of_others, "project", Level.BROKEN, "does not fit"),
    "other settings": (
        lambda ward: ward.studio.change_settings(1, {"sampling": "Uniform sampling"}),
        "project", Level.WARNING, "sampling"),
    "hints switched off": (
        hook_changed(is_active=False), "project", Level.WARNING, "switched off"),
    "hints elsewhere": (
        hook_changed(url="http://elsewhere/webhooks/x"), "project", Level.WARNING, "no hints"),
    "hints with another secret": (
        hook_changed(headers={}), "project", Level.WARNING, "another secret"),
    "nobody hears hints": (
        web_says("/healthz", None), "project", Level.WARNING, "hints are lost"),
    "model away": (web_says("/health", None), "project", Level.WARNING, "does not answer"),
    "model not connected": (
        lambda ward: ward.studio.models.clear(), "project", Level.WARNING, "not connected"),
    "pictures out of reach": (
        setting("label_studio.local_files_root", "keys"), "project", Level.BROKEN, "not under it"),
    "two projects": (
        lambda ward: ward.studio.create_project("Cornerloop", "", ""),
        "project", Level.BROKEN, "rename all but one"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_ops_04_each_fault_is_named(ward: Ward, fault: str) -> None:
    injure, check, level, words = FAULTS[fault]
    injure(ward)
    needed = {*CHECKS[check].needs, check}
    if fault == "not YAML":
        patient = ward.patient()
        (ward.folder / "config.yaml").write_text("a: [", encoding="utf-8")
        (looked,) = examine(patient, {check: CHECKS[check]})
        found = {check: looked}
    else:
        found = ward.look(*needed)
    told = [f for f in found[check].findings if f.level is level]
    assert any(words in f"{f.where}: {f.what} {f.to_do}" for f in told), found[check]
    text = str(found)
    assert TOKEN not in text
    assert PASSWORD not in text
    assert HOOK_SECRET not in text


def test_ops_04_damaged_weights_are_found_by_their_hash(ward: Ward, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    setting("preannotation.masks", {"type": "mobile_sam"})(ward)
    setting("preannotation.weights_path", "weights")(ward)
    place_of(entry_named("mobile_sam"), weights).write_bytes(b"not these")
    found = ward.look("weights", "hashes")
    assert ill({"weights": found["weights"]}) == {}
    assert "models pull mobile_sam" in str(ill(found)["hashes"])
    quick = ward.look("weights", "hashes", is_quick=True)
    assert quick["hashes"].findings[0].level is Level.UNSEEN


def test_ops_04_the_port_of_our_own_page_is_well(ward: Ward) -> None:
    ward.settings["web"]["port"] = int(ward.web.url.rsplit(":", 1)[1])
    assert ill(ward.look("port")) == {}


def test_ops_04_a_page_that_wants_certificates_is_known_by_its_port_for_probes(ward: Ward) -> None:
    ours = int(ward.web.url.rsplit(":", 1)[1])
    with socket.create_server(("127.0.0.1", 0)) as taken:  # its TLS tells us nothing
        ward.settings["web"] = {
            "port": taken.getsockname()[1],
            "tls_certificate": "c.pem",
            "tls_key": "c.key",
            "tls_client_ca": "ca.pem",
        }
        (finding,) = ill(ward.look("port"))["port"]
        assert finding.level is Level.WARNING
        assert "web.probe_port" in finding.to_do
        ward.settings["web"]["probe_port"] = ours
        assert ill(ward.look("port")) == {}


def test_ops_04_little_memory_is_told(ward: Ward, tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemAvailable: 1000 kB\n")
    assert "1 MiB are available" not in str(ward.look("port"))
    assert "MiB are available" in str(ill(ward.look("device"))["device"])


def test_ops_04_storage_that_fails_is_told_and_what_needs_it_waits(ward: Ward) -> None:
    patient = ward.patient()

    class Dying(Storage):
        def put(self, key: str, data: bytes) -> None:
            raise StorageUnavailableError(f"{key}: No space left on device")

    patient.__dict__["storage"] = Dying(ward.storage._store, ward.storage.url)
    found = {looked.check: looked for looked in examine(patient, CHECKS)}
    assert "No space left" in str(ill(found)["storage"])
    assert found["kb"].findings[0].level is Level.UNSEEN
    assert "storage" in found["kb"].findings[0].what
    assert ill({"device": found["device"]}) == {}


def test_ops_04_storage_that_is_not_there_is_not_made(ward: Ward) -> None:
    storage_away(ward)
    assert "storage" in ill(ward.look())
    assert not (ward.folder / "storage").exists()


def test_ops_04_a_check_that_fails_itself_does_not_stop_the_others(ward: Ward) -> None:
    def fails(_: Patient) -> list[Any]:
        raise ZeroDivisionError(f"with {TOKEN} at hand")

    checks = {
        "first": Check(what="", look=fails, needs=()),
        "second": Check(what="", look=lambda _: [well("here", "fine")], needs=()),
        "third": Check(what="", look=lambda _: [], needs=("first",)),
    }
    first, second, third = examine(ward.patient(), checks)
    assert first.is_broken
    assert "the check itself failed (ZeroDivisionError: with " + MASKED in first.findings[0].what
    assert not second.is_broken
    assert third.findings[0].level is Level.UNSEEN


def test_ops_04_without_label_studio_nothing_is_asked_of_it(ward: Ward) -> None:
    ward.settings["annotation_folder"] = "people"
    del ward.environ["LS_TOKEN"]
    ward.web.answers.clear()
    assert ill(ward.look("configuration", "environment", "label-studio", "project")) == {}


def test_ops_04_storage_and_index_in_a_bucket(
    ward: Ward, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    pointed_at(request.getfixturevalue("s3_server"), monkeypatch)
    ward.environ = {**ward.environ, **os.environ}
    url = f"s3://{BUCKET}/doctor-{uuid4().hex}"
    bucket = open_storage(url)
    for room in ward.storage.rooms():
        for key in ward.storage.keys(room):
            bucket.put(key, ward.storage.get(key))
    samples = list(KnowledgeBase(bucket).samples.values())
    append_to_index(bucket, f"{url}/dataset", "index.txt", samples)
    ward.settings["storage"], ward.settings["job"]["dataset_path"] = url, f"{url}/dataset"
    checks = ("configuration", "environment", "disk", "storage", "kb", "releases", "index")
    assert ill(ward.look(*checks)) == {}
    bucket.delete(f"dataset/masks/{samples[0].sample_id}.png")
    bucket.put("dataset/index.txt", bucket.get("dataset/index.txt")[:-3])
    found = str(ill(ward.look(*checks)))
    assert "its last line has no end" in found
    assert "1 files of its lines are not there" in found
    assert list(bucket.keys("doctor")) == []
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    ward.settings["storage"] = f"s3://{BUCKET}-of-nobody/x"
    assert "storage" in ill(ward.look("configuration", "storage"))


def test_ops_04_an_unencrypted_key_needs_no_password(ward: Ward) -> None:
    ward.key.unlink()
    write_secret(ward.key, b"\x07" * 32, None)
    del ward.environ["KEY_PASSWORD"]
    assert ill(ward.look("configuration", "environment", "storage", "keys")) == {}


def test_ops_04_every_path_of_the_cloud_is_looked_at() -> None:
    """A new path of the configuration must be put on one of the two lists."""

    def paths(section: Any, before: str) -> Iterator[str]:
        for name, field in section.model_fields.items():
            kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
            if Path in kinds:
                yield before + name
            for kind in kinds:
                if isinstance(kind, type) and hasattr(kind, "model_fields"):
                    yield from paths(kind, f"{before}{name}.")

    of_the_cloud = {name for name in paths(Config, "") if not name.startswith("edge.")}
    assert of_the_cloud == {*MUST_BE_THERE, *MADE_WHEN_NEEDED}


def test_ops_04_weights_of_each_model_of_the_smart_tool_are_looked_for(ward: Ward) -> None:
    models = {"sam_b": {"type": "sam", "model": "vit_b", "checkpoint": "no_b.pth"},
              "shipped": {"type": "tiny"}}  # fmt: skip
    ward.settings["assist"] = {"model": {"checkpoint": "no.safetensors"}, "models": models}
    told = str(ward.look("configuration"))
    assert "assist.model.checkpoint" in told and "no.safetensors" in told
    assert "assist.models.sam_b.checkpoint" in told and "shipped" not in told


@pytest.mark.parametrize(
    ("token", "kind"),
    [
        (TOKEN, "a legacy token"),
        ("chosen-by-hand", "a legacy token"),
        (an_access_token("refresh", 3600), "a personal access token"),
    ],
)
def test_ops_04_kinds_of_tokens(token: str, kind: str) -> None:
    assert kind_of_token(token, datetime.now(UTC).timestamp()) == (kind, "")


def test_the_default_label_map_is_what_the_project_of_these_tests_has(ward: Ward) -> None:
    assert ward.patient().label_map.names == CITYSCAPES.names
    with pytest.raises(LifelongError, match="no configuration"):
        _ = ward.patient(config_path=None).config


@pytest.mark.slow
def test_the_sizes_that_are_meant_without_a_word_are_those_that_are_loaded() -> None:
    from cloud.preannotation.sam.by_name import MODELS

    assert {name: sizes[0] for name, sizes in MODELS.items() if len(sizes) > 1} == USUAL_SIZES
