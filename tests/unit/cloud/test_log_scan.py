"""Real work at DEBUG, secrets planted everywhere: neither log nor journal tells one (OPS-06)."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from lifelong.links.storage import open_storage
from tests.contract.test_storage import BUCKET, pointed_at, s3_server  # noqa: F401
from tests.edge_fixtures import UNSIGNED, release, street_bundle, write_frames
from tests.unit.annotation.assist.servers import serving

ROOT = Path(__file__).parents[3]
PLANTED = re.compile(r"planted|PLANTED")
# Pixels in any dress: bytes as Python prints them, long runs of numbers or base64.
PIXELS = re.compile(r"(?:\\x[0-9a-f]{2}){8}|(?:\d{1,3},? ){40}|[A-Za-z0-9+/]{200}")


def refused(handler: Any) -> None:
    """A Label Studio that repeats the token it refuses."""
    given = handler.headers.get("Authorization", "")
    body = json.dumps({"detail": f"{given} is not valid"}).encode()
    handler.send(401, body, Content_Type="application/json")


@pytest.mark.slow
def test_ops_06_neither_log_nor_journal_tells_a_secret_or_a_pixel(
    tmp_path: Path,
    s3_server: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pointed_at(s3_server, monkeypatch)
    place = f"s3://{BUCKET}/{tmp_path.name}"
    release(open_storage(place), street_bundle())
    write_frames(tmp_path, 4)
    with serving() as studio:
        for path in ("/api/current-user/whoami", "/api/projects/", "/api/token/refresh"):
            studio.answers[path] = refused
        (tmp_path / "config.yaml").write_text(yaml.safe_dump({
            "storage": place,
            "journal_path": "journal",
            "label_studio": {"url": studio.url, "token_env": "MY_PAT"},
            "edge": {
                "source": {"type": "folder", "path": "frames", "stop_when_empty": True},
                "hard_examples": {"policy": "cloud_only"},
                "threads": 1,
                "updates": UNSIGNED,
            },
        }))  # fmt: skip
        planted = {
            "ACCESS_KEY_ID": "AKIAPLANTEDPLANTED12",
            "SECRET_ACCESS_KEY": "planted-s3-secret",
            "MY_PAT": "planted-label-studio-token",
            "CORNERLOOP_ASSIST_PASSWORD": "planted-assist-password",
            "CORNERLOOP_SIGNING_PASSWORD": "planted-signing-password",
        }
        said = ""
        for command in (
            ["-m", "edge", "replay", str(tmp_path / "frames"), "--verbose"],
            ["-m", "tests.logged_program"],
        ):
            config = str(tmp_path / "config.yaml")
            words = [*command, *(["--config"] if "edge" in command else []), config]
            done = subprocess.run(
                [sys.executable, *words], cwd=ROOT, env={**os.environ, **planted},
                capture_output=True, text=True, timeout=120, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            said += done.stdout + done.stderr
    assert '"admitted": 4' in said, "work was done"
    assert "DEBUG" in said
    assert "the answer says click-0001" in said, "one id in answer and log"
    assert "no answer click-0001" in said
    journals = [path.read_text() for path in tmp_path.rglob("*.jsonl")]
    events = {json.loads(line)["event"] for text in journals for line in text.splitlines()
              if '"event"' in line}  # fmt: skip
    assert {"hard_example.uploaded", "hard_example.admitted", "source.away"} <= events
    for text in (said, *journals):
        for found in (PLANTED, PIXELS):
            match = found.search(text)
            assert match is None, text[max(0, match.start() - 200) : match.end() + 50]
