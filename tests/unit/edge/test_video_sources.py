"""Video files through OpenCV, which is imported only when one is opened."""

import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from edge.seen_frames import SeenFrames
from edge.sources.video_sources import VideoFrames
from lifelong.errors import ConfigError
from lifelong.records.ids import EdgeId
from lifelong.records.pixels import Frame
from lifelong.sections.edge import VideoSource
from tests.edge_fixtures import HandClock


class FakeCapture:
    """Plays pictures whose blue channel is their number; gives none where there is None."""

    def __init__(self, pictures: list) -> None:
        self.pictures = list(pictures)
        self.at = -1

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's own names
        return True

    def get(self, what: int) -> float:
        return {5: 10.0, 7: float(len(self.pictures))}[what]

    def grab(self) -> bool:
        self.at += 1
        return self.at < len(self.pictures)

    def retrieve(self):
        picture = self.pictures[self.at]
        return picture is not None, picture

    def release(self) -> None: ...


def picture(number: int) -> np.ndarray:
    image = np.zeros((4, 6, 3), dtype=np.uint8)
    image[..., 0] = number
    return image


@pytest.fixture
def opencv(monkeypatch):
    """A stand-in for cv2 that plays what a test gives it."""
    module: Any = types.ModuleType("cv2")
    module.CAP_PROP_FPS, module.CAP_PROP_FRAME_COUNT = 5, 7

    def play(pictures: list) -> FakeCapture:
        capture = FakeCapture(pictures)
        module.VideoCapture = lambda _source: capture
        return capture

    monkeypatch.setitem(sys.modules, "cv2", module)
    return play


def video(folder, clock: HandClock | None = None, **changes) -> VideoFrames:
    path = folder / "drive.mp4"
    if not path.exists():
        path.write_bytes(b"played by the stand-in")
    clock = clock or HandClock()
    return VideoFrames(
        VideoSource(type="video", path=path, **changes),
        edge_id=EdgeId("edge-1"),
        attributes={},
        seen=SeenFrames(folder / "seen.jsonl"),
        wait=clock.advance,
        clock=clock,
    )


def taken(source: VideoFrames) -> Iterator[Frame]:
    """Its frames, each remembered at once."""
    for frame in source:
        if frame is not None:
            source.remember(frame)
            yield frame


def film(count: int) -> list:
    return [picture(number) for number in range(count)]


def test_every_nth_frame_of_a_video_comes_in_rgb(tmp_path, opencv):
    opencv(film(7))
    source = video(tmp_path, every=3)
    frames = list(taken(source))
    assert [int(frame.image[0, 0, 2]) for frame in frames] == [0, 3, 6]
    assert [frame.attributes["frame"] for frame in frames] == [
        "drive/000000",
        "drive/000003",
        "drive/000006",
    ]
    assert (frames[1].captured_at - frames[0].captured_at).total_seconds() == pytest.approx(0.3)
    assert source.passed_over == 0


def test_a_video_goes_on_after_a_restart_where_it_was(tmp_path, opencv):
    opencv(film(5))
    for frame in taken(video(tmp_path)):
        if frame.sequence == 1:
            break
    opencv(film(5))
    assert [frame.sequence for frame in taken(video(tmp_path))] == [2, 3, 4]


def test_latest_plays_a_video_at_its_own_speed(tmp_path, opencv):
    """Ten frames a second; the node takes 0.35 s for the first, and no time for the others."""
    opencv(film(8))
    clock = HandClock()
    source = video(tmp_path, clock, back_pressure="latest")
    seen, began = [], clock.seconds
    for frame in source:
        if frame is None:
            continue
        seen.append((int(frame.image[0, 0, 2]), frame.sequence, round(clock.seconds - began, 2)))
        source.remember(frame)
        if len(seen) == 1:
            clock.advance(0.35)
    # At 0.35 s frame 3 is the newest; 1 and 2 have gone by. 4 is due at 0.4 s.
    assert seen == [
        (0, 0, 0.0),
        (3, 3, 0.35),
        (4, 4, 0.4),
        (5, 5, 0.5),
        (6, 6, 0.6),
        (7, 7, 0.7),
    ]
    assert source.passed_over == 2


def test_latest_goes_on_behind_the_last_frame_that_was_processed(tmp_path, opencv):
    opencv(film(6))
    clock = HandClock()
    first = video(tmp_path, clock, back_pressure="latest")
    for frame in first:
        if frame is None:
            continue
        first.remember(frame)
        clock.advance(0.25)
        if int(frame.image[0, 0, 2]) >= 2:
            break
    opencv(film(6))
    rest = video(tmp_path, back_pressure="latest")
    again = [(int(f.image[0, 0, 2]), f.sequence) for f in rest if f is not None]
    assert again == [(3, 3), (4, 4), (5, 5)], "what went by in the first life does not come back"


def test_latest_takes_every_nth_frame_too(tmp_path, opencv):
    opencv(film(9))
    clock = HandClock()
    source = video(tmp_path, clock, back_pressure="latest", every=3)
    shown = []
    for frame in source:
        if frame is not None:
            shown.append(int(frame.image[0, 0, 2]))
            clock.advance(0.31)
    assert shown == [0, 3, 6]
    assert source.passed_over == 0


def test_the_node_is_not_kept_waiting_for_a_slow_video(tmp_path, opencv, monkeypatch):
    opencv(film(2))
    source = video(tmp_path, back_pressure="latest", every=1)
    monkeypatch.setattr(FakeCapture, "get", lambda _self, what: {5: 0.5, 7: 2.0}[what])
    answers = list(source)
    assert [answer is None for answer in answers].count(True) >= 8, "two seconds, 0.2 s at a time"


def test_a_missing_video_file_is_told(tmp_path, opencv):
    opencv([])
    section = VideoSource(type="video", path=tmp_path / "none.mp4")
    seen = SeenFrames(tmp_path / "seen.jsonl")
    source = VideoFrames(section, edge_id=EdgeId("edge-1"), attributes={}, seen=seen)
    with pytest.raises(ConfigError, match="no video file"):
        next(iter(source))


def test_a_file_that_is_no_video_is_told(tmp_path, opencv, monkeypatch):
    capture = opencv([])
    monkeypatch.setattr(capture, "isOpened", lambda: False, raising=False)
    with pytest.raises(ConfigError, match="cannot be opened"):
        next(iter(video(tmp_path)))


def test_without_opencv_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ConfigError, match=r"cornerloop\[video\]"):
        next(iter(video(tmp_path)))


@pytest.mark.parametrize("back_pressure", ["every", "latest"])
def test_a_real_video_file_is_read_through_opencv(tmp_path, back_pressure):
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / "drive.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (64, 48))
    for number in range(4):
        writer.write(np.full((48, 64, 3), (250, 10, 10 * number), dtype=np.uint8))
    writer.release()
    clock = HandClock()
    source = VideoFrames(
        VideoSource(type="video", path=path, back_pressure=back_pressure),
        edge_id=EdgeId("edge-1"),
        attributes={},
        seen=SeenFrames(tmp_path / "seen.jsonl"),
        wait=clock.advance,
        clock=clock,
    )
    frames = list(taken(source))
    assert len(frames) == 4
    assert frames[0].image[0, 0, 2] > 200  # blue is last in RGB
