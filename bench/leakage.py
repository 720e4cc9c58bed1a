"""How many disguised hold-out pictures the leakage check finds, and how many honest ones it takes.

`python -m bench.leakage --data DIR` wants `DIR/{condition}/{train,eval}/images`, as
`../shared/data/camvid` has it. The pictures of `eval` are disguised and looked for among those
of `eval`; those of `train` are looked for as they are. Prints one JSON object.
"""

import argparse
import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from lifelong.leakage import NEAR, Fingerprint, find_leaks, fingerprint

Disguise = Callable[[Image.Image], Image.Image]


def disguises(random: np.random.Generator) -> Mapping[str, Disguise]:
    """Ways to make a copy look like another picture; crops are drawn anew for each picture."""

    def cropped(picture: Image.Image, most: float) -> Image.Image:
        left, top, right, bottom = random.uniform(0.0, most, 4)
        width, height = picture.size
        edges = (width * left, height * top, width * (1 - right), height * (1 - bottom))
        return picture.crop(tuple(round(edge) for edge in edges))  # type: ignore[arg-type]

    def brighter(picture: Image.Image, factor: float) -> Image.Image:
        return ImageEnhance.Brightness(picture).enhance(factor)

    def mirrored(picture: Image.Image) -> Image.Image:
        return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)

    def scaled(picture: Image.Image, across: float, down: float) -> Image.Image:
        return picture.resize((int(picture.width * across), int(picture.height * down)))

    return {
        "encoded again, quality 50": lambda p: _encoded(p, 50),
        "half as large": lambda p: scaled(p, 0.5, 0.5),
        "1.7 x 1.5 times as large": lambda p: scaled(p, 1.7, 1.5),
        "mirrored": mirrored,
        "brighter by 1.4": lambda p: brighter(p, 1.4),
        "darker by 0.5": lambda p: brighter(p, 0.5),
        "gamma 1.8": lambda p: p.point(lambda v: int(255 * (v / 255) ** 1.8)),
        "blurred by 1.5 pixels": lambda p: p.filter(ImageFilter.GaussianBlur(1.5)),
        "cropped by 3 % an edge": lambda p: cropped(p, 0.03),
        "cropped by 5 % an edge": lambda p: cropped(p, 0.05),
        "all of it": lambda p: _encoded(
            brighter(scaled(mirrored(cropped(p, 0.04)), 0.5, 0.5), 1.2), 60
        ),
    }


def measure(condition: Path, seed: int = 0) -> dict[str, Any]:
    """Recall by disguise and the honest pictures' likeness, for one condition."""
    held, train = _pictures(condition / "eval"), _pictures(condition / "train")
    prints = {name: _print(picture) for name, picture in held.items()}
    honest = {f"train/{name}": _print(picture) for name, picture in train.items()}
    found: dict[str, dict[str, Any]] = {}
    for told, disguise in disguises(np.random.default_rng(seed)).items():
        copies = {f"copy/{name}": _print(disguise(picture)) for name, picture in held.items()}
        leaks = find_leaks(copies, prints, near=-1.0)
        right = [leak.likeness for leak in leaks if leak.train == f"copy/{leak.holdout}"]
        found[told] = {
            "found": sum(likeness >= NEAR for likeness in right),
            "of": len(copies),
            "least": round(min(right, default=-1.0), 3),
        }
    began = time.perf_counter()
    others = find_leaks(honest, prints, near=-1.0)
    seconds = time.perf_counter() - began
    return {
        "disguised": found,
        "honest": len(honest),
        "false_alarms": sum(leak.likeness >= NEAR for leak in others),
        "likest_honest": round(max((leak.likeness for leak in others), default=-1.0), 3),
        "ms_each": round(1000 * seconds / max(1, len(honest)), 1),
    }


def together(conditions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The same over all conditions and disguises."""
    disguised = [one for condition in conditions for one in condition["disguised"].values()]
    return {
        "found": sum(one["found"] for one in disguised),
        "of": sum(one["of"] for one in disguised),
        "least": min((one["least"] for one in disguised), default=None),
        "honest": sum(condition["honest"] for condition in conditions),
        "false_alarms": sum(condition["false_alarms"] for condition in conditions),
        "likest_honest": max((one["likest_honest"] for one in conditions), default=None),
        "ms_each": max((one["ms_each"] for one in conditions), default=None),
    }


def _encoded(picture: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


def _pictures(folder: Path) -> dict[str, Image.Image]:
    files = sorted((folder / "images").glob("*.jpg"))
    return {path.name: Image.open(path).convert("RGB") for path in files}


def _print(picture: Image.Image) -> Fingerprint:
    return fingerprint(np.asarray(picture))


def main() -> None:
    """Measure every condition of a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    told = parser.parse_args()
    places = sorted(place.parent for place in told.data.glob("*/eval") if place.is_dir())
    found = {place.name: measure(place) for place in places}
    print(json.dumps(found | {"together": together(list(found.values()))}, indent=1))


if __name__ == "__main__":
    main()
