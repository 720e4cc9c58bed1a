"""All like this: from one object to the others in the picture that look like it.

What was embedded for clicks is enough. Features under the example say what it looks like; where
the picture's features point the same way, the model is clicked, and its answer stays if what lies
under it is as similar, as large within reason, and nobody has it already. That features say where
to click is PerSAM's idea (Zhang et al. 2023); several objects and their tests are ours.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from annotation.assist.segmenter import Found, Mask
from cloud.assist.embedding_views import View, view_of
from cloud.assist.finders import Seen
from cloud.assist.interactive_model import Decoded
from cloud.assist.mask_overlaps import extent_of, shared_pixels
from lifelong.errors import ModelOutputError, PromptError
from lifelong.records.prompts import Point, Prompt

Floats = NDArray[np.float32]

_MOST_BYTES = 2**29  # of the masks of one answer


@dataclass(frozen=True, slots=True, kw_only=True)
class LikenessRules:
    """What is like an example; calibrated on drawn scenes and shapes, see docs/assist.md."""

    least_cell: float = 0.3  # cosine of a place that is clicked, -1 .. 1
    least_mask: float = 0.7  # cosine of what lies under an answer
    # How sure the model must be of an answer, as a share of how sure it is of the example.
    least_sure: float = 0.6
    largest_ratio: float = 16.0  # of areas, either way
    overlap: float = 0.4  # share of the smaller of two that are one object
    clicks: int = 64  # at most
    in_vain: int = 16  # clicks in a row without an answer, after which it ends
    answers: int = 50  # at most


@dataclass(frozen=True, slots=True, kw_only=True)
class _Example:
    mask: Mask  # (H, W)
    fine: Floats  # (4h, 4w), share of each low-resolution pixel that it covers
    looks: Floats  # (C,)
    deepest: Point  # farthest from its edge
    least_sure: float  # predicted IoU that an answer needs


@dataclass(frozen=True, slots=True)
class _Answer:
    score: float
    low_res: Floats  # (4h, 4w) logits


class EmbeddingLikeness:
    """A `LikenessFinder`; keeps nothing."""

    def __init__(self, rules: LikenessRules | None = None) -> None:
        self._rules = rules or LikenessRules()

    def find_like(self, seen: Seen, example: Mask, *, label: str) -> list[Found]:
        """See `LikenessFinder`; most alike first.

        Raises:
            PromptError: an example of another size than the picture, or without a pixel.
            ModelOutputError: the model answered NaN.
        """
        size = (seen.embedded.height, seen.embedded.width)
        if example.shape != size:
            raise PromptError(f"an example of {example.shape} pixels for a picture of {size}")
        if not example.any():
            raise PromptError("the example is empty; choose a region that covers the object")
        view = view_of(seen.model, seen.embedded)
        given = self._example(seen, view, example)
        answers = sorted(self._answers(seen, view, given), key=lambda one: -one.score)
        return self._found(seen, given, answers, label)

    def _example(self, seen: Seen, view: View, mask: Mask) -> _Example:
        fine = view.fine_coverage(seen.model.hint(mask, seen.embedded))
        # Counted from the middle of the first pixel; the picture's own edge is an edge too.
        inside = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 3)
        y, x = np.unravel_index(int(inside[1:-1, 1:-1].argmax()), mask.shape)
        deepest = Point(float(x) + 0.5, float(y) + 0.5)
        answer = _decoded(seen, Prompt(points=(deepest,)))
        here = fine > 0.5
        agreement = [
            (low & here).sum() / max(1, (low | here).sum())
            for low in (answer.low_res > 0) & view.fine_valid
        ]
        sure = float(answer.predicted_iou[int(np.argmax(agreement))])
        return _Example(
            mask=mask,
            fine=fine,
            looks=view.looks(view.pooled(fine)),
            deepest=deepest,
            least_sure=self._rules.least_sure * min(1.0, sure),
        )

    def _answers(self, seen: Seen, view: View, given: _Example) -> Iterator[_Answer]:
        """Click by click: each at the most similar place that nobody has yet."""
        rules = self._rules
        similar = view.similarity(given.looks)
        own = view.pooled(given.fine)
        is_open = view.valid & (similar >= rules.least_cell) & (own < 0.5 * min(1.0, own.max()))
        # A place beside one that was clicked in vain would be answered in the same way.
        around = _disc(0.25 * float(np.sqrt(own.sum())))
        in_vain = 0
        for _ in range(rules.clicks):
            if in_vain == rules.in_vain or not is_open.any():
                return
            y, x = np.unravel_index(int(np.where(is_open, similar, -2.0).argmax()), own.shape)
            seen.pause()
            clicked = np.zeros(own.shape, np.uint8)
            clicked[y, x] = 1
            is_open &= cv2.dilate(clicked, around) == 0
            answer, spent = self._asked(seen, view, given, view.place_of(int(y), int(x)))
            is_open &= ~spent
            in_vain = 0 if answer else in_vain + 1
            if answer:
                yield answer

    def _asked(
        self, seen: Seen, view: View, given: _Example, click: Point
    ) -> tuple[_Answer | None, NDArray[np.bool_]]:
        """The best answer to a click, and the (h, w) cells that need no further one.

        Where the click runs into the example, a second one says that the example is not meant.
        """
        best, spent, runs_over = self._judged(view, given, _decoded(seen, Prompt(points=(click,))))
        if best is None and runs_over:
            without = Point(given.deepest.x, given.deepest.y, is_positive=False)
            both = _decoded(seen, Prompt(points=(click, without)))
            best, spent, _ = self._judged(view, given, both)
        return best, spent

    def _judged(
        self, view: View, given: _Example, decoded: Decoded
    ) -> tuple[_Answer | None, NDArray[np.bool_], bool]:
        """The best of K masks; the cells of the surest one, which would be answered in the same
        way; and whether a mask was left out only for the example under it."""
        rules, area = self._rules, max(1.0, float(given.fine.sum()))
        best: _Answer | None = None
        spent, surest, runs_over = np.zeros(view.valid.shape, np.bool_), 0.0, False
        for low_res, predicted in zip(decoded.low_res, decoded.predicted_iou, strict=True):
            mask = (low_res > 0) & view.fine_valid
            ratio = float(mask.sum()) / area
            if not 1 / rules.largest_ratio <= ratio <= rules.largest_ratio:
                continue
            if float(given.fine[mask].sum()) > rules.overlap * min(area, mask.sum()):
                runs_over = True
                continue
            cells = view.pooled(mask.astype(np.float32))
            if predicted > surest:
                spent, surest = cells >= 0.5, float(predicted)
            likeness = agreement(view.looks(cells), given.looks)
            if predicted < given.least_sure or likeness < rules.least_mask:
                continue
            score = likeness * float(min(1.0, predicted))
            if best is None or score > best.score:
                best = _Answer(score, low_res)
        return best, spent, runs_over

    def _found(
        self, seen: Seen, given: _Example, answers: list[_Answer], label: str
    ) -> list[Found]:
        most = max(1, min(self._rules.answers, _MOST_BYTES // given.mask.size))
        taken = [(given.mask, extent_of(given.mask))]
        found: list[Found] = []
        for answer in answers:
            if len(found) == most:
                break
            mask = seen.model.enlarge(answer.low_res[None], seen.embedded)[0] > 0
            extent = extent_of(mask)
            shares = [
                shared_pixels(mask, other, extent, its) / max(1, min(extent.area, its.area))
                for other, its in taken
            ]
            if extent and max(shares) <= self._rules.overlap:
                taken.append((mask, extent))
                found.append(Found(mask=mask, label=label, phrase="", score=answer.score))
        return found


def _decoded(seen: Seen, prompt: Prompt) -> Decoded:
    answer = seen.model.decode(seen.embedded, prompt, previous=None, several=True)
    if not (np.isfinite(answer.low_res).all() and np.isfinite(answer.predicted_iou).all()):
        raise ModelOutputError(f"{seen.model.name}: masks hold NaN or infinite values")
    return answer


def agreement(first: Floats, second: Floats) -> float:
    """2 a·b / (a·a + b·b): the cosine, less where one is longer; 1 for equal ones only."""
    lengths = float(first @ first + second @ second)
    return 2.0 * float(first @ second) / lengths if lengths else 0.0


def _disc(radius: float) -> NDArray[np.uint8]:
    """A disc of odd side, one cell at least."""
    reach = int(radius)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    inside: NDArray[np.bool_] = x * x + y * y <= max(radius, 0.5) ** 2
    return inside.astype(np.uint8)
