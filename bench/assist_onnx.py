"""The shipped tiny SAM exported to ONNX, beside torch: do all pixels agree?"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from annotation.assist.segmenter import Wish
from bench.assist_quality import tiny
from cloud.assist.clicks import Clicks
from cloud.assist.onnx_sam import load_onnx_sam
from cloud.demo.scenes import draw_scene
from lifelong.records.prompts import Box, Point, Prompt

# Height and width: small and large, lying and standing, square, odd, a line.
SIZES = (
    (64, 64), (63, 65), (90, 140), (140, 90), (128, 256), (255, 256), (256, 256), (257, 256),
    (333, 500), (360, 480), (480, 360), (500, 333), (512, 512), (719, 1281), (720, 1280),
    (1080, 1920), (1920, 1080), (100, 1000), (1000, 100), (1, 300),
)  # fmt: skip


def exported_tiny(folder: Path) -> Path:
    """Folder of the exported tiny SAM, with an encoder of int8 too; exported where it is not."""
    target = folder / "tiny_onnx"
    if not target.exists():
        subprocess.run(
            [
                sys.executable, "-m", "cloud", "models", "export", "tiny_sam", "--out", str(target),
                "--int8",
            ],
            check=True, stdout=sys.stderr,
        )  # fmt: skip
    return target


def onnx_figures(folder: Path) -> dict[str, object]:
    """Of how many pixels do ONNX Runtime and torch say another thing, over 20 sizes?

    The tiny SAM's best and its three masks, for a point, two points, a box, and both together.
    """
    torch, clicks = tiny("float32"), Clicks()
    exported = load_onnx_sam(exported_tiny(folder), device="cpu")
    differing, pixels, worst = 0, 0, (0, 0)
    for number, (height, width) in enumerate(SIZES):
        image = np.ascontiguousarray(
            draw_scene(number, "clear", max(height, 32), max(width, 32)).image[:height, :width]
        )
        for wish in _wishes(number, height, width):
            answers = [
                clicks.answer(model, model.embed(image), f"{number}", wish).masks
                for model in (torch, exported)
            ]
            here = int(np.count_nonzero(answers[0] != answers[1]))
            if here > differing:
                worst = (height, width)
            differing, pixels = differing + here, pixels + answers[0].size
    return {
        "onnx_differing_pixels": differing, "onnx_pixels": pixels, "onnx_sizes": len(SIZES),
        "onnx_worst_size": list(worst) if differing else None,
    }  # fmt: skip


def _wishes(number: int, height: int, width: int) -> Sequence[Wish]:
    rng = np.random.default_rng(number)
    y, x = np.sort(rng.uniform(0, 1, (2, 2)) * [[height - 1], [width - 1]], axis=1)
    inside = Point(float(x.mean()), float(y.mean()))
    outside = Point(float(x[0] / 2), float(y[0] / 2), False)
    box = Box(float(x[0]), float(y[0]), float(x[1]), float(y[1]))
    prompts = (
        Prompt(points=(inside,)), Prompt(points=(inside, outside)), Prompt(boxes=(box,)),
        Prompt(points=(inside, outside), boxes=(box,)),
    )  # fmt: skip
    return [Wish(prompt=prompt, candidates=count) for prompt in prompts for count in (1, 3)]
