"""The cloud's side of joint inference: questions of edge nodes answered while somebody waits.

A question's age is counted from when this service first saw it, never by the device's clock. Of
what is open, the one with the newest deadline goes first: it is the likeliest to be in time. What
nodes leave behind is removed a while after its deadline.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cloud.device_rooms import entries_of_devices
from lifelong.errors import (
    CorruptRecordError,
    LabelMapChangeError,
    LabelMapError,
    LifelongError,
    ObjectNotFoundError,
    ShapeError,
)
from lifelong.labels.map_history import LabelMapHistory
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage
from lifelong.records.device_records import MAX_BYTES, from_device
from lifelong.records.escalations import (
    ANSWER,
    ANSWER_MASK,
    IMAGE,
    OBJECTS,
    QUESTION,
    Answer,
    Question,
)
from lifelong.records.ids import sha256_hex
from lifelong.records.keys import ESCALATIONS
from lifelong.records.label_map import LabelMap
from lifelong.records.pixels import image_from_bytes, png_from_mask
from lifelong.records.wire import to_json

logger = logging.getLogger(__name__)

LONGEST_S = 600.0  # whatever deadline a node writes down
# After its deadline a question may lie so long: its node removes it, unless the node has died.
LEFT_S = 60.0
MOST_IMAGE_BYTES = 64 * 2**20  # of a picture that is asked about, as of one that is delivered


class Draft(Protocol):
    """A mask of class ids."""

    @property
    def mask(self) -> NDArray[np.uint8]:
        """(H, W), 255 where nobody knows."""


class Drafter(Protocol):
    """Who answers: the pre-annotator's models."""

    proposed_by: str
    labelled_by: str

    def draft(self, image: NDArray[np.uint8]) -> Draft:
        """Segment an (H, W, 3) uint8 RGB picture."""


@dataclass(slots=True)
class _Seen:
    """A question as this service knows it."""

    first_at: float  # on the service's clock
    question: Question | None = None  # None: not here yet, or unreadable
    is_done: bool = False  # answered, refused, or too late

    @property
    def deadline(self) -> float:
        if self.question is None:
            return self.first_at + LONGEST_S
        return self.first_at + min(self.question.deadline_seconds, LONGEST_S)


class Escalations:
    """Answers questions one after the other; one object per service."""

    def __init__(
        self,
        storage: Storage,
        drafter: Drafter,
        label_map: LabelMap,
        journal: Journal,
        *,
        poll_seconds: float,
        history: LabelMapHistory | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._storage = storage
        self._drafter = drafter
        self._label_map = label_map
        self._history = history or LabelMapHistory(label_map)
        self._journal = journal
        self._poll_seconds = poll_seconds
        self._clock = clock
        self._seen: dict[str, _Seen] = {}  # by folder
        self.answered = 0
        self.refused = 0
        self.last_error = ""

    def run(self, stop: threading.Event) -> None:
        """Answer until `stop` is set; a dead link is waited out."""
        while not stop.is_set():
            try:
                is_busy = self.step()
                self.last_error = ""
            except LifelongError as error:
                is_busy = False
                if str(error) != self.last_error:  # said once, not every half second
                    logger.warning("questions of edge nodes wait: %s", error)
                self.last_error = str(error)
            if not is_busy:
                stop.wait(self._poll_seconds)

    def step(self) -> bool:
        """Look for questions, answer at most one, remove what was left behind.

        Returns:
            Whether one was answered or refused: then there may be more.
        """
        present = self._present()
        for folder, names in present.items():
            self._look_at(folder, names)
        self._seen = {folder: self._seen[folder] for folder in present}
        for folder, seen in list(self._seen.items()):
            if self._clock() > seen.deadline + LEFT_S:
                self._remove(folder)
        open_ = [
            (seen.deadline, folder)
            for folder, seen in self._seen.items()
            if seen.question is not None and not seen.is_done and self._clock() <= seen.deadline
        ]
        if not open_:
            return False
        _, folder = max(open_)
        self._answer(folder, self._seen[folder])
        return True

    def _present(self) -> dict[str, set[str]]:
        """Names of the objects of every question, by folder."""
        present: dict[str, set[str]] = {}
        for entry in entries_of_devices(self._storage, ESCALATIONS):
            folder, _, name = entry.key.rpartition("/")
            if folder.count("/") == 2:
                present.setdefault(folder, set()).add(name)
        return present

    def _look_at(self, folder: str, names: set[str]) -> None:
        seen = self._seen.setdefault(folder, _Seen(first_at=self._clock()))
        if seen.question is not None or seen.is_done or QUESTION not in names:
            return
        key = f"{folder}/{QUESTION}"
        seen.first_at = self._clock()  # the picture may have come long before
        try:
            seen.question = from_device(Question, self._within(key, MAX_BYTES), key)
        except ObjectNotFoundError:
            return  # the node has just removed it
        except CorruptRecordError as error:
            seen.is_done = True
            self._refuse(folder, folder.rpartition("/")[2], "", str(error))
            return
        # Answered by an earlier run of this service.
        seen.is_done = ANSWER in names

    def _answer(self, folder: str, seen: _Seen) -> None:
        question = seen.question
        assert question is not None
        seen.is_done = True  # first: a picture that breaks a model breaks it once
        began = self._clock()
        try:
            mask = self._mask_for(question, folder)
        except ObjectNotFoundError:
            return  # its node has given up and cleaned up
        except Exception as error:  # a model may raise anything, out of memory for one
            if not isinstance(error, LifelongError):
                logger.exception("the drafter failed on %s", folder)
            elif error.retryable:
                seen.is_done = False  # storage's fault, not the question's
                raise
            self._refuse(folder, question.question_id, question.image_sha256, str(error))
            return
        png = png_from_mask(mask)
        answer = Answer(
            question_id=question.question_id,
            image_sha256=question.image_sha256,
            verdict="answered",
            mask_sha256=sha256_hex(png),
            height=mask.shape[0],
            width=mask.shape[1],
            label_map_digest=question.label_map_digest,
            drafted_by=f"{self._drafter.proposed_by}+{self._drafter.labelled_by}",
            seconds=round(self._clock() - began, 3),
        )
        if self._put(folder, {ANSWER_MASK: png, ANSWER: to_json(answer)}):
            self.answered += 1
            self._journal.event(
                "question.answered",
                question=folder,
                sequence=question.sequence,
                seconds=answer.seconds,
                waited=round(began - seen.first_at, 3),
            )

    def _mask_for(self, question: Question, folder: str) -> NDArray[np.uint8]:
        table = self._table_for(question, folder)
        key = f"{folder}/{IMAGE}"
        data = self._within(key, MOST_IMAGE_BYTES, sha256=question.image_sha256)
        image = image_from_bytes(data, key)
        if image.shape[:2] != (question.height, question.width):
            raise ShapeError(f"{key}: is not {question.width}x{question.height} as the question")
        return table[self._drafter.draft(image).mask]

    def _within(self, key: str, most: int, *, sha256: str | None = None) -> bytes:
        """An object that a node wrote, not read before its size is known to be bearable.

        Raises:
            CorruptRecordError: it is larger.
            ObjectNotFoundError, ChecksumError: as `Storage.get`.
        """
        size = self._storage.size(key)
        if size is not None and size > most:
            raise CorruptRecordError(f"{key}: {size} bytes, more than the {most} that are read")
        return self._storage.get(key, sha256=sha256)

    def _table_for(self, question: Question, folder: str) -> NDArray[np.uint8]:
        """(256,): our class ids as the node's; it may have the classes of before a change.

        Raises:
            LabelMapError: nothing says how ours are to be read in its label map.
        """
        try:
            theirs = self._history.map_of(question.label_map_digest, folder)
            return self._history.way(self._label_map, theirs).table()
        except LabelMapChangeError as error:
            raise LabelMapError(
                f"{folder}: the node has another label map than this service; give both the same"
            ) from error

    def _refuse(self, folder: str, question_id: str, image_sha256: str, reason: str) -> None:
        answer = Answer(
            question_id=question_id,
            image_sha256=image_sha256,
            verdict="refused",
            reason=reason,
        )
        if self._put(folder, {ANSWER: to_json(answer)}):
            self.refused += 1
            self._journal.event("question.refused", question=folder, reason=reason)
            logger.warning("refused %s: %s", folder, reason)

    def _put(self, folder: str, objects: dict[str, bytes]) -> bool:
        """Write an answer if its question is still there; says whether it was."""
        if not self._storage.exists(f"{folder}/{QUESTION}"):
            return False
        for name, data in objects.items():
            self._storage.put(f"{folder}/{name}", data)
        # The node may have cleaned up in between, and will not come back for this.
        if not self._storage.exists(f"{folder}/{QUESTION}"):
            for name in (ANSWER, ANSWER_MASK):
                self._storage.delete(f"{folder}/{name}")
            return False
        return True

    def _remove(self, folder: str) -> None:
        for name in OBJECTS:
            self._storage.delete(f"{folder}/{name}")
        del self._seen[folder]
