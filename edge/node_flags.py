"""The flags of a node's commands: what changes often from one run to the next."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from lifelong.config import Config, load_config
from lifelong.errors import ConfigError
from lifelong.given_settings import Given, is_given
from lifelong.setting_flags import Setting


def source_named(text: str) -> dict[str, str]:
    """The source that a word means: a folder, a video file, a camera's number, or an address.

    Raises:
        ConfigError: it is none of them, or an address with a user or a password.

    >>> source_named("0")
    {'type': 'camera', 'device': '0'}
    >>> source_named("rtsp://camera.example:554/live")
    {'type': 'rtsp', 'url': 'rtsp://camera.example:554/live'}
    """
    if "://" in text:
        if "@" in urlsplit(text).netloc:
            raise ConfigError(
                "--source: the address holds a user or a password, which everybody on this "
                "machine could read; name the user in edge.source.user and the variable with the "
                "password in edge.source.password_env"
            )
        is_rtsp = text.partition("://")[0].lower() in {"rtsp", "rtsps"}
        return {"type": "rtsp", "url": text} if is_rtsp else {"type": "camera", "device": text}
    path = Path(text)
    if text.isdecimal() or path.is_char_device():
        return {"type": "camera", "device": text}
    if path.is_dir():
        return {"type": "folder", "path": str(path.absolute())}
    if path.is_file():
        return {"type": "video", "path": str(path.absolute())}
    raise ConfigError(
        f"--source: {text!r} is not there; name a folder, a video file, a camera by its number or "
        "device, or an address such as rtsp://host:port/path"
    )


ID = Setting(flag="--id", key="edge.id", note="The node's name")
STORAGE = Setting(flag="--storage", key="storage", note="Folder, s3://bucket/prefix …")
STATE = Setting(flag="--state", key="edge.state_path", note="What the node knows between runs")
SOURCE = Setting(
    flag="--source",
    key="edge.source",
    note="Folder, video file, number of a camera, or rtsp://…",
    read=source_named,
)
ONCE = Setting(
    flag="--once/--watch",
    key="edge.source.stop_when_empty",
    note="Of a folder: end after the files that are there",
)
NODE = (
    ID,
    STORAGE,
    STATE,
    Setting(flag="--label-map", key="label_map", note="JSON of your classes"),
    Setting(flag="--trusted-keys", key="edge.updates.trusted_keys", note="Key ring"),
    Setting(flag="--threads", key="edge.threads", note="Of ONNX Runtime; 0: its own choice"),
    Setting(flag="--provider", key="edge.providers", note="Of ONNX Runtime; may be repeated"),
)
FRAMES = (
    Setting(flag="--frames", key="edge.stop_after_frames", note="End after so many"),
    Setting(flag="--fps", key="edge.max_frames_per_second", note="At most so many a second"),
    Setting(flag="--policy", key="edge.hard_examples.policy", note="Which frames are hard"),
    Setting(flag="--threshold", key="edge.hard_examples.threshold", note="Hard from this score on"),
    Setting(flag="--outbox", key="edge.outbox.path", note="Folder of what is not delivered yet"),
    Setting(
        flag="--uploads/--no-uploads",
        key="edge.upload.enabled",
        note="Whether hard frames leave the outbox",
    ),
    Setting(
        flag="--max-mib-per-day",
        key="edge.upload.max_mib_per_day",
        note="What may leave in 24 hours",
    ),
)


def node_config(
    path: Path | None, given: Sequence[Given], needed: Sequence[Setting] = ()
) -> Config:
    """The configuration of a node, from a file, from flags, or both.

    Args:
        needed: what must be given where there is no file.

    Raises:
        ConfigError: there is neither a file nor what is needed without one, or what is said is
            wrong.
    """
    missing = [s.flag for s in needed if not is_given(tuple(s.key.split(".")), given)]
    if path is None and missing:
        raise ConfigError(
            f"no --config, and no {', '.join(missing)}; a node needs a file, or at least "
            f"{', '.join(s.flag for s in needed)}"
        )
    return load_config(path, given)
