"""What a task opens with on a page of ours, and what became of handing it in."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A task as somebody begins with it."""

    mask: NDArray[np.uint8]  # (H, W), class ids; all 255 where the draft is kept from people
    note: str = ""  # for the annotator, e.g. why the work was sent back
    words: str = ""  # of a text prompt, kept from a task before
    link: str = ""  # where the same task opens in Label Studio


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedIn:
    """Who hands work in, and how long it took."""

    by: str  # name of the caller
    submission: str  # UUID that the page made: the same one when it is sent again
    seconds: float  # that the person looked at the task


class Outcome(StrEnum):
    """What became of it."""

    TAKEN = "taken"  # it counts; also when it was sent twice
    FINISHED = "finished"  # somebody else had finished the task; nothing was written
    GONE = "gone"  # the task was deleted
