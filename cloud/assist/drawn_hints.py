"""A mask that an annotator drew, as the logits that a SAM takes for an earlier answer of its own,
and as the box and the point that stand for it where a model was not trained on masks."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import distance_transform_edt

from annotation.assist.segmenter import Mask
from lifelong.errors import PromptError
from lifelong.records.prompts import Box, Point, Prompt

# Far enough from 0 to be said with certainty, and within what SAM's own answers reach.
_CERTAIN = 10.0


def padded_hint(drawn: Mask, side: int) -> NDArray[np.float32]:
    """(side, side) logits for a model that scales the longer side and pads the rest.

    Args:
        drawn: (H, W).
        side: of the model's low-resolution logits, 256 of the original SAM.
    """
    height, width = drawn.shape
    scale = side / max(height, width)
    logits = np.full((side, side), -_CERTAIN, np.float32)
    rows, columns = max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))
    logits[:rows, :columns] = _logits(drawn, rows, columns)
    return logits


def squeezed_hint(drawn: Mask, side: int) -> NDArray[np.float32]:
    """(side, side) logits for a model that squeezes every picture to a square."""
    return _logits(drawn, side, side)


def _logits(drawn: Mask, rows: int, columns: int) -> NDArray[np.float32]:
    share = Image.fromarray(drawn.astype(np.float32)).resize((columns, rows), Image.Resampling.BOX)
    return (np.asarray(share, np.float32) * 2.0 - 1.0) * np.float32(_CERTAIN)


def spoken_hint(drawn: Mask, prompt: Prompt) -> Prompt:
    """The prompt with what `drawn` says put into points and boxes.

    The pixel of the hint that is farthest from its edge becomes a positive point. Its box is added
    only where the annotator gave nothing else: a hint may be wrong, and a box binds.

    Raises:
        PromptError: nothing is drawn, and there is no other prompt.
    """
    if not drawn.any():
        if not prompt.points and not prompt.boxes:
            raise PromptError("hint: nothing is drawn; draw over the object, click on it or box it")
        return prompt
    inside = distance_transform_edt(np.pad(drawn, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(inside.argmax()), drawn.shape)
    deepest = Point(float(column) + 0.5, float(row) + 0.5)
    boxes = prompt.boxes
    if not prompt.points and not prompt.boxes:
        boxes = (around(drawn),)
    return Prompt(points=(deepest, *prompt.points), boxes=boxes)


def around(drawn: Mask) -> Box:
    """The box of a mask that is not empty, to the outer edges of its pixels."""
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    return Box(float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
