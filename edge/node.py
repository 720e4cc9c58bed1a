"""The edge main path: frame, segment, judge, keep, upload, swap."""

import hashlib
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Protocol

from edge.answers import Answers
from edge.delivery.keeping import KNOWN_SCENE, WITHHELD, Keeper
from edge.delivery.outbox import Outbox
from edge.delivery.uploader import Uploader
from edge.escalation import Escalation
from edge.health import Health
from edge.health_report import HealthReports
from edge.models.model_slot import ModelSlot
from edge.second_looks import SecondLook
from edge.stop import Stop
from edge.systemd import SystemdNotices
from lifelong.drift import DriftMonitor
from lifelong.errors import LifelongError
from lifelong.hard_examples import Verdict
from lifelong.links.journal import Journal
from lifelong.records.ids import VersionId
from lifelong.records.pixels import Frame, Prediction

logger = logging.getLogger(__name__)

MODEL_WAIT_S = 0.2  # between two looks for the first model
FINISH_S = 10.0  # for the last uploads
FINISH_REPORT_S = 3.0  # for the last word on this node's health


class FrameSource(Protocol):
    """Where frames come from; None means "nothing new for now"."""

    @property
    def unreadable(self) -> int:
        """Damaged frames so far."""

    @property
    def passed_over(self) -> int:
        """Frames so far that newer ones replaced."""

    @property
    def trouble(self) -> str:
        """Why no frame comes at present; empty while they come."""

    def __iter__(self) -> Iterator[Frame | None]: ...

    def remember(self, frame: Frame) -> None: ...


class Judge(Protocol):
    """Hard example mining with the node's settings."""

    def __call__(
        self,
        prediction: Prediction,
        quantiles: Mapping[str, Mapping[str, float]],
        draw: float,
        second: Prediction | None,
        /,
    ) -> Verdict: ...


@dataclass(slots=True, kw_only=True)
class EdgeNode:
    """What runs on the box."""

    source: FrameSource
    slot: ModelSlot
    judge: Judge
    seed: int  # of the random choices
    keeper: Keeper
    outbox: Outbox
    uploader: Uploader
    journal: Journal
    health: Health
    reports: HealthReports
    systemd: SystemdNotices
    stop: Stop
    answers: Answers | None = None  # for whoever drives the robot
    escalation: Escalation | None = None  # the cloud's answer to hard frames
    look_again: SecondLook | None = None  # for policies that compare two answers
    drift: DriftMonitor | None = None  # sees every frame, kept or not
    _missed: str = ""  # what the policy last went without
    _watched: VersionId | None = None  # the model whose drift is measured

    def see(self, frame: Frame) -> Prediction:
        """Segment one frame; keep it if the model was unsure.

        Returns:
            The node's own answer; with `edge.escalation.wait` the cloud's, when it came in time.

        Raises:
            ModelError: no model can answer this frame.
        """
        began = time.perf_counter()
        prediction = self.slot.segment(frame)
        if self.answers is not None:
            seconds = time.perf_counter() - began
            version = prediction.version_id
            self.answers.put(frame, prediction, by="edge", version=version, seconds=seconds)
        verdict = self._judged(frame, prediction)
        if verdict.is_hard:
            self._keep(frame, prediction, verdict)
        self.health.frame_took(time.perf_counter() - began, prediction.version_id)
        if self.escalation is None:
            return prediction
        return self.escalation.ask(frame, prediction, verdict, began=began) or prediction

    def run(self) -> None:
        """Process frames until the source ends or somebody asks to stop; no frame is cut.

        Without a model no frame is taken: the first release is waited for.
        """
        self.slot.start()
        self.systemd.ready()
        self._await_model()
        if not self.stop.is_requested():
            for frame in self.source:
                if frame is not None:
                    self._see_and_remember(frame)
                self.uploader.drain()  # returns at once when the link is down or nothing waits
                self.slot.refresh()  # swaps the model between frames, never inside one
                self._tell()
                if self.stop.is_requested():
                    break
            else:
                self.health.vitals.source_exhausted = True
        self.finish()

    def finish(self) -> None:
        """Deliver what can still be delivered, and say how things stand."""
        self.systemd.stopping()
        if self.escalation is not None:
            self.escalation.finish()
        self.slot.finish()
        if not self.uploader.finish(FINISH_S):
            logger.warning("%d hard examples stay in the outbox", len(self.outbox))
        self._tell(at_once=True)
        self.reports.finish(FINISH_REPORT_S)

    def _await_model(self) -> None:
        while self.slot.version_id is None and not self.stop.is_requested():
            self.slot.refresh()
            self.uploader.drain()
            self._tell()
            if self.slot.version_id is None:
                self.stop.wait(MODEL_WAIT_S)

    def _judged(self, frame: Frame, prediction: Prediction) -> Verdict:
        second = None if self.look_again is None else self.look_again(frame)
        chance = draw(self.seed, frame)
        verdict = self.judge(prediction, self.slot.score_quantiles, chance, second)
        if verdict.missing and verdict.missing != self._missed:
            logger.warning("edge.hard_examples: %s; no frame is hard by it", verdict.missing)
        self._missed = verdict.missing
        self._watch(prediction, verdict)
        return verdict

    def _watch(self, prediction: Prediction, verdict: Verdict) -> None:
        self._watch_model()
        if self.drift is not None and prediction.version_id == self._watched:
            self.drift.see(prediction, verdict)

    def _watch_model(self) -> None:
        """What one model's frames looked like says nothing of the next one's."""
        manifest, version = self.slot.manifest, self.slot.version_id
        if self.drift is not None and manifest is not None and version != self._watched:
            self.drift.use(manifest)
            self._watched = version

    def _see_and_remember(self, frame: Frame) -> None:
        try:
            self.see(frame)
        except (LifelongError, OSError) as error:
            # One frame that no model can answer must neither stop the node nor come for ever.
            self.health.frame_failed(str(error))
            logger.warning("frame %d failed: %s", frame.sequence, error)
        self.source.remember(frame)  # after the outbox has it: a kill in between repeats, not loses

    def _keep(self, frame: Frame, prediction: Prediction, verdict: Verdict) -> None:
        example = self.keeper.keep(frame, prediction, verdict)
        if example is None:
            return
        self.health.vitals.hard_examples += 1
        logger.info("kept %s: %s", example.sample_id, "; ".join(verdict.reasons))
        self.journal.event(
            "hard_example.kept",
            sample_id=example.sample_id,
            sequence=frame.sequence,
            score=verdict.score,
            reasons=list(verdict.reasons),
            version_id=prediction.version_id,
            scores=dict(verdict.scores),
            regions=[asdict(region) for region in verdict.regions],
        )

    def _tell(self, *, at_once: bool = False) -> None:
        self.outbox.expire()
        self._watch_model()
        vitals = self.health.vitals
        vitals.version, vitals.release_number = self.slot.version_id, self.slot.release_number
        vitals.fallbacks = self.slot.fallbacks
        vitals.refused_version = self.slot.refused_version
        vitals.refused_reason = self.slot.refused_reason
        vitals.frames_unreadable = self.source.unreadable
        vitals.frames_passed_over = self.source.passed_over
        vitals.source_error = self.source.trouble
        vitals.outbox_examples, vitals.outbox_bytes = len(self.outbox), self.outbox.size
        vitals.dropped = self.outbox.dropped
        vitals.known_scenes = self.keeper.passed_over.get(KNOWN_SCENE, 0)
        vitals.withheld = self.keeper.passed_over.get(WITHHELD, 0)
        self.keeper.tell(at_once=at_once)
        vitals.uploaded, vitals.swaps = self.uploader.uploaded, self.slot.swaps
        vitals.last_error = self.uploader.last_error or self.slot.last_error or vitals.last_error
        self.health.beat(at_once=at_once)
        self.systemd.beat(f"{vitals.frames} frames, {self.health.fps:.1f} a second")
        if not at_once:  # the last report is sent by `finish`, when all is told
            self.reports.send_when_due()


def draw(seed: int, frame: Frame) -> float:
    """A number in [0, 1) that is the same whenever this frame is seen, also after a restart."""
    digest = hashlib.sha256(f"{seed}:{frame.edge_id}:{frame.sequence}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56
