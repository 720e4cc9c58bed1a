"""Frames that come whether one is ready or not: a thread reads, the node takes.

What opens and reads a camera is a `Feed` (`camera_sources.py`); here is what is the same for all of
them: back-pressure, numbers, times, and going on after the camera went away.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.seen_frames import SeenFrames
from lifelong.links.journal import Journal, utc_now
from lifelong.records.ids import EdgeId
from lifelong.records.pixels import Frame
from lifelong.sections.edge import BackPressure

logger = logging.getLogger(__name__)

# Numbers are reserved in blocks: one write for so many frames, and after a kill counting goes on
# behind the block.
BLOCK = 1000

# A camera that shows this many damaged pictures in a row is opened anew.
DAMAGED_IN_A_ROW = 30

LONGEST_PAUSE_S = 60.0  # between two tries to open a camera; each pause doubles until then
_LOOK_S = 0.2  # the node does its other duties so often while no frame comes
_LAST_READ_S = 0.5  # the reader may take so long to let go of the camera when the node stops


class FeedLostError(Exception):
    """A camera that cannot be opened or has gone away; the message holds no password.

    Never leaves this room: `LiveFrames` turns it into an outage.
    """


class Feed(Protocol):
    """One open connection to a camera; used by one thread."""

    def grab(self) -> None:
        """Wait for the next picture.

        Raises:
            FeedLostError: the camera has gone.
        """

    def picture(self) -> NDArray[np.uint8] | None:
        """The picture just grabbed, (H, W, 3) RGB; None when it is damaged."""

    def close(self) -> None:
        """Let go of the camera."""


@dataclass(frozen=True, slots=True)
class _Caught:
    """A picture on its way from the reader to the node."""

    image: NDArray[np.uint8]  # (H, W, 3), RGB
    captured_at: datetime  # UTC
    sequence: int


class LiveFrames:
    """The frames of a camera, for ever.

    With `latest` the newest frame is taken and older ones that nobody took are counted in
    `passed_over`. With `every` the reader waits when `queue_frames` wait for the node: nothing is
    lost here, though a camera or a network may drop what it cannot hand over.

    Every frame the camera shows gets a number, also one that is passed over. None is yielded
    while no frame comes; a camera that is absent is opened again with growing pauses, and is told
    in the journal once (`source.away`, later `source.back`).
    """

    def __init__(
        self,
        open_feed: Callable[[], Feed],
        name: str,
        *,
        back_pressure: BackPressure,
        queue_frames: int,
        reconnect_seconds: float,
        edge_id: EdgeId,
        attributes: Mapping[str, str],
        seen: SeenFrames,
        journal: Journal,
        now: Callable[[], datetime] = utc_now,
        pause: Callable[[float], object] | None = None,
        look_s: float = _LOOK_S,
    ) -> None:
        """`name` is how journal and errors call the camera, without a password; `pause` waits
        between two tries to open it, by default until the source is closed."""
        self._open, self._name = open_feed, name
        self._room = 1 if back_pressure == "latest" else queue_frames
        self._replaces = back_pressure == "latest"
        self._reconnect_s = reconnect_seconds
        self._edge_id, self._attributes = edge_id, dict(attributes)
        self._seen, self._journal, self._now = seen, journal, now
        self._next, self._reserved = seen.next_sequence, seen.next_sequence
        self._caught: deque[_Caught] = deque()
        self._changed = threading.Condition()  # of `_caught` and `_closed`
        self._closed = threading.Event()
        self._pause = pause or self._closed.wait
        self._look_s = look_s
        self._failure: Exception | None = None
        self.unreadable = 0
        self.passed_over = 0
        self.trouble = ""  # why no frame comes at present; empty while they come

    def __iter__(self) -> Iterator[Frame | None]:
        # Daemon: a read that hangs must not keep the process from ending.
        reader = threading.Thread(target=self._guarded, name=f"frames of {self._name}", daemon=True)
        reader.start()
        try:
            while True:
                yield self._taken()
        finally:
            with self._changed:
                self._closed.set()
                self._changed.notify_all()
            reader.join(_LAST_READ_S)

    def remember(self, frame: Frame) -> None:
        """Nothing to do: a camera never shows a frame twice."""

    def _taken(self) -> Frame | None:
        with self._changed:
            if not self._caught and self._failure is None:
                self._changed.wait(self._look_s)
            if not self._caught:
                if self._failure is not None:
                    raise self._failure
                return None
            caught = self._caught.popleft()
            self._changed.notify_all()
        return Frame(
            image=caught.image,
            edge_id=self._edge_id,
            captured_at=caught.captured_at,
            sequence=caught.sequence,
            attributes={**self._attributes, "frame": f"{caught.sequence:09d}"},
        )

    def _guarded(self) -> None:
        try:
            self._read_for_ever()
        except Exception as error:  # handed to the node's thread, which must not wait for ever
            with self._changed:
                self._failure = error
                self._changed.notify_all()

    def _read_for_ever(self) -> None:
        tries = 0  # to get a picture, since the last one
        while not self._closed.is_set():
            shown = self._next
            try:
                self._read_once(tries)
            except FeedLostError as error:
                self._is_away(error)
            tries = tries + 1 if self._next == shown else 1
            if not self._closed.is_set():
                longest = max(LONGEST_PAUSE_S, self._reconnect_s)
                self._pause(min(max(self._reconnect_s, 0.05) * 2.0 ** min(tries - 1, 16), longest))

    def _read_once(self, tries: int) -> None:
        feed = self._open()
        try:
            self._read(feed, tries)
        finally:
            feed.close()

    def _read(self, feed: Feed, tries: int) -> None:
        damaged = 0
        while not self._closed.is_set():
            feed.grab()
            at = self._now()  # before decoding: this is when the frame was there
            image = feed.picture()
            if image is None:
                self.unreadable += 1
                damaged += 1
                if damaged == 1:
                    self._journal.event(
                        "frame.unreadable", file=self._name, reason="a damaged picture"
                    )
                if damaged >= DAMAGED_IN_A_ROW:
                    raise FeedLostError(f"{damaged} damaged pictures in a row")
                continue
            damaged = 0
            if self.trouble:
                self.trouble = ""
                logger.info("%s shows pictures again", self._name)
                self._journal.event("source.back", source=self._name, tries=tries)
            self._hand_over(_Caught(image, at, self._number()))

    def _hand_over(self, caught: _Caught) -> None:
        with self._changed:
            while len(self._caught) >= self._room and not self._closed.is_set():
                if self._replaces:
                    self._caught.popleft()
                    self.passed_over += 1
                else:
                    self._changed.wait()
            self._caught.append(caught)
            self._changed.notify_all()

    def _is_away(self, error: FeedLostError) -> None:
        """Tell an outage once, however many tries it lasts."""
        if self._closed.is_set():
            return
        if not self.trouble:
            logger.warning("%s is away: %s; it is opened again and again", self._name, error)
            self._journal.event("source.away", source=self._name, reason=str(error))
        self.trouble = f"{self._name}: {error}"

    def _number(self) -> int:
        if self._next >= self._reserved:
            self._reserved = self._next + BLOCK
            self._seen.remember("", self._reserved - 1)
        sequence, self._next = self._next, self._next + 1
        return sequence
