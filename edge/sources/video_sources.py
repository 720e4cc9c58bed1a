"""Frames from video files; OpenCV is imported only when one is opened."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from edge.seen_frames import SeenFrames
from edge.sources.camera_sources import opencv, rgb
from lifelong.errors import ConfigError
from lifelong.records.ids import EdgeId
from lifelong.records.pixels import Frame
from lifelong.sections.edge import VideoSource

_USUAL_FPS = 25.0  # of a file that does not say
_LOOK_S = 0.2  # waiting for a frame to be due never takes longer at a stretch


class VideoFrames:
    """Every n-th frame of a video file; after a restart goes on where it was.

    With `latest` the file is played at its own speed: frames that would have gone by while the
    node was busy are passed over and counted, and after a restart it goes on behind the last
    frame that was processed.
    """

    def __init__(
        self,
        section: VideoSource,
        *,
        edge_id: EdgeId,
        attributes: Mapping[str, str],
        seen: SeenFrames,
        again: bool = False,
        wait: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`again`: process frames that were processed before, for replays."""
        self._section = section
        self._edge_id = edge_id
        self._attributes = dict(attributes)
        self._seen = seen
        self._again = again
        self._wait, self._clock = wait, clock
        self._keys: dict[int, str] = {}
        self._next = seen.next_sequence
        self.unreadable = 0
        self.passed_over = 0
        self.trouble = ""

    def __iter__(self) -> Iterator[Frame | None]:
        film = _opened(self._section)
        try:
            yield from self._played(film) if self._is_live else self._every(film)
        finally:
            film.capture.release()

    def remember(self, frame: Frame) -> None:
        """The frame was processed; it will not come again, also after a restart."""
        key = self._keys.pop(frame.sequence, None)
        if key is not None:
            self._seen.remember(key, frame.sequence)

    @property
    def _is_live(self) -> bool:
        return self._section.back_pressure == "latest"

    def _every(self, film: "_Film") -> Iterator[Frame]:
        index = -1
        while film.capture.grab():
            index += 1
            if index % self._section.every == 0 and not self._knows(film, index):
                frame = self._frame(film, index)
                if frame is not None:
                    yield frame

    def _played(self, film: "_Film") -> Iterator[Frame | None]:
        first = self._first_unknown(film)
        index = -1
        while index < first - 1:
            if not film.capture.grab():
                return
            index += 1
        began = self._clock()
        while film.capture.grab():
            index += 1
            if index % self._section.every:
                continue
            due = began + (index - first) / film.fps
            while (early := due - self._clock()) > 0:
                if early > _LOOK_S:
                    yield None
                self._wait(min(early, _LOOK_S))
            if self._clock() - due >= self._section.every / film.fps:
                self.passed_over += 1  # the next one is due already
                self._next += 1
                continue
            frame = self._frame(film, index)
            if frame is not None:
                yield frame

    def _first_unknown(self, film: "_Film") -> int:
        """Index behind the last frame that was processed."""
        if self._again:
            return 0
        known = (i for i in reversed(range(film.frames)) if self._knows(film, i))
        return next(known, -1) + 1

    def _knows(self, film: "_Film", index: int) -> bool:
        return not self._again and self._seen.knows(film.key(index))

    def _frame(self, film: "_Film", index: int) -> Frame | None:
        """The frame just grabbed; None when it is damaged."""
        whole, picture = film.capture.retrieve()
        if not whole:
            self.unreadable += 1
            return None
        path = self._section.path
        sequence, self._next = self._next, self._next + 1
        self._keys[sequence] = film.key(index)
        return Frame(
            image=rgb(picture),
            edge_id=self._edge_id,
            captured_at=film.began_at + timedelta(seconds=index / film.fps),
            sequence=sequence,
            attributes={**self._attributes, "frame": f"{path.stem}/{index:06d}"},
        )


@dataclass(frozen=True, slots=True)
class _Film:
    """An open video file."""

    capture: Any  # cv2.VideoCapture
    name: str  # path and time of change
    began_at: datetime  # UTC; the file's time of change, for want of a better one
    fps: float
    frames: int  # as the file says, 0 if it does not

    def key(self, index: int) -> str:
        """Of a frame, in the list of frames seen."""
        return f"{self.name}|{index}"


def _opened(section: VideoSource, tries: int = 3) -> _Film:
    """The file, open.

    Raises:
        ConfigError: it is not there or no video, or OpenCV is not installed.
    """
    cv2, path = opencv(), section.path
    if not path.is_file():
        raise ConfigError(f"edge.source.path: no video file {path}")
    for attempt in range(tries):
        capture = cv2.VideoCapture(str(path))
        if capture.isOpened():
            changed = path.stat()
            return _Film(
                capture=capture,
                name=f"{path}|{changed.st_mtime_ns}",
                began_at=datetime.fromtimestamp(changed.st_mtime, UTC),
                fps=capture.get(cv2.CAP_PROP_FPS) or _USUAL_FPS,
                frames=max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0),
            )
        capture.release()
        time.sleep(0.2 * attempt)
    raise ConfigError(f"edge.source: {path} cannot be opened; is it a video that OpenCV can read?")
