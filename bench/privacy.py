"""What the privacy filter misses: people the model does not see, by margin and by probability.

python -m bench.privacy --json
python -m bench.privacy --pictures 100 --conditions clear dusk night

Drawn streets with exact labels, and the shipped edge model, which has learned clear weather only.
For each condition, `from_probability` and `margin_px`: the share of the true pixels of people that
stay as they were, the share of people (pieces of at least 50 pixels) of whom more than half stays,
and the share of the whole picture that is blurred.
"""

import argparse
import logging
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.demo_cloud import demo_cloud
from bench.measuring import report
from edge.privacy import Privacy
from lifelong.hard_examples import judge
from lifelong.records.ids import EdgeId
from lifelong.records.label_map import LabelMap
from lifelong.records.pixels import Frame, Prediction, image_from_bytes
from lifelong.regions import connected_pieces
from lifelong.sections.edge import HardExamplesSection, PrivacySection
from lifelong.segmenter import OnnxSegmenter

PEOPLE = ("person", "rider")
PROBABILITIES = (1.0, 0.5, 0.2, 0.1, 0.05)
MARGINS = (0, 4, 8, 16)
MIN_PERSON_PX = 50
TAKEN_AT = datetime(2026, 3, 1, tzinfo=UTC)


def main() -> None:
    """Filter drawn streets and count what is left of people."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=40)
    parser.add_argument("--conditions", nargs="+", default=["clear", "dusk", "night"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        figures = missed(Path(folder), given.conditions, given.pictures, given.seed)
    report(figures, as_json=given.json)


def missed(folder: Path, conditions: list[str], count: int, seed: int) -> dict[str, object]:
    """Figures of every condition and setting."""
    cloud, world = demo_cloud(folder, seed)
    bundle = cloud.releases.incumbent()
    assert bundle is not None
    watched = tuple(cloud.label_map.id_of(name) for name in PEOPLE)
    segmenter = OnnxSegmenter(bundle, threads=1, watched=watched)
    figures: dict[str, object] = {}
    for condition in conditions:
        seen = [
            (image, segmenter.segment(image), np.isin(picture.mask, watched))
            for picture in world.stream(condition, 0, count)
            for image in [image_from_bytes(picture.image, picture.name)]
        ]
        for probability in PROBABILITIES:
            for margin in MARGINS:
                section = PrivacySection(
                    blur=PEOPLE, margin_px=margin, from_probability=probability
                )
                figures[f"{condition}, from {probability}, margin {margin}"] = told(
                    [
                        (is_person, blurred(section, cloud.label_map, image, prediction))
                        for image, prediction, is_person in seen
                        if is_person.any()
                    ]
                )
    return figures


def blurred(
    section: PrivacySection,
    label_map: LabelMap,
    image: NDArray[np.uint8],
    prediction: Prediction,
) -> NDArray[np.bool_]:
    """(H, W): the pixels that the filter takes away."""
    frame = Frame(image=image, edge_id=EdgeId("edge-1"), captured_at=TAKEN_AT)
    verdict = judge(prediction, HardExamplesSection(), {}, 0.5)
    filtered = Privacy(section, label_map).filtered(frame, prediction, verdict)
    assert filtered is not None
    return filtered.blurred


def told(pictures: list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]) -> dict[str, float]:
    """Shares over all pictures of (pixels of people, blurred pixels)."""
    pixels = sum(int(person.sum()) for person, _ in pictures)
    left = sum(int((person & ~gone).sum()) for person, gone in pictures)
    people = seen = 0
    for person, gone in pictures:
        pieces = connected_pieces(person.astype(np.uint8))
        areas = np.bincount(pieces.labels.ravel())
        kept = np.bincount(pieces.labels.ravel(), weights=(~gone).ravel())
        counted = (pieces.class_ids == 1) & (areas >= MIN_PERSON_PX)
        people += int(counted.sum())
        seen += int((kept[counted] > 0.5 * areas[counted]).sum())
    return {
        "pixels_left": round(left / max(pixels, 1), 4),
        "people": people,
        "people_left": round(seen / max(people, 1), 4),
        "picture_blurred": round(float(np.mean([gone.mean() for _, gone in pictures])), 4),
    }


if __name__ == "__main__":
    main()
