"""How many clicks an object takes: the shipped tiny SAM on drawn scenes it was not trained on.

The protocol is that of Xu et al. 2016 (Deep Interactive Object Selection) as Sofiiuk et al. 2021
(Reviving Iterative Training with Mask Guidance, arXiv:2102.06583) run it: the first click lies in
the middle of the object, every further one in the middle of the larger error, missed or wrong,
where "middle" is the pixel furthest from the error's edge; NoC@85 is the mean number until an IoU
of 0.85. Theirs has at most 20 clicks, ours 10: an object that never gets there is counted with 10.
Objects are connected pieces of one class, of 400 pixels or more.

What answers is what is served (`cloud/assist/clicks.py`). `earlier_logits` feeds every click the
logits of the one before, as the original SAM was trained to have it; the tiny one was not.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from annotation.assist.segmenter import Wish
from bench.assist_requests import Mask, iou
from cloud.assist.clicks import Clicks
from cloud.assist.interactive_model import InteractiveModel
from cloud.assist.onnx_sam import load_onnx_sam
from cloud.demo.scenes import CONDITIONS, draw_scene
from cloud.preannotation.interactive_sam import InteractiveSam
from cloud.preannotation.sam.by_name import TINY_STABILITY_OFFSET
from cloud.preannotation.sam.segment_anything_model import SegmentAnythingModel
from cloud.preannotation.sam.tiny import load_tiny_sam
from lifelong.records.prompts import Point, Prompt

_FIRST_SEED = 900_000  # of scenes that nobody trained on
_HEIGHT, _WIDTH = 320, 480
_MIN_AREA = 400
_OBJECTS_A_SCENE = 4
_MOST_CLICKS = 10
_ENOUGH, _HALF = 0.85, 0.5
_SHOWN = (1, 2, 3, 5)


@dataclass(frozen=True, slots=True)
class _Object:
    image: NDArray[np.uint8]
    picture: str
    mask: Mask


def quality_figures(scenes: int, onnx: Path | None) -> dict[str, object]:
    """Clicks and IoU of every model.

    Args:
        onnx: folder of the exported tiny SAM; None: it is left out.
    """
    objects = list(_objects(scenes))
    figures: dict[str, object] = {"quality_scenes": scenes, "quality_objects": len(objects)}
    figures["quality"] = {name: _clicked(model, objects) for name, model in _models(onnx)}
    return figures


def tiny(precision: str, *, takes_masks: bool = False) -> InteractiveSam:
    """The shipped SAM by torch, on the CPU."""
    network = SegmentAnythingModel(
        load_tiny_sam(),
        name="tiny_sam",
        device="cpu",
        stability_offset=TINY_STABILITY_OFFSET,
        precision=precision,
    )
    return InteractiveSam(
        network, weights_digest="bench", precision=precision, device="cpu", takes_masks=takes_masks
    )


def _models(onnx: Path | None) -> Iterator[tuple[str, InteractiveModel]]:
    yield "float32", tiny("float32")
    yield "float32_earlier_logits", tiny("float32", takes_masks=True)
    yield "bfloat16", tiny("bfloat16_encoder")
    if onnx is not None:
        for precision in ("float32", "int8"):
            yield f"onnx_{precision}", load_onnx_sam(onnx, precision=precision, device="cpu")


def _objects(scenes: int) -> Iterator[_Object]:
    for number in range(scenes):
        scene = draw_scene(
            _FIRST_SEED + number, CONDITIONS[number % len(CONDITIONS)], _HEIGHT, _WIDTH
        )
        pieces = [piece for piece in _pieces(scene.mask) if piece.sum() >= _MIN_AREA]
        rng = np.random.default_rng(number)
        for chosen in rng.permutation(len(pieces))[:_OBJECTS_A_SCENE]:
            yield _Object(scene.image, str(number), pieces[chosen])


def _pieces(class_ids: NDArray[np.uint8]) -> Iterator[Mask]:
    for class_id in np.unique(class_ids):
        if class_id == 255:
            continue
        pieces, count = ndimage.label(class_ids == class_id)
        for piece in range(1, count + 1):
            yield pieces == piece


def _clicked(model: InteractiveModel, objects: Sequence[_Object]) -> dict[str, object]:
    """Mean IoU after so many clicks, and NoC@85."""
    clicks = Clicks()
    curves = []
    embedded, picture = None, ""
    for one in objects:
        if embedded is None or picture != one.picture:
            embedded, picture = model.embed(one.image), one.picture

        def answer(points: tuple[Point, ...], here: Any = embedded, name: str = picture) -> Mask:
            found = clicks.answer(model, here, name, Wish(prompt=Prompt(points=points)))
            mask: Mask = found.masks[0]
            return mask

        curves.append(_curve(answer, one.mask))
    figures: dict[str, object] = {
        # An object that was finished early stays as it was.
        f"iou_at_{n}": round(float(np.mean([curve[min(n, len(curve)) - 1] for curve in curves])), 3)
        for n in _SHOWN
    }
    for name, enough in (("50", _HALF), ("85", _ENOUGH)):
        reached = [[value >= enough for value in curve] for curve in curves]
        first = [each.index(True) + 1 if any(each) else _MOST_CLICKS for each in reached]
        figures[f"noc_{name}"] = round(float(np.mean(first)), 2)
        figures[f"reached_{name}"] = round(float(np.mean([any(each) for each in reached])), 3)
    return figures


def _curve(answer: Callable[[tuple[Point, ...]], Mask], wanted: Mask) -> list[float]:
    """IoU after each click, until it is enough."""
    found = np.zeros_like(wanted)
    points: tuple[Point, ...] = ()
    curve: list[float] = []
    while len(points) < _MOST_CLICKS and (not curve or curve[-1] < _ENOUGH):
        points = (*points, _next_click(wanted, found))
        found = answer(points)
        curve.append(iou(found, wanted))
    return curve


def _next_click(wanted: Mask, found: Mask) -> Point:
    """In the middle of the larger error."""
    missed, wrong = _depth(wanted & ~found), _depth(found & ~wanted)
    positive = missed.max() >= wrong.max()
    depth = missed if positive else wrong
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return Point(float(column), float(row), bool(positive))


def _depth(mask: Mask) -> NDArray[np.float64]:
    """How far each pixel is from the edge; the picture's border is one."""
    depth: NDArray[np.float64] = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    return depth
