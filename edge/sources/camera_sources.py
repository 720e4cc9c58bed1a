"""Cameras and network cameras (RTSP) through OpenCV, which is imported only when one is opened.

A password is read from the environment, goes into the address that OpenCV is given, and nowhere
else: journal, log, errors and health know a camera by its address without it.
"""

import os
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import numpy as np
from numpy.typing import NDArray

from edge.sources.live_frames import Feed, FeedLostError
from lifelong.errors import ConfigError
from lifelong.sections.edge import CameraSource, RtspSource

# Read by OpenCV at each opening; "key;value|key;value".
_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"


class OpenCvFeed:
    """A `cv2.VideoCapture` as a feed."""

    def __init__(self, capture: Any, name: str) -> None:
        self._capture = capture
        self._name = name

    def grab(self) -> None:
        """Wait for the next picture; as `Feed` has it."""
        try:
            grabbed = self._capture.grab()
        except Exception as error:  # OpenCV's own type, which only OpenCV can name
            raise FeedLostError(f"OpenCV failed ({type(error).__name__})") from error
        if not grabbed:
            raise FeedLostError("no picture came; the connection is closed")

    def picture(self) -> NDArray[np.uint8] | None:
        """(H, W, 3) uint8 RGB, or None."""
        try:
            whole, picture = self._capture.retrieve()
        except Exception:  # as above
            return None
        return rgb(picture) if whole and picture is not None else None

    def close(self) -> None:
        """Give the device or the connection back."""
        self._capture.release()


def camera_feed(section: CameraSource) -> tuple[Callable[[], Feed], str]:
    """How a camera is opened, and what it is called.

    Raises:
        ConfigError: OpenCV is not installed.
    """
    cv2 = opencv()
    device = section.device
    source = int(device) if device.isdigit() else device
    # For an address only FFmpeg is asked: other readers of OpenCV print what they cannot open.
    reader = cv2.CAP_FFMPEG if "://" in device else cv2.CAP_ANY
    name = f"camera {without_user(device)}"

    def opened() -> Feed:
        return _feed(cv2.VideoCapture(source, reader), name, "check the name and who else uses it")

    return opened, name


def rtsp_feed(
    section: RtspSource, environment: Mapping[str, str] | None = None
) -> tuple[Callable[[], Feed], str]:
    """How a network camera is opened, and what it is called.

    Sets the transport in this process's environment, where OpenCV looks for it; one node has one
    source.

    Args:
        environment: where the password is; None: this process's.

    Raises:
        ConfigError: OpenCV is not installed, the address is none or holds a password, or the
            variable that should hold the password is not set.
    """
    cv2 = opencv()
    address = _address(section, os.environ if environment is None else environment)
    name = without_user(section.url)
    wait_ms = max(int(1000 * section.timeout_seconds), 1)
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, wait_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, wait_ms]
    # Here, in the thread that builds the node: an environment that changes beside running threads
    # is not safe to read.
    options = with_transport(os.environ.get(_OPTIONS, ""), section.transport)
    if os.environ.get(_OPTIONS) != options:
        os.environ[_OPTIONS] = options

    def opened() -> Feed:
        capture = cv2.VideoCapture(address, cv2.CAP_FFMPEG, limits)
        return _feed(capture, name, "check address, user, password and network")

    return opened, name


def with_transport(options: str, transport: str) -> str:
    """OpenCV's FFmpeg options with this transport; whatever else an operator set stays.

    >>> with_transport("stimeout;9|rtsp_transport;udp", "tcp")
    'stimeout;9|rtsp_transport;tcp'
    """
    kept = [part for part in options.split("|") if part and not part.startswith("rtsp_transport;")]
    return "|".join([*kept, f"rtsp_transport;{transport}"])


def without_user(address: str) -> str:
    """An address without `user:password@` and without what stands behind `?`; other names as
    they are.

    >>> without_user("rtsp://joe:secret@10.0.0.7:554/live")
    'rtsp://10.0.0.7:554/live'
    """
    scheme, mark, rest = address.partition("://")
    if not mark:
        return address
    place, slash, path = rest.partition("?")[0].partition("/")
    return f"{scheme}://{place.rpartition('@')[2]}{slash}{path}"


def opencv() -> ModuleType:
    """The module `cv2`.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise ConfigError(
            "edge.source: video and camera sources need OpenCV; "
            "install it with `pip install 'cornerloop[video]'`"
        ) from error
    return cv2


def rgb(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """OpenCV's (H, W, 3) BGR or (H, W) grey picture as RGB."""
    if picture.ndim == 2:
        return np.ascontiguousarray(np.repeat(picture[..., None], 3, axis=2))
    return np.ascontiguousarray(picture[..., ::-1])


def _feed(capture: Any, name: str, what_to_do: str) -> Feed:
    if not capture.isOpened():
        capture.release()
        raise FeedLostError(f"cannot be opened; {what_to_do}")
    return OpenCvFeed(capture, name)


def _address(section: RtspSource, environment: Mapping[str, str]) -> str:
    """The address with user and password, for OpenCV alone."""
    name = without_user(section.url)
    try:
        parts = urlsplit(section.url)
        is_address = parts.scheme in {"rtsp", "rtsps"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of a port that is no number
        is_address = False
    if not is_address:
        raise ConfigError(f"edge.source.url: {name!r} is no rtsp://host:port/path")
    if "@" in parts.netloc:
        raise ConfigError(
            f"edge.source.url: {name} holds a user or a password; name the user in "
            "edge.source.user and the variable with the password in edge.source.password_env"
        )
    password = ""
    if section.password_env:
        if section.password_env not in environment:
            raise ConfigError(
                f"edge.source.password_env: the variable {section.password_env} is not set; "
                f"set it to the password of {section.user or 'the user'} at {name}"
            )
        password = environment[section.password_env]
    if not section.user:
        return section.url
    user = f"{quote(section.user, safe='')}:{quote(password, safe='')}@"
    return urlunsplit(parts._replace(netloc=user + parts.netloc))
