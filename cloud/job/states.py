"""What the local job must remember, and its folder: one JSON file, rewritten whole.

It plays both of Sedna's parts: the Global Manager's list of conditions and the local
controller's counters. Sedna keeps the latter in memory; here they survive a kill at any moment.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from cloud.job.conditions import JobCondition
from lifelong.links.durable_files import write_whole
from lifelong.records.wire import dumps, from_plain, json_object, to_plain

Write = Callable[[Path, bytes], None]
STATE, OBJECT = "job.json", "object.json"


@dataclass(slots=True, kw_only=True)
class HeldReport:
    """A report that a fault delivers late."""

    body: dict[str, Any]
    until: str  # a state's name, or "marked": once the local controller has given up on Eval


@dataclass(slots=True, kw_only=True)
class DueReport:
    """A report that frees the job, to be applied when its time has come."""

    kind: str
    status: str
    results: list[dict[str, Any]] = field(default_factory=list)
    wait_s: float = 0.0  # after the one before it
    due: datetime | None = None  # None: the one before it has not been sent


@dataclass(slots=True, kw_only=True)
class Repair:
    """What the job did to free itself."""

    at: datetime
    told: str


@dataclass(slots=True, kw_only=True)
class JobState:
    """Everything a job must remember."""

    created: datetime | None = None
    conditions: list[JobCondition] = field(default_factory=list)
    knowledge_base: dict[str, Any] = field(default_factory=dict)  # status.knowledgeBase
    # The local controller's memory; a fault makes it forget.
    round_number: int = 0
    consumed_lines: int = 0
    pending_train: list[str] = field(default_factory=list)
    eval_lines: list[str] = field(default_factory=list)
    eval_batches: list[list[str]] = field(default_factory=list)
    eval_is_marked: bool = False  # it has asked for Eval, and will not again before Train/Waiting
    deploy_is_marked: bool = False
    # The pod at work.
    lc_port: int = 0
    worker_name: str = ""
    worker_process: int = 0
    worker_started: str = ""  # tells the process from a later one of the same number
    worker_restarts: int = 0
    pod_is_gone: bool = False  # deleted by a fault: nobody starts it again
    rival_name: str = ""  # a second pod of the same stage
    last_worker: str = ""  # who reported last; a repeated report of it is no surprise
    edge_process: int = 0
    edge_started: str = ""
    # Our own book-keeping.
    rounds_begun: int = 0  # never forgotten, whatever `round_number` says
    struck: list[str] = field(default_factory=list)  # faults that have happened, `name@round`
    taken: list[str] = field(default_factory=list)  # report files that are applied already
    held: list[HeldReport] = field(default_factory=list)
    repairs_due: list[DueReport] = field(default_factory=list)
    repairs: list[Repair] = field(default_factory=list)
    trouble: str = ""  # why the last look could do nothing

    @property
    def last(self) -> JobCondition | None:
        """The present state."""
        return self.conditions[-1] if self.conditions else None


class JobFolder:
    """Keeps the state, the job's object and the workers' logs."""

    def __init__(self, path: Path, write: Write = write_whole) -> None:
        self.path = path
        self._write = write

    def save(self, state: JobState) -> None:
        """Replace the state file; a kill leaves the old one or the new one."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._write(self.path / STATE, dumps(to_plain(state)))

    def keep_object(self, source: Mapping[str, Any]) -> None:
        """Keep the manifest's job as it is, for whoever asks for its status."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._write(self.path / OBJECT, dumps(dict(source)))


def read_state(folder: Path) -> JobState:
    """The state of a job as its file has it; a new one when there is no file.

    Raises:
        CorruptRecordError: the file cannot be read.
    """
    path = folder / STATE
    if not path.exists():
        return JobState()
    return from_plain(JobState, json_object(path.read_bytes(), str(path)), str(path))


def read_object(folder: Path) -> dict[str, Any]:
    """The job's object as the manifest had it; empty when no job ran here."""
    path = folder / OBJECT
    return json_object(path.read_bytes(), str(path)) if path.exists() else {}
