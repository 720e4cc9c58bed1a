"""What interactive annotation asks of a model: a picture and a prompt in, candidates out.

The port of this room. Arrays are numpy's, so that whoever answers may do it with torch or without.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lifelong.records.prompts import Prompt

Mask = NDArray[np.bool_]  # (H, W), of the whole picture


class Picture(Protocol):
    """A picture of a task, which is fetched and decoded only when somebody looks at it."""

    @property
    def digest(self) -> str:
        """SHA-256 of the encoded file, hex: who has answered for it once need not see it again."""

    @property
    def name(self) -> str:
        """For people: the address without credentials and signatures."""

    def pixels(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB, upright by its EXIF orientation.

        Raises:
            PictureAccessError: it cannot be fetched, or may not be.
            ImageError: what was fetched is not a picture that is read here.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One object, pointed at."""

    prompt: Prompt  # points and boxes in pixels of the upright picture; at least one, or `drawn`
    drawn: Mask | None = None  # what the annotator painted as a hint; it may be wrong
    candidates: int = 1  # 1: the best one; 3: all that a prompt may mean, best first


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """What a prompt may mean, best first."""

    masks: NDArray[np.bool_]  # (K, H, W)
    scores: NDArray[np.float32]  # (K,), predicted IoU, 0 .. 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """How sure a detector must be; None: as the model's makers say."""

    box: float | None = None
    text: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One object that words, or an example, led to."""

    mask: Mask
    label: str  # one of those that were asked for
    phrase: str  # the words that were found there; "" for an example
    score: float  # 0 .. 1


class Readiness(StrEnum):
    """What a model is doing."""

    LOADING = "loading"
    READY = "ready"
    DEGRADED = "degraded"  # answers, but something that was asked for is missing
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelState:
    """A model as people are told of it."""

    name: str  # e.g. sam_vit_b
    version: str  # name and what the weights hash to, e.g. sam_vit_b-1f0c9a3e; "" while loading
    readiness: Readiness
    words: str  # what is going on, and what to do where that is needed
    since: float  # seconds since the epoch
    is_default: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkItem:
    """Something that is computed, or waits for its turn."""

    work_id: str
    kind: str  # click, words, embed, track
    subject: str  # the picture's name, or the project's
    state: str  # waiting, running, done, failed, cancelled
    done: int  # of `total` steps
    total: int
    words: str  # in one line; of a failure what went wrong and what to do
    since: float  # seconds since the epoch


class PromptedSegmenter(Protocol):
    """One model, or several by name; every method may be called from many threads at once.

    `model` is a name of `states()`, "" for the default one. Every method that needs a model waits
    a while for it to be loaded.

    Raises, every one that answers for a picture:
        ConfigError: no model of that name.
        ModelNotReadyError: still loading after that while; says for how long already.
        ModelLoadError: its weights could not be loaded; says why and what to do.
        ModelBusyError: too many wait already, or the work was cancelled.
        PictureAccessError, ImageError: see `Picture.pixels`.
    """

    def states(self) -> Sequence[ModelState]:
        """Every model, the default one first; never waits."""

    def size(self, picture: Picture, *, model: str = "") -> tuple[int, int]:
        """Height and width of the upright picture; embeds it if nobody has."""

    def segment(self, picture: Picture, wish: Wish, *, model: str = "") -> Candidates:
        """Masks for one object.

        Raises:
            PromptError: a point or box that the picture has no pixel at; a hint of another size.
        """

    def find(
        self, picture: Picture, words: Sequence[str], *,
        labels: Sequence[str], thresholds: Thresholds, model: str = "",
    ) -> Sequence[Found]:  # fmt: skip
        """Everything that words name, each as one of `labels`: the project's own.

        Raises:
            PromptError: words that none of the labels can mean, where that must be known.
        """

    def find_like(
        self, picture: Picture, example: Mask, *, label: str, model: str = ""
    ) -> Sequence[Found]:
        """Everything that looks like what lies under `example`, without what overlaps it."""

    def prefetch(self, pictures: Iterable[Picture], *, subject: str, model: str = "") -> str:
        """Embed pictures when nobody waits for a click; the work's id, "" of an empty list."""

    def work(self) -> Sequence[WorkItem]:
        """What is under way, and what ended lately; newest first."""

    def cancel(self, work_id: str) -> bool:
        """Take back what has not been done; False where there is no such work under way."""
