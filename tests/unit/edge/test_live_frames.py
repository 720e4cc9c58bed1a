"""Live frames: back-pressure, numbers and times at capture, outages; every step wound by hand."""

import queue
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from edge.seen_frames import SeenFrames
from edge.sources.live_frames import BLOCK, DAMAGED_IN_A_ROW, FeedLostError, LiveFrames
from lifelong.links.journal import Journal
from lifelong.records.ids import EdgeId
from lifelong.records.pixels import Frame
from tests.builders import NOON
from tests.edge_fixtures import events

PATIENCE_S = 30.0  # before a test that hangs fails instead

DAMAGED = object()


def picture(number: int) -> np.ndarray:
    return np.full((4, 6, 3), number, dtype=np.uint8)


class HandFeed:
    """Shows what the test puts in: a number (a picture), DAMAGED, or an error to raise.

    `handed_over` tells when the reader comes for the next picture, which is when the one before
    lies where the node can take it.
    """

    def __init__(self) -> None:
        self.coming: queue.Queue = queue.Queue()
        self.asked: queue.Queue = queue.Queue()
        self.closed = threading.Event()
        self._now: Any = None

    def show(self, *pictures) -> None:
        """Show these, and return when the reader has dealt with each of them."""
        for what in pictures:
            self.asked.get(timeout=PATIENCE_S)  # the reader waits for a picture
            self.coming.put(what)
        if not isinstance(pictures[-1], Exception):
            self.asked.get(timeout=PATIENCE_S)  # and has come back for another
            self.asked.put(None)

    def start(self, *pictures) -> None:
        """Let these come, without waiting for the reader to deal with them."""
        for what in pictures:
            self.coming.put(what)

    def grab(self) -> None:
        self.asked.put(None)
        self._now = self.coming.get()
        if isinstance(self._now, Exception):
            raise self._now

    def picture(self):
        return None if self._now is DAMAGED else picture(self._now)

    def close(self) -> None:
        self.closed.set()


class Door:
    """Opens the feeds, or raises the errors, that a test lines up."""

    def __init__(self, *answers) -> None:
        self.answers = list(answers)
        self.tries = 0
        self.pauses: list[float] = []
        self.paused: queue.Queue = queue.Queue()
        self.go_on: queue.Queue = queue.Queue()

    def __call__(self):
        self.tries += 1
        answer = self.answers.pop(0) if self.answers else FeedLostError("nobody there")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.paused.put(seconds)
        self.go_on.get()


class CountingClock:
    """Each look is a second later."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self) -> datetime:
        self.looks += 1
        return NOON + timedelta(seconds=self.looks)


def live(folder, door: Door, **changes) -> LiveFrames:
    fields = {
        "back_pressure": "latest",
        "queue_frames": 2,
        "reconnect_seconds": 2.0,
        "edge_id": EdgeId("edge-1"),
        "attributes": {"site": "north"},
        "seen": SeenFrames(folder / "seen.jsonl"),
        "journal": Journal(folder / "journal", "edge-1"),
        "now": CountingClock(),
        "pause": door.pause,
        "look_s": 0.01,
        **changes,
    }
    return LiveFrames(door, "camera 0", **fields)


def following(frames) -> Frame:
    """The next frame, over any number of looks without one."""
    for frame in frames:
        if frame is not None:
            return frame
    raise AssertionError("the source ended")


def shown_in(frame: Frame) -> int:
    return int(frame.image[0, 0, 0])


def test_latest_takes_the_newest_and_counts_those_passed_over(tmp_path):
    feed = HandFeed()
    source = live(tmp_path, Door(feed))
    frames = iter(source)
    assert next(frames) is None, "nothing came yet"
    feed.show(1)
    assert shown_in(following(frames)) == 1
    feed.show(2, 3, 4, 5)  # while the node is busy with the first
    assert source.passed_over == 3
    newest = following(frames)
    assert shown_in(newest) == 5
    assert next(frames) is None, "and no older one comes after it"
    assert source.passed_over == 3
    frames.close()


def test_every_frame_comes_in_order_and_the_reader_waits_for_a_slow_node(tmp_path):
    feed = HandFeed()
    source = live(tmp_path, Door(feed), back_pressure="every", queue_frames=2)
    frames = iter(source)
    next(frames)
    feed.start(*range(1, 8))
    # Two wait for the node and the reader holds a third: it does not come for a fourth.
    for _ in range(3):
        feed.asked.get(timeout=PATIENCE_S)
    assert feed.coming.qsize() >= 4
    assert [shown_in(following(frames)) for _ in range(7)] == list(range(1, 8))
    assert source.passed_over == 0
    frames.close()


def test_edge_a_frame_bears_the_time_and_the_number_of_its_capture(tmp_path):
    """Also when it is processed much later, and when others were passed over."""
    feed, clock = HandFeed(), CountingClock()
    source = live(tmp_path, Door(feed), now=clock)
    frames = iter(source)
    next(frames)
    feed.show(1, 2, 3)
    clock.looks += 1000  # the node is slow to come
    frame = following(frames)
    assert frame.captured_at == NOON + timedelta(seconds=3)
    assert frame.captured_at.tzinfo is UTC
    assert frame.sequence == 2, "0 and 1 were passed over and keep their numbers"
    assert frame.attributes == {"site": "north", "frame": "000000002"}
    frames.close()


def test_tr_08_numbers_rise_across_restarts_past_frames_nobody_took(tmp_path):
    highest = -1
    for life in range(3):
        feed = HandFeed()
        frames = iter(live(tmp_path, Door(feed)))
        next(frames)
        feed.show(1, 2)
        frame = following(frames)
        assert frame.sequence > highest
        assert frame.sequence == life * BLOCK + 1
        feed.show(3, 4)  # nobody takes these; then the node is killed
        highest = frame.sequence + 2
        frames.close()


def test_a_camera_that_goes_away_is_told_once_and_opened_again_with_growing_pauses(tmp_path):
    first, second = HandFeed(), HandFeed()
    absent = [FeedLostError("no route") for _ in range(3)]
    door = Door(first, *absent, second)
    source = live(tmp_path, door)
    frames = iter(source)
    next(frames)
    first.show(1)
    assert shown_in(following(frames)) == 1
    first.show(FeedLostError("connection reset"))
    for _ in range(4):
        door.paused.get(timeout=PATIENCE_S)
        assert next(frames) is None, "the node does its other duties"
        assert source.trouble
        door.go_on.put(None)
    second.show(2)
    assert shown_in(following(frames)) == 2
    assert source.trouble == ""
    assert door.pauses == [2.0, 4.0, 8.0, 16.0]
    assert first.closed.is_set()
    journal = tmp_path / "journal"
    (away,), (back,) = events(journal, "source.away"), events(journal, "source.back")
    assert (away["source"], away["reason"]) == ("camera 0", "connection reset")
    assert back["tries"] == 4
    assert source.unreadable == 0
    frames.close()


def test_a_camera_that_is_absent_at_the_start_is_waited_for(tmp_path):
    feed = HandFeed()
    door = Door(FeedLostError("cannot be opened"), feed)
    source = live(tmp_path, door)
    frames = iter(source)
    door.paused.get(timeout=PATIENCE_S) if next(frames) is None else None
    assert source.trouble == "camera 0: cannot be opened"
    door.go_on.put(None)
    feed.show(7)
    assert shown_in(following(frames)) == 7
    frames.close()


def test_pauses_start_small_again_after_pictures_came(tmp_path):
    feeds = [HandFeed(), HandFeed()]
    door = Door(FeedLostError("x"), FeedLostError("x"), feeds[0], feeds[1])
    frames = iter(live(tmp_path, door))
    next(frames)
    for _ in range(2):
        door.paused.get(timeout=PATIENCE_S)
        door.go_on.put(None)
    feeds[0].show(1, FeedLostError("gone"))
    door.paused.get(timeout=PATIENCE_S)
    assert door.pauses == [2.0, 4.0, 2.0]
    door.go_on.put(None)
    feeds[1].show(2)
    assert shown_in(following(frames)) == 2
    frames.close()


def test_pauses_never_grow_beyond_a_minute(tmp_path):
    door = Door()
    frames = iter(live(tmp_path, door))
    next(frames)
    for _ in range(12):
        door.paused.get(timeout=PATIENCE_S)
        door.go_on.put(None)
    door.paused.get(timeout=PATIENCE_S)
    assert max(door.pauses) == 60.0
    assert len(events(tmp_path / "journal", "source.away")) == 1
    door.go_on.put(None)
    frames.close()
    door.go_on.put(None)


def test_a_damaged_picture_costs_itself_and_too_many_the_connection(tmp_path):
    first, second = HandFeed(), HandFeed()
    door = Door(first, second)
    source = live(tmp_path, door)
    frames = iter(source)
    next(frames)
    first.show(DAMAGED, 1)
    assert shown_in(following(frames)) == 1
    assert source.unreadable == 1
    first.start(*[DAMAGED] * DAMAGED_IN_A_ROW)
    door.paused.get(timeout=PATIENCE_S)
    assert first.closed.is_set() and source.unreadable == 1 + DAMAGED_IN_A_ROW
    assert len(events(tmp_path / "journal", "frame.unreadable")) == 2, "once a row"
    door.go_on.put(None)
    second.show(2)
    assert shown_in(following(frames)) == 2
    frames.close()


def test_stopping_does_not_wait_for_a_read_that_hangs(tmp_path):
    """The reader is a daemon; whenever its read returns, it lets go of the camera."""
    feed = HandFeed()
    frames = iter(live(tmp_path, Door(feed)))
    next(frames)
    feed.show(1)
    frames.close()  # returns although the reader is inside grab()
    assert not feed.closed.is_set()
    feed.start(2)
    assert feed.closed.wait(PATIENCE_S)


def test_stopping_wakes_a_reader_that_waits_for_the_node(tmp_path):
    feed = HandFeed()
    frames = iter(live(tmp_path, Door(feed), back_pressure="every", queue_frames=1))
    next(frames)
    feed.start(1, 2, 3)
    for _ in range(2):
        feed.asked.get(timeout=PATIENCE_S)
    frames.close()
    assert feed.closed.wait(PATIENCE_S)


def test_a_bug_in_the_reader_reaches_the_node(tmp_path):
    class Broken(HandFeed):
        def picture(self):
            raise ZeroDivisionError("a bug")

    feed = Broken()
    frames = iter(live(tmp_path, Door(feed)))
    feed.start(1)
    with pytest.raises(ZeroDivisionError):
        following(frames)
