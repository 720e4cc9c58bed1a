"""Cameras through OpenCV: a real RTSP server on loopback, a video file in place of a camera."""

import logging
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.seen_frames import SeenFrames
from edge.sources.camera_sources import camera_feed, rtsp_feed, with_transport, without_user
from edge.sources.live_frames import FeedLostError, LiveFrames
from lifelong.errors import ConfigError
from lifelong.links.journal import Journal
from lifelong.records.ids import EdgeId
from lifelong.records.pixels import Frame
from lifelong.sections.edge import CameraSource, RtspSource
from tests.edge_fixtures import events
from tests.rtsp_server import STEP, RtspCamera, brightness

PASSWORD = "s:e@c/r#t"
MOST_LOOKS = 6000  # before a test that waits in vain fails


@pytest.fixture(autouse=True)
def no_options_left_behind(monkeypatch):
    """The transport goes into the environment; the next test begins without."""
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "")
    monkeypatch.delenv("OPENCV_FFMPEG_CAPTURE_OPTIONS")


def section(camera: RtspCamera, **changes) -> RtspSource:
    return RtspSource(type="rtsp", url=camera.url, **{"timeout_seconds": 5.0, **changes})


def live(folder: Path, source: RtspSource | CameraSource, environment=None) -> LiveFrames:
    opened, name = (
        rtsp_feed(source, environment or {})
        if isinstance(source, RtspSource)
        else camera_feed(source)
    )
    return LiveFrames(
        opened,
        name,
        back_pressure=source.back_pressure,
        queue_frames=source.queue_frames,
        reconnect_seconds=0.05,
        edge_id=EdgeId("edge-1"),
        attributes={},
        seen=SeenFrames(folder / "seen.jsonl"),
        journal=Journal(folder / "journal", "edge-1"),
    )


def following(frames) -> Frame:
    for _ in range(MOST_LOOKS):
        frame = next(frames)
        if frame is not None:
            return frame
    raise AssertionError("no frame came")


def go_on_until(frames, condition: Callable[[], object]) -> None:
    for _ in range(MOST_LOOKS):
        if condition():
            return
        next(frames)
    raise AssertionError("it never came to that")


def shown_in(frame: Frame) -> int:
    return round(float(frame.image.mean()))


def test_edge_rtsp_every_picture_comes_once_and_in_order(tmp_path):
    pytest.importorskip("cv2")
    with RtspCamera() as camera:
        frames = iter(live(tmp_path, section(camera, back_pressure="every")))
        came = [following(frames) for _ in range(12)]
        frames.close()
    first = (shown_in(came[0]) - brightness(0)) // STEP
    for place, frame in enumerate(came):
        assert frame.image.shape == (64, 96, 3)
        assert abs(shown_in(frame) - brightness(first + place)) <= 2
        assert frame.sequence == place
    assert sorted(frame.captured_at for frame in came) == [frame.captured_at for frame in came]
    assert "interleaved" in camera.transports[0], "TCP is what the settings say"


@pytest.mark.parametrize("authentication", ["digest", "basic"])
def test_sec_04_an_rtsp_camera_with_a_password_that_stands_nowhere(
    tmp_path, caplog, capfd, authentication
):
    """SEC-04: neither when it works, nor when the camera refuses it or goes away."""
    pytest.importorskip("cv2")
    caplog.set_level(logging.DEBUG)
    told = {"user": "joe", "password_env": "CAMERA_PASSWORD"}
    environment = {"CAMERA_PASSWORD": PASSWORD}
    with RtspCamera(user="joe", password=PASSWORD, authentication=authentication) as camera:
        source = live(tmp_path, section(camera, **told), environment)
        frames = iter(source)
        following(frames)
        camera.go_away()
        go_on_until(frames, lambda: source.trouble)
        trouble = source.trouble
        frames.close()
        assert "joe" not in trouble and camera.url in trouble
        camera.come_back()
        wrong, _ = rtsp_feed(section(camera, **told), {"CAMERA_PASSWORD": PASSWORD + "wrong"})
        with pytest.raises(FeedLostError, match="check address, user, password") as refusal:
            wrong()
        assert camera.refused >= 2
    journal = "".join(path.read_text() for path in (tmp_path / "journal").rglob("*.jsonl"))
    assert "source.away" in journal
    printed = "".join(capfd.readouterr())
    for text in (journal, caplog.text, printed, trouble, str(refusal.value), repr(source.__dict__)):
        for secret in (PASSWORD, "s%3Ae%40c%2Fr%23t"):
            assert secret not in text


def test_a_stream_cut_in_the_middle_goes_on_when_the_camera_is_back(tmp_path):
    pytest.importorskip("cv2")
    with RtspCamera() as camera:
        source = live(tmp_path, section(camera))
        frames = iter(source)
        before = following(frames)
        camera.go_away()
        go_on_until(frames, lambda: source.trouble)
        camera.come_back()
        go_on_until(frames, lambda: not source.trouble)
        after = following(frames)
        frames.close()
    assert after.sequence > before.sequence
    assert after.captured_at > before.captured_at
    assert len(events(tmp_path / "journal", "source.away")) == 1
    assert len(events(tmp_path / "journal", "source.back")) == 1


def test_a_camera_that_falls_silent_is_left_after_the_timeout(tmp_path):
    """The connection stands, but no picture comes any more."""
    pytest.importorskip("cv2")
    with RtspCamera() as camera:
        source = live(tmp_path, section(camera, timeout_seconds=0.5))
        frames = iter(source)
        following(frames)
        camera.is_silent.set()
        go_on_until(frames, lambda: source.trouble)
        assert "no picture came" in source.trouble
        camera.is_silent.clear()
        go_on_until(frames, lambda: not source.trouble)
        assert camera.requests.count("PLAY") >= 2, "connected anew"
        frames.close()


def test_an_absent_camera_does_not_end_the_node_and_is_told(tmp_path):
    pytest.importorskip("cv2")
    with RtspCamera() as camera:
        camera.go_away()
        source = live(tmp_path, section(camera, back_pressure="every"))
        frames = iter(source)
        go_on_until(frames, lambda: source.trouble)
        assert source.trouble.startswith(f"{camera.url}: cannot be opened")
        camera.come_back()
        assert following(frames).sequence == 0
        frames.close()


def test_udp_is_asked_for_when_the_settings_say_so():
    pytest.importorskip("cv2")
    with RtspCamera() as camera:  # which speaks TCP only
        opened, _ = rtsp_feed(section(camera, transport="udp", timeout_seconds=1.0), {})
        with pytest.raises(FeedLostError):
            opened()
        assert camera.transports and "TCP" not in camera.transports[0]
    assert os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] == "rtsp_transport;udp"


@pytest.mark.parametrize(
    ("options", "after"),
    [
        ("", "rtsp_transport;tcp"),
        ("rtsp_transport;udp", "rtsp_transport;tcp"),
        ("rtsp_transport;udp|max_delay;9", "max_delay;9|rtsp_transport;tcp"),
    ],
)
def test_what_an_operator_told_ffmpeg_stays(options, after):
    assert with_transport(options, "tcp") == after


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("rtsp://joe:secret@10.0.0.7:554/live", "rtsp://10.0.0.7:554/live"),
        ("http://joe:se@cret@cam/?user=joe&pwd=secret", "http://cam/"),
        ("rtsp://cam?pwd=secret", "rtsp://cam"),
        ("/dev/video0", "/dev/video0"),
        ("0", "0"),
    ],
)
def test_sec_04_a_camera_is_named_without_user_and_password(address, name):
    assert without_user(address) == name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"url": "rtsp://joe:secret@cam/live"}, "edge.source.password_env"),
        ({"url": "http://cam/live"}, "no rtsp://host:port/path"),
        ({"url": "rtsp://cam:port/secret@"}, "no rtsp://host:port/path"),
        ({"url": "rtsp://"}, "no rtsp://host:port/path"),
        ({"url": "rtsp://cam", "user": "joe", "password_env": "NOWHERE"}, "NOWHERE is not set"),
    ],
)
def test_a_wrong_address_is_told_without_the_password(changes, message):
    pytest.importorskip("cv2")
    with pytest.raises(ConfigError, match=message) as told:
        rtsp_feed(RtspSource(type="rtsp", **changes), {})
    assert "secret" not in str(told.value).replace("secret@", "")


def test_a_camera_is_read_to_its_end_and_opened_again(tmp_path):
    """A video file in place of a device: it shows four pictures, then it is gone."""
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / "drive.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (64, 48))
    for _ in range(4):
        writer.write(np.full((48, 64, 3), (250, 10, 10), dtype=np.uint8))
    writer.release()
    camera = CameraSource(type="camera", device=str(path), back_pressure="every")
    source = live(tmp_path, camera)
    frames = iter(source)
    came = [following(frames) for _ in range(6)]
    frames.close()
    assert [frame.sequence for frame in came] == list(range(6))
    assert came[0].image[0, 0, 2] > 200, "blue is last in RGB"
    assert len(events(tmp_path / "journal", "source.away")) >= 1


def test_a_device_that_is_not_there_is_told(tmp_path):
    pytest.importorskip("cv2")
    opened, name = camera_feed(CameraSource(type="camera", device="/dev/no-such-video"))
    assert name == "camera /dev/no-such-video"
    with pytest.raises(FeedLostError, match="cannot be opened"):
        opened()


def test_a_number_is_a_device_and_grey_pictures_become_rgb(monkeypatch):
    asked: list[tuple[object, int]] = []

    class Grey:
        def isOpened(self) -> bool:  # noqa: N802 - OpenCV's own name
            return True

        def grab(self) -> bool:
            return True

        def retrieve(self):
            return True, np.full((4, 6), 7, dtype=np.uint8)

        def release(self) -> None: ...

    module: Any = types.ModuleType("cv2")
    module.CAP_ANY, module.CAP_FFMPEG = 0, 1900

    def opened(source: object, reader: int) -> Grey:
        asked.append((source, reader))
        return Grey()

    module.VideoCapture = opened
    monkeypatch.setitem(sys.modules, "cv2", module)
    feed = camera_feed(CameraSource(type="camera", device="2"))[0]()
    camera_feed(CameraSource(type="camera", device="http://joe:x@cam/video"))[0]()
    assert asked == [(2, 0), ("http://joe:x@cam/video", 1900)]
    feed.grab()
    picture = feed.picture()
    assert picture is not None and picture.shape == (4, 6, 3) and (picture == 7).all()


def test_an_error_of_opencv_is_an_outage(monkeypatch):
    class Raising:
        def isOpened(self) -> bool:  # noqa: N802 - OpenCV's own name
            return True

        def grab(self) -> bool:
            raise RuntimeError("OpenCV's own")

        def retrieve(self):
            raise RuntimeError("OpenCV's own")

    module: Any = types.ModuleType("cv2")
    module.CAP_ANY = 0
    module.VideoCapture = lambda _source, _reader: Raising()
    monkeypatch.setitem(sys.modules, "cv2", module)
    feed = camera_feed(CameraSource(type="camera"))[0]()
    with pytest.raises(FeedLostError, match="RuntimeError"):
        feed.grab()
    assert feed.picture() is None


@pytest.mark.parametrize("kind", ["camera", "rtsp"])
def test_without_opencv_the_error_names_the_extra(monkeypatch, kind):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ConfigError, match=r"cornerloop\[video\]"):
        if kind == "camera":
            camera_feed(CameraSource(type="camera"))
        else:
            rtsp_feed(RtspSource(type="rtsp", url="rtsp://cam/live"), {})
