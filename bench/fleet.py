"""A fleet of simulated nodes on one store: what a poll, a report and a sample cost as it grows.

python -m bench.fleet --json
python -m bench.fleet --nodes 10 100 1000 --samples 1000 5000 --store folder

Nodes have no process and no model; each has a real outbox and uploader, the real look for
releases, and the real health report, all in place of a thread of their own. The cloud's side is
real too: the list of nodes, the roll-out's step, and the inbox. A node's cost must not depend on
how many others there are, nor the cost of admitting a sample on how many were admitted before;
`flat_…` is the cost at the largest size over that at the smallest one.

Every size has a store of its own, and the sizes take turns, so that a busy minute of the machine
is a minute of all. A node's cost is the lower quartile of 400 acts, the cloud's the least of its
looks; with `TMPDIR=/dev/shm` the disk's waits are left out.
"""

import argparse
import logging
import statistics
import tempfile
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from bench.measuring import peak_mib, report, seconds_of
from cloud.fleet.edges import Edges
from cloud.fleet.rollout import Rollouts
from cloud.inbox import Inbox
from cloud.releasing.releases import Releases
from edge.delivery.outbox import Outbox
from edge.delivery.uploader import Uploader
from edge.errands import Errand
from edge.health import Health
from edge.health_report import HealthReports, Reporter
from edge.machine import Machine
from edge.models.model_updates import ModelUpdates
from edge.models.trust import Trust
from lifelong.hard_examples import Verdict
from lifelong.links.journal import Journal, utc_now
from lifelong.links.storage import Storage, open_storage
from lifelong.records.ids import EdgeId, RoundNumber, VersionId
from lifelong.records.keys import bundle_key
from lifelong.records.label_map import CITYSCAPES
from lifelong.records.pixels import Frame, Prediction
from lifelong.sections.delivery import OutboxSection
from lifelong.sections.fleet import ReleasesSection
from tests.tiny_bundle import tiny_bundle

TURNS, ACTS = 10, 40  # of every site; of its nodes in a turn
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
            oldest_s=self.outbox.oldest_age_s,
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


class Site:
    """A store of its own with so many nodes, and the cloud over it."""

    def __init__(self, folder: Path, store: str, nodes: int, samples: int) -> None:
        url = "memory://" if store == "memory" else str(folder / "storage")
        self.storage = open_storage(url)
        journal = Journal(folder, "cloud")
        self.releases = released(folder, self.storage)
        self.inbox = Inbox(self.storage, journal)
        self.edges = Edges(self.storage, utc_now)
        self.rollouts = Rollouts(
            storage=self.storage,
            releases=self.releases,
            edges=self.edges,
            section=ReleasesSection(stages=(0.1, 1.0), observe_minutes=1e6),
            journal=journal,
            now=utc_now,
        )
        self.nodes = [Node(number, folder / "nodes", self.storage) for number in range(nodes)]
        for node in self.nodes:
            node.install()
            node.poll()
            node.reports.send_when_due()
        while len(self.inbox.collect()) < samples:
            for node in self.nodes:
                node.keep()
                node.deliver()
        self.times: dict[str, list[float]] = {}

    def turn(self, number: int) -> None:
        """Some acts of some nodes, and looks of the cloud; every turn does the same work."""
        count = len(self.nodes)
        acting = [self.nodes[(number * ACTS + place) * 7 % count] for place in range(ACTS)]
        for node in acting:
            self._take("report_us", node.reports.send_when_due)
            self._take("poll_us", node.poll)
            node.keep()
            self._take("deliver_us_per_sample", node.deliver)
        self._take("admit_us_per_sample", self.inbox.collect, per=ACTS)
        self._take("look_with_new_ms", self.edges.look)
        for _ in range(5):
            self._take("look_ms", self.edges.look)
            self._take("idle_collect_ms", self.inbox.collect)

    def figures(self) -> dict[str, float]:
        """Of a node's acts the lower quartile, of the cloud's looks the least."""
        found = {
            name: round(
                (1e6 if "_us" in name else 1e3) * (quartile(t) if len(t) > 99 else min(t)), 2
            )
            for name, t in self.times.items()
        }
        return found | {"look_us_per_node": round(1e3 * found["look_ms"] / len(self.nodes), 2)}

    def _take(self, name: str, call: Callable[[], Any], per: int = 1) -> None:
        self.times.setdefault(name, []).append(seconds_of(call)[1] / per)


def main() -> None:
    """Build a site of every size, measure them in turns, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--samples", type=int, nargs="+", default=[100, 1000, 5000])
    parser.add_argument("--store", choices=["folder", "memory"], default="folder")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        figures = measured(Path(folder), given.store, given.nodes, given.samples)
    report({"store": given.store, **figures}, as_json=given.json)


def measured(
    folder: Path, store: str, sizes: Sequence[int], samples: Sequence[int]
) -> dict[str, object]:
    """Figures of every site; the sites take turns, so that a busy minute is a minute of all."""
    Site(folder / "warm-up", store, 5, 5).turn(0)  # imports and validators are no node's cost
    by_nodes = {size: Site(folder / f"nodes-{size}", store, size, 0) for size in sorted(sizes)}
    by_samples = {
        count: Site(folder / f"samples-{count}", store, 100, count) for count in sorted(samples)
    }
    for number in range(TURNS):
        for site in (*by_nodes.values(), *by_samples.values()):
            site.turn(number)
    largest = by_nodes[max(by_nodes)]
    newer = tiny_bundle(CITYSCAPES, seed=2).version_id
    _, begun = seconds_of(
        lambda: largest.rollouts.publish(newer, RoundNumber(1), "round 1 accepted")
    )
    steps = [seconds_of(largest.rollouts.step)[1] for _ in range(20)]
    of_nodes = {size: site.figures() for size, site in by_nodes.items()}
    of_samples = {count: site.figures() for count, site in by_samples.items()}
    return {
        "by_nodes": of_nodes,
        "by_samples_admitted_before": of_samples,
        "rollout_begin_ms": round(1e3 * begun, 2),
        "rollout_step_ms": round(1e3 * min(steps), 2),
        **{f"flat_{name}_by_nodes": flat for name, flat in flatness(of_nodes).items()},
        **{f"flat_{name}_by_samples": flat for name, flat in flatness(of_samples).items()},
        "peak_mib": round(peak_mib(), 1),
    }


def flatness(figures: dict[int, dict[str, float]]) -> dict[str, float]:
    """Cost at the largest size over cost at the smallest."""
    least, most = figures[min(figures)], figures[max(figures)]
    return {
        name.split("_")[0]: round(most[name] / least[name], 2)
        for name in least
        if name.endswith(("_us", "_per_sample", "_per_node"))
    }


def released(folder: Path, storage: Storage) -> Releases:
    """One model for everybody, and the next one's bundle."""
    bundles = [tiny_bundle(CITYSCAPES, seed=seed) for seed in (1, 2)]
    for bundle in bundles:
        storage.put(bundle_key(bundle.version_id), bundle.to_bytes())
    releases = Releases(storage, Journal(folder, "cloud"), utc_now)
    releases.publish(bundles[0].version_id, RoundNumber(0), "first model")
    return releases


def quartile(seconds: Iterable[float]) -> float:
    """What a quarter of the acts stayed within."""
    return statistics.quantiles(seconds, n=4)[0]


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
