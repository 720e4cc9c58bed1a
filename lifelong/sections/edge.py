"""What one edge node may be told: sources, hard examples, outbox, uploads, privacy, updates."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from lifelong.sections.delivery import OutboxSection, ScenesSection, UploadSection
from lifelong.sections.types import Count, Positive, Seconds, Section, Share
from lifelong.sections.updates import HealthSection, UpdatesSection

# every: no frame is passed over, a slow node falls behind. latest: frames that came while the
# last one was at work are passed over but for the newest, and counted.
BackPressure = Literal["every", "latest"]


class FolderSource(Section):
    """Frames from a folder that is watched; sub-folders become an attribute."""

    type: Literal["folder"]
    path: Path
    poll_seconds: Seconds = 0.5
    stop_when_empty: bool = False  # end after the files that are there; for replays and tests
    attribute_from_folder: str = "condition"  # frames/night/1.jpg -> condition: night
    back_pressure: BackPressure = "every"


class VideoSource(Section):
    """Frames from a video file, needs the `video` extra."""

    type: Literal["video"]
    path: Path
    every: Positive = 1  # take every n-th frame
    back_pressure: BackPressure = "every"  # latest: played at its own speed, as if it were live


class CameraSource(Section):
    """Frames from a camera, needs the `video` extra."""

    type: Literal["camera"]
    device: str = "0"  # number, device path or address
    back_pressure: BackPressure = "latest"
    queue_frames: Positive = 8  # read ahead at most, for `every`
    reconnect_seconds: Seconds = 2.0  # pause before a camera that went away is opened again


class RtspSource(Section):
    """Frames from a network camera, needs the `video` extra."""

    type: Literal["rtsp"]
    url: str  # rtsp://host:port/path, without user and password
    user: str = ""
    password_env: str = ""  # name of the environment variable that holds the password
    transport: Literal["tcp", "udp"] = "tcp"
    timeout_seconds: Annotated[float, Field(gt=0)] = 5.0  # without a frame: connect anew
    back_pressure: BackPressure = "latest"
    queue_frames: Positive = 8
    reconnect_seconds: Seconds = 2.0


FrameSourceSection = Annotated[
    FolderSource | VideoSource | CameraSource | RtspSource, Field(discriminator="type")
]


class HardExamplesSection(Section):
    """Which frames are worth a person's time."""

    # cross_entropy: each class counts as much as the road; with the same number of labels a round
    # gains more from it than from the doubt of all pixels (python -m bench.choice).
    policy: Literal[
        "entropy",
        "margin",
        "least_confidence",
        "share_below",
        "cross_entropy",
        "ibt",
        "flip_consistency",
        "disagreement",
        "novelty",
        "random",
        "cloud_only",
        "edge_only",
    ] = "cross_entropy"
    # A frame is hard when its score reaches this. None: the bundle's own quantile, next line.
    threshold: Share | None = None
    quantile: Literal["0.50", "0.75", "0.90", "0.95", "0.99"] = "0.95"
    confidence_below: Share = 0.7  # pixels under this count for share_below and ibt
    # Whatever the policy says, a frame whose novelty (0 .. 1, 0.5 = the model's own 0.95 quantile)
    # reaches this is hard. None: novelty only ranks, and is a policy of its own.
    novel_from: Share | None = None
    random_share: Share = 0.0  # kept whatever their score, to see without bias
    empty_is_hard: bool = False  # a frame with no class but the background class
    background: str | None = None  # that class
    seed: int = 0


class PrivacySection(Section):
    """What is taken out of a picture before it is kept; metadata never leaves."""

    blur: tuple[str, ...] = ()  # classes whose pixels are made unrecognisable
    drop: tuple[str, ...] = ()  # a frame that shows one of these is not kept
    drop_share: Share = 0.0  # … when it covers more than this share of the picture
    margin_px: Count = 8  # blurred around such pixels too: borders are where masks err
    # A pixel counts as such a class's also where another class won, when the model gives it this
    # probability: people are missed where the model is unsure. 1: only where it won.
    from_probability: Annotated[float, Field(gt=0, le=1)] = 0.1
    # A frame whose novelty (0 .. 1) reaches this is not kept, nor one whose novelty the model
    # cannot tell: in a condition it was not trained for, a model misses most people. None: kept.
    drop_novel_from: Share | None = None
    crop: Literal["none", "doubtful"] = "none"  # keep only the box around the doubtful regions
    attributes: tuple[str, ...] | None = None  # the only ones that leave; None: all


class EscalationSection(Section):
    """Joint inference: a hard frame may ask for the cloud's answer."""

    enabled: bool = False
    # A frame whose score reaches this asks. None: every frame that counts as hard.
    threshold: Share | None = None
    deadline_seconds: Annotated[float, Field(gt=0)] = 2.0  # then the node's own answer stands
    # The frame loop waits for the answer, at most until the deadline; otherwise it goes on at once
    # and the answer comes as a second one for its frame.
    wait: bool = False
    poll_seconds: Annotated[float, Field(gt=0)] = 0.1
    open_at_most: Positive = 4  # questions on their way; a further frame does not ask


class AnswersSection(Section):
    """Where a node leaves its masks for whoever drives the robot; absent: nowhere."""

    path: Path
    kept: Positive = 100  # the newest so many frames


class EdgeSection(Section):
    """One edge node."""

    id: str = "edge-1"
    source: FrameSourceSection
    stop_after_frames: Count = 0  # the node ends after so many; 0: with its source
    max_frames_per_second: Annotated[float, Field(gt=0)] | None = None  # None: as they come
    hard_examples: HardExamplesSection = HardExamplesSection()
    scenes: ScenesSection = ScenesSection()
    privacy: PrivacySection = PrivacySection()
    outbox: OutboxSection = OutboxSection()
    upload: UploadSection = UploadSection()
    updates: UpdatesSection = UpdatesSection()
    health: HealthSection = HealthSection()
    escalation: EscalationSection = EscalationSection()
    answers: AnswersSection | None = None
    state_path: Path = Path("edge-state")  # journal, health, the running bundle
    threads: Count = 0  # of ONNX Runtime; 0: its own choice
    # Of ONNX Runtime, the first that this node has is used: CUDAExecutionProvider,
    # TensorrtExecutionProvider, OpenVINOExecutionProvider …
    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    attributes: dict[str, str] = Field(
        default_factory=dict
    )  # site, camera … sent with each hard example
    release_poll_seconds: Seconds = 2.0
    canary_frames: Count = 10  # frames a new model answers beside the old one before the swap
