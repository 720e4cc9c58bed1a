"""Eraser, add, intersect: what a new mask makes of a region that is there already."""

from collections.abc import Callable

import numpy as np

from annotation.assist.question import Operation
from annotation.assist.segmenter import Mask
from lifelong.errors import PromptError

_RULES: dict[Operation, Callable[[Mask, Mask], Mask]] = {
    Operation.ADD: np.logical_or,
    Operation.SUBTRACT: lambda old, new: old & ~new,
    Operation.INTERSECT: np.logical_and,
}


def changed(operation: Operation, old: Mask, new: Mask) -> Mask:
    """The region's new mask; both (H, W), bool.

    Raises:
        PromptError: masks of two sizes, nothing would change, or nothing would be left.
    """
    if operation is Operation.NEW:
        return new
    if old.shape != new.shape:
        raise PromptError(
            f"the region has {old.shape[1]}x{old.shape[0]} pixels, the picture "
            f"{new.shape[1]}x{new.shape[0]}; open the task again"
        )
    result = _RULES[operation](old, new)
    if not result.any():
        raise PromptError(f"{operation.value} would leave nothing of the region; delete it instead")
    if np.array_equal(result, old):
        raise PromptError(f"{operation.value} changes nothing of the region; prompt elsewhere")
    return result
