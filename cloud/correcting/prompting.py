"""Clicks, boxes and words of the page, answered by the model that answers Label Studio's tool."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from annotation.assist.segmenter import (
    ModelState,
    Picture,
    PromptedSegmenter,
    Readiness,
    Thresholds,
    Wish,
)
from lifelong.errors import ModelNotReadyError, PromptError, ShapeError
from lifelong.records.prompts import Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What somebody pointed at, or wrote."""

    prompt: Prompt  # in pixels of the picture
    words: str  # "" where it was pointed at
    label: str  # the class that what is found becomes


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What the model made of it."""

    mask: NDArray[np.bool_]  # (H, W)
    objects: int  # 1 for a click; how many things words led to
    score: float  # predicted IoU, or the least sure of what words led to; 0 .. 1


class Answers(Protocol):
    """What a page asks."""

    def state(self) -> ModelState: ...

    def answer(self, picture: Picture, size: tuple[int, int], asked: Asked) -> Answered: ...

    def expect(self, pictures: Iterable[Picture]) -> None: ...


class Prompting:
    """Asks the default model; implements `Answers`."""

    def __init__(self, segmenter: PromptedSegmenter) -> None:
        self._segmenter = segmenter

    def state(self) -> ModelState:
        """How the model is; never waits."""
        return self._segmenter.states()[0]

    def answer(self, picture: Picture, size: tuple[int, int], asked: Asked) -> Answered:
        """A mask for what was asked.

        Args:
            size: (height, width) of the task's draft, pixels.

        Raises:
            ModelNotReadyError: it is still loading; nobody is kept waiting for that.
            ShapeError: the picture is not as large as its draft.
            LifelongError: what else `PromptedSegmenter` raises.
        """
        state = self.state()
        if state.readiness is Readiness.LOADING:
            raise ModelNotReadyError(f"the model {state.name} is still loading ({state.words})")
        found = self._segmenter.size(picture)
        if found != size:
            raise ShapeError(
                f"{picture.name}: {found[1]}x{found[0]} pixels, its draft has {size[1]}x{size[0]}"
            )
        if asked.words:
            return self._found(picture, size, asked)
        if not asked.prompt.points and not asked.prompt.boxes:
            raise PromptError("nothing was pointed at; click, draw a box, or write words")
        answer = self._segmenter.segment(picture, Wish(prompt=asked.prompt))
        return Answered(mask=answer.masks[0], objects=1, score=float(answer.scores[0]))

    def expect(self, pictures: Iterable[Picture]) -> None:
        """Look at pictures ahead of time; also has the model loaded."""
        self._segmenter.prefetch(pictures, subject="correct")

    def _found(self, picture: Picture, size: tuple[int, int], asked: Asked) -> Answered:
        found = self._segmenter.find(
            picture, [asked.words], labels=[asked.label], thresholds=Thresholds()
        )
        mask = np.zeros(size, dtype=np.bool_)
        for one in found:
            mask |= one.mask
        score = min((one.score for one in found), default=0.0)
        return Answered(mask=mask, objects=len(found), score=score)
