"""A fleet of simulated nodes on one store: what a poll, a report and a sample cost as it grows.

python -m bench.fleet --json
python -m bench.fleet --nodes 10 100 1000 --samples 1000 5000 --store folder

Nodes have no process and no model; each has a real outbox and uploader, the real look for
releases, and the real health report, all in place of a thread of their own. The cloud's side is
real too: the list of nodes, the roll-out's step, and the inbox. A node's cost must not depend on
how many others there are, nor the cost of admitting a sample on how many were admitted before;
`flat_…` is the cost at the largest size over that at the smallest one measured.
"""

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from bench.measuring import peak_mib, report, seconds_of
from cloud.edges import Edges
from cloud.inbox import Inbox
from cloud.releases import Releases
from cloud.rollout import Rollouts
from edge.errands import Errand
from edge.health import Health
from edge.health_report import HealthReports, Reporter
from edge.machine import Machine
from edge.model_updates import ModelUpdates
from edge.outbox import Outbox
from edge.trust import Trust
from edge.uploader import Uploader
from lifelong.delivery_config import OutboxSection
from lifelong.fleet_config import ReleasesSection
from lifelong.hard_examples import Verdict
from lifelong.links.journal import Journal, utc_now
from lifelong.links.storage import Storage, open_storage
from lifelong.records.ids import EdgeId, RoundNumber, VersionId
from lifelong.records.keys import bundle_key
from lifelong.records.label_map import CITYSCAPES
from lifelong.records.pixels import Frame, Prediction
from tests.tiny_bundle import tiny_bundle

HEIGHT, WIDTH = 48, 64  # of a sample: what is measured is what the store and the records cost
MACHINE = Machine(
    cpu_celsius=50.0,
    load=0.5,
    memory_bytes=90 * 2**20,
    outbox_free_bytes=2**33,
    state_free_bytes=2**33,
)
BEGUN = datetime(2026, 3, 1, tzinfo=UTC)


class Node:
    """A node without frames: it looks for releases, reports, and delivers what it is given."""

    def __init__(self, number: int, folder: Path, storage: Storage) -> None:
        self.edge_id = EdgeId(f"edge-{number:05d}")
        self.number = number
        self._sent = 0
        state = folder / self.edge_id
        state.mkdir(parents=True)
        journal = Journal(state / "journal", self.edge_id)
        self.updates = ModelUpdates(
            storage,
            state / "models",
            CITYSCAPES.digest,
            journal,
            trust=Trust(None, accepts_unsigned=True),
            edge_id=self.edge_id,
        )
        self.health = Health(state / "health.json")
        self.outbox = Outbox(OutboxSection(path=state / "outbox"), journal)
        self.uploader = Uploader(self.outbox, storage, journal, Errand("uploads", inline=True))
        reporter = Reporter(
            edge_id=self.edge_id,
            label_map_digest=CITYSCAPES.digest,
            software="bench",
            report_seconds=1e-9,  # as often as it is asked
        )
        self.reports = HealthReports(
            reporter,
            storage,
            self.health,
            Errand("health", inline=True),
            state / "reports",
            machine=lambda: MACHINE,
        )

    def install(self) -> None:
        """Take what is released, as a node does once."""
        offer = self.updates.newer_than(None)
        assert offer is not None
        self.updates.keep(offer, None)
        self.health.vitals.version = offer.bundle.version_id
        self.health.frame_took(0.02, offer.bundle.version_id)

    def poll(self) -> None:
        """Look whether something newer is released; nothing is."""
        running = self.updates.running_release
        assert running is not None
        assert self.updates.newer_than(running.version_id) is None

    def keep(self) -> None:
        """Put one hard example of its own into the outbox."""
        self._sent += 1
        seed = self.number * 100_003 + self._sent
        assert self.outbox.put(*a_hard_frame(self.edge_id, seed)) is not None

    def deliver(self) -> None:
        """Bring what waits over to storage."""
        assert self.uploader.finish(60.0), self.uploader.last_error


def main() -> None:
    """Measure every size of a fleet, then samples on top, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--samples", type=int, nargs="+", default=[0, 1000, 5000])
    parser.add_argument("--store", choices=["folder", "memory"], default="folder")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        store = "memory://" if given.store == "memory" else str(Path(folder) / "storage")
        figures = measured(Path(folder), open_storage(store), given.nodes, given.samples)
    report({"store": given.store, **figures}, as_json=given.json)


def measured(
    folder: Path, storage: Storage, sizes: Sequence[int], samples: Sequence[int]
) -> dict[str, object]:
    """Figures of every size; one store, to which nodes are added."""
    releases = released(folder, storage)
    rollouts = Rollouts(
        storage=storage,
        releases=releases,
        edges=Edges(storage, utc_now),
        section=ReleasesSection(stages=(0.1, 1.0), observe_minutes=1e6),
        journal=Journal(folder, "cloud"),
        now=utc_now,
    )
    inbox = Inbox(storage, Journal(folder, "cloud"))
    nodes: list[Node] = []
    by_nodes: dict[int, dict[str, float]] = {}
    for size in sorted(sizes):
        nodes += [Node(number, folder / "nodes", storage) for number in range(len(nodes), size)]
        for node in nodes:
            if node.updates.running_release is None:
                node.install()
        by_nodes[size] = of_fleet(nodes, storage, inbox)
    by_samples = of_samples(nodes, inbox, samples)
    newer = tiny_bundle(CITYSCAPES, seed=2)
    _, begun = seconds_of(
        lambda: rollouts.publish(newer.version_id, RoundNumber(1), "round 1 accepted")
    )
    step_ms = 1000.0 * median_s(rollouts.step, 5)
    return {
        "by_nodes": by_nodes,
        "rollout_begin_ms": round(1000.0 * begun, 2),
        "rollout_step_ms": round(step_ms, 2),
        "by_samples_admitted": by_samples,
        **flatness(by_nodes, by_samples),
        "peak_mib": round(peak_mib(), 1),
    }


def of_fleet(nodes: Sequence[Node], storage: Storage, inbox: Inbox) -> dict[str, float]:
    """What each act costs a node, and a look at all of them the cloud."""
    count = len(nodes)
    reports = 1e6 * seconds_of(lambda: [node.reports.send_when_due() for node in nodes])[1] / count
    polls = 1e6 * seconds_of(lambda: [node.poll() for node in nodes])[1] / count
    for node in nodes:
        node.keep()
    delivered = 1e6 * seconds_of(lambda: [node.deliver() for node in nodes])[1] / count
    admitted = 1e6 * seconds_of(inbox.collect)[1] / count
    edges = Edges(storage, utc_now)
    first = 1e3 * seconds_of(edges.look)[1]
    assert len(edges.look()) == count
    changed = nodes[: min(10, count)]
    unchanged = 1e3 * median_s(edges.look, 5)
    for node in changed:
        node.reports.send_when_due()
    some = 1e3 * seconds_of(edges.look)[1]
    return {
        "report_us": round(reports),
        "poll_us": round(polls),
        "deliver_us_per_sample": round(delivered),
        "admit_us_per_sample": round(admitted),
        "first_look_ms": round(first, 2),
        "look_ms": round(unchanged, 2),
        "look_us_per_node": round(1000.0 * unchanged / count, 1),
        "look_with_10_new_ms": round(some, 2),
    }


def of_samples(
    nodes: Sequence[Node], inbox: Inbox, samples: Sequence[int]
) -> dict[int, dict[str, float]]:
    """What the next hundred samples cost when so many were admitted before."""
    found: dict[int, dict[str, float]] = {}
    batch, turn = min(100, len(nodes)), 0
    for target in sorted(samples):
        while len(inbox.collect()) < target:
            for node in nodes:
                node.keep()
                node.deliver()
        known = len(inbox.collect())
        chosen = [nodes[(turn + place) % len(nodes)] for place in range(batch)]
        turn += batch
        for node in chosen:
            node.keep()
        delivered = seconds_of(lambda some=chosen: [node.deliver() for node in some])[1]  # type: ignore[misc]
        polled = seconds_of(lambda some=chosen: [node.poll() for node in some])[1]  # type: ignore[misc]
        began = time.perf_counter()
        after = inbox.collect()
        admitted = time.perf_counter() - began
        assert len(after) == known + batch
        found[known] = {
            "deliver_us_per_sample": round(1e6 * delivered / batch),
            "admit_us_per_sample": round(1e6 * admitted / batch),
            "poll_us": round(1e6 * polled / batch),
            "idle_collect_ms": round(1e3 * median_s(inbox.collect, 3), 2),
        }
    return found


def flatness(
    by_nodes: dict[int, dict[str, float]], by_samples: dict[int, dict[str, float]]
) -> dict[str, float]:
    """Cost at the largest size over cost at the smallest."""
    found = {}
    for name, sizes, key in (
        ("flat_poll_by_nodes", by_nodes, "poll_us"),
        ("flat_report_by_nodes", by_nodes, "report_us"),
        ("flat_deliver_by_nodes", by_nodes, "deliver_us_per_sample"),
        ("flat_admit_by_nodes", by_nodes, "admit_us_per_sample"),
        ("flat_look_by_nodes", by_nodes, "look_us_per_node"),
        ("flat_poll_by_samples", by_samples, "poll_us"),
        ("flat_deliver_by_samples", by_samples, "deliver_us_per_sample"),
        ("flat_admit_by_samples", by_samples, "admit_us_per_sample"),
    ):
        if len(sizes) > 1:
            found[name] = round(sizes[max(sizes)][key] / sizes[min(sizes)][key], 2)
    return found


def released(folder: Path, storage: Storage) -> Releases:
    """One model for everybody, and the next one's bundle."""
    bundles = [tiny_bundle(CITYSCAPES, seed=seed) for seed in (1, 2)]
    for bundle in bundles:
        storage.put(bundle_key(bundle.version_id), bundle.to_bytes())
    releases = Releases(storage, Journal(folder, "cloud"), utc_now)
    releases.publish(bundles[0].version_id, RoundNumber(0), "first model")
    return releases


def median_s(call: Callable[[], Any], times: int) -> float:
    """Median of the seconds that a call takes."""
    return statistics.median(seconds_of(call)[1] for _ in range(times))


def a_hard_frame(edge: EdgeId, seed: int) -> tuple[Frame, Prediction, Verdict]:
    """A small picture that nobody else has, with a mask and a verdict."""
    random = np.random.default_rng(seed)
    plane = np.full((HEIGHT, WIDTH), 0.5, dtype=np.float32)
    frame = Frame(
        image=random.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8),
        edge_id=edge,
        captured_at=BEGUN,
        sequence=seed,
        attributes={},
    )
    prediction = Prediction(
        mask=random.integers(0, len(CITYSCAPES), (HEIGHT, WIDTH), dtype=np.uint8),
        confidence=plane,
        entropy=plane,
        margin=plane,
        version_id=VersionId("00000000000000aa"),
    )
    verdict = Verdict(is_hard=True, score=0.5, reasons=("bench",), scores={"entropy": 0.5})
    return frame, prediction, verdict


if __name__ == "__main__":
    main()
