"""`EdgeHealth`: what an edge node last said of itself, `edges/{edge_id}/health.json`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from lifelong.records.ids import EdgeId, VersionId


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeHealth:
    """One report; counts are since the node's start unless they say otherwise.

    What a device cannot measure is None. When the report came is for the cloud's clock to say:
    `at` is the device's own, which may be wrong by years.
    """

    edge_id: EdgeId
    report: int  # 1, 2, 3 …, rising, also over restarts
    at: datetime  # UTC, by the device's clock
    report_seconds: float  # pause until the next report
    software: str  # version of Cornerloop
    label_map_digest: str

    version_id: VersionId | None = None  # of the running model
    release_number: int = 0  # that brought it; 0: not known
    swaps: int = 0
    fallbacks: int = 0  # to the model before
    refused_version: VersionId | None = None  # the last release that was not taken
    refused_reason: str = ""

    frames: int = 0
    frames_failed: int = 0  # no model could answer
    frames_unreadable: int = 0
    frames_passed_over: int = 0  # newer ones came while one was at work
    failed_share: float = 0.0  # of the last frames, 0 .. 1
    fps: float = 0.0  # over the last seconds
    p50_ms: float = 0.0  # of the last frames with the running model
    p99_ms: float = 0.0

    hard_examples: int = 0
    outbox_examples: int = 0
    outbox_bytes: int = 0
    outbox_oldest_s: float | None = None  # how long the oldest has waited; None: none waits
    uploaded: int = 0
    dropped: int = 0  # hard examples that were given up: no space, too old
    known_scenes: int = 0  # hard frames that were not kept, because their scene is known
    withheld: int = 0  # … for privacy

    cpu_celsius: float | None = None
    load: float | None = None  # average of the last minute, a core
    memory_bytes: int | None = None  # resident, of the node's process
    outbox_free_bytes: int | None = None  # of the disk that holds the outbox
    state_free_bytes: int | None = None

    drift: Mapping[str, float] = field(default_factory=dict)  # statistic -> value
    alarms: Mapping[str, str] = field(default_factory=dict)  # name -> words
    source_error: str = ""  # why no frame comes at present
    last_error: str = ""
