"""Joint inference: a hard frame asks for the cloud's answer within a deadline (Sedna's and Ianvs'
joint inference, which wait in the frame loop and have no deadline).

Easy frames never ask. The frame loop does not wait, unless `edge.escalation.wait` says so, and
then no longer than the deadline. Whatever happens to the link, the cloud or the answer, the
node's own answer stands.
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.privacy import Filtered, Privacy
from lifelong.errors import (
    LabelMapError,
    LifelongError,
    ObjectNotFoundError,
    RecordError,
    ShapeError,
    StorageError,
    StorageUnavailableError,
)
from lifelong.hard_examples import Verdict
from lifelong.links.journal import Journal, utc_now
from lifelong.links.storage import Storage
from lifelong.records.escalations import (
    ANSWER,
    ANSWER_MASK,
    IMAGE,
    OBJECTS,
    QUESTION,
    Answer,
    Question,
    question_folder,
)
from lifelong.records.ids import EdgeId, sha256_hex
from lifelong.records.keys import ESCALATIONS
from lifelong.records.label_map import IGNORE_INDEX, LabelMap
from lifelong.records.pixels import (
    Frame,
    Prediction,
    jpeg_from_image,
    mask_from_png,
)
from lifelong.records.wire import from_json, to_json
from lifelong.sections.edge import EscalationSection

logger = logging.getLogger(__name__)

JPEG_QUALITY = 90  # an answer is wanted soon: a third smaller than what is kept for training

Start = Callable[[Callable[[], None]], None]


class Used(Protocol):
    """Who is told of an answer that came in time; called from another thread."""

    def __call__(
        self, frame: Frame, prediction: Prediction, answered_by: str, seconds: float, /
    ) -> None: ...


@dataclass(slots=True)
class _Asked:
    """A question on its way."""

    question_id: str
    frame: Frame
    prediction: Prediction
    verdict: Verdict
    began: float  # on the escalation's clock
    ended: threading.Event = field(default_factory=threading.Event)  # nothing more will come
    lock: threading.Lock = field(default_factory=threading.Lock)
    given_up: bool = False  # the frame loop went on without the answer
    answer: Prediction | None = None


class Escalation:
    """Asks, waits in a thread of its own for each question, cleans up."""

    def __init__(
        self,
        section: EscalationSection,
        storage: Storage,
        journal: Journal,
        privacy: Privacy,
        *,
        edge_id: EdgeId,
        label_map: LabelMap,
        used: Used | None = None,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], datetime] = utc_now,
        start: Start | None = None,
        new_id: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        """`start` runs the job of a question; None: in a thread of its own."""
        self._section = section
        self._storage = storage
        self._journal = journal
        self._privacy = privacy
        self._edge_id = edge_id
        self._label_map = label_map
        self._used = used
        self._clock, self._sleep, self._now = clock, sleep, now
        self._start = start or _in_thread
        self._new_id = new_id
        self._lock = threading.Lock()
        self._open: dict[str, _Asked] = {}
        self._is_swept = False

    def ask(
        self, frame: Frame, prediction: Prediction, verdict: Verdict, *, began: float
    ) -> Prediction | None:
        """Ask about a frame if it is hard enough and not too many questions are open.

        Args:
            began: when the frame was taken up, on the same clock: the deadline counts from there.

        Returns:
            With `wait`: the prediction with the cloud's answer in it, when that came in time.
            Otherwise None, at once; an answer goes to `used` when it comes.
        """
        if not self._is_to_ask(verdict):
            return None
        asked = _Asked(self._new_id(), frame, prediction, verdict, began)
        with self._lock:
            # A question whose link hangs stays open: a dead link does not pile up threads.
            if len(self._open) >= self._section.open_at_most:
                return None
            self._open[asked.question_id] = asked
        self._start(lambda: self._job(asked))
        if not self._section.wait:
            return None
        asked.ended.wait(max(0.0, self._left(asked)))
        with asked.lock:
            asked.given_up = True
            return asked.answer

    def finish(self) -> None:
        """Wait for open questions, none of them beyond its deadline."""
        with self._lock:
            open_ = list(self._open.values())
        for asked in open_:
            asked.ended.wait(max(0.0, self._left(asked)))

    def _is_to_ask(self, verdict: Verdict) -> bool:
        threshold = self._section.threshold
        return verdict.is_hard if threshold is None else verdict.score >= threshold

    def _left(self, asked: _Asked) -> float:
        """Seconds until nobody waits any more."""
        return asked.began + self._section.deadline_seconds - self._clock()

    def _job(self, asked: _Asked) -> None:
        outcome = "the question failed"
        try:
            outcome = self._asked_and_answered(asked)
        except (LifelongError, OSError) as error:
            outcome = str(error)
        finally:
            asked.ended.set()
            with self._lock:
                del self._open[asked.question_id]
            is_answered = asked.answer is not None
            self._journal.event(
                "question.answered" if is_answered else "question.unanswered",
                sequence=asked.frame.sequence,
                question_id=asked.question_id,
                outcome=outcome,
                seconds=round(self._clock() - asked.began, 3),
            )
            logger.info("frame %d asked the cloud: %s", asked.frame.sequence, outcome)

    def _asked_and_answered(self, asked: _Asked) -> str:
        """Ask and wait; says how it went."""
        filtered = self._privacy.filtered(asked.frame, asked.prediction, asked.verdict)
        if filtered is None:
            return "what the frame shows may not leave the node"
        self._sweep()
        image = jpeg_from_image(filtered.frame.image, JPEG_QUALITY)
        folder = question_folder(self._edge_id, asked.question_id)
        try:
            self._storage.put(f"{folder}/{IMAGE}", image)
            if self._left(asked) <= 0:
                return "the deadline passed while the picture was on its way"
            question = self._question(asked, filtered, image)
            self._storage.put(f"{folder}/{QUESTION}", to_json(question))
            return self._awaited(asked, filtered, question, folder)
        finally:
            self._remove(folder, OBJECTS)

    def _question(self, asked: _Asked, filtered: Filtered, image: bytes) -> Question:
        height, width = filtered.prediction.mask.shape
        return Question(
            question_id=asked.question_id,
            edge_id=self._edge_id,
            sequence=asked.frame.sequence,
            asked_at=self._now(),
            deadline_seconds=max(self._left(asked), 0.0),
            image_sha256=sha256_hex(image),
            height=height,
            width=width,
            label_map_digest=self._label_map.digest,
            version_id=asked.prediction.version_id,
            score=asked.verdict.score,
        )

    def _awaited(self, asked: _Asked, filtered: Filtered, question: Question, folder: str) -> str:
        key = f"{folder}/{ANSWER}"
        while self._left(asked) > 0:
            try:
                answer = from_json(Answer, self._storage.get(key), key)
                break
            except (ObjectNotFoundError, StorageUnavailableError):
                self._sleep(max(0.0, min(self._section.poll_seconds, self._left(asked))))
        else:
            return "no answer before the deadline"
        if answer.verdict == "refused":
            return f"the cloud refused: {answer.reason}"
        mask = self._verified_mask(answer, question, folder)
        prediction = replace(asked.prediction, mask=merged(asked.prediction.mask, filtered, mask))
        with asked.lock:
            if asked.given_up or self._left(asked) < 0:
                return "the answer came too late"
            asked.answer = prediction
        if self._used is not None:
            self._used(asked.frame, prediction, answer.drafted_by, self._clock() - asked.began)
        return f"answered by {answer.drafted_by}"

    def _verified_mask(self, answer: Answer, question: Question, folder: str) -> NDArray[np.uint8]:
        """(H, W) uint8 class ids of the picture that was asked about.

        Raises:
            RecordError: it answers another question, or with another mask than it says.
        """
        for name in ("question_id", "image_sha256", "label_map_digest", "height", "width"):
            if getattr(answer, name) != getattr(question, name):
                raise RecordError(
                    f"{folder}/{ANSWER}: {name} is {getattr(answer, name)!r}, "
                    f"asked was {getattr(question, name)!r}; the node's own answer stands"
                )
        key = f"{folder}/{ANSWER_MASK}"
        mask = mask_from_png(self._storage.get(key, sha256=answer.mask_sha256), key)
        if mask.shape != (question.height, question.width):
            raise ShapeError(f"{key}: {mask.shape}, asked was {question.height, question.width}")
        if ((mask >= len(self._label_map)) & (mask != IGNORE_INDEX)).any():
            raise LabelMapError(f"{key}: class ids that the label map does not have")
        return mask

    def _remove(self, folder: str, names: Iterable[str]) -> None:
        """Remove objects; what cannot be removed now, the cloud or this node's next start does."""
        for name in names:
            try:
                self._storage.delete(f"{folder}/{name}")
            except StorageError as error:
                logger.info("%s/%s stays for now: %s", folder, name, error)
                return

    def _sweep(self) -> None:
        """Once a run: remove the questions of earlier runs; nobody waits for them any more."""
        with self._lock:
            if self._is_swept:
                return
            self._is_swept = True
        try:
            for folder in self._storage.folders(f"{ESCALATIONS}/{self._edge_id}"):
                with self._lock:
                    is_open = folder in self._open
                if not is_open:
                    self._remove(f"{ESCALATIONS}/{self._edge_id}/{folder}", OBJECTS)
        except StorageError as error:
            self._is_swept = False
            logger.info("old questions stay for now: %s", error)


def merged(
    own: NDArray[np.uint8], filtered: Filtered, answer: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """The node's mask with the cloud's answer where the cloud saw the picture as it was.

    Outside the box that was sent, where pixels were blurred, and where the cloud says that nobody
    knows (255), the node's own class stays.

    Args:
        own: (H, W), uint8, of the whole frame.
        answer: (h, w), uint8, of `filtered.frame`.
    """
    whole = own.copy()
    x0, y0, x1, y1 = filtered.box
    part = whole[y0 : y1 + 1, x0 : x1 + 1]
    knows = (answer != IGNORE_INDEX) & ~filtered.blurred
    part[knows] = answer[knows]
    return whole


def _in_thread(job: Callable[[], None]) -> None:
    # Daemon: a question on a dead link must not keep the process from ending.
    threading.Thread(target=job, name="escalation", daemon=True).start()
