"""Frames from video files and cameras; OpenCV is imported only when one is opened."""

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.seen_frames import SeenFrames
from lifelong.edge_config import CameraSource, VideoSource
from lifelong.errors import ConfigError
from lifelong.links.journal import Journal, utc_now
from lifelong.records.ids import EdgeId
from lifelong.records.pixels import Frame

# A camera's numbers are reserved in blocks: one write for so many frames, and after a kill
# counting goes on behind the block.
CAMERA_BLOCK = 1000


class VideoFrames:
    """Every n-th frame of a video file; after a restart goes on where it was."""

    unreadable = 0

    def __init__(
        self,
        section: VideoSource,
        *,
        edge_id: EdgeId,
        attributes: Mapping[str, str],
        seen: SeenFrames,
        again: bool = False,
    ) -> None:
        self._section = section
        self._edge_id = edge_id
        self._attributes = dict(attributes)
        self._seen = seen
        self._again = again
        self._keys: dict[int, str] = {}

    def __iter__(self) -> Iterator[Frame]:
        path = self._section.path
        if not path.is_file():
            raise ConfigError(f"edge.source.path: no video file {path}")
        capture = _opened(str(path), str(path))
        changed = path.stat()
        started_at = datetime.fromtimestamp(changed.st_mtime, UTC)
        fps = capture.get(_cv2().CAP_PROP_FPS) or 25.0
        index = -1
        try:
            while capture.grab():
                index += 1
                key = f"{path}|{changed.st_mtime_ns}|{index}"
                if index % self._section.every or (not self._again and self._seen.knows(key)):
                    continue
                whole, picture = capture.retrieve()
                if not whole:
                    self.unreadable += 1
                    continue
                sequence = self._seen.next_sequence
                self._keys[sequence] = key
                yield Frame(
                    image=_rgb(picture),
                    edge_id=self._edge_id,
                    captured_at=started_at + timedelta(seconds=index / fps),
                    sequence=sequence,
                    attributes={**self._attributes, "frame": f"{path.stem}/{index:06d}"},
                )
        finally:
            capture.release()

    def remember(self, frame: Frame) -> None:
        """The frame was processed; it will not come again, also after a restart."""
        key = self._keys.pop(frame.sequence, None)
        if key is not None:
            self._seen.remember(key, frame.sequence)


class CameraFrames:
    """The newest picture of a camera, for ever; a camera that goes away is opened again."""

    def __init__(
        self,
        section: CameraSource,
        *,
        edge_id: EdgeId,
        attributes: Mapping[str, str],
        seen: SeenFrames,
        journal: Journal,
        wait: Callable[[float], None],
        now: Callable[[], datetime] = utc_now,
        reopen_s: float = 2.0,
    ) -> None:
        self._section = section
        self._edge_id = edge_id
        self._attributes = dict(attributes)
        self._seen = seen
        self._journal = journal
        self._wait = wait
        self._now = now
        self._reopen_s = reopen_s
        self._next, self._reserved = seen.next_sequence, seen.next_sequence
        self.unreadable = 0

    def __iter__(self) -> Iterator[Frame | None]:
        device = self._section.device
        capture = _opened(int(device) if device.isdigit() else device, f"camera {device}")
        try:
            while True:
                whole, picture = capture.read()
                if whole:
                    yield self._frame(_rgb(picture))
                    continue
                self.unreadable += 1
                self._journal.event("frame.unreadable", file=device, reason="camera gave no frame")
                yield None
                self._wait(self._reopen_s)
                capture.open(int(device) if device.isdigit() else device)
        finally:
            capture.release()

    def remember(self, frame: Frame) -> None:
        """Nothing to do: a camera never shows a frame twice."""

    def _frame(self, image: NDArray[np.uint8]) -> Frame:
        if self._next >= self._reserved:
            self._reserved = self._next + CAMERA_BLOCK
            self._seen.remember("", self._reserved - 1)
        sequence, self._next = self._next, self._next + 1
        at = self._now()
        return Frame(
            image=image,
            edge_id=self._edge_id,
            captured_at=at,
            sequence=sequence,
            attributes={**self._attributes, "frame": f"{sequence:09d}"},
        )


def _opened(source: str | int, where: str, tries: int = 3) -> Any:
    for attempt in range(tries):
        capture = _cv2().VideoCapture(source)
        if capture.isOpened():
            return capture
        capture.release()
        time.sleep(0.2 * attempt)
    raise ConfigError(f"edge.source: {where} cannot be opened; check the name and who else uses it")


def _cv2() -> ModuleType:
    try:
        import cv2
    except ImportError as error:
        raise ConfigError(
            "edge.source: video and camera sources need OpenCV; "
            "install it with `pip install 'cornerloop[video]'`"
        ) from error
    return cv2


def _rgb(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """OpenCV's (H, W, 3) BGR or (H, W) grey picture as RGB."""
    if picture.ndim == 2:
        return np.ascontiguousarray(np.repeat(picture[..., None], 3, axis=2))
    return np.ascontiguousarray(picture[..., ::-1])
