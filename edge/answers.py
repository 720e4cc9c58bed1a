"""The node's answers for whoever drives the robot: the newest frames' masks as files in a folder.

For each frame `{sequence}.edge.png` (class ids) and beside it `{sequence}.edge.json`; where the
cloud was asked and answered in time also `{sequence}.cloud.png` and `.json`. `latest.png` and
`latest.json` are the newest frame's. A file is replaced whole, never written into.
"""

import logging
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from lifelong.links.durable_files import UNFINISHED
from lifelong.links.journal import utc_now
from lifelong.records.ids import sha256_hex
from lifelong.records.label_map import LabelMap
from lifelong.records.pixels import Frame, Prediction, png_from_mask
from lifelong.records.wire import dumps
from lifelong.sections.edge import AnswersSection

logger = logging.getLogger(__name__)

By = Literal["edge", "cloud"]

LATEST = "latest"
_OURS = re.compile(r"(\d{9,})\.(?:edge|cloud)\.(?:png|json)\Z")


@dataclass(slots=True)
class _Newest:
    sequence: int
    by: By


class Answers:
    """Writes answers, at most of `kept` frames; safe for threads. A disk that is full or gone is
    told in the log and stops nobody.
    """

    def __init__(
        self, section: AnswersSection, label_map: LabelMap, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._folder = section.path
        self._kept = section.kept
        self._label_map = label_map
        self._now = now
        self._lock = threading.Lock()
        self._newest: _Newest | None = None
        self._failing = False
        self._order = self._from_before()  # sequences, in the order in which they were written

    def put(
        self, frame: Frame, prediction: Prediction, *, by: By, version: str, seconds: float
    ) -> None:
        """Leave an answer to a frame.

        Args:
            version: of the model that answered, or the names of the cloud's models.
            seconds: from taking up the frame to this answer.
        """
        name = f"{frame.sequence:09d}.{by}"
        png = png_from_mask(prediction.mask)
        height, width = prediction.mask.shape
        about = dumps(
            {
                "schema": 1,
                "sequence": frame.sequence,
                "edge_id": frame.edge_id,
                "captured_at": frame.captured_at.isoformat(),
                "answered_at": self._now().isoformat(),
                "by": by,
                "version": version,
                "seconds": round(seconds, 4),
                "mask": f"{name}.png",
                "sha256": sha256_hex(png),
                "height": height,
                "width": width,
                "classes": list(self._label_map.names),
            }
        )
        with self._lock:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._replace(f"{name}.png", png)
                self._replace(f"{name}.json", about)
                if self._is_newest(frame.sequence, by):
                    self._replace(f"{LATEST}.png", png)
                    self._replace(f"{LATEST}.json", about)
                    self._newest = _Newest(frame.sequence, by)
                self._failing = False
            except OSError as error:
                if not self._failing:  # said once, not with every frame
                    logger.warning("answers cannot be written to %s: %s", self._folder, error)
                self._failing = True
            self._make_room(frame.sequence)

    def _is_newest(self, sequence: int, by: By) -> bool:
        """A later frame's; for the same frame the cloud's comes after the node's own. A cloud's
        answer to an earlier frame never takes the newest one's place."""
        newest = self._newest
        if newest is None or by == "edge":
            return True
        return sequence >= newest.sequence

    def _replace(self, name: str, data: bytes) -> None:
        # Not synced to the disk: an answer is for this moment, and an SD card would wear out.
        temporary = self._folder / f"{UNFINISHED}{name}"
        try:
            temporary.write_bytes(data)
            temporary.replace(self._folder / name)
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise

    def _make_room(self, sequence: int) -> None:
        if sequence in self._order:
            return
        self._order[sequence] = None
        while len(self._order) > self._kept:
            oldest = next(iter(self._order))
            del self._order[oldest]
            for by in ("edge", "cloud"):
                for suffix in ("json", "png"):
                    with suppress(OSError):
                        (self._folder / f"{oldest:09d}.{by}.{suffix}").unlink(missing_ok=True)

    def _from_before(self) -> dict[int, None]:
        """The frames whose answers an earlier run left, oldest first; a dict, as it keeps order."""
        written: dict[int, float] = {}
        with suppress(OSError):
            for path in self._folder.iterdir():
                if path.name.startswith(UNFINISHED):
                    path.unlink(missing_ok=True)
                elif found := _OURS.match(path.name):
                    moment = path.stat().st_mtime
                    written[int(found[1])] = max(moment, written.get(int(found[1]), moment))
        return dict.fromkeys(sorted(written, key=lambda sequence: (written[sequence], sequence)))
