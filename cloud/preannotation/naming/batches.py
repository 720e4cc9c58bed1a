"""How many crops go through a model together: all of a picture, or as many as its memory holds."""

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

logger = logging.getLogger(__name__)

CROPS_AT_ONCE = 256

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")


class Batches:
    """Batches of a size that shrinks when a GPU's memory is too small for it, and stays small."""

    def __init__(self, at_once: int = CROPS_AT_ONCE) -> None:
        self.at_once = at_once

    def over(
        self, items: Sequence[_Item], run: Callable[[Sequence[_Item]], Sequence[_Answer]]
    ) -> list[_Answer]:
        """One answer for each item; `run` gets at most `at_once` of them in a call.

        Raises:
            torch.cuda.OutOfMemoryError: a single item does not fit.
        """
        answers: list[_Answer] = []
        while len(answers) < len(items):
            some = items[len(answers) : len(answers) + self.at_once]
            try:
                answers.extend(run(some))
            except torch.cuda.OutOfMemoryError:
                if len(some) == 1:
                    raise
                self.at_once = len(some) // 2
                logger.warning(
                    "%d crops at once do not fit the GPU's memory; going on with %d",
                    len(some), self.at_once,
                )  # fmt: skip
        return answers
