"""TR-07: the service sweeps its storage folder, again and again, whatever stands in its way."""

import logging
import os
import threading
import time
from pathlib import Path

import pytest

from cloud.sweeping import keep_swept
from lifelong.links.storage import open_storage
from tests.real_server import wait_until


def unfinished(folder: Path, name: str) -> Path:
    """A write that was cut off two hours ago."""
    path = folder / f"{name}#1"
    path.write_bytes(b"half")
    os.utime(path, (time.time() - 7200,) * 2)
    return path


def test_tr_07_now_and_again_until_it_is_told_to_stop(tmp_path: Path) -> None:
    storage, stop = open_storage(str(tmp_path)), threading.Event()
    first = unfinished(tmp_path, "a.jpg")
    thread = threading.Thread(
        target=keep_swept, args=(storage, stop), kwargs={"pause_seconds": 0.01}
    )
    thread.start()
    wait_until(lambda: not first.exists())
    second = unfinished(tmp_path, "b.jpg")
    wait_until(lambda: not second.exists())
    stop.set()
    thread.join(60)
    assert not thread.is_alive()


def test_tr_07_what_cannot_be_removed_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuses(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    unfinished(tmp_path, "a.jpg")
    monkeypatch.setattr(Path, "unlink", refuses)
    stop = threading.Event()
    stop.set()
    with caplog.at_level(logging.WARNING):
        keep_swept(open_storage(str(tmp_path)), stop)
    assert "a.jpg#1: an unfinished write cannot be removed (Permission denied)" in caplog.text
