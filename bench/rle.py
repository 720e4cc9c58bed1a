"""Brush RLE: Label Studio's SDK and ours, the same masks in the same run, one thread.

python -m bench.rle --json

Three kinds of mask: `ragged` (blurred noise, a border at every third pixel), `blobs` (large round
pieces, as people paint), `noise` (every pixel by itself). Bytes must be equal, and so must pixels.
"""

import argparse
import statistics
from functools import partial

import cv2
import numpy as np
from label_studio_sdk.converter.brush import decode_rle, mask2rle
from numpy.typing import NDArray

from annotation.brush_rle import mask_from_rle, rle_from_mask
from bench.measuring import report, seconds_of

_BLUR = {"ragged": 1.0, "blobs": 40.0, "noise": 0.0}


def main() -> None:
    """Run both sides and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--height", type=int, default=2160)
    parser.add_argument("--width", type=int, default=3840)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    figures: dict[str, object] = {
        "bench": "rle",
        "size": [given.height, given.width],
        "repeats": given.repeats,
    }
    for kind in _BLUR:
        mask = drawn(kind, given.height, given.width, given.seed)
        figures[kind] = compared(mask, given.repeats)
    report(figures, as_json=given.json)


def drawn(kind: str, height: int, width: int, seed: int) -> NDArray[np.bool_]:
    """(height, width) bool, about half of it painted."""
    noise = np.random.default_rng(seed).random((height, width)).astype(np.float32)
    if _BLUR[kind]:
        noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), _BLUR[kind]))
    return np.asarray(noise > np.median(noise), dtype=np.bool_)


def compared(mask: NDArray[np.bool_], repeats: int) -> dict[str, object]:
    """Median seconds of both sides in turns, and whether they agree."""
    height, width = mask.shape
    grey = mask.astype(np.uint8) * 255
    seconds: dict[str, list[float]] = {name: [] for name in ("sdk_in", "in", "sdk_out", "out")}
    same = True
    for _ in range(repeats):
        theirs, took = seconds_of(lambda: mask2rle(grey))
        seconds["sdk_in"].append(took)
        ours, took = seconds_of(lambda: rle_from_mask(mask))
        seconds["in"].append(took)
        pixels, took = seconds_of(partial(sdk_pixels, theirs, height, width))
        seconds["sdk_out"].append(took)
        painted, took = seconds_of(partial(mask_from_rle, ours, height, width, "ours"))
        seconds["out"].append(took)
        same &= ours == theirs and np.array_equal(pixels, painted) and np.array_equal(painted, mask)
    median = {name: statistics.median(taken) for name, taken in seconds.items()}
    return {
        "bytes": len(theirs),
        "equal": same,
        "encode_seconds": {"sdk": round(median["sdk_in"], 4), "ours": round(median["in"], 4)},
        "encode_ratio": round(median["sdk_in"] / median["in"], 1),
        "decode_seconds": {"sdk": round(median["sdk_out"], 4), "ours": round(median["out"], 4)},
        "decode_ratio": round(median["sdk_out"] / median["out"], 1),
    }


def sdk_pixels(packed: list[int], height: int, width: int) -> NDArray[np.bool_]:
    """The SDK's way back to (height, width) bool."""
    return np.asarray(decode_rle(packed).reshape(height, width, 4)[..., 3] > 127)


if __name__ == "__main__":
    main()
