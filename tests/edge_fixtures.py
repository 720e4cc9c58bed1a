"""What edge tests share: a hand-wound clock, storage that fails on demand, a released model."""

import io
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from obstore.store import MemoryStore
from PIL import Image

from edge.delivery.outbox import Outbox
from edge.delivery.upload_rules import UploadRules
from edge.delivery.uploader import Uploader
from edge.errands import Errand
from edge.models.model_updates import ModelUpdates
from edge.models.trust import Trust
from lifelong.config import Config
from lifelong.errors import StorageUnavailableError
from lifelong.links.journal import Journal, read_events
from lifelong.links.storage import Storage
from lifelong.model_bundle import ModelBundle
from lifelong.records.ids import RoundNumber
from lifelong.records.label_map import CITYSCAPES
from lifelong.records.model_versions import Release
from lifelong.records.wire import to_json
from tests.builders import NOON, a_jpeg
from tests.tiny_bundle import tiny_bundle


class HandClock:
    """Seconds that pass only when a test says so; also as UTC moments from noon on."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds - 1000.0)

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


class FlakyStorage(Storage):
    """Storage in memory that can be unreachable, or keep a flipped byte for chosen puts."""

    def __init__(self) -> None:
        super().__init__(MemoryStore(), "memory://")
        self.is_down = False
        self.flip_next: Callable[[str], bool] = lambda _key: False
        self.calls: list[tuple[str, str]] = []

    def _called(self, what: str, key: str) -> None:
        self.calls.append((what, key))
        if self.is_down:
            raise StorageUnavailableError(f"memory:///{key}: connection refused")

    def put(self, key: str, data: bytes) -> None:
        self._called("put", key)
        if self.flip_next(key):
            data = data[:-1] + bytes([data[-1] ^ 1])
        super().put(key, data)

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        self._called("get", key)
        return super().get(key, sha256=sha256)

    def size(self, key: str) -> int | None:
        self._called("size", key)
        return super().size(key)


def release(storage: Storage, bundle: ModelBundle, number: int = 1, **changes) -> Release:
    """Publish a bundle as the cloud does: bytes first, pointer last."""
    key = f"models/{bundle.version_id}.bundle"
    storage.put(key, bundle.to_bytes())
    fields = {
        "number": number,
        "version_id": bundle.version_id,
        "bundle_key": key,
        "sha256": bundle.sha256,
        "label_map_digest": bundle.manifest.label_map.digest,
        "round_number": RoundNumber(number),
        "released_at": NOON,
        "why": "for a test",
        **changes,
    }
    record = Release(**fields)
    storage.put("releases/current.json", to_json(record))
    return record


def street_bundle(seed: int = 0, **changes) -> ModelBundle:
    """A tiny bundle of the Cityscapes classes, which is what a configuration means by default."""
    return tiny_bundle(CITYSCAPES, seed, **changes)


# Most tests are about something else than who signed a model, or how fast it is here today.
UNSIGNED = {"unsigned": "accept", "trial": False, "max_slowdown": 1e6}


def edge_config(folder: Path, **edge) -> Config:
    """A node under `folder` whose source ends when its frames are processed."""
    section = {
        "source": {
            "type": "folder",
            "path": folder / "frames",
            "stop_when_empty": True,
            "poll_seconds": 0.01,
        },
        "hard_examples": {"policy": "cloud_only"},
        "outbox": {"path": folder / "outbox"},
        "state_path": folder / "state",
        "release_poll_seconds": 0,
        "canary_frames": 0,
        "updates": UNSIGNED,
        **edge,
    }
    return Config.model_validate({"storage": str(folder / "storage"), "edge": section})


def write_frames(folder: Path, count: int, first: int = 0) -> None:
    """Different pictures `day/0000.jpg` …, as old as if they had long been written."""
    for seed in range(first, first + count):
        path = folder / "frames" / ("night" if seed % 2 else "day") / f"{seed:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(a_jpeg(seed))
        make_old(path)


def make_old(path: Path) -> None:
    """Set a file's time of change to an hour ago."""
    moment = path.stat().st_mtime - 3600
    os.utime(path, (moment, moment))


def events(folder: Path, name: str) -> list[dict]:
    """The journal's events of one kind under `folder`."""
    return [event for event in read_events(folder) if event["event"] == name]


def with_exif(jpeg: bytes, orientation: int = 6) -> bytes:
    """A JPEG that says where it was taken and that it lies on its side."""
    picture = Image.open(io.BytesIO(jpeg))
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (48.0, 8.0, 14.0)
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", exif=exif)
    return buffer.getvalue()


def an_uploader(
    outbox: Outbox, storage: Storage, journal: Journal, clock: HandClock, rules: UploadRules
) -> Uploader:
    """Between the frames, by a hand-wound clock, a second after each failure."""
    return Uploader(
        outbox,
        storage,
        journal,
        Errand("uploads", inline=True),
        clock=clock,
        waits=lambda: iter([1.0] * 10_000),
        rules=rules,
    )


def unsigned_updates(storage: Storage, folder: Path, journal: Journal) -> ModelUpdates:
    """Of a node that runs models which nobody signed."""
    trust = Trust(None, accepts_unsigned=True)
    return ModelUpdates(storage, folder, CITYSCAPES.digest, journal, trust=trust)
