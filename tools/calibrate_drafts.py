"""Fit what a draft's raw scores are worth on pictures with known labels, and say how well it fits.

python -m tools.calibrate_drafts                            the shipped models, on drawn scenes
python -m tools.calibrate_drafts --config cornerloop.yaml --data DIR --out calibration.json

DIR holds images/ and train_ids/. Every other picture fits, the rest examine: the expected
calibration error before and after is printed as JSON, with the reliability curve of ten bins.
Name the file in `preannotation.calibration`; the shipped one is used where none is named.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cloud.demo.scenes import CONDITIONS, draw_scene
from cloud.preannotation.assembly import CALIBRATIONS, drafter_from
from cloud.preannotation.confidence import (
    IDENTITY,
    Calibration,
    expected_calibration_error,
    fitted,
    written,
)
from cloud.preannotation.drafting import Drafter
from cloud.preannotation.drafting_training import FolderPairs, Pair
from cloud.preannotation.region_masks import mask_in_box
from lifelong.config import Config, load_config, load_label_map
from lifelong.records.label_map import IGNORE_INDEX

FIRST_SEED = 910_000  # no training and no other measurement uses these
Table = NDArray[np.float64]  # (N, 3): raw score, share of right pixels, pixels


def main() -> None:
    """Draft, fit, examine, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, help="else beside the shipped weights")
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    config = Config() if given.config is None else load_config(given.config)
    identity = given.out.with_suffix(".identity") if given.out else Path("runs/identity.json")
    identity.parent.mkdir(parents=True, exist_ok=True)
    written(IDENTITY, identity)
    section = config.preannotation.model_copy(update={"calibration": identity})
    drafter = drafter_from(section, load_label_map(config))
    identity.unlink()
    pairs = _scenes(given.scenes) if given.data is None else _folder(given.data)
    fitting, examining = _tables(drafter, pairs)
    what = "drawn scenes" if given.data is None else given.data.name
    calibration = fitted(*fitting.T, fitted_on=f"{len(fitting)} regions of {what}")
    name = f"calibration.{drafter.proposed_by}.{drafter.labelled_by}.json"
    written(calibration, given.out or CALIBRATIONS / name)
    print(json.dumps(examined(calibration, examining), indent=1))


def examined(calibration: Calibration, table: Table) -> dict[str, object]:
    """How far scores are from the truth, before and after, and the reliability curve."""
    raw, right, weights = table.T
    scores = calibration.applied(raw).astype(np.float64)
    bins = np.minimum((scores * 10).astype(int), 9)
    curve = [
        {
            "said": round(float(np.average(scores[bins == b], weights=weights[bins == b])), 3),
            "seen": round(float(np.average(right[bins == b], weights=weights[bins == b])), 3),
            "share_of_pixels": round(float(weights[bins == b].sum() / weights.sum()), 3),
        }
        for b in range(10)
        if weights[bins == b].sum() > 0
    ]
    return {
        "regions": len(table),
        "ece_of_raw_scores": round(expected_calibration_error(raw, right, weights), 4),
        "ece_calibrated": round(expected_calibration_error(scores, right, weights), 4),
        "curve": curve,
    }


def _tables(drafter: Drafter, pairs: Iterator[Pair]) -> tuple[Table, Table]:
    rows: tuple[list[list[float]], list[list[float]]] = ([], [])
    for number, (image, truth) in enumerate(pairs):
        for region in drafter.draft(image).regions:
            x0, y0, x1, y1 = region.box
            inside = truth[y0 : y1 + 1, x0 : x1 + 1][mask_in_box(region.rle, region.box)]
            known = inside[inside != IGNORE_INDEX]
            if known.size and region.class_id is not None:
                right = float((known == region.class_id).mean())
                rows[number % 2].append([region.score, right, float(known.size)])
    return np.array(rows[0]).reshape(-1, 3), np.array(rows[1]).reshape(-1, 3)


def _scenes(count: int) -> Iterator[Pair]:
    for index in range(count):
        # Both halves see all conditions.
        scene = draw_scene(FIRST_SEED + index, CONDITIONS[(index // 2) % len(CONDITIONS)])
        yield scene.image, scene.mask


def _folder(folder: Path) -> Iterator[Pair]:
    pairs = FolderPairs(folder)
    for index in range(len(pairs)):
        yield pairs[index]


if __name__ == "__main__":
    main()
