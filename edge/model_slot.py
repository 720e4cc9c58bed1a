"""The model slot: the running segmenter, swapped only between two frames, with a way back."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.errands import Errand
from edge.model_updates import ModelUpdates, Offer
from lifelong.errors import ModelError, ModelLoadError, StorageError
from lifelong.links.journal import Journal
from lifelong.links.retry import delays
from lifelong.model_bundle import ModelBundle
from lifelong.records.ids import VersionId
from lifelong.records.pixels import Frame, Prediction

logger = logging.getLogger(__name__)

GREY = 127
WARM_UP_RUNS = 2  # the first run allocates, the second is what a frame will take


class Segmenter(Protocol):
    """What the slot holds: answers for (H, W, 3) uint8 RGB images."""

    def segment(self, image: NDArray[np.uint8]) -> Prediction: ...


Load = Callable[[ModelBundle], Segmenter]


@dataclass(slots=True)
class _Loaded:
    """A model that has been warmed up, and how many frames it has answered."""

    offer: Offer
    segmenter: Segmenter
    answered: int = 0

    @property
    def version_id(self) -> VersionId:
        return self.offer.bundle.version_id


class ModelSlot:
    """Runs one model and replaces it by the released one.

    A new model is fetched, loaded and warmed up beside the frames; with `canary_frames` it then
    answers so many frames beside the old one. `segment` and `refresh` are called by one thread,
    so a frame is never cut by a swap. The old model stays in memory until the new one has
    answered `proven_after` frames, and takes over again when the new one fails before that.
    """

    def __init__(
        self,
        updates: ModelUpdates,
        load: Load,
        journal: Journal,
        errand: Errand,
        *,
        poll_seconds: float = 2.0,
        canary_frames: int = 0,
        proven_after: int = 100,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._updates = updates
        self._load = load
        self._journal = journal
        self._errand = errand
        self._poll_seconds = poll_seconds
        self._canary_frames = canary_frames
        self._proven_after = proven_after
        self._clock = clock
        self._next_poll = 0.0
        self._waits = self._new_waits()
        self._running: _Loaded | None = None
        self._previous: _Loaded | None = None
        self._candidate: _Loaded | None = None  # set by the errand, taken by `refresh`
        self.swaps = 0
        self.last_error = ""

    @property
    def version_id(self) -> VersionId | None:
        """The running model; None before the first."""
        return self._running.version_id if self._running else None

    @property
    def score_quantiles(self) -> Mapping[str, Mapping[str, float]]:
        """How unsure is unusual for the running model; empty before the first."""
        return self._running.offer.bundle.manifest.score_quantiles if self._running else {}

    def start(self) -> None:
        """Run what ran before the restart: it needs no network. Nothing when a model runs."""
        if self._running is not None:
            return
        for offer in self._updates.on_disk():
            try:
                self._running = self._warmed_up(offer)
            except ModelError as error:
                self._refuse(offer, error)
                continue
            logger.info("running model %s from this node's disk", self.version_id)
            return

    def segment(self, frame: Frame) -> Prediction:
        """Answer a frame with the running model, or with the previous one if it fails.

        Raises:
            ModelError: no model is there, or the only one there is fails on this frame.
        """
        running = self._running
        if running is None:
            raise ModelLoadError("no model is released yet; release one in the cloud, or wait")
        try:
            prediction = running.segmenter.segment(frame.image)
        except ModelError as error:
            previous = self._previous or self._kept_before(running)
            if previous is None:
                raise
            running = self._fall_back(running, previous, error)
            prediction = running.segmenter.segment(frame.image)
        running.answered += 1
        if self._previous is not None and running.answered >= self._proven_after:
            self._previous = None  # proven: the old one may leave the memory
        self._let_candidate_answer(frame)
        return prediction

    def refresh(self) -> None:
        """Look for a release when it is time, and swap to a model that is ready; between frames."""
        if self._candidate is None and self._clock() >= self._next_poll:
            self._next_poll = self._clock() + self._poll_seconds
            self._errand.start(self._look)
        candidate = self._candidate
        if candidate is None:
            return
        if self._running is None or candidate.answered >= self._canary_frames:
            self._candidate = None
            candidate.answered = 0
            self._swap(candidate, previous=self._running)

    def _look(self) -> None:
        try:
            offer = self._updates.newer_than(self.version_id)
        except StorageError as error:
            self._next_poll = self._clock() + next(self._waits)
            self.last_error = str(error)
            logger.warning("cannot look for a release: %s", error)
            return
        self._waits = self._new_waits()
        self.last_error = ""
        if offer is None:
            return
        try:
            self._candidate = self._warmed_up(offer)
        except ModelError as error:
            self._refuse(offer, error)

    def _warmed_up(self, offer: Offer) -> _Loaded:
        segmenter = self._load(offer.bundle)
        warm_up(segmenter, offer.bundle)
        return _Loaded(offer, segmenter)

    def _let_candidate_answer(self, frame: Frame) -> None:
        candidate = self._candidate
        if candidate is None:
            return
        try:
            candidate.segmenter.segment(frame.image)
            candidate.answered += 1
        except ModelError as error:
            self._candidate = None
            self._refuse(candidate.offer, error)

    def _swap(self, new: _Loaded, *, previous: _Loaded | None) -> None:
        old = self.version_id
        self._running, self._previous = new, previous
        self.swaps += 1
        logger.info("model %s replaces %s", new.version_id, old)
        self._journal.event("model.swapped", **{"from": old, "to": new.version_id})
        self._updates.keep(new.offer, previous.offer if previous else None)

    def _kept_before(self, running: _Loaded) -> _Loaded | None:
        """The previous model from the disk, when a restart came before the new one was proven."""
        if running.answered >= self._proven_after:
            return None
        for offer in self._updates.on_disk():
            if offer.bundle.version_id != running.version_id:
                try:
                    return self._warmed_up(offer)
                except ModelError as error:
                    self._refuse(offer, error)
        return None

    def _fall_back(self, failed: _Loaded, previous: _Loaded, error: ModelError) -> _Loaded:
        self._refuse(failed.offer, error)
        self._swap(previous, previous=None)
        return previous

    def _refuse(self, offer: Offer, error: ModelError) -> None:
        self.last_error = str(error)
        self._updates.refuse(offer.release, offer.bundle.version_id, str(error))

    def _new_waits(self) -> Iterator[float]:
        return delays(first_s=max(self._poll_seconds, 0.1))


def warm_up(segmenter: Segmenter, bundle: ModelBundle) -> None:
    """Let a model answer a grey picture before it counts as loaded.

    Raises:
        ModelError: it does not answer, or answers what its manifest does not promise.
    """
    how = bundle.manifest.preprocessing
    grey = np.full((how.height, how.width, 3), GREY, dtype=np.uint8)
    for _ in range(WARM_UP_RUNS):
        segmenter.segment(grey)
