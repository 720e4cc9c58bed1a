"""Configurations of `cornerloop assist` for its benches, and how to see what it is doing."""

import json
import time
from pathlib import Path

from bench.assist_servers import BenchServerError, Server

NOWHERE = "http://127.0.0.1:9"  # a Label Studio that nobody asks
_EMBEDDING_S = 300.0


def settings_for(
    pictures: Path, url: str, *, weights: Path | None = None, sam2: str = "",
    precision: str = "float32", prefetch: int = 0, memory_mib: int = 512, disk_mib: int = 2048,
) -> str:  # fmt: skip
    """A configuration file.

    Args:
        pictures: Label Studio's document root.
        url: of Label Studio.
        weights: of a vit_b, or of the SAM 2 of size `sam2`; None: our tiny SAM, which then sees a
            picture as segment-anything shows it, without a mirrored border.
    """
    model: dict[str, object] = {"type": "tiny", "mirror_border": False}
    if weights is not None:
        kind = {"type": "sam2", "model": sam2} if sam2 else {"type": "sam", "model": "vit_b"}
        model = {**kind, "checkpoint": str(weights)}
    return json.dumps(  # which is YAML, too
        {
            "label_studio": {"url": url, "local_files_root": str(pictures)},
            "assist": {
                "model": model, "device": "cpu", "precision": precision,
                "prefetch_tasks": prefetch, "memory_mib": memory_mib, "disk_mib": disk_mib,
            },
        }
    )  # fmt: skip


def embedded(server: Server, count: int) -> None:
    """Wait until `count` pictures were embedded beforehand.

    Raises:
        BenchServerError: the work failed, or five minutes passed.
    """
    deadline = time.monotonic() + _EMBEDDING_S
    while time.monotonic() < deadline:
        _, answer = server.ask("GET", "/state")
        works = [work for work in json.loads(answer)["work"] if work["kind"] == "embed"]
        if any(work["state"] in {"failed", "cancelled"} for work in works):
            break
        if sum(work["done"] for work in works if work["state"] == "done") >= count:
            return
        time.sleep(0.2)
    raise BenchServerError(f"pictures were not embedded beforehand: {answer!r}\n{server.log_end()}")
