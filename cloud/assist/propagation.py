"""Masks of one frame carried on to the next ones by a model for single pictures.

Frame by frame each object is asked for anew, where it would be if it went on as it went: by its
box and a point inside, by the most similar place nearby, and by its previous mask where the model
was trained on masks. The answer that looks most like the object stays. One frame is in memory at a
time, whatever their number; backward is forward with the frames turned round.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from annotation.assist.segmenter import Mask
from cloud.assist.embedding_views import View, view_of
from cloud.assist.interactive_model import Embedded, InteractiveModel
from cloud.assist.likeness import agreement
from cloud.assist.mask_overlaps import distinct, extent_of
from lifelong.errors import ModelOutputError, PromptError, ShapeError
from lifelong.records.prompts import Box, Point, Prompt

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class PropagationRules:
    """When an answer is still the object."""

    least_likeness: float = 0.5  # of the features under it to those of the first or the last mask
    least_sure: float = 0.5  # predicted IoU, as a share of what the model said of the first frame
    largest_change: float = 2.0  # of the area from one frame to the next, either way
    margin: float = 0.1  # around the expected box, as a share of its sides
    same: float = 0.7  # IoU of two objects' answers of which one is wrong
    patience: int = 5  # frames in a row that an object may be away; then it has ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """An object in one frame."""

    mask: Mask  # (H, W)
    score: float  # 0 .. 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameObjects:
    """What became of the objects in one frame."""

    seen: Mapping[int, Sighting]  # by the object's number; without those that were not seen
    ended: tuple[int, ...]  # objects that end here: not seen for longer than the patience


@dataclass(slots=True)
class _Object:
    """One object as it was last seen."""

    mask: Mask
    first_looks: Floats
    looks: Floats
    least_sure: float
    step: tuple[int, int] = (0, 0)  # pixels a frame, to the right and down
    away: int = 0  # frames since it was seen


@dataclass(frozen=True, slots=True)
class _Frame:
    model: InteractiveModel
    embedded: Embedded
    view: View


def propagated(
    model: InteractiveModel, first: NDArray[np.uint8], frames: Iterable[NDArray[np.uint8]],
    masks: Mapping[int, Mask], *, rules: PropagationRules | None = None,
) -> Iterator[FrameObjects]:  # fmt: skip
    """One answer for each of `frames`, in their order; ends early when every object has ended.

    Args:
        model: answers prompts.
        first: (H, W, 3) RGB, the frame that the masks belong to.
        frames: those that follow it, or precede it, nearest first; taken one by one.
        masks: by the object's number, (H, W) each.
        rules: when an answer is still the object.

    Raises:
        PromptError: no mask, an empty one, or one of another size than the frame.
        ShapeError: a frame of another size than the first.
        ModelOutputError: the model answered NaN.
    """
    rules = rules or PropagationRules()
    size = (first.shape[0], first.shape[1])
    _check(masks, size)
    begun = _frame(model, first)
    objects = {number: _begun(begun, mask, rules) for number, mask in masks.items()}
    for pixels in frames:
        if not objects:
            return
        if pixels.shape[:2] != size:
            raise ShapeError(f"a frame of {pixels.shape[:2]} pixels after one of {size}")
        frame = _frame(model, pixels)
        found = {number: _looked_for(frame, one, rules) for number, one in objects.items()}
        seen = _without_doubles({n: one for n, one in found.items() if one is not None}, rules)
        ended = []
        for number, one in list(objects.items()):
            if number in seen:
                _moved(frame, one, seen[number].mask)
                continue
            one.away += 1
            if one.away > rules.patience:
                ended.append(number)
                del objects[number]
        yield FrameObjects(seen=seen, ended=tuple(ended))


def _check(masks: Mapping[int, Mask], size: tuple[int, int]) -> None:
    if not masks:
        raise PromptError("no object to follow: the masks of the first frame are empty")
    for number, mask in masks.items():
        if mask.shape != size:
            raise PromptError(f"object {number}: a mask of {mask.shape} for a frame of {size}")
        if not mask.any():
            raise PromptError(f"object {number}: its mask is empty")


def _frame(model: InteractiveModel, pixels: NDArray[np.uint8]) -> _Frame:
    embedded = model.embed(pixels)
    return _Frame(model, embedded, view_of(model, embedded))


def _begun(frame: _Frame, mask: Mask, rules: PropagationRules) -> _Object:
    fine = _fine(frame, mask)
    looks = frame.view.looks(frame.view.pooled(fine))
    least = 0.0
    best = -1.0
    for low_res, predicted in _answers(frame, _expected(mask, rules), None):
        answer = (low_res > 0) & frame.view.fine_valid
        shared = float((answer & (fine > 0.5)).sum() / max(1, (answer | (fine > 0.5)).sum()))
        if shared > best:
            best, least = shared, rules.least_sure * min(1.0, predicted)
    return _Object(mask=mask, first_looks=looks, looks=looks, least_sure=least)


def _looked_for(frame: _Frame, one: _Object, rules: PropagationRules) -> Sighting | None:
    """The object in this frame; None where nothing is enough like it."""
    ago = one.away + 1
    expected = _shifted(one.mask, one.step[0] * ago, one.step[1] * ago)
    if not expected.any():
        return None  # it has left the picture
    view = frame.view
    fine, area = _fine(frame, expected), max(1.0, float(_fine(frame, one.mask).sum()))
    most = rules.largest_change**ago
    best: tuple[float, Floats, float] | None = None
    prompts = [_expected(expected, rules), _nearby(view, expected, one)]
    previous = frame.model.hint(expected, frame.embedded) if frame.model.takes_masks else None
    for prompt in prompts:
        for low_res, predicted in _answers(frame, prompt, previous):
            mask = (low_res > 0) & view.fine_valid
            ratio = float(mask.sum()) / area
            if predicted < one.least_sure or not 1 / most <= ratio <= most:
                continue
            looks = view.looks(view.pooled(mask.astype(np.float32)))
            like = max(agreement(looks, one.first_looks), agreement(looks, one.looks))
            if like < rules.least_likeness:
                continue
            shared = float(np.minimum(mask, fine).sum() / max(1.0, np.maximum(mask, fine).sum()))
            score = like * min(1.0, predicted)
            if best is None or score * (1 + shared) > best[0]:
                best = (score * (1 + shared), low_res, score)
    if best is None:
        return None
    mask = frame.model.enlarge(best[1][None], frame.embedded)[0] > 0
    return Sighting(mask=mask, score=min(1.0, best[2])) if mask.any() else None


def _answers(
    frame: _Frame, prompt: Prompt, previous: Floats | None
) -> Iterator[tuple[Floats, float]]:
    answer = frame.model.decode(frame.embedded, prompt, previous=previous, several=True)
    if not (np.isfinite(answer.low_res).all() and np.isfinite(answer.predicted_iou).all()):
        raise ModelOutputError(f"{frame.model.name}: masks hold NaN or infinite values")
    for low_res, predicted in zip(answer.low_res, answer.predicted_iou, strict=True):
        yield low_res, float(predicted)


def _expected(mask: Mask, rules: PropagationRules) -> Prompt:
    """The mask's box with a margin, and the point farthest from its edge."""
    inside = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 3)
    y, x = np.unravel_index(int(inside[1:-1, 1:-1].argmax()), mask.shape)
    return Prompt(
        points=(Point(float(x) + 0.5, float(y) + 0.5),), boxes=(_box(mask, rules.margin),)
    )


def _nearby(view: View, expected: Mask, one: _Object) -> Prompt:
    """The most similar place in the box and half a box around it."""
    rows, columns = view.cells_in(_box(expected, 0.5))
    similar = view.similarity(one.looks)[rows, columns]
    row, column = np.unravel_index(int(similar.argmax()), similar.shape)
    return Prompt(points=(view.place_of(rows.start + int(row), columns.start + int(column)),))


def _box(mask: Mask, margin: float) -> Box:
    it = extent_of(mask)
    across, down = margin * (it.x1 - it.x0), margin * (it.y1 - it.y0)
    height, width = mask.shape
    return Box(
        max(0.0, it.x0 - across), max(0.0, it.y0 - down),
        min(float(width), it.x1 + across), min(float(height), it.y1 + down),
    )  # fmt: skip


def _fine(frame: _Frame, mask: Mask) -> Floats:
    return frame.view.fine_coverage(frame.model.hint(mask, frame.embedded))


def _shifted(mask: Mask, right: int, down: int) -> Mask:
    """The mask elsewhere; what leaves the picture is gone."""
    height, width = mask.shape
    moved = np.zeros_like(mask)
    if abs(right) < width and abs(down) < height:
        to_y, of_y = _ranges(height, down)
        to_x, of_x = _ranges(width, right)
        moved[to_y, to_x] = mask[of_y, of_x]
    return moved


def _ranges(length: int, shift: int) -> tuple[slice, slice]:
    """Where what stays comes to lie, and where it was."""
    to, of = max(0, shift), max(0, -shift)
    count = length - abs(shift)
    return slice(to, to + count), slice(of, of + count)


def _moved(frame: _Frame, one: _Object, mask: Mask) -> None:
    """Remember where it is now, and how far it went a frame."""
    before, after = extent_of(one.mask), extent_of(mask)
    ago = one.away + 1
    one.step = (
        round((after.x0 + after.x1 - before.x0 - before.x1) / (2 * ago)),
        round((after.y0 + after.y1 - before.y0 - before.y1) / (2 * ago)),
    )
    one.mask, one.away = mask, 0
    one.looks = frame.view.looks(frame.view.pooled(_fine(frame, mask)))


def _without_doubles(found: Mapping[int, Sighting], rules: PropagationRules) -> dict[int, Sighting]:
    """Of two objects that are said to be the same pixels, the surer one is seen."""
    numbers = list(found)
    kept = distinct(
        [found[number].mask for number in numbers],
        [found[number].score for number in numbers],
        most=rules.same,
    )
    return {number: found[number] for number in sorted(numbers[place] for place in kept)}
