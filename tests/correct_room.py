"""A desk behind `/correct` over a folder exchange, with a model that answers by drawing discs."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotation.assist.segmenter import (
    Candidates,
    Found,
    Mask,
    ModelState,
    Picture,
    Readiness,
    Thresholds,
    Wish,
    WorkItem,
)
from annotation.assist.troubles import Troubles
from annotation.correcting.in_folder import FolderCorrections
from annotation.folder_exchange import FolderExchange
from cloud.correcting.desk import Desk, Work
from cloud.correcting.prompting import Prompting
from cloud.correcting.stored_pictures import StoredPictures
from lifelong.labels.map_history import LabelMapHistory, read_history
from lifelong.links.journal import Journal, read_events
from lifelong.links.storage import Storage, open_storage
from lifelong.records.label_map import LabelMap
from lifelong.records.rounds import Round, RoundState
from lifelong.records.samples import Annotation, AnnotationTask, PreAnnotation
from tests.builders import SMALL_MAP, a_round, stored_drafts

RADIUS = 6.0  # pixels of a disc around a click


def discs(
    size: tuple[int, int],
    points: Sequence[tuple[float, float, bool]] = (),
    box: tuple[float, float, float, float] | None = None,
) -> NDArray[np.bool_]:
    """What `DiscModel` answers: discs around positive clicks and the box, less negative discs."""
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    mask = np.zeros(size, dtype=np.bool_)
    if box is not None:
        mask |= (columns >= box[0]) & (columns < box[2]) & (rows >= box[1]) & (rows < box[3])
    for wanted in (True, False):
        for x, y, is_positive in points:
            if is_positive is wanted:
                disc = (columns - x) ** 2 + (rows - y) ** 2 <= RADIUS**2
                mask = mask | disc if wanted else mask & ~disc
    return mask


class DiscModel:
    """A `PromptedSegmenter` whose answers can be worked out by hand."""

    def __init__(self) -> None:
        self.readiness = Readiness.READY
        self.failure: Exception | None = None
        self.asked: list[Wish] = []
        self.words: list[tuple[str, ...]] = []

    def states(self) -> Sequence[ModelState]:
        state = ModelState(
            name="discs", version="discs-1", readiness=self.readiness, words="2 of 3 files", since=0
        )
        return [state]

    def size(self, picture: Picture, *, model: str = "") -> tuple[int, int]:
        found = picture.pixels().shape
        return found[0], found[1]

    def segment(self, picture: Picture, wish: Wish, *, model: str = "") -> Candidates:
        if self.failure is not None:
            raise self.failure
        self.asked.append(wish)
        points = [(one.x, one.y, one.is_positive) for one in wish.prompt.points]
        boxes = wish.prompt.boxes
        box = (boxes[0].x0, boxes[0].y0, boxes[0].x1, boxes[0].y1) if boxes else None
        mask = discs(self.size(picture), points, box)
        return Candidates(masks=mask[None], scores=np.array([0.9], dtype=np.float32))

    def find(
        self, picture: Picture, words: Sequence[str], *,
        labels: Sequence[str], thresholds: Thresholds, model: str = "",
    ) -> Sequence[Found]:  # fmt: skip
        """The left column for any words but "unicorn"."""
        self.words.append(tuple(words))
        mask = np.zeros(self.size(picture), dtype=np.bool_)
        mask[:, :3] = True
        if "unicorn" in words:
            return []
        return [Found(mask=mask, label=labels[0], phrase=words[0], score=0.8)]

    def find_like(
        self, picture: Picture, example: Mask, *, label: str, model: str = ""
    ) -> Sequence[Found]:
        return []

    def prefetch(self, pictures: Iterable[Picture], *, subject: str, model: str = "") -> str:
        return str(len(list(pictures)))

    def work(self) -> Sequence[WorkItem]:
        return []

    def cancel(self, work_id: str) -> bool:
        return False


class CorrectRoom:
    """A round with tasks in a folder, and the desk over it."""

    def __init__(
        self,
        folder: Path,
        *,
        count: int = 3,
        model: DiscModel | None = None,
        drafts: Sequence[PreAnnotation] | None = None,
        storage: Storage | None = None,
        label_map: LabelMap = SMALL_MAP,
    ) -> None:
        self.folder = folder / "people"
        self.journal_folder = folder / "journal"
        self.storage = storage or open_storage("memory://")
        self.label_map = label_map
        self.model = model
        self.seconds = 0.0  # of the clock
        self.journal = Journal(self.journal_folder, "cloud")
        self.exchange = FolderExchange(
            storage=self.storage,
            folder=self.folder,
            label_map=label_map,
            journal=self.journal,
            now=lambda: datetime.now(UTC),
        )
        made = list(drafts) if drafts is not None else stored_drafts(self.storage, count)
        self.tasks = self.exchange.push(made)
        self.round: Round = a_round(
            RoundState.ANNOTATING, examples=(), drafts=tuple(made), tasks=tuple(self.tasks)
        )
        self.desk = self.again()

    def again(self, work: Work | None = None) -> Desk:
        """What a restarted server begins with."""
        self.history: LabelMapHistory = read_history(self.storage, self.label_map)
        self.desk = Desk(
            rounds=lambda: (self.round,),
            work_of=lambda label_map: work or self.work(label_map),
            history=self.history,
            pictures=StoredPictures(self.storage),
            answers=Prompting(self.model) if self.model else None,
            journal=self.journal,
            troubles=Troubles(now=lambda: 0.0, new_id=lambda: "trouble-1"),
            clock=lambda: self.seconds,
        )
        return self.desk

    def work(self, label_map: LabelMap) -> FolderCorrections:
        return FolderCorrections(storage=self.storage, folder=self.folder, label_map=label_map)

    def place(self, task: AnnotationTask) -> Path:
        return self.folder / "tasks" / str(task.round_number) / task.sample_id

    def pulled(self) -> dict[str, Annotation]:
        """What the loop reads, by sample."""
        return {one.sample_id: one for one in self.exchange.pull(self.tasks).annotations}

    def events(self, name: str) -> list[dict[str, object]]:
        return [event for event in read_events(self.journal_folder) if event["event"] == name]

    def without(self, *samples: str) -> None:
        """The loop has gone on: these tasks are no longer in the round."""
        left = tuple(task for task in self.round.tasks if task.sample_id not in samples)
        self.round = replace(self.round, tasks=left)
