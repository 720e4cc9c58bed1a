"""Is a new model fit to stay? Its answers beside the old one's, and the mark that survives a crash.

The rules are pure: they are told times and predictions, and answer with reasons in words.
"""

import logging
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median

import numpy as np

from lifelong.errors import LifelongError
from lifelong.links.durable_files import write_whole
from lifelong.records.ids import VersionId
from lifelong.records.pixels import Prediction
from lifelong.records.wire import from_json, to_json

logger = logging.getLogger(__name__)

# A class counts as seen when it covers this share of a picture: a stray pixel is no class.
SEEN_SHARE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """When a new model is not fit; `edge.updates` in the configuration."""

    max_slowdown: float = 3.0  # its median time over the old one's
    min_confidence_share: float = 0.5  # its mean confidence over the old one's, same frames
    frames: int = 10  # that both have answered, the last of them, are judged


class Answers:
    """What one model answered lately."""

    def __init__(self, window: int) -> None:
        self.seconds: deque[float] = deque(maxlen=window)
        self.confidences: deque[float] = deque(maxlen=window)
        self.classes: deque[frozenset[int]] = deque(maxlen=window)

    def note(self, prediction: Prediction, seconds: float) -> None:
        """Remember what was seen, how sure the model was of it, and how long it took."""
        self.seconds.append(seconds)
        self.confidences.append(float(np.mean(prediction.confidence, dtype=np.float64)))
        ids, counts = np.unique(prediction.mask, return_counts=True)
        self.classes.append(frozenset(ids[counts >= SEEN_SHARE * prediction.mask.size].tolist()))

    @property
    def seen(self) -> frozenset[int]:
        """All classes of the frames that are remembered."""
        return frozenset().union(*self.classes)


class Comparison:
    """A new model beside the old one, on the same frames at the same hour: whatever else the
    machine does then slows both."""

    def __init__(self, guards: Guards) -> None:
        self.guards = guards
        self.old = Answers(guards.frames)
        self.new = Answers(guards.frames)
        self.frames = 0  # that both have answered

    def note(self, old: tuple[Prediction, float], new: tuple[Prediction, float]) -> None:
        """Both answered one frame, each in so many seconds."""
        self.old.note(*old)
        self.new.note(*new)
        self.frames += 1

    def reasons(self) -> list[str]:
        """Why the new model is not fit; empty when it is, or when it is too early to say."""
        if self.frames < self.guards.frames:
            return []
        return [*self._too_slow(), *self._too_unsure(), *self._one_class()]

    def _too_slow(self) -> list[str]:
        old, new = median(self.old.seconds), median(self.new.seconds)
        if new <= self.guards.max_slowdown * old:
            return []
        return [
            f"median time {1000 * new:.1f} ms, {1000 * old:.1f} ms for the model before: more than "
            f"{self.guards.max_slowdown:g} times (edge.updates.max_slowdown)"
        ]

    def _too_unsure(self) -> list[str]:
        old, new = fmean(self.old.confidences), fmean(self.new.confidences)
        if new >= self.guards.min_confidence_share * old:
            return []
        return [
            f"mean confidence {new:.2f}, {old:.2f} for the model before on the same frames: less "
            f"than {self.guards.min_confidence_share:g} of it (edge.updates.min_confidence_share)"
        ]

    def _one_class(self) -> list[str]:
        if len(self.new.seen) != 1 or len(self.old.seen) < 2:
            return []
        (only,) = self.new.seen
        return [f"sees class {only} everywhere, the model before saw {len(self.old.seen)} classes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probation:
    """A model that has not proven itself yet; a file that is there while that is so.

    `deaths` counts ends of the process that nobody asked for while this was there: a crash in a
    model's native code leaves no other trace.
    """

    version_id: VersionId
    release: str  # SHA-256 of its release's bytes
    deaths: int = 0
    is_clean: bool = False  # the process was asked to end, and said so


class ProbationMark:
    """The mark on the disk; a full disk costs the protection, never the node."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Probation | None:
        """The mark as it lies there; None when there is none that can be read."""
        try:
            return from_json(Probation, self._path.read_bytes(), str(self._path))
        except FileNotFoundError:
            return None
        except (OSError, LifelongError) as error:
            logger.warning("which model was on probation is not known: %s", error)
            return None

    def set(self, version_id: VersionId, release: str) -> None:
        """A model begins to run in this process; the deaths it has on its count stay."""
        before = self.read()
        if before is None or before.release != release:
            before = Probation(version_id=version_id, release=release)
        self._write(replace(before, is_clean=False))

    def count_a_death(self) -> Probation | None:
        """Call once at a start: what the last end of the process says of the marked model."""
        mark = self.read()
        if mark is None:
            return None
        now = replace(mark, deaths=mark.deaths + (0 if mark.is_clean else 1), is_clean=False)
        self._write(now)
        return now

    def end_cleanly(self) -> None:
        """The process ends because somebody asked: no death."""
        if mark := self.read():
            self._write(replace(mark, is_clean=True))

    def clear(self) -> None:
        """Proven, or refused."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("the mark of a model on probation stays: %s", error)

    def _write(self, mark: Probation) -> None:
        try:
            write_whole(self._path, to_json(mark))
        except OSError as error:
            logger.warning("a model on probation is not marked on the disk: %s", error)
