"""Video files and cameras through OpenCV, which is imported only when one is opened."""

import sys
import types
from typing import Any

import numpy as np
import pytest

from edge.seen_frames import SeenFrames
from edge.video_sources import CAMERA_BLOCK, CameraFrames, VideoFrames
from lifelong.edge_config import CameraSource, VideoSource
from lifelong.errors import ConfigError
from lifelong.links.journal import Journal
from lifelong.records.ids import EdgeId
from lifelong.records.pixels import Frame


class FakeCapture:
    """Plays pictures whose blue channel is their number; gives none where there is None."""

    def __init__(self, pictures: list) -> None:
        self.pictures = list(pictures)
        self.at = -1
        self.opened = 0

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's own names
        return True

    def get(self, _what: int) -> float:
        return 10.0

    def grab(self) -> bool:
        self.at += 1
        return self.at < len(self.pictures)

    def retrieve(self):
        picture = self.pictures[self.at]
        return picture is not None, picture

    def read(self):
        self.grab()
        return self.retrieve()

    def open(self, _source) -> bool:
        self.opened += 1
        return True

    def release(self) -> None: ...


def picture(number: int) -> np.ndarray:
    image = np.zeros((4, 6, 3), dtype=np.uint8)
    image[..., 0] = number
    return image


@pytest.fixture
def opencv(monkeypatch):
    """A stand-in for cv2 that plays what a test gives it."""
    module: Any = types.ModuleType("cv2")
    module.CAP_PROP_FPS = 5

    def play(pictures: list) -> FakeCapture:
        capture = FakeCapture(pictures)
        module.VideoCapture = lambda _source: capture
        return capture

    monkeypatch.setitem(sys.modules, "cv2", module)
    return play


def video(folder, **changes) -> VideoFrames:
    path = folder / "drive.mp4"
    if not path.exists():
        path.write_bytes(b"played by the stand-in")
    section = VideoSource(type="video", path=path, **changes)
    seen = SeenFrames(folder / "seen.jsonl")
    return VideoFrames(section, edge_id=EdgeId("edge-1"), attributes={}, seen=seen)


def camera(folder) -> CameraFrames:
    return CameraFrames(
        CameraSource(type="camera"),
        edge_id=EdgeId("edge-1"),
        attributes={"site": "north"},
        seen=SeenFrames(folder / "seen.jsonl"),
        journal=Journal(folder / "journal", "edge-1"),
        wait=lambda _seconds: None,
    )


def sequence_of(frame: Frame | None) -> int:
    assert frame is not None
    return frame.sequence


def test_every_nth_frame_of_a_video_comes_in_rgb(tmp_path, opencv):
    opencv([picture(number) for number in range(7)])
    frames = []
    source = video(tmp_path, every=3)
    for frame in source:
        source.remember(frame)
        frames.append(frame)
    assert [int(frame.image[0, 0, 2]) for frame in frames] == [0, 3, 6]
    assert [frame.attributes["frame"] for frame in frames] == [
        "drive/000000",
        "drive/000003",
        "drive/000006",
    ]
    assert (frames[1].captured_at - frames[0].captured_at).total_seconds() == pytest.approx(0.3)


def test_a_video_goes_on_after_a_restart_where_it_was(tmp_path, opencv):
    opencv([picture(number) for number in range(5)])
    first = video(tmp_path)
    for frame in first:
        first.remember(frame)
        if frame.sequence == 1:
            break
    opencv([picture(number) for number in range(5)])
    rest = video(tmp_path)
    sequences = []
    for frame in rest:
        rest.remember(frame)
        sequences.append(frame.sequence)
    assert sequences == [2, 3, 4]


def test_tr_08_a_camera_counts_up_across_restarts(tmp_path, opencv):
    opencv([picture(1), picture(2)])
    frames = iter(camera(tmp_path))
    assert [sequence_of(next(frames)), sequence_of(next(frames))] == [0, 1]
    opencv([picture(1)])
    assert sequence_of(next(iter(camera(tmp_path)))) == CAMERA_BLOCK


def test_a_camera_that_gives_no_frame_is_told_and_opened_again(tmp_path, opencv):
    capture = opencv([picture(1), None, picture(3)])
    source = camera(tmp_path)
    frames = iter(source)
    assert next(frames) is not None
    assert next(frames) is None
    assert next(frames) is not None
    assert capture.opened == 1
    assert source.unreadable == 1


def test_a_missing_video_file_is_told(tmp_path):
    section = VideoSource(type="video", path=tmp_path / "none.mp4")
    seen = SeenFrames(tmp_path / "seen.jsonl")
    source = VideoFrames(section, edge_id=EdgeId("edge-1"), attributes={}, seen=seen)
    with pytest.raises(ConfigError, match="no video file"):
        next(iter(source))


def test_without_opencv_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ConfigError, match=r"cornerloop\[video\]"):
        next(iter(camera(tmp_path)))


def test_a_camera_that_cannot_be_opened_is_told(tmp_path, opencv, monkeypatch):
    capture = opencv([])
    monkeypatch.setattr(capture, "isOpened", lambda: False, raising=False)
    with pytest.raises(ConfigError, match="cannot be opened"):
        next(iter(camera(tmp_path)))


def test_a_real_video_file_is_read_through_opencv(tmp_path):
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / "drive.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (64, 48))
    for number in range(4):
        writer.write(np.full((48, 64, 3), (250, 10, 10 * number), dtype=np.uint8))
    writer.release()
    seen = SeenFrames(tmp_path / "seen.jsonl")
    source = VideoFrames(
        VideoSource(type="video", path=path), edge_id=EdgeId("edge-1"), attributes={}, seen=seen
    )
    frames = []
    for frame in source:
        source.remember(frame)
        frames.append(frame)
    assert len(frames) == 4
    assert frames[0].image[0, 0, 2] > 200  # blue is last in RGB
