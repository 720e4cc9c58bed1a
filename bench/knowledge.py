"""What a knowledge base costs as it grows: to add to, open, refresh, verify, ask and forget.

python -m bench.knowledge --json
python -m bench.knowledge --samples 100000 --per-change 100

Samples have 12 classes and lie in a folder; no picture is read. Seconds are by the clock and, in
`cpu_…`, of this process alone, which a busy machine changes less.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from bench.measuring import peak_mib, report
from cloud.knowledge.sample_queries import SampleQuery
from lifelong.knowledge.checkpoints import CHECKPOINTS
from lifelong.knowledge.checks import verify
from lifelong.knowledge.log import LOG
from lifelong.knowledge_base import KnowledgeBase
from lifelong.links.storage import Storage, open_storage
from lifelong.records.forget_requests import ForgetRequest
from lifelong.records.ids import EdgeId, RoundNumber, SampleId, sha256_hex
from lifelong.records.samples import Sample, Split

NOW = datetime(2026, 3, 1, tzinfo=UTC)
EDGES, CLASSES, REFRESHES = 20, 12, 200


def measured(samples: int, per_change: int) -> dict[str, Any]:
    """Every figure for one size; seconds."""
    with tempfile.TemporaryDirectory() as folder:
        storage = open_storage(folder)
        found: dict[str, Any] = {"samples": samples, "per_change": per_change}
        slowest = 0.0
        kb = KnowledgeBase(storage)
        for first in range(0, samples, per_change):
            group = [_sample(i) for i in range(first, min(first + per_change, samples))]
            began = time.perf_counter()
            kb.add(group, why="bench")
            slowest = max(slowest, time.perf_counter() - began)
        found["changes"], found["slowest_add"] = kb.changes, round(slowest, 3)
        found["log_mib"] = _mib(storage, LOG)
        found["checkpoint_mib"] = _mib(storage, CHECKPOINTS)
        _timed(found, "open", lambda: KnowledgeBase(storage))
        _timed(found, "refreshes", lambda: _refreshed(kb))
        found["refresh_ms"] = round(1000 * found.pop("refreshes") / REFRESHES, 3)
        del found["cpu_refreshes"]
        query = SampleQuery(class_id=CLASSES - 1, min_pixels=2 * samples, task="night", limit=100)
        _timed(found, "query", lambda: list(query.answer(kb, storage)))
        _timed(found, "verify", lambda: verify(storage))
        gone = tuple(s.sample_id for s in kb.samples.values() if s.edge_id == "edge-0")
        _timed(found, "forget_log", lambda: kb.forget(_request(gone), NOW))
        found["forgotten"] = len(gone)
        _timed(found, "open_without_checkpoint", lambda: KnowledgeBase(storage))
        found["peak_mib"] = round(peak_mib(), 1)
        return found


def _refreshed(kb: KnowledgeBase) -> None:
    for _ in range(REFRESHES):
        kb.refresh()


def _timed(found: dict[str, Any], name: str, act: Callable[[], object]) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    act()
    found[name] = round(time.perf_counter() - wall, 2)
    found[f"cpu_{name}"] = round(time.process_time() - cpu, 2)


def _sample(number: int) -> Sample:
    sha256 = sha256_hex(str(number).encode())
    sample_id = SampleId(sha256[:16])
    return Sample(
        sample_id=sample_id,
        image_key=f"images/{sample_id}.jpg",
        image_sha256=sha256,
        mask_key=f"masks/{sample_id}/{number}.png",
        mask_sha256=sha256,
        learning_task=("day", "dusk", "night")[number % 3],
        split=Split.TRAIN,
        round_number=RoundNumber(1 + number // 100),
        edge_id=EdgeId(f"edge-{number % EDGES}"),
        annotator="anna@example.org",
        class_pixels={c: number + c for c in range(CLASSES)},
    )


def _request(samples: tuple[SampleId, ...]) -> ForgetRequest:
    return ForgetRequest(
        request_id="0" * 16,
        scope="device",
        name="edge-0",
        value="",
        samples=samples,
        tasks=(),
        asked_at=NOW,
    )


def _mib(storage: Storage, room: str) -> float:
    return round(sum(entry.size for entry in storage.entries(room)) / 2**20, 1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--per-change", type=int, default=100, help="samples of a round")
    parser.add_argument("--json", action="store_true", help="one JSON object, no more")
    arguments = parser.parse_args()
    found = measured(arguments.samples, arguments.per_change)
    report(found, as_json=arguments.json)


if __name__ == "__main__":
    main()
