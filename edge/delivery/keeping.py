"""What becomes of a hard frame: privacy first, then one of a scene, then the outbox."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol

from edge.delivery.outbox import Outbox
from edge.scene_hash import scene_hash
from edge.scenes import Scene, Scenes
from lifelong.hard_examples import Verdict
from lifelong.links.journal import Journal
from lifelong.records.ids import SampleId
from lifelong.records.pixels import Frame, Prediction
from lifelong.records.samples import HardExample

TOLD_EVERY_S = 60.0

# Why a hard frame was not kept.
WITHHELD, KNOWN_SCENE, NO_ROOM = "privacy", "known scene", "no room"


class Privacy(Protocol):
    """What may be kept of a frame; None: nothing."""

    def applied(
        self, frame: Frame, prediction: Prediction, verdict: Verdict
    ) -> tuple[Frame, Prediction] | None: ...


class Keeper:
    """Keeps hard frames in the outbox, and tells what it did not keep, and why."""

    def __init__(
        self,
        outbox: Outbox,
        journal: Journal,
        *,
        privacy: Privacy | None = None,
        scenes: Scenes | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outbox = outbox
        self._journal = journal
        self._privacy = privacy
        self._scenes = scenes
        self._clock = clock
        self._passed_over: Counter[str] = Counter()
        self._untold: Counter[str] = Counter()
        self._told_at = clock()

    @property
    def passed_over(self) -> Mapping[str, int]:
        """Hard frames that were not kept since the start, by reason."""
        return self._passed_over

    def keep(self, frame: Frame, prediction: Prediction, verdict: Verdict) -> HardExample | None:
        """Keep what may be kept of a hard frame; it is on the disk when this returns.

        Returns:
            None when it was not kept; `passed_over` counts why.
        """
        if self._privacy is not None:
            allowed = self._privacy.applied(frame, prediction, verdict)
            if allowed is None:
                self._journal.event("frame.withheld", sequence=frame.sequence, score=verdict.score)
                self._pass_over(WITHHELD)
                return None
            frame, prediction = allowed
        hash_ = scene_hash(frame.image)
        known = None
        if self._scenes is not None:
            known = self._scenes.of(hash_, prediction.embedding, prediction.version_id)
        # What was drawn by chance says how often things happen: a filter would make it lie.
        is_of_use = verdict.is_unfiltered or known is None or self._is_better(known, verdict)
        if not is_of_use:
            self._pass_over(KNOWN_SCENE)
            return None
        example = self._outbox.put(frame, prediction, verdict, scene_hash=hash_)
        if example is None:
            self._pass_over(NO_ROOM)
            return None
        self._remember(known, example, is_unfiltered=verdict.is_unfiltered)
        return example

    def tell(self, *, at_once: bool = False) -> None:
        """Write to the journal what was passed over, if the last time is a minute ago."""
        now = self._clock()
        if self._untold and (at_once or now - self._told_at >= TOLD_EVERY_S):
            for reason, count in sorted(self._untold.items()):
                self._journal.event("hard_example.passed_over", reason=reason, count=count)
            self._untold.clear()
            self._told_at = now

    def _is_better(self, known: Scene, verdict: Verdict) -> bool:
        assert self._scenes is not None
        return self._scenes.is_better(known, verdict.priority)

    def _remember(self, known: Scene | None, example: HardExample, *, is_unfiltered: bool) -> None:
        if self._scenes is None or (known is not None and example.sample_id == known.sample_id):
            return
        if known is not None and not self._scenes.is_better(known, example.priority):
            return  # drawn by chance: the scene's best frame stays what it was
        self._scenes.remember(
            known,
            hash_=example.scene_hash,
            embedding=example.embedding,
            version=example.version_id,
            # What was drawn by chance is not replaced by a better one either.
            sample_id=SampleId("") if is_unfiltered else example.sample_id,
            priority=example.priority,
        )
        if known is not None:
            self._outbox.replaced(known.sample_id, by=example.sample_id)

    def _pass_over(self, reason: str) -> None:
        self._passed_over[reason] += 1
        self._untold[reason] += 1
        self.tell()
