"""A set-up in which the doctor finds nothing, to be injured in one place.

Label Studio, the page and the interactive model are stood in for, on loopback.
"""

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml
from nacl import pwhash

from annotation.labeling_config import labeling_config
from annotation.project_settings import SETTINGS, ensure_backend
from annotation.webhooks import ensure_webhook
from cloud.doctor.checks import Finding, Level, Looked, Patient, examine
from cloud.doctor.list_of_checks import CHECKS
from cloud.releasing.key_rings import first_ring, publish_ring
from cloud.releasing.releases import Releases
from cloud.releasing.signing_keys import write_secret
from lifelong.config import load_config, load_label_map
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage, open_storage
from lifelong.records.edge_health import EdgeHealth
from lifelong.records.ids import EdgeId, RoundNumber
from lifelong.records.keys import bundle_key
from lifelong.records.model_versions import Release
from lifelong.records.wire import to_json
from tests.fakes_label_studio import FakeStudio
from tests.tiny_bundle import tiny_bundle
from tests.unit.cloud.knowledge.forgetting_room import Room

BUNDLE = tiny_bundle(seed=1)
TOKEN = "0123456789abcdef0123456789abcdef01234567"
PASSWORD = "a long password of the key"
HOOK_SECRET = "a long random text for hints"
GIB = 2**30


class Studio(FakeStudio):
    """What the doctor asks beside."""

    def whoami(self) -> str:
        self._answer()
        return self.email

    def close(self) -> None:
        """Nothing is open."""


@dataclass
class Web:
    """Answers by path; stands for Label Studio, `cornerloop serve` and an interactive model."""

    answers: dict[str, Any] = field(
        default_factory=lambda: {
            "/api/version/": {"release": "1.23.2"},
            "/healthz": {"status": "up"},
            "/health": {"status": "UP"},
        }
    )
    url: str = ""


@contextmanager
def serving(web: Web) -> Iterator[Web]:
    """Serve it on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = web.answers.get(self.path)
            self.send_response(404 if body is None else 200)
            data = json.dumps(body).encode()
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def much_room(_: Path) -> os.statvfs_result:
    """A disk with 100 GiB and a million files left."""
    blocks = 100 * GIB // 4096
    return os.statvfs_result((4096, 4096, blocks, blocks, blocks, 10**6, 10**6, 10**6, 0, 255))


class Ward:
    """A set-up as an operator has it: configuration, environment, storage, project."""

    def __init__(self, folder: Path, web: Web, held_open: ExitStack) -> None:
        self.folder, self.web, self.held_open = folder, web, held_open
        self.studio = Studio()
        self.environ = {
            "LS_TOKEN": TOKEN,
            "KEY_PASSWORD": PASSWORD,
            "HOOK_SECRET": HOOK_SECRET,
        }
        self.disk: Callable[[Path], os.statvfs_result] = much_room
        self.now: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.manifest: Path | None = None
        self.settings: dict[str, Any] = {
            "storage": "storage",
            "journal_path": "journal",
            "job": {"dataset_path": "dataset"},
            "web": {"port": 0},
            "training": {"device": "cpu"},
            "releases": {"signing_key": "keys/secret.json", "signing_password_env": "KEY_PASSWORD"},
            "label_studio": {
                "url": web.url,
                "token_env": "LS_TOKEN",
                "local_files_root": ".",
                "webhook_url": web.url,
                "webhook_secret_env": "HOOK_SECRET",
                "ml_backend": web.url,
            },
        }
        self.write()
        self.storage: Storage = open_storage(str(folder / "storage"))
        self.room = Room(self.storage, folder).filled()
        self.key = folder / "keys" / "secret.json"
        self.signer = write_secret(
            self.key,
            b"\x07" * 32,
            PASSWORD,
            operations=pwhash.argon2id.OPSLIMIT_MIN,
            memory=pwhash.argon2id.MEMLIMIT_MIN,
        )
        ring = first_ring(self.signer, self.now())
        publish_ring(self.storage, ring)
        (self.key.parent / "ring.json").write_bytes(to_json(ring))
        self.storage.put(bundle_key(BUNDLE.version_id), BUNDLE.to_bytes())
        self.releases = Releases(
            self.storage, Journal(folder / "journal", "cloud"), self.now, lambda: self.signer
        )
        self.release: Release = self.releases.publish(BUNDLE.version_id, RoundNumber(1), "first")
        self.report("edge-1")
        self._project()

    def _project(self) -> None:
        label_map = load_label_map(load_config(self.folder / "config.yaml"))
        project = self.studio.create_project("Cornerloop", labeling_config(label_map), "")
        self.studio.change_settings(project, dict(SETTINGS))
        ensure_webhook(self.studio, project, url=self.web.url, secret=HOOK_SECRET)
        ensure_backend(self.studio, project, self.web.url)
        self.studio.shown[project] = "round-1"

    def report(self, edge: str, **changes: Any) -> None:
        """A node's report, just now."""
        health = EdgeHealth(
            edge_id=EdgeId(edge),
            report=1,
            at=self.now(),
            report_seconds=10.0,
            software="0",
            label_map_digest="",
            version_id=BUNDLE.version_id,
        )
        self.storage.put(f"edges/{edge}/health.json", to_json(replace(health, **changes)))

    def write(self) -> None:
        """Write the configuration."""
        text = yaml.safe_dump(self.settings)
        (self.folder / "config.yaml").write_text(text, encoding="utf-8")

    def later(self, **span: float) -> None:
        """Let the cloud's clock be ahead of everything."""
        at = datetime.now(UTC) + timedelta(**span)
        self.now = lambda: at

    def patient(self, **changes: Any) -> Patient:
        """As the doctor meets it."""
        self.write()
        made = Patient(
            config_path=self.folder / "config.yaml",
            environ=self.environ,
            now=self.now,
            manifest=self.manifest,
            disk=self.disk,
            studio_of=lambda _: self.studio,  # type: ignore[arg-type,return-value]
        )
        return replace(made, **changes)

    def look(self, *only: str, **changes: Any) -> dict[str, Looked]:
        """Look, at everything or only at some."""
        checks = {name: check for name, check in CHECKS.items() if not only or name in only}
        return {looked.check: looked for looked in examine(self.patient(**changes), checks)}


def ill(found: dict[str, Looked]) -> dict[str, list[Finding]]:
    """Findings that say that something is not as it should be, by check."""
    troubled = {
        name: [f for f in looked.findings if f.level is not Level.WELL]
        for name, looked in found.items()
    }
    return {name: findings for name, findings in troubled.items() if findings}
