"""Looks into storage again and again, in a thread of its own, so that no page has to.

One listing tells what is new; only that is read. A store that cannot be reached leaves the last
look in place, with the reason in words.
"""

import gc
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Generic, TypeVar

from cloud.conditions.rulings import count_proposed
from cloud.device_rooms import entries_of_devices
from cloud.fleet.edges import Edges, standing_of
from cloud.fleet.overview import rollout_summary
from cloud.fleet.rollout import Rollouts
from cloud.monitor.look import Look, TrainingProgress, Waiting
from cloud.monitor.queues_seen import QueuesWatch
from lifelong.errors import (
    CorruptRecordError,
    LifelongError,
    ObjectNotFoundError,
    StorageUnavailableError,
)
from lifelong.knowledge_base import KnowledgeBase
from lifelong.links.storage import Entry, Storage
from lifelong.records.deliveries import UploadBudget
from lifelong.records.ids import RoundNumber
from lifelong.records.keys import CURRENT_RELEASE, EDGES, INBOX, RECORD, REFUSED, STAGED_RELEASE
from lifelong.records.model_versions import Release
from lifelong.records.rounds import Round
from lifelong.records.trainings import Training
from lifelong.records.wire import from_json
from lifelong.sections.fleet import ReleasesSection

logger = logging.getLogger(__name__)

T = TypeVar("T")
PROGRESS = "progress"  # folder where workers say how far they are
_REMEMBERED = 60  # looks; then nobody has asked for a fact for minutes
_SHARE_OF_TIME = 0.2  # looks may take so much of the time, however large the store is


class Mirror(Generic[T]):
    """Records under a folder of storage; one is read again only when its object was rewritten."""

    def __init__(
        self,
        storage: Storage,
        folder: str,
        read: Callable[[bytes, Entry], T],
        wanted: Callable[[str], bool] = lambda key: True,
        listed: Callable[[Storage, str], list[Entry]] = lambda storage, key: storage.entries(key),
    ) -> None:
        self._storage = storage
        self._listed = listed
        self._folder = folder
        self._read = read
        self._wanted = wanted
        self._known: dict[str, tuple[str, T]] = {}

    def look(self) -> tuple[T, ...]:
        """All of them, in the order of their keys."""
        found: dict[str, tuple[str, T]] = {}
        for entry in self._listed(self._storage, self._folder):
            if not self._wanted(entry.key):
                continue
            known = self._known.get(entry.key)
            if known is None or known[0] != entry.mark:
                try:
                    known = (entry.mark, self._read(self._storage.get(entry.key), entry))
                except ObjectNotFoundError:
                    continue  # taken away a moment ago
            found[entry.key] = known
        self._known = found
        return tuple(record for _, record in found.values())


class Watch:
    """Keeps the newest look; `look` never waits for storage once there is one."""

    def __init__(
        self,
        *,
        storage: Storage,
        kb: KnowledgeBase,
        rollouts: Rollouts,
        section: ReleasesSection,
        now: Callable[[], datetime],
        pause_s: float,
    ) -> None:
        """`kb` is the watch's own: nobody else may refresh it meanwhile."""
        self._storage = storage
        self._kb = kb
        self._rollouts = rollouts
        self._section = section
        self._now = now
        self._pause_s = pause_s
        self._edges = Edges(storage, now)
        self._rounds = Mirror(storage, "rounds", lambda d, e: from_json(Round, d, e.key))
        self._releases = Mirror(
            storage, "releases", lambda d, e: from_json(Release, d, e.key), _is_release
        )
        self._training = Mirror(storage, PROGRESS, _progress)
        self._queues = QueuesWatch(storage)
        self._budgets = Mirror(
            storage, EDGES, _budget, lambda key: key.endswith("/budget.json"), entries_of_devices
        )
        self._bundle_bytes: dict[str, int | None] = {}
        # Facts that take long the first time, worked out before a page asks for them.
        self.prepared: list[Callable[[Look], object]] = []
        self._wanted: dict[Callable[[Look], object], int] = {}  # fact -> looks since asked for
        self._latest: Look | None = None
        self._trouble = ""  # why there is none yet
        self._looking = threading.Lock()

    def look(self) -> Look:
        """The newest one; the first call makes it.

        Raises:
            StorageError: there is none yet, and storage cannot be reached.
        """
        return self._latest or self.refresh()

    def peek(self) -> Look | None:
        """The newest one; None before the first, which it does not wait for.

        Raises:
            StorageUnavailableError: there is none, because looking failed.
        """
        if self._latest is None and self._trouble:
            raise StorageUnavailableError(self._trouble)
        return self._latest

    def refresh(self) -> Look:
        """Look now, and return what was seen.

        Raises:
            StorageError, CorruptRecordError: the last look stays, and says why.
        """
        with self._looking:
            try:
                found = self._seen()
                self._prepare(found)
                self._latest = found
            except Exception as error:
                is_ours = isinstance(error, LifelongError)
                self._trouble = str(error) if is_ours else f"the monitor broke: {error!r}"
                if self._latest is not None:
                    self._latest = replace(
                        self._latest,
                        trouble=self._trouble,
                        _facts={},
                        _asked=set(),
                        _lock=threading.RLock(),
                    )
                raise
            return self._latest

    def _prepare(self, found: Look) -> None:
        """Work out what pages wanted to know of the last looks, before they see this one."""
        self._wanted = {of: age + 1 for of, age in self._wanted.items() if age < _REMEMBERED}
        if self._latest is not None:
            self._wanted |= dict.fromkeys(self._latest.asked, 0)
        for of in [*self.prepared, *self._wanted]:
            try:
                found.prepare(of)
            except Exception:
                # The page that asks will fail and tell; looks go on for all others.
                logger.exception("a fact of the monitor cannot be worked out: %r", of)
                self._wanted.pop(of, None)

    def run(self, stop: threading.Event, beat: Callable[[], None] = lambda: None) -> None:
        """Look until `stop` is set; what goes wrong is logged, once for as long as it lasts.

        Args:
            beat: is called before each look, as a sign of life.
        """
        told = ""
        pause, frozen = 0.0, False
        while not stop.wait(pause):
            beat()
            began = time.monotonic()
            try:
                self.refresh()
                told = ""
                if not frozen:
                    # A million records that stay: a full collection over them held up every page
                    # for 1.7 s at 2,000 rounds.
                    gc.collect()
                    gc.freeze()
                    frozen = True
            except LifelongError as error:
                if str(error) != told:
                    logger.warning("the monitor cannot look into storage: %s", error)
                told = str(error)
            except Exception as error:  # the next look may be a good one, and nobody else looks
                if repr(error) != told:
                    logger.exception("the monitor broke while it looked, and will look again")
                told = repr(error)
            took = time.monotonic() - began
            pause = max(self._pause_s, took / _SHARE_OF_TIME)

    def _seen(self) -> Look:
        now = self._now()
        self._kb.refresh()
        current, staged = self._pointer(CURRENT_RELEASE), self._pointer(STAGED_RELEASE)
        training = self._training.look()
        releases, rounds = self._releases.look(), self._rounds.look()
        return Look(
            at=now,
            rounds=rounds,
            releases=releases,
            current=current,
            staged=staged,
            versions=self._kb.versions,
            samples=self._kb.samples,
            examinations=self._kb.examinations,
            trainings=self._kb.of(Training),
            bundle_bytes=self._sizes(releases),
            budgets={told.edge_id: told for told in self._budgets.look() if told},
            conditions_proposed=count_proposed(self._kb),
            fleet=tuple(
                standing_of(seen, current, staged, self._section, now)
                for seen in self._edges.look()
            ),
            rollout=rollout_summary(self._rollouts),
            training=training[-1] if training else None,
            inbox=self._waiting(),
            queues=self._queues.look(rounds),
        )

    def _sizes(self, releases: tuple[Release, ...]) -> Mapping[str, int | None]:
        """Bytes of each released bundle; one listing when there is a new one. None: it is gone."""
        wanted = {release.bundle_key for release in releases}
        if wanted - self._bundle_bytes.keys():
            there = {entry.key: entry.size for entry in self._storage.entries("models")}
            # Bundles never change; a new mapping, because looks keep the one they have.
            self._bundle_bytes = {key: there.get(key) for key in wanted}
        return self._bundle_bytes

    def _pointer(self, key: str) -> Release | None:
        try:
            return from_json(Release, self._storage.get(key), key)
        except ObjectNotFoundError:
            return None

    def _waiting(self) -> Waiting:
        waiting = entries_of_devices(self._storage, INBOX)
        records = [entry for entry in waiting if entry.key.endswith(f"/{RECORD}")]
        # Each refused delivery lies in a folder of its own, with its reason.
        refused = {key.rsplit("/", 1)[0] for key in self._storage.keys(REFUSED)}
        return Waiting(
            deliveries=len(records),
            refused=len(refused),
            oldest_at=min((entry.modified for entry in records), default=None),
        )


def _is_release(key: str) -> bool:
    return key.rsplit("/", 1)[-1].removesuffix(".json").isdigit()


def _budget(data: bytes, entry: Entry) -> UploadBudget | None:
    """None for one that cannot be read: the node does not obey it either."""
    try:
        return from_json(UploadBudget, data, entry.key)
    except CorruptRecordError:
        return None


def _progress(data: bytes, entry: Entry) -> TrainingProgress:
    """Written by workers; a damaged one is worth no error: nothing but a bar rests on it."""
    try:
        told: dict[str, Any] = json.loads(data)
        return TrainingProgress(
            round_number=RoundNumber(int(told["round"])),
            step=int(told["step"]),
            steps=int(told["steps"]),
            loss=float(told["loss"]),
            written_at=entry.modified,
            history=tuple((int(n), float(at), float(loss)) for n, at, loss in _history(told)),
        )
    except (ValueError, KeyError, TypeError):
        return TrainingProgress(
            round_number=RoundNumber(0), step=0, steps=0, loss=0.0, written_at=entry.modified
        )


def _history(told: dict[str, Any]) -> list[list[float]]:
    found = told.get("history")
    return found if isinstance(found, list) else []
