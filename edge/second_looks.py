"""Second looks at a frame, for the policies of hard examples that compare two answers.

`flip_consistency` asks the running model about the mirrored picture, `disagreement` asks the
model that ran before. Both cost another inference a frame, so nobody else asks.
"""

import logging
from collections.abc import Callable
from typing import Protocol

from lifelong.errors import ModelError
from lifelong.labels.second_looks import Segmenter, mirrored_look
from lifelong.records.pixels import Frame, Prediction

logger = logging.getLogger(__name__)

SecondLook = Callable[[Frame], Prediction | None]


class Models(Protocol):
    """The models in memory."""

    @property
    def running(self) -> Segmenter | None: ...

    @property
    def previous(self) -> Segmenter | None: ...


def second_look_for(policy: str, models: Models) -> SecondLook | None:
    """How this policy looks a second time; None when it does not."""
    look = _LOOKS.get(policy)
    if look is None:
        return None

    def looked(frame: Frame) -> Prediction | None:
        try:
            return look(models, frame)
        except ModelError as error:  # the first answer stands, and the frame is not lost
            logger.warning("no second look at frame %d: %s", frame.sequence, error)
            return None

    return looked


def _mirrored(models: Models, frame: Frame) -> Prediction | None:
    running = models.running
    return None if running is None else mirrored_look(running, frame.image)


def _by_the_previous(models: Models, frame: Frame) -> Prediction | None:
    previous = models.previous
    return None if previous is None else previous.segment(frame.image)


_LOOKS: dict[str, Callable[[Models, Frame], Prediction | None]] = {
    "flip_consistency": _mirrored,
    "disagreement": _by_the_previous,
}
