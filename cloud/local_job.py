"""One LifelongLearningJob on one machine: Sedna's trigger, states and environment, no cluster.

The states, the files and the workers' environment are Sedna's; `root` plays the host's root
folder, so a manifest needs no changed line. Unlike Sedna's, the state survives a kill at any
moment: it is one JSON file, rewritten whole after each change. A worker that exits without a
report counts as failed, instead of as completed without a model.
"""

import logging
import queue
import secrets
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from cloud.job_manifest import Container, Manifest
from cloud.lc_endpoint import LcEndpoint
from cloud.worker_process import WorkerProcess
from lifelong.errors import SednaError
from lifelong.links.durable_files import write_whole
from lifelong.links.journal import utc_now
from lifelong.records.wire import dumps, from_plain, json_object, to_plain

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCondition:
    """One element of `status.conditions`; the last one is the state."""

    stage: str  # Train, Eval, Deploy
    type: str  # Waiting, Ready, Starting, Running, Completed, Failed
    at: datetime  # UTC
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class JobState:
    """Everything a job must remember; the field names are those of `cornerloop job status`."""

    round_number: int = 0
    consumed_lines: int = 0
    pending_train: list[str] = field(default_factory=list)
    eval_lines: list[str] = field(default_factory=list)
    conditions: list[JobCondition] = field(default_factory=list)
    lc_port: int = 0
    worker_name: str = ""
    worker_process: int = 0
    worker_started: str = ""  # tells the process from a later one of the same number
    worker_restarts: int = 0

    @property
    def last(self) -> JobCondition | None:
        """The present state."""
        return self.conditions[-1] if self.conditions else None


def read_state(folder: Path) -> JobState:
    """The state of a job as its file has it; a new one when there is no file.

    Raises:
        CorruptRecordError: the file cannot be read.
    """
    path = folder / "job.json"
    if not path.exists():
        return JobState()
    return from_plain(JobState, json_object(path.read_bytes(), str(path)), str(path))


class LocalJob:
    """Runs one job; `tick` looks once, `run` until told to stop."""

    def __init__(
        self,
        manifest: Manifest,
        *,
        root: Path,
        state_dir: Path,
        config_path: Path | None = None,
        tick_seconds: float = 1.0,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """Args:
        root: stands for the host's root folder; `/data/x` of the manifest is `root/data/x`.
        config_path: what workers get as CORNERLOOP_CONFIG, instead of the template's value.
        """
        self._manifest = manifest
        self._root = root.absolute()
        self._folder = state_dir
        self._config_path = config_path
        self._tick_seconds = tick_seconds
        self._now = now
        self._state = read_state(state_dir)
        self._worker: WorkerProcess | None = None
        self._lc = self._listen()

    # -- running -----------------------------------------------------------------------------

    def run(self, stop: threading.Event) -> None:
        """Tick until `stop` is set; workers are ended with the job and go on with the next."""
        self._lc.start()
        try:
            while not stop.wait(self._tick_seconds):
                while self.tick() and not stop.is_set():
                    pass
        finally:
            self._lc.stop()
            if self._worker is not None:
                self._worker.end()

    def tick(self) -> bool:
        """Take the step the state allows; True when it changed."""
        before = len(self._state.conditions)
        last = self._state.last
        match (last.stage, last.type) if last else ("", ""):
            case ("", ""):
                self._enter("Train", "Waiting")
            case ("Train", "Waiting"):
                self._read_dataset()
                if self._may_train():
                    self._begin_round()
            case ("Eval", "Waiting"):
                self._begin_eval()
            case ("Deploy", "Waiting"):
                self._deploy()
            case ("Train" | "Eval" as stage, "Ready" | "Starting" | "Running"):
                self._look_after_worker(stage)
            case ("Train", "Completed"):
                self._enter("Eval", "Waiting")
            case ("Eval", "Completed"):
                self._enter("Deploy", "Waiting")
            case ("Deploy", "Ready"):
                self._enter("Deploy", "Completed")
            case _:  # Deploy/Completed, and Failed at any stage
                self._enter("Train", "Waiting")
        return len(self._state.conditions) != before

    # -- stages ------------------------------------------------------------------------------

    def _read_dataset(self) -> None:
        path = self._host(self._manifest.dataset.spec.url)
        if not path.exists():
            return
        text = path.read_text(encoding="utf-8", errors="replace")
        # A last line without its end is still being written.
        lines = text.split("\n")[:-1]
        new = lines[self._state.consumed_lines :]
        if not new:
            return
        # Sedna's cut, but a single new line trains: floored to nothing it would never count.
        train = max(1, int(self._manifest.job.spec.dataset.train_prob * len(new)))
        self._state.pending_train.extend(new[:train])
        self._state.eval_lines.extend(new[train:])
        self._state.consumed_lines = len(lines)
        self._save()

    def _may_train(self) -> bool:
        trigger = self._manifest.job.spec.train.trigger
        if not self._state.pending_train or not trigger.condition.holds(
            len(self._state.pending_train)
        ):
            return False
        return trigger.timer is None or trigger.timer.holds(f"{self._now():%H:%M}")

    def _begin_round(self) -> None:
        number = self._state.round_number + 1
        data = self._write_lines("train", number, self._state.pending_train)
        self._state.round_number = number
        self._state.pending_train = []
        output = f"{self._output}/train/{number}"
        self._enter("Train", "Ready", {"input": {"dataURL": data, "outputDir": output}})

    def _begin_eval(self) -> None:
        number = self._state.round_number
        models = self._models("Train")
        data = self._write_lines("eval", number, self._state.eval_lines)
        output = f"{self._output}/eval/{number}"
        self._enter(
            "Eval", "Ready", {"input": {"models": models, "dataURL": data, "outputDir": output}}
        )

    def _deploy(self) -> None:
        models = self._models("Eval")
        if not models:
            self._enter("Deploy", "Completed")
            return
        source = self._host(models[0]["url"])
        target = self._host(f"{self._output}/deploy/index.pkl")
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_suffix(".new")
        shutil.copyfile(source, temporary)
        temporary.replace(target)
        self._enter("Deploy", "Ready", {"input": {"models": models}})

    def _look_after_worker(self, stage: str) -> None:
        if self._take_report(stage):
            return
        if self._worker is None:
            self._worker = self._found_worker() or self._started_worker(stage)
            return
        code = self._worker.exit_code()
        if code is None:
            if self._state.last and self._state.last.type == "Starting":
                self._enter(stage, "Running")
            return
        if self._take_report(stage):  # it reported and ended between the two looks
            return
        self._worker = None
        if code == 0:
            logger.error("%s worker ended without a report; see its log", stage)
            self._forget_worker()
            self._enter(stage, "Failed", {"reason": "the worker ended without a report"})
            return
        # As kubelet does under OnFailure: again, in place, with the same environment.
        self._state.worker_restarts += 1
        self._state.worker_process = 0
        logger.warning("%s worker ended with %s, starting it again", stage, code)
        self._save()

    def _take_report(self, stage: str) -> bool:
        """Apply the report of the present worker, if it has come."""
        while True:
            try:
                report = self._lc.reports.get_nowait()
            except queue.Empty:
                return False
            status, kind = str(report.get("status")).lower(), str(report.get("kind")).lower()
            mine = report.get("name") == self._state.worker_name and kind == stage.lower()
            if not mine or status not in {"completed", "failed"}:
                logger.warning("report %s/%s of %s is not due", kind, status, report.get("name"))
                continue
            if self._worker is not None:
                self._worker.wait()
                self._worker = None
            self._forget_worker()
            models = list(report.get("results") or [])
            if status == "completed":
                self._enter(stage, "Completed", {"output": {"models": models}})
            else:
                self._enter(stage, "Failed", {"reason": "reported by the worker"})
            return True

    # -- workers -----------------------------------------------------------------------------

    def _started_worker(self, stage: str) -> WorkerProcess:
        if not self._state.worker_name:
            letters = "".join(secrets.choice("bcdfghjklmnpqrstvwxz") for _ in range(5))
            self._state.worker_name = f"{stage.lower()}-worker-{letters}"
            self._save()
        container = self._container(stage)
        process = WorkerProcess.start(
            (*container.command, *container.args),
            environment=self._environment(stage, container),
            log=self._folder / "logs" / f"{stage.lower()}-{self._state.round_number}.log",
        )
        self._state.worker_process = process.number
        self._state.worker_started = process.started
        if self._state.last and self._state.last.type == "Ready":
            self._enter(stage, "Starting")
        else:
            self._save()
        return process

    def _found_worker(self) -> WorkerProcess | None:
        """A worker that an earlier life of this job started and that is still at work."""
        if not self._state.worker_process:
            return None
        return WorkerProcess.found(self._state.worker_process, self._state.worker_started)

    def _forget_worker(self) -> None:
        self._state.worker_name = ""
        self._state.worker_process = 0
        self._state.worker_started = ""

    def _container(self, stage: str) -> Container:
        spec = self._manifest.job.spec
        template = (spec.train if stage == "Train" else spec.eval).template
        container = template.spec.containers[0]
        if not container.command and not container.args:
            raise SednaError(
                f"{stage} template: give the container a command; without an image to run it "
                "from, the local job cannot know one"
            )
        return container

    def _environment(self, stage: str, container: Container) -> dict[str, str]:
        """The variables Sedna sets, after the template's own, which they overrule."""
        last = self._state.last
        given = {} if last is None else self._input(stage)
        root = str(self._root)
        environment = {entry.name: entry.value for entry in container.env}
        if self._config_path is not None:
            environment["CORNERLOOP_CONFIG"] = str(self._config_path.absolute())
        environment |= {
            "NAMESPACE": self._manifest.job.metadata.namespace,
            "JOB_NAME": self._manifest.job.metadata.name,
            "WORKER_NAME": self._state.worker_name,
            "LC_SERVER": self._lc.address,
            "KB_SERVER": "http://127.0.0.1:9",  # Sedna sets it; nothing of ours asks it
            "DATA_PATH_PREFIX": root,
            "OUTPUT_URL": root + given["outputDir"],
            "ORIGINAL_DATASET_URL": root + self._manifest.dataset.spec.url,
        }
        if stage == "Train":
            earlier = self._earlier_models()
            environment["TRAIN_DATASET_URL"] = root + given["dataURL"]
            environment["HAS_COMPLETED_INITIAL_TRAINING"] = "true" if earlier else "false"
            if earlier:
                environment["CLOUD_KB_INDEX"] = earlier[-1]["url"]
        else:
            environment["TEST_DATASET_URL"] = root + given["dataURL"]
            environment["MODEL_URLS"] = ";".join(root + model["url"] for model in given["models"])
        return environment

    def _input(self, stage: str) -> dict[str, Any]:
        ready = [c for c in self._state.conditions if (c.stage, c.type) == (stage, "Ready")]
        return dict(ready[-1].data["input"])

    def _models(self, stage: str) -> list[dict[str, Any]]:
        """Models of this round's report of a stage; never those of an earlier round."""
        done = [c for c in self._state.conditions if (c.stage, c.type) == (stage, "Completed")]
        return list(done[-1].data["output"]["models"]) if done else []

    def _earlier_models(self) -> list[dict[str, Any]]:
        done = [c for c in self._state.conditions if (c.stage, c.type) == ("Train", "Completed")]
        return [model for c in done for model in c.data["output"]["models"]]

    # -- files -------------------------------------------------------------------------------

    @property
    def _output(self) -> str:
        return self._manifest.job.spec.output_dir.rstrip("/")

    def _host(self, path: str) -> Path:
        """A host path of the manifest, under our root."""
        if "://" in path:
            raise SednaError(f"{path}: the local job works on host paths; use an overlay of those")
        inside = (self._root / path.lstrip("/")).resolve()
        if not inside.is_relative_to(self._root.resolve()):
            raise SednaError(f"{path}: leaves the job's root folder")
        return inside

    def _write_lines(self, kind: str, number: int, lines: list[str]) -> str:
        url = f"{self._output}/data/{kind}/{number}/data.txt"
        path = self._host(url)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return url

    def _listen(self) -> LcEndpoint:
        """On the port of the earlier life, so that a worker still at work can report."""
        try:
            lc = LcEndpoint(self._state.lc_port)
        except OSError:
            lc = LcEndpoint()
        self._state.lc_port = lc.port
        return lc

    def _enter(self, stage: str, kind: str, data: Mapping[str, Any] | None = None) -> None:
        condition = JobCondition(stage=stage, type=kind, at=self._now(), data=data or {})
        self._state.conditions.append(condition)
        self._save()
        logger.info("round %s: %s/%s", self._state.round_number, stage, kind)

    def _save(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / "job.json"
        write_whole(path, dumps(to_plain(self._state)))
