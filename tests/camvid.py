"""Real masks for round trips: the CamVid pictures that lie beside the repository, if they do."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lifelong.records.pixels import mask_from_png

CAMVID = Path(__file__).parents[2] / "shared" / "data" / "camvid"


def camvid_masks() -> list[tuple[str, NDArray[np.uint8]]]:
    """(name, (H, W) uint8 train ids) of every evaluation picture; skips the test without them."""
    files = sorted(CAMVID.glob("*/eval/train_ids/*.png"))
    if not files:
        pytest.skip(f"no CamVid in {CAMVID}; its pictures are not part of the repository")
    return [(file.stem, mask_from_png(file.read_bytes(), file.name)) for file in files]
