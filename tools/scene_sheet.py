"""A contact sheet of drawn scenes: every condition, a few seeds, the picture over its labels.

python -m tools.scene_sheet [OUT.png] [SEED ...]
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from cloud.demo.scenes import CONDITIONS, draw_scene
from lifelong.records.label_map import CITYSCAPES


def sheet(seeds: list[int], height: int = 192, width: int = 288) -> Image.Image:
    """One column for each condition, two rows (picture, labels) for each seed."""
    rows = []
    for seed in seeds:
        scenes = [draw_scene(seed, condition) for condition in CONDITIONS]
        rows.append(np.hstack([_small(s.image, height, width, Image.LANCZOS) for s in scenes]))
        painted = [CITYSCAPES.paint(s.mask) for s in scenes]
        rows.append(np.hstack([_small(p, height, width, Image.NEAREST) for p in painted]))
    return Image.fromarray(np.vstack(rows))


def _small(picture: np.ndarray, height: int, width: int, how: int) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).resize((width, height), how))


def main() -> None:
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images/scenes.png")
    seeds = [int(text) for text in sys.argv[2:]] or [3, 11, 24]
    # A palette keeps the sheet small enough for a repository.
    sheet(seeds).quantize(240, method=Image.Quantize.MEDIANCUT).save(out, optimize=True)


if __name__ == "__main__":
    main()
