"""The model slot: the running segmenter, swapped only between two frames, with a way back."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge.errands import Errand
from edge.models.kept_models import Offer
from edge.models.loaded_models import Load, Loaded, Segmenter, Trial, warm_up
from edge.models.model_updates import ModelUpdates
from edge.models.probation import Comparison, Guards, ProbationMark
from lifelong.errors import ModelError, ModelLoadError, StorageError, TrialError, UnfitModelError
from lifelong.links.journal import Journal
from lifelong.links.retry import delays
from lifelong.model_bundle import BundleManifest
from lifelong.records.ids import VersionId
from lifelong.records.pixels import Frame, Prediction

logger = logging.getLogger(__name__)

BESIDE_EVERY = 5  # on probation the old model answers every so many-th frame, too
IDLE_S = 5.0  # without a frame: a new model answers the last one again instead of waiting


@dataclass(slots=True)
class _Candidate:
    """A model that answers beside the running one."""

    loaded: Loaded
    comparison: Comparison


class ModelSlot:
    """Runs one model and replaces it by the released one.

    A new model is fetched, tried in a process of its own, loaded and warmed up beside the frames;
    then it answers `canary_frames` frames beside the old one, and takes over between two frames
    if it is fit. It stays on probation for `proven_after` frames: the old one is kept, answers
    some frames too, and takes over again when the new one fails, is not fit, or kills the process
    more than `forgiven_deaths` times. `segment` and `refresh` are called by one thread, so a
    frame is never cut by a swap, and every frame is answered.
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
        guards: Guards = Guards(),
        forgiven_deaths: int = 1,
        keep_previous: bool = False,
        trial: Trial | None = None,
        clock: Callable[[], float] = time.monotonic,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`keep_previous`: the previous model stays in memory after the new one is proven."""
        self._updates = updates
        self._load = load
        self._journal = journal
        self._errand = errand
        self._poll_seconds = poll_seconds
        self._canary_frames = canary_frames
        self._proven_after = proven_after
        self._guards = guards
        self._forgiven_deaths = forgiven_deaths
        self._keep_previous = keep_previous
        self._trial = trial
        self._clock = clock
        self._timer = timer
        self._next_poll = 0.0
        self._waits = self._new_waits()
        self._running: Loaded | None = None
        self._previous: Loaded | None = None
        self._candidate: _Candidate | None = None  # set by the errand, taken by `refresh`
        self._beside_previous: Comparison | None = None  # while the running one is on probation
        self._last_image: NDArray[np.uint8] | None = None
        self._last_frame_at = clock()
        self._error = ""
        self.swaps = 0
        self.fallbacks = 0

    @property
    def version_id(self) -> VersionId | None:
        """The running model; None before the first."""
        return self._running.version_id if self._running else None

    @property
    def release_number(self) -> int:
        """Of the release that brought the running model; 0 when there is none."""
        release = self._updates.running_release
        return release.number if release else 0

    @property
    def running(self) -> Segmenter | None:
        """The running model; None before the first."""
        return self._running.segmenter if self._running else None

    @property
    def previous(self) -> Segmenter | None:
        """The model before the running one, while it is in memory."""
        return self._previous.segmenter if self._previous else None

    @property
    def on_probation(self) -> bool:
        """Has the running model yet to prove itself?"""
        return self._beside_previous is not None

    @property
    def refused_version(self) -> VersionId | None:
        """The last version that was not taken; None when there was none."""
        return self._updates.refused.version_id if self._updates.refused else None

    @property
    def refused_reason(self) -> str:
        """Why it was not taken; empty when nothing was refused."""
        return self._updates.refused.reason if self._updates.refused else ""

    @property
    def last_error(self) -> str:
        """What went wrong last, or why the running model should not run; empty when all is well."""
        return self._error or self._updates.doubt

    @property
    def manifest(self) -> BundleManifest | None:
        """What the running model's bundle says of it; None before the first."""
        return self._running.offer.bundle.manifest if self._running else None

    @property
    def score_quantiles(self) -> Mapping[str, Mapping[str, float]]:
        """How unsure is unusual for the running model; empty before the first."""
        return self._running.offer.bundle.manifest.score_quantiles if self._running else {}

    def start(self) -> None:
        """Run what ran before the restart: it needs no network. Nothing when a model runs."""
        if self._running is not None:
            return
        offers = self._updates.on_disk()
        offers = [o for o in offers if not self._updates.was_refused(o)] or offers
        unproven = ""  # the name of the release on probation
        for mark in (self._updates.canary, self._updates.probation):
            found = mark.count_a_death()
            if found is None:
                continue
            unproven = found.release if mark is self._updates.probation else unproven
            if found.deaths > self._forgiven_deaths:
                offers = self._without(found.release, found.version_id, found.deaths, mark, offers)
        for place, offer in enumerate(offers):
            loaded = self._loaded_or_refused(offer)
            if loaded is not None:
                self._running = loaded
                self._load_previous(offers[place + 1 :], on_probation=offer.release == unproven)
                self._updates.runs(offer, self._previous.offer if self._previous else None)
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
            answer = self._timed(running, frame.image)
        except Exception as error:  # a new model may break anywhere; the frame has an answer
            if self._previous is None or self._beside_previous is None:
                raise
            running = self._fall_back(running, self._previous, error)
            answer = self._timed(running, frame.image)
        running.answered += 1
        self._last_image, self._last_frame_at = frame.image, self._clock()
        self._answer_beside(frame.image, answer)
        return answer[0]

    def refresh(self) -> None:
        """Look for a release when it is time, and swap to a model that is ready; between frames."""
        if self._candidate is None and self._clock() >= self._next_poll:
            self._next_poll = self._clock() + self._poll_seconds
            self._errand.start(self._look)
        candidate = self._candidate
        if candidate is None:
            return
        if self._running is None or candidate.comparison.frames >= self._canary_frames:
            self._end_canary(candidate)
        elif self._clock() - self._last_frame_at >= IDLE_S:
            self._rehearse(candidate, self._running)

    def finish(self) -> None:
        """The process ends because it was asked to: no death of a model on probation."""
        for mark in (self._updates.canary, self._updates.probation):
            mark.end_cleanly()

    # -- looking for a release; on the errand's thread -----------------------------------------

    def _look(self) -> None:
        try:
            offer = self._updates.newer_than(self.version_id)
        except StorageError as error:
            self._next_poll = self._clock() + next(self._waits)
            self._error = str(error)
            logger.warning("cannot look for a release: %s", error)
            return
        self._waits = self._new_waits()
        self._error = ""
        if offer is None:
            return
        frames = min(self._guards.frames, self._canary_frames) or self._guards.frames
        loaded = self._tried(offer)
        if loaded is not None:
            comparison = Comparison(replace(self._guards, frames=frames))
            self._candidate = _Candidate(loaded, comparison)

    def _tried(self, offer: Offer) -> Loaded | None:
        """The model, loaded; None when it was refused."""
        try:
            if self._trial is not None:
                self._trial(offer.bundle, self._last_image)
        except ModelError as error:
            self._refuse(offer, error)
            return None
        if self._running is not None:  # without another model there is nothing to go back to
            self._updates.canary.set(offer.bundle.version_id, offer.release)
        return self._loaded_or_refused(offer)

    def _loaded_or_refused(self, offer: Offer) -> Loaded | None:
        try:
            segmenter = self._load(offer.bundle)
            warm_up(segmenter, offer.bundle)
        except ModelError as error:
            self._refuse(offer, error)
            return None
        return Loaded(offer, segmenter)

    # -- beside each other ----------------------------------------------------------------------

    def _timed(self, model: Loaded, image: NDArray[np.uint8]) -> tuple[Prediction, float]:
        began = self._timer()
        prediction = model.segmenter.segment(image)
        return prediction, self._timer() - began

    def _answer_beside(self, image: NDArray[np.uint8], answer: tuple[Prediction, float]) -> None:
        """Let the candidate, or the old model of one on probation, answer the same frame."""
        if self._candidate is not None:
            self._let_candidate_answer(self._candidate, image, answer)
        running, old, comparison = self._running, self._previous, self._beside_previous
        if running is None or old is None or comparison is None:
            return
        if running.answered % BESIDE_EVERY == 0:
            try:
                comparison.note(self._timed(old, image), answer)
            except ModelError as error:
                logger.warning("the old model does not answer any more: %s", error)
            if reasons := comparison.reasons():
                self._fall_back(running, old, UnfitModelError("; ".join(reasons)))
                return
        if running.answered >= self._proven_after:
            self._proven()

    def _let_candidate_answer(
        self, candidate: _Candidate, image: NDArray[np.uint8], answer: tuple[Prediction, float]
    ) -> None:
        if candidate.comparison.frames >= self._canary_frames:
            return
        try:
            candidate.comparison.note(answer, self._timed(candidate.loaded, image))
        except Exception as error:  # as in `segment`: a stranger's failure is a refusal
            self._candidate = None
            self._refuse(candidate.loaded.offer, error)

    def _rehearse(self, candidate: _Candidate, running: Loaded) -> None:
        """No frames come: compare on the last one, or take over without when there was none."""
        if self._last_image is None:
            self._end_canary(candidate)
            return
        try:
            answer = self._timed(running, self._last_image)
        except ModelError:
            self._end_canary(candidate)  # it cannot be worse
            return
        self._let_candidate_answer(candidate, self._last_image, answer)

    def _end_canary(self, candidate: _Candidate) -> None:
        self._candidate = None
        if reasons := candidate.comparison.reasons() if self._canary_frames else []:
            self._refuse(candidate.loaded.offer, UnfitModelError("; ".join(reasons)))
            return
        new, old = candidate.loaded, self._running
        if old is not None:
            # Marked before the disk names it: whatever happens from here on is on its count.
            self._updates.probation.set(new.version_id, new.offer.release)
            self._beside_previous = Comparison(self._guards)
        self._swap(new, previous=old)
        self._updates.canary.clear()

    # -- taking over ----------------------------------------------------------------------------

    def _swap(self, new: Loaded, *, previous: Loaded | None) -> None:
        old = self.version_id
        self._running, self._previous = new, previous
        self.swaps += 1
        logger.info("model %s replaces %s", new.version_id, old or "none: it is the first")
        self._journal.event("model.swapped", **{"from": old, "to": new.version_id})
        self._updates.keep(new.offer, previous.offer if previous else None)

    def _proven(self) -> None:
        self._beside_previous = None
        self._updates.probation.clear()
        if not self._keep_previous:
            self._previous = None  # it may leave the memory; on the disk it stays

    def _fall_back(self, failed: Loaded, previous: Loaded, error: Exception) -> Loaded:
        self._refuse(failed.offer, error)
        self._beside_previous = None
        self._swap(previous, previous=None)
        self._updates.probation.clear()
        self._fell_back(failed.version_id, previous.version_id, str(error))
        return previous

    def _fell_back(self, failed: VersionId, to: VersionId, why: str) -> None:
        self.fallbacks += 1
        self._journal.event("model.fell_back", **{"from": failed, "to": to, "reason": why})

    def _refuse(self, offer: Offer, error: Exception) -> None:
        self._error = str(error)
        self._updates.refuse(offer.release, offer.bundle.version_id, error)
        self._updates.canary.clear()

    # -- after a restart --------------------------------------------------------------------------

    def _without(
        self,
        release: str,
        version_id: VersionId,
        deaths: int,
        mark: ProbationMark,
        offers: list[Offer],
    ) -> list[Offer]:
        """What may run when a release has killed the process too often; never nothing."""
        others = [offer for offer in offers if offer.release != release]
        if not others:
            return offers
        error = TrialError(
            f"the process ended {deaths} times without being asked to while model {version_id} "
            "was on probation"
        )
        self._error = str(error)
        self._updates.refuse(release, version_id, error)
        mark.clear()
        if len(others) < len(offers):
            self._fell_back(version_id, others[0].bundle.version_id, str(error))
            self._updates.keep(others[0], None)
        return others

    def _load_previous(self, others: list[Offer], *, on_probation: bool) -> None:
        if not on_probation and not self._keep_previous:
            return
        for offer in others:
            if (loaded := self._loaded_or_refused(offer)) is not None:
                self._previous = loaded
                self._beside_previous = Comparison(self._guards) if on_probation else None
                return

    def _new_waits(self) -> Iterator[float]:
        return delays(first_s=max(self._poll_seconds, 0.1))
