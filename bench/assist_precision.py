"""What bfloat16 costs and saves: encoders and masks beside fp32 in segment-anything.

Times are those of segment-anything's own `SamPredictor.set_image` with a vit_b of seeded weights in
fp32, and of ours in bfloat16 and float32, in turns, on CamVid frames where these lie beside the
repository, else on drawn scenes. Masks, the best of three of single clicks, are compared with those
that segment-anything's predictor gives in fp32: of the same vit_b, whose weights are no trained
ones, and of the shipped tiny SAM, which is trained, though on drawn streets only. (`cornerloop
assist` gives the tiny SAM a mirrored border besides, and float32 unless told otherwise; here it has
neither.)
"""

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from segment_anything import SamPredictor, sam_model_registry

from annotation.assist.segmenter import Wish
from bench.assist_quality import tiny
from bench.assist_requests import Mask, iou
from bench.assist_weights import write_sam
from bench.measuring import seconds_of
from cloud.assist.clicks import Clicks
from cloud.assist.interactive_model import Embedded, InteractiveModel
from cloud.assist_service.models import AssistLoader
from cloud.demo.scenes import draw_scene
from cloud.preannotation.sam.tiny import load_tiny_sam
from lifelong.config import Config
from lifelong.records.prompts import Point, Prompt
from lifelong.sections.assist import AssistModelSection, AssistSection

CAMVID = Path(__file__).parents[2] / "shared" / "data" / "camvid"
_POINTS = 10  # of each frame

_T = TypeVar("_T")
Picture = NDArray[np.uint8]  # (H, W, 3), RGB


def served(precision: str, section: AssistModelSection) -> InteractiveModel:
    """A model as `cornerloop assist` loads it, on the CPU."""
    config = Config(assist=AssistSection.model_validate({"device": "cpu", "precision": precision}))
    return AssistLoader(config).load(section)


def precision_figures(folder: Path, size: tuple[int, int], rounds: int) -> dict[str, object]:
    """Seconds of encoders, and how far masks in bfloat16 are from those in fp32.

    Args:
        size: height and width of drawn scenes.
        rounds: frames that the large model sees; the tiny one sees four times as many.
    """
    weights = folder / "weights" / "sam_vit_b.pth"
    write_sam(weights)
    section = AssistModelSection(type="sam", model="vit_b", checkpoint=weights)
    predictor = SamPredictor(sam_model_registry["vit_b"](weights).eval())
    half, whole = served("bfloat16", section), served("float32", section)
    took: dict[str, list[list[float]]] = {"fp32": [], "ours_bf16": [], "ours_fp32": []}
    ious = []
    for number, image in enumerate(_pictures(rounds + 1, size)):
        _, *fp32_s = _timed(partial(predictor.set_image, image))
        embedded, *bf16_s = _timed(partial(half.embed, image))
        _, *ours_s = _timed(partial(whole.embed, image))
        ious += _ious(predictor, half, embedded, image)
        if number:  # the first warms up
            for times, seconds in zip(took.values(), (fp32_s, bf16_s, ours_s), strict=True):
                times.append(seconds)
    median, cpu = (
        {name: statistics.median(both[kind] for both in values) for name, values in took.items()}
        for kind in range(2)
    )
    small, tiny_ious = tiny("bfloat16_encoder"), []
    small_predictor = SamPredictor(load_tiny_sam())
    for image in _pictures(4 * rounds, size):
        small_predictor.set_image(image)
        tiny_ious += _ious(small_predictor, small, small.embed(image), image)
    return {
        "bf16_encoder_over_fp32": round(median["ours_bf16"] / median["fp32"], 3),
        "bf16_encoder_over_fp32_cpu": round(cpu["ours_bf16"] / cpu["fp32"], 3),
        "our_fp32_encoder_over_fp32": round(median["ours_fp32"] / median["fp32"], 3),
        "encoder_s": {name: round(value, 2) for name, value in median.items()},
        "encoder_cpu_s": {name: round(value, 2) for name, value in cpu.items()},
        "bf16_pictures": "CamVid" if _camvid(1) else "drawn scenes",
        "bf16_mask_iou": _spread(ious),
        "bf16_mask_iou_of_tiny_sam": _spread(tiny_ious),
    }


def _timed(call: Callable[[], _T]) -> tuple[_T, float, float]:
    """Seconds by the clock, and of the processor, which other work disturbs less."""
    before = time.process_time()
    result, seconds = seconds_of(call)
    return result, seconds, time.process_time() - before


def _ious(
    predictor: SamPredictor, model: InteractiveModel, embedded: Embedded, image: Picture
) -> list[float]:
    """Of clicks on the picture that the predictor has set."""
    clicks, found = Clicks(), []
    for point, expected in _clicked(predictor, image):
        wish = Wish(prompt=Prompt(points=(point,)))
        found.append(iou(clicks.answer(model, embedded, "it", wish).masks[0], expected))
    return found


def _spread(ious: list[float]) -> dict[str, float]:
    return {
        "mean": round(float(np.mean(ious)), 4), "median": round(float(np.median(ious)), 4),
        "p10": round(float(np.percentile(ious, 10)), 4), "clicks": len(ious),
    }  # fmt: skip


def _pictures(count: int, size: tuple[int, int]) -> Iterator[Picture]:
    files = _camvid(count)
    for number in range(count):
        if files:
            yield np.array(Image.open(files[number % len(files)]).convert("RGB"))
        else:
            yield np.ascontiguousarray(draw_scene(number, "clear", *size).image)


def _camvid(count: int) -> list[Path]:
    """Frames of day and dusk in turns."""
    each = -(-count // 2)
    both = [_some(CAMVID / place, each) for place in ("day", "dusk")]
    return [file for pair in zip(*both, strict=False) for file in pair][:count]


def _some(place: Path, count: int) -> list[Path]:
    """`count` evaluation pictures, spread over all."""
    files = sorted((place / "eval" / "images").glob("*.jpg"))
    return files[:: max(1, len(files) // count)][:count]


def _clicked(predictor: SamPredictor, image: Picture) -> Iterator[tuple[Point, Mask]]:
    """Clicks all over a picture, and the best of segment-anything's three masks for each."""
    height, width = image.shape[:2]
    for number in range(_POINTS):
        point = Point(width * (number + 0.5) / _POINTS, height * (0.2 + 0.3 * (number % 3)))
        masks, scores, _ = predictor.predict(
            np.array([(point.x, point.y)]), np.array([1]), multimask_output=True
        )
        yield point, masks[int(np.argmax(scores))]
