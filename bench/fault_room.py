"""A node, a storage with two released models and a few frames: what a fault trial happens to.

Whatever happened, the trial ends by letting the node run to its end on a healthy link and disk and
letting the cloud collect. Then every hard frame must have been admitted exactly once and whole,
with the answer of a model that was released.
"""

import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloud.inbox import PATIENCE, Inbox
from cloud.releasing.bundle_chunks import publish_chunks
from edge.assembly import build_node
from edge.node import EdgeNode
from edge.stop import Stop
from lifelong.config import Config
from lifelong.errors import LifelongError
from lifelong.links.durable_files import UNFINISHED
from lifelong.links.journal import Journal, read_events, utc_now
from lifelong.links.storage import Storage, open_storage
from lifelong.model_bundle import ModelBundle
from lifelong.records.ids import SampleId, VersionId, sample_id_of
from lifelong.records.keys import CURRENT_RELEASE, INBOX, KEY_RING, RECORD
from lifelong.records.pixels import image_from_bytes, jpeg_from_image, mask_from_png
from lifelong.records.samples import HardExample
from lifelong.records.wire import to_json
from lifelong.segmenter import OnnxSegmenter
from tests.builders import a_jpeg
from tests.edge_fixtures import edge_config, release, street_bundle, write_frames
from tests.signing import a_ring, a_signer

FRAMES = 6
SIGNERS = (a_signer(1), a_signer(2))  # of release 1, and of release 2 after a rotation of keys
MOST_WAITS = 20  # of one run, for a model that does not come
ENOUGH_RUNS = 5  # of the node after the fault, to deliver what is left


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What one trial found; all but `told` must be 0."""

    lost: int = 0  # hard frames that are nowhere, and that nobody said were given up
    twice: int = 0
    half: int = 0  # objects that are there and not whole, or say something else than the node said
    unverified: int = 0  # answers of a model that was never released
    struck: int = 0  # 1: the fault met a node at work, or a byte that was there
    told: int = 0  # given up with a reason: damaged where they only lay, or no room on the disk
    notes: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Did the promise hold?"""
        return not (self.lost or self.twice or self.half or self.unverified)

    def note(self, text: str) -> None:
        """Say what was found, for whoever has to look into it."""
        self.notes.append(text)


@dataclass(slots=True)
class Room:
    """One trial's node and cloud under one folder."""

    folder: Path
    seed: int
    settings: Mapping[str, Any] = field(default_factory=dict)  # of the edge section
    storage_url: str = ""  # "": a folder beside the node
    bundles: list[ModelBundle] = field(default_factory=list)
    answers: dict[VersionId, dict[SampleId, NDArray[np.uint8]]] = field(default_factory=dict)
    heard: "Heard" = field(default_factory=lambda: Heard())
    _inbox: Inbox | None = None
    _later: timedelta = timedelta()

    def __post_init__(self) -> None:
        self.install_keys()
        write_frames(self.folder, FRAMES, first=self.seed * FRAMES)
        self.bundles = _bundles()
        self.release(1)
        for bundle in self.bundles:
            segmenter = OnnxSegmenter(bundle, threads=1)
            self.answers[bundle.version_id] = {
                sample_id: segmenter.segment(image).mask
                for sample_id, image in self.frames().items()
            }

    def frames(self) -> dict[SampleId, NDArray[np.uint8]]:
        """What the node sees, by the id under which it must arrive."""
        seeds = range(self.seed * FRAMES, (self.seed + 1) * FRAMES)
        images = [image_from_bytes(a_jpeg(seed), "frame") for seed in seeds]
        return {sample_id_of(jpeg_from_image(image)): image for image in images}

    def install_keys(self) -> None:
        """The first key ring comes with the node; a newer one lies in storage."""
        (self.folder / "ring.json").write_bytes(to_json(a_ring(SIGNERS[0])))

    def release(self, number: int) -> None:
        """The cloud releases model 1 or 2, or says once more that it did."""
        storage, bundle = self.storage(), self.bundles[number - 1]
        publish_chunks(storage, bundle)
        storage.put(KEY_RING, to_json(a_ring(*SIGNERS, serial=2)))
        record = release(storage, bundle, number=number)
        storage.put(CURRENT_RELEASE, to_json(SIGNERS[number - 1].release(record)))

    def storage(self) -> Storage:
        """The storage itself, whatever the node's link to it does."""
        return open_storage(self.storage_url or str(self.folder / "storage"))

    def config(self, **changes: Any) -> Config:
        """All frames are hard, all scenes differ, files go in parts, models are signed."""
        settings: dict[str, Any] = {
            "scenes": {"enabled": False},
            "upload": {"part_kib": 1},
            # What a foreign model may do has tests of its own; how fast it is, is chance here.
            "updates": {
                "trusted_keys": self.folder / "ring.json",
                "trial": False,
                "max_slowdown": 1e6,
            },
            "threads": 1,
        }
        config = edge_config(self.folder, **{**settings, **self.settings, **changes})
        return config.model_copy(update={"storage": self.storage_url or config.storage})

    def node(self, storage: Storage | None = None, **changes: Any) -> EdgeNode:
        """The node as a new process would build it; the lock of its former life is gone."""
        (self.folder / "state/lock").unlink(missing_ok=True)
        return build_node(
            self.config(**changes), _impatient(), storage=storage or self.storage(), inline=True
        )

    def run_to_the_end(self) -> None:
        """Start the node anew until nothing is left to do."""
        for _ in range(ENOUGH_RUNS):
            node = self.node()
            node.run()
            self.collect_later()  # a node may wait for the cloud's receipt
            if not len(node.outbox):
                return

    def collect(self) -> list[HardExample]:
        """What the cloud has admitted so far."""
        if self._inbox is None:
            journal = self.cloud_journal()
            self._inbox = Inbox(self.storage(), journal, lambda: utc_now() + self._later)
        return self._inbox.collect()

    def collect_later(self) -> list[HardExample]:
        """The same after the cloud's patience with damaged deliveries has ended."""
        self.collect()
        self._later += PATIENCE
        return self.collect()

    def restart_cloud(self) -> None:
        """The service that collects is another one from now on."""
        self._inbox = None

    def cloud_journal(self) -> Journal:
        """Of the service."""
        return Journal(self.folder / "cloud-journal", "cloud")

    def refused(self) -> list[str]:
        """Deliveries that the cloud put aside, with the reason."""
        return [
            f"{event['folder']}: {event['reason']}"
            for event in read_events(self.folder / "cloud-journal")
            if event["event"] == "hard_example.refused"
        ]

    def remove(self) -> None:
        """Nothing is left on this machine."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Heard(logging.Handler):
    """What was logged while a trial ran: also what a full disk keeps from the journal."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def __enter__(self) -> "Heard":
        root = logging.getLogger()
        root.addHandler(self)
        root.setLevel(logging.INFO)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self)

    def gave_up(self, sample_id: SampleId) -> bool:
        """Did the node say that it drops this example?"""
        said = ("dropped", "outbox entry")
        return any(line.startswith(said) and sample_id in line for line in self.lines)


def judged(
    room: Room, *, given_up: frozenset[SampleId] = frozenset(), ghosts: bool = False
) -> Outcome:
    """What a trial left behind, after the node ran to its end.

    Args:
        given_up: examples that were allowed to go, if the node or the cloud said so.
        ghosts: late copies may still lie in the inbox, which clears them away in time.
    """
    outcome = Outcome()
    examples = room.collect_later()
    counted = Counter(example.sample_id for example in examples)
    expected = room.frames()
    outcome.twice = sum(count - 1 for count in counted.values())
    outcome.twice += len(counted.keys() - expected.keys())
    for stranger in counted.keys() - expected.keys():
        outcome.note(f"{stranger} is none of the frames")
    for sample_id in expected.keys() - counted.keys():
        is_told = room.heard.gave_up(sample_id) or any(sample_id in r for r in room.refused())
        if sample_id in given_up and is_told:
            outcome.told += 1
        else:
            outcome.lost += 1
            outcome.note(f"{sample_id} is lost; told: {is_told}")
    sequences = Counter(example.sequence for example in examples)
    repeated = [sequence for sequence, count in sequences.items() if count > 1]
    if repeated:
        outcome.note(f"sequence numbers used twice: {repeated}")
    for example in examples:
        _judge_example(room, example, outcome)
    _judge_rests(room, outcome, given_up, ghosts=ghosts)
    return outcome


def _judge_example(room: Room, example: HardExample, outcome: Outcome) -> None:
    storage = room.storage()
    try:
        storage.get(example.image_key, sha256=example.image_sha256)
        data = storage.get(example.mask_key, sha256=example.mask_sha256)
        mask = mask_from_png(data, example.mask_key)
    except LifelongError as error:
        outcome.half += 1
        outcome.note(f"{example.sample_id}: {error}")
        return
    known = room.answers.get(example.version_id, {}).get(example.sample_id)
    if known is None or not np.array_equal(known, mask):
        outcome.unverified += 1
        outcome.note(f"{example.sample_id}: not what version {example.version_id} answers")
    kept = [
        event
        for event in read_events(room.folder / "state/journal")
        if event["event"] == "hard_example.kept" and event.get("sample_id") == example.sample_id
    ]
    says = (example.score, example.sequence, example.version_id)
    # None: a full disk or a kill kept the line from the journal.
    if kept and says not in [(e["score"], e["sequence"], e["version_id"]) for e in kept]:
        outcome.half += 1
        outcome.note(f"{example.sample_id}: the record says something else than the node did")


def _judge_rests(
    room: Room, outcome: Outcome, given_up: frozenset[SampleId], *, ghosts: bool
) -> None:
    # What was given up while it was on its way is an upload without a record, for a week.
    rests = [] if ghosts else list(room.storage().keys(INBOX))
    rests = [key for key in rests if key.split("/")[2] not in given_up or key.endswith(RECORD)]
    outbox = room.folder / "outbox"
    rests += [str(path) for path in outbox.rglob("*") if path.is_file() and _is_entry(path)]
    with suppress(FileNotFoundError):
        state = room.folder / "state"
        rests += [str(path) for path in state.rglob("*") if path.name.startswith(UNFINISHED)]
    if rests:
        outcome.half += len(rests)
        outcome.note(f"left behind: {', '.join(sorted(rests)[:6])}")


def _is_entry(path: Path) -> bool:
    """A file of a hard example, whole or not; the outbox may keep books of its own beside them."""
    return path.name in {"image.jpg", "mask.png", "example.json"} or UNFINISHED in str(path)


def let_go(folder: Path) -> None:
    """Close what nodes hold open under a folder: their locks end with a process, and this one goes
    on with the next trial."""
    for handle in Path("/proc/self/fd").glob("*"):
        with suppress(OSError):
            if str(handle.readlink()).startswith(f"{folder}/"):
                os.close(int(handle.name))


def _impatient() -> Stop:
    """A node that gets no model, or whose link hangs, is asked to stop after some waits."""
    waits = 0

    def sleep(seconds: float) -> None:
        nonlocal waits
        waits += 1
        time.sleep(min(seconds, 0.001))
        if waits > MOST_WAITS:
            stop.request()

    stop = Stop(sleep)
    return stop


_BUNDLES: list[ModelBundle] = []


def _bundles() -> list[ModelBundle]:
    if not _BUNDLES:  # checking and naming one takes longer than a trial
        _BUNDLES.extend(street_bundle(seed) for seed in (0, 1))
    return _BUNDLES
