"""What bfloat16 costs and saves: encoders and masks beside fp32 in segment-anything.

Times are those of segment-anything's own `SamPredictor.set_image` with a vit_b of seeded weights in
fp32, and of ours in bfloat16 and float32, in turns. Masks are compared with the shipped tiny SAM,
which is trained, on CamVid frames where they lie beside the repository: segment-anything's
predictor in fp32 against ours in bfloat16, the best of three masks of single clicks. (`cornerloop
assist` gives the tiny SAM a mirrored border besides, in every precision; that is left out here.)
"""

import statistics
from collections.abc import Iterator
from pathlib import Path

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
from cloud.assist.interactive_model import InteractiveModel
from cloud.assist_models import AssistLoader
from cloud.demo.scenes import draw_scene
from cloud.preannotation.sam.tiny import load_tiny_sam
from lifelong.assist_config import AssistModelSection, AssistSection
from lifelong.config import Config
from lifelong.records.prompts import Point, Prompt

CAMVID = Path(__file__).parents[2] / "shared" / "data" / "camvid"
_POINTS = 5  # of each frame
_SEED = 3


def served(precision: str, section: AssistModelSection) -> InteractiveModel:
    """A model as `cornerloop assist` loads it, on the CPU."""
    config = Config(assist=AssistSection.model_validate({"device": "cpu", "precision": precision}))
    return AssistLoader(config).load(section)


def precision_figures(folder: Path, size: tuple[int, int], rounds: int) -> dict[str, object]:
    """Times of encoders, and how far masks in bfloat16 are from those in fp32."""
    return encoder_figures(folder, size, rounds) | mask_figures(2 * rounds)


def encoder_figures(folder: Path, size: tuple[int, int], rounds: int) -> dict[str, object]:
    """Seconds of one picture, by clock."""
    weights = folder / "weights" / "sam_vit_b.pth"
    write_sam(weights)
    section = AssistModelSection(type="sam", model="vit_b", checkpoint=weights)
    image = np.ascontiguousarray(draw_scene(_SEED, "clear", *size).image)
    predictor = SamPredictor(sam_model_registry["vit_b"](weights).eval())
    half, whole = served("bfloat16", section), served("float32", section)
    took: dict[str, list[float]] = {"fp32": [], "ours_bf16": [], "ours_fp32": []}
    for _ in range(rounds + 1):  # the first warms up
        took["fp32"].append(seconds_of(lambda: predictor.set_image(image))[1])
        took["ours_bf16"].append(seconds_of(lambda: half.embed(image))[1])
        took["ours_fp32"].append(seconds_of(lambda: whole.embed(image))[1])
    median = {name: statistics.median(values[1:]) for name, values in took.items()}
    return {
        "bf16_encoder_over_fp32": round(median["ours_bf16"] / median["fp32"], 3),
        "our_fp32_encoder_over_fp32": round(median["ours_fp32"] / median["fp32"], 3),
        "encoder_s": {name: round(value, 2) for name, value in median.items()},
    }


def mask_figures(frames: int) -> dict[str, object]:
    """IoU of the tiny SAM's masks in bfloat16 with those in fp32, over clicks on CamVid frames."""
    files = [file for place in ("day", "dusk") for file in _some(CAMVID / place, frames)]
    if not files:
        return {"bf16_mask_iou_on_camvid": None, "bf16_why_not": f"no CamVid in {CAMVID}"}
    half, clicks = tiny("bfloat16"), Clicks()
    predictor = SamPredictor(load_tiny_sam())
    ious = []
    for file in files:
        image = np.array(Image.open(file).convert("RGB"))
        embedded = half.embed(image)
        for point, expected in _clicked(predictor, image):
            wish = Wish(prompt=Prompt(points=(point,)))
            found = clicks.answer(half, embedded, file.name, wish)
            ious.append(iou(found.masks[0], expected))
    return {
        "bf16_mask_iou_on_camvid": round(float(np.mean(ious)), 4),
        "bf16_mask_iou_on_camvid_median": round(float(np.median(ious)), 4),
        "bf16_mask_iou_on_camvid_p1": round(float(np.percentile(ious, 1)), 4),
        "bf16_clicks": len(ious),
        "bf16_frames": len(files),
    }


def _some(place: Path, count: int) -> list[Path]:
    """`count` evaluation pictures, spread over all."""
    files = sorted((place / "eval" / "images").glob("*.jpg"))
    return files[:: max(1, len(files) // count)][:count]


def _clicked(predictor: SamPredictor, image: NDArray[np.uint8]) -> Iterator[tuple[Point, Mask]]:
    """Clicks at places of a grid, and the best of segment-anything's three masks for each."""
    predictor.set_image(image)
    height, width = image.shape[:2]
    for number in range(_POINTS):
        point = Point(width * (number + 0.5) / _POINTS, height * (0.25 + 0.5 * (number % 2)))
        masks, scores, _ = predictor.predict(
            np.array([(point.x, point.y)]), np.array([1]), multimask_output=True
        )
        yield point, masks[int(np.argmax(scores))]
