"""The scenes that this node has kept a frame of; over restarts, and no more than a set number.

Two frames show one scene when their perceptual hashes are near and, where the model brings
embeddings, these are near as well. A scene is known by the frame that was kept of it first, so it
cannot wander; a better frame of it raises the bar for the next and is not another scene.
"""

import json
import logging
import math
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.scene_hash import bits_apart
from lifelong.links.durable_files import write_whole
from lifelong.links.journal import utc_now
from lifelong.records.ids import SampleId
from lifelong.sections.delivery import ScenesSection

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One scene, and the best frame that was kept of it."""

    number: int  # counts up on the node
    hash: str  # of its first frame, 16 hex digits
    embedding: tuple[float, ...]  # of its first frame; () when the model brings none
    version: str  # of the model that made it: embeddings of two models are not comparable
    sample_id: SampleId  # of the best frame
    priority: float  # of the best frame, 0 .. 1
    at: float  # when a frame was last kept, seconds since 1970 by the device's clock


class Scenes:
    """Remembers scenes in a file of JSON lines; a line that is torn or unreadable is passed over.

    Not fsynced: what a power cut takes is a scene that may be sent once more.
    """

    def __init__(
        self, section: ScenesSection, path: Path, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._section = section
        self._path = path
        self._now = now
        self._scenes: OrderedDict[int, Scene] = OrderedDict()  # the longest unseen first
        self._next = 0
        self._lines = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._read()

    def __len__(self) -> int:
        return len(self._scenes)

    def of(
        self, hash_: str, embedding: NDArray[np.float32] | None, version: str = ""
    ) -> Scene | None:
        """The nearest known scene that a frame shows, if any.

        Args:
            hash_: of the picture, 16 hex digits.
            embedding: (D,) float32, by the model of that `version`; None when it brings none.
        """
        self._forget_old()
        found = [
            (bits_apart(hash_, scene.hash), scene)
            for scene in self._scenes.values()
            if bits_apart(hash_, scene.hash) <= self._section.hash_bits
            and self._is_near(scene, embedding, version)
        ]
        return min(found, key=lambda pair: (pair[0], pair[1].number))[1] if found else None

    def is_better(self, scene: Scene, priority: float) -> bool:
        """Is a frame of this priority worth keeping although the scene is known?"""
        return priority - scene.priority > self._section.better_by

    def remember(
        self,
        scene: Scene | None,
        *,
        hash_: str,
        embedding: tuple[float, ...],
        version: str,
        sample_id: SampleId,
        priority: float,
    ) -> None:
        """A frame was kept, of this known scene or of a new one."""
        at = self._now().timestamp()
        if scene is None:
            scene = Scene(
                number=self._next,
                hash=hash_,
                embedding=embedding,
                version=version,
                sample_id=sample_id,
                priority=priority,
                at=at,
            )
        else:
            scene = replace(scene, sample_id=sample_id, priority=priority, at=at)
        self._take(scene)
        self._append(_line(scene))

    def _is_near(self, scene: Scene, embedding: NDArray[np.float32] | None, version: str) -> bool:
        if embedding is None or scene.version != version:
            return True
        if len(scene.embedding) != embedding.size:
            return True
        distance = cosine_distance(np.array(scene.embedding, np.float32), embedding)
        return not distance > self._section.embedding_distance

    def _forget_old(self) -> None:
        # A clock that was set back is no reason to hold a scene back for years.
        now, longest = self._now().timestamp(), 60 * self._section.minutes
        for scene in [s for s in self._scenes.values() if abs(now - s.at) >= longest]:
            del self._scenes[scene.number]

    def _take(self, scene: Scene) -> None:
        self._scenes.pop(scene.number, None)
        self._scenes[scene.number] = scene
        self._next = max(self._next, scene.number + 1)
        while len(self._scenes) > self._section.remembered:
            self._scenes.popitem(last=False)

    def _append(self, line: bytes) -> None:
        try:
            if self._lines >= 2 * self._section.remembered:
                self._rewrite(self._scenes.values())
                return
            handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(handle, line)
            finally:
                os.close(handle)
            self._lines += 1
        except OSError as error:
            logger.warning("%s: a scene is remembered in memory only: %s", self._path, error)

    def _rewrite(self, scenes: Iterable[Scene]) -> None:
        lines = [_line(scene) for scene in scenes]
        write_whole(self._path, b"".join(lines))
        self._lines = len(lines)

    def _read(self) -> None:
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            logger.warning("%s: cannot be read, no scene is known: %s", self._path, error)
            return
        lines = content.splitlines()
        for number, line in enumerate(lines, 1):
            try:
                self._take(_scene_of(line))
            except (ValueError, KeyError, TypeError) as error:
                logger.warning("%s:%d: unreadable line passed over: %s", self._path, number, error)
        if len(lines) > len(self._scenes) or not content.endswith(b"\n"):
            try:
                self._rewrite(self._scenes.values())
            except OSError as error:
                logger.warning("%s: cannot be rewritten: %s", self._path, error)


def cosine_distance(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """0 for the same direction, 1 for a right angle, 2 for the opposite; (D,) float32 each.

    >>> cosine_distance(np.array([1, 0], np.float32), np.array([0, 2], np.float32))
    1.0
    """
    lengths = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    return 1.0 - float(one.ravel() @ other.ravel()) / lengths if lengths > 0 else 0.0


def _line(scene: Scene) -> bytes:
    return (json.dumps(asdict(scene)) + "\n").encode()


def _scene_of(line: bytes) -> Scene:
    entry = json.loads(line)
    scene = Scene(
        number=int(entry["number"]),
        hash=f"{int(entry['hash'], 16):016x}",
        embedding=tuple(float(value) for value in entry["embedding"]),
        version=str(entry["version"]),
        sample_id=SampleId(str(entry["sample_id"])),
        priority=float(entry["priority"]),
        at=float(entry["at"]),
    )
    if not math.isfinite(scene.priority) or not math.isfinite(scene.at):
        raise ValueError("numbers that are none")
    return scene
