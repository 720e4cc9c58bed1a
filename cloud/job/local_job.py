"""One LifelongLearningJob on one machine: Sedna's trigger, states and environment, no cluster.

Plays Sedna's Global Manager (GM) and local controller (LC) for one job. The states, the files
and the workers' environment are Sedna's; `root` plays the host's root folder, so a manifest
needs no changed line. Unlike Sedna's, the state survives a kill at any moment, a report counts
once and only for the stage it is due for, and a worker that exits without a report counts as
failed; each of Sedna's own ways can be asked for as a fault.
"""

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cloud.job.book import WORKING, JobBook
from cloud.job.conditions import BY_LC, surviving
from cloud.job.controller import LocalController
from cloud.job.faults import REPORT_FAULTS, FaultPlan, ReportFault
from cloud.job.files import JobFiles
from cloud.job.lc_endpoint import LcEndpoint, ReportBox
from cloud.job.manifest import Manifest
from cloud.job.pods import Kubelet, Lingering, Pods, Processes, Worker
from cloud.job.states import HeldReport, JobFolder, Write, read_state
from cloud.job.status import knowledge_of
from lifelong.errors import SednaError
from lifelong.links.durable_files import write_whole
from lifelong.links.journal import utc_now

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """How a job is run, beside what its manifest says."""

    tick_seconds: float = 1.0
    faults: FaultPlan = FaultPlan({}, {})
    runs_edge: bool = False  # run the inference worker of deploySpec too
    seed: int = 0  # of worker names


class LocalJob:
    """Runs one job; `tick` looks once, `run` until told to stop."""

    def __init__(
        self,
        manifest: Manifest,
        *,
        root: Path,
        state_dir: Path,
        config_path: Path | None = None,
        options: JobOptions | None = None,
        now: Callable[[], datetime] = utc_now,
        kubelet: Kubelet | None = None,
        write: Write = write_whole,
    ) -> None:
        """Args:
        root: stands for the host's root folder; `/data/x` of the manifest is `root/data/x`.
        config_path: what workers get as CORNERLOOP_CONFIG, instead of the template's value.
        kubelet: who runs workers; None: processes of this machine.
        write: writes a file whole.

        Raises:
            SednaError: a container without a command, or an URL where a host path is needed.
            CorruptRecordError: the state of an earlier life cannot be read.
        """
        self._options = options or JobOptions()
        folder = JobFolder(state_dir, write)
        self.state = read_state(state_dir)
        self.book = JobBook(self.state, folder, self._options.faults, now)
        self.manifest = manifest
        self.files = JobFiles(root.absolute(), manifest.job.spec.output_dir, write)
        self._controller = LocalController(manifest, self.files, self.book)
        self._box = ReportBox(state_dir / "reports")
        self._pods = Pods(
            manifest,
            self.files,
            state_dir / "logs",
            kubelet=kubelet or Processes(),
            config_path=config_path,
            random_source=random.Random(self._options.seed or None),
        )
        self._worker: Worker | None = None
        self._lingering = Lingering(time.monotonic)
        self._refuse_what_cannot_run()
        folder.keep_object(manifest.job.source)
        self._lc = self._listen()

    # -- running -----------------------------------------------------------------------------

    def run(self, stop: threading.Event, after_tick: Callable[[], None] = lambda: None) -> None:
        """Tick until `stop` is set; workers are ended with the job and go on with the next."""
        self.start()
        try:
            while not stop.wait(self._options.tick_seconds):
                while self.tick() and not stop.is_set():
                    pass
                after_tick()
        finally:
            self.stop()

    def _refuse_what_cannot_run(self) -> None:
        """Now, and not in the middle of the first round."""
        for path in (self.manifest.job.spec.output_dir, self.manifest.dataset.spec.url):
            self.files.host(path)
        for stage in ("Train", "Eval", *(("Deploy",) if self._options.runs_edge else ())):
            self._pods.container(stage)

    def start(self) -> None:
        """Begin to answer workers."""
        self._lc.start()

    def stop(self) -> None:
        """Stop answering and end the workers; the next life starts them again."""
        self._lc.stop()
        self._lingering.end()
        if self._worker is not None:
            self._worker.end()
        if edge := self._pods.found(self.state.edge_process, self.state.edge_started):
            edge.end()

    def tick(self) -> bool:
        """Take the step the state allows; True when it changed."""
        before = len(self.state.conditions)
        self._lingering.look()
        self._take_reports()
        self._deliver_held()
        last = self.state.last
        match (last.stage, last.type) if last else ("", ""):
            case ("", ""):
                self.files.make_folders()
                self.state.created = self.state.created or self.book.now()
                self.book.enter("Train", "Waiting")
            case ("Train", "Waiting"):
                self._controller.train_waiting()
            case ("Eval", "Waiting"):
                self._controller.eval_waiting()
            case ("Deploy", "Waiting"):
                self._controller.deploy_waiting()
            case ("Train" | "Eval" as stage, "Ready" | "Starting" | "Running"):
                self._look_after_worker(stage)
            case ("Train", "Completed"):
                self.book.enter("Eval", "Waiting")
            case ("Eval", "Completed"):
                self.book.enter("Deploy", "Waiting")
            case ("Deploy", "Ready"):
                self._restart_edge()
                self.book.enter("Deploy", "Completed")
            case _:  # Deploy/Completed, and Failed at any stage
                self.book.enter("Train", "Waiting")
        return len(self.state.conditions) != before

    # -- reports -----------------------------------------------------------------------------

    def _take_reports(self) -> None:
        for name, body in list(self._box.waiting()):
            if name not in self.state.taken:
                self._report_came(name, body)
            self._box.remove(name)

    def _report_came(self, file: str, body: dict[str, Any]) -> None:
        state, last = self.state, self.state.last
        stage, sender = str(body["kind"]).capitalize(), body["name"]
        state.taken = [*state.taken[-20:], file]
        if sender == state.worker_name and last and last.stage == stage and last.type in WORKING:
            self._report_is_due(stage, body)
        elif sender in {state.worker_name, state.rival_name}:
            # It was due once: the state has moved on meanwhile. Sedna takes it all the same.
            if sender == state.worker_name:
                self._let_go()
            else:
                state.rival_name = ""
            self.append_report(body)
        else:
            logger.warning("report %s of %s is not due", body.get("kind"), sender)

    def _report_is_due(self, stage: str, body: dict[str, Any]) -> None:
        while self.state.last and self.state.last.type != "Running":
            following = {"Ready": "Starting", "Starting": "Running"}[self.state.last.type]
            self.book.add(stage, following)  # saved with what follows
        self._let_go()
        for name, fault in REPORT_FAULTS.items():
            if fault.stage == stage and self.book.strikes(name):
                self._lose_report(stage, body, fault)
                return
        self.append_report(body)

    def _lose_report(self, stage: str, body: dict[str, Any], fault: ReportFault) -> None:
        if fault.held_until:
            self.state.held.append(HeldReport(body=body, until=fault.held_until))
        if fault.marks_eval:
            self.state.eval_is_marked = True
        if fault.keeps_data:
            self.append_report(body)
        else:
            self.book.enter(stage, "Completed", note="the report was lost")

    def _deliver_held(self) -> None:
        last = self.state.last
        for report in list(self.state.held):
            marked = self.state.eval_is_marked and last is not None and last.stage == "Eval"
            if (report.until == "marked" and marked) or (last and last.name == report.until):
                self.state.held.remove(report)
                self.append_report(report.body, note="a report that came late")
                return

    def append_report(self, body: Mapping[str, Any], note: str = "") -> None:
        """Append a report whatever the state is, as the Global Manager does."""
        stage, status = str(body["kind"]).capitalize(), str(body["status"]).capitalize()
        models = [surviving(model) for model in body.get("results") or []]
        if models:
            self.state.knowledge_base = knowledge_of(models)
        output: dict[str, Any] = {"models": models} if models else {}
        self.book.enter(stage, status, {"output": output}, BY_LC, note)

    # -- workers -----------------------------------------------------------------------------

    def _look_after_worker(self, stage: str) -> None:
        state = self.state
        if state.pod_is_gone:
            return
        if self._worker is None:
            self._worker = self._pods.found(state.worker_process, state.worker_started)
            if self._worker is None:
                self._start_worker(stage)
            return
        code = self._worker.exit_code()
        if code is None:
            if state.last and state.last.type != "Running":
                self.book.enter(stage, "Running")
            else:
                self._disturb(stage, self._worker)
            return
        entries = len(state.conditions)
        self._take_reports()  # it reported and ended between the two looks
        if len(state.conditions) == entries:
            self._worker_ended(stage, code)

    def _worker_ended(self, stage: str, code: int) -> None:
        self._worker = None
        if code == 0 and stage == "Train" and self.book.strikes("early-exit"):
            self._let_go()
            self.book.enter(stage, "Completed", note="the worker ended without a report")
            return
        if code == 0:
            logger.error("%s worker ended without a report; see its log", stage)
            self._let_go()
            self.book.enter(stage, "Failed", note="the worker ended without a report")
            return
        # As kubelet does under OnFailure: again, in place, with the same environment.
        self.state.worker_restarts += 1
        self.state.worker_process = 0
        logger.warning("%s worker ended with %s, starting it again", stage, code)
        self.book.save()

    def _start_worker(self, stage: str) -> None:
        state = self.state
        if stage == "Train" and self.book.strikes("attached-to-old-pod"):
            self.book.add(stage, "Starting")
            self.book.add(stage, "Running")
            self.book.enter(stage, "Completed", note="taken for the pod of an earlier round")
            return
        if not state.worker_name:
            state.worker_name = self._pods.new_name(stage)
            self.book.save()
        if stage == "Train" and self.book.strikes("double-start"):
            state.rival_name = self._pods.new_name(stage)
            self.book.save()
            rival = self._pods.start(stage, state.rival_name, state, self._lc.address)
            self._lingering.add(rival, patience_s=math.inf)
        self._worker = self._pods.start(stage, state.worker_name, state, self._lc.address)
        state.worker_process = self._worker.number
        state.worker_started = self._worker.started
        if state.last and state.last.type == "Ready":
            self.book.enter(stage, "Starting")
        else:
            self.book.save()

    def _disturb(self, stage: str, worker: Worker) -> None:
        """The faults that befall a pod which runs."""
        if self.book.strikes("failed-loses-samples" if stage == "Train" else "failed-eval"):
            worker.kill()
            self._let_go()
            self.book.enter(stage, "Failed", note="the pod was evicted")
        elif stage == "Train" and self.book.strikes("pod-deleted"):
            worker.kill()
            self._let_go()
            self.state.pod_is_gone = True
            self.book.save()
        elif stage == "Train" and self.book.strikes("worker-killed"):
            self.book.save()
            worker.kill()

    def _let_go(self) -> None:
        """The present worker is done with; it may take its time to end."""
        self._lingering.add(self._worker)
        self._worker = None
        self.state.last_worker = self.state.worker_name
        self.state.worker_name = self.state.worker_started = ""
        self.state.worker_process = 0

    def _restart_edge(self) -> None:
        if not self._options.runs_edge:
            return
        state = self.state
        for _ in range(2 if self.book.strikes("two-inference-pods") else 1):
            if old := self._pods.found(state.edge_process, state.edge_started):
                self._lingering.add(old)  # not waited for, as in Sedna
                threading.Thread(target=old.end, daemon=True).start()
            name = self._pods.new_name("Deploy")
            edge = self._pods.start("Deploy", name, state, self._lc.address)
            state.edge_process, state.edge_started = edge.number, edge.started
            self.book.save()

    def _listen(self) -> LcEndpoint:
        """On the port of the earlier life, so that a worker still at work can report."""
        plan = self._options.faults

        def answers_200() -> bool:
            return plan.strikes("answers-200", max(1, self.state.rounds_begun))

        for port in (self.state.lc_port, 0):
            try:
                lc = LcEndpoint(self._box.put, self._refusal, port=port, answers_200=answers_200)
            except OSError:
                continue
            self.state.lc_port = lc.port
            return lc
        raise SednaError("no port of 127.0.0.1 can be listened on")

    def _refusal(self, body: Mapping[str, Any]) -> str:
        """Why a report is of no use to this job."""
        metadata = self.manifest.job.metadata
        owner = (body.get("namespace"), body.get("ownerName"))
        if owner != (metadata.namespace, metadata.name):
            return f"job {owner[0]}/{owner[1]} does not run here; this is {metadata.name}"
        known = {self.state.worker_name, self.state.rival_name, self.state.last_worker} - {""}
        if body.get("name") not in known:
            return f"no worker {body.get('name')!r} is at work"
        return ""
