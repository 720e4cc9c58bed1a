"""Hard example mining: is this prediction worth a person's minute, and why?

Every score runs from 0 (the model is sure) to 1 (it has no idea). The names are those of
`edge.hard_examples.policy`; the policies after Sedna's hard example filters keep its formulae and
answer for every input, also for those on which Sedna's raise.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lifelong.edge_config import HardExamplesSection
from lifelong.records.label_map import IGNORE_INDEX
from lifelong.records.pixels import Prediction
from lifelong.regions import connected_pieces

# Half way between sure and clueless, as Sedna's filters have it; used only when neither the
# configuration nor the bundle says what is unusual for this model.
FALLBACK_THRESHOLD = 0.5

# Pieces smaller than this share of the picture are grain along borders, not objects.
MIN_REGION_SHARE = 0.0005

# What a pixel counts as when its value is not a number: as doubtful as can be.
_WORST = {"confidence": 0.0, "entropy": 1.0, "margin": 0.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Is a frame hard, how hard, and why, in words."""

    is_hard: bool
    score: float  # of the configured policy, 0 (sure) .. 1 (no idea)
    reasons: tuple[str, ...]  # empty when the frame is not hard
    scores: Mapping[str, float]  # all that were computed, by name
    regions: tuple["RegionDoubt", ...] = ()  # one a class
    novelty: float | None = None  # 0 .. 1, of the prediction; None when the model cannot say

    @property
    def priority(self) -> float:
        """What leaves the node first: hardness x novelty, 0 .. 1; without novelty the score."""
        return self.score if self.novelty is None else self.score * self.novelty


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionDoubt:
    """How sure the model is of one region; means over the region's pixels."""

    class_id: int
    area: int  # pixels
    box: tuple[int, int, int, int]  # x0, y0, x1, y1 inclusive, pixels
    confidence: float  # mean probability of the chosen class, 0 .. 1
    entropy: float  # mean normalised entropy, 0 .. 1
    margin: float  # mean of best minus second best probability, 0 .. 1
    share_below: float  # of the pixels whose confidence is under the threshold, 0 .. 1


def judge(
    prediction: Prediction,
    section: HardExamplesSection,
    quantiles: Mapping[str, Mapping[str, float]],
    draw: float,
    *,
    background_id: int | None = None,
) -> Verdict:
    """Decide about one frame; answers for every prediction, also an empty one.

    Args:
        quantiles: `score_quantiles` of the running bundle's manifest; may be empty.
        draw: a number in [0, 1) for the random choices, by the caller.
        background_id: class id of `section.background`; None: a frame that is one class all
            over counts as empty.
    """
    regions = region_scores(prediction, section.confidence_below, by="class")
    scores = _scores_of(regions)
    if section.policy == "ibt":
        scores["ibt"] = _share_of_doubtful_pieces(prediction, section.confidence_below)
    match section.policy:
        case "edge_only":  # nothing leaves the node, whatever the other switches say
            return Verdict(
                is_hard=False, score=scores["entropy"], reasons=(), scores=scores, regions=regions
            )
        case "cloud_only":
            score, reasons = scores["entropy"], ["policy cloud_only keeps every frame"]
        case "random":
            score = min(max(draw, 0.0), 1.0)
            reasons = _over_threshold(score, section, {})
        case _:
            score = scores[section.policy]
            reasons = _over_threshold(score, section, quantiles)
    if draw < section.random_share:
        reasons.append(f"drawn for the random share of {section.random_share:g}")
    if section.empty_is_hard and is_empty(prediction, background_id):
        reasons.append("nothing but background was found")
    return Verdict(
        is_hard=bool(reasons),
        score=score,
        reasons=tuple(reasons),
        scores=scores,
        regions=regions,
    )


def frame_scores(prediction: Prediction, section: HardExamplesSection) -> dict[str, float]:
    """One number per score policy for a frame, each 0 (sure) .. 1 (no idea).

    * `entropy`: mean normalised entropy
    * `margin`: one minus the mean margin
    * `least_confidence`: one minus the mean of the best probability
    * `share_below`: share of pixels whose best probability is under `confidence_below`
    * `cross_entropy`: mean over the classes present of the class's mean normalised entropy;
      Sedna's 1 + Σ p ln p / ln n turned round, and a small object weighs as much as the road
    * `ibt`: share of regions whose mean best probability is at most `confidence_below` (Sedna's
      image-box threshold with regions in place of boxes)

    Training takes the quantiles of these over its pictures into the bundle's manifest.
    """
    scores = _scores_of(region_scores(prediction, section.confidence_below, by="class"))
    scores["ibt"] = _share_of_doubtful_pieces(prediction, section.confidence_below)
    return scores


def region_scores(
    prediction: Prediction,
    confidence_below: float = 0.7,
    *,
    by: Literal["piece", "class"] = "piece",
) -> tuple[RegionDoubt, ...]:
    """How sure the model is of each region: of each connected piece, or of each class as a whole.

    Returns:
        Pieces in reading order of their first pixels, or classes by id; none without pixels.
    """
    mask = prediction.mask
    if mask.size == 0:
        return ()
    labels: NDArray[np.int64]
    present: NDArray[np.int64]
    if by == "piece":
        pieces = connected_pieces(mask)
        labels, boxes = pieces.labels.ravel(), pieces.boxes
        present, class_ids = np.arange(len(pieces)), pieces.class_ids
    else:
        labels = mask.ravel().astype(np.int64)
        present = np.flatnonzero(np.bincount(labels))
        class_ids = present.astype(np.uint8)
        boxes = np.array([_box(mask == class_id) for class_id in class_ids])
    areas = np.bincount(labels)[present]
    confidence = _plane(prediction, "confidence")
    planes = (
        confidence,
        _plane(prediction, "entropy"),
        _plane(prediction, "margin"),
        confidence < confidence_below,
    )
    columns = [np.bincount(labels, weights=plane.ravel())[present] / areas for plane in planes]
    return tuple(
        RegionDoubt(
            class_id=int(class_ids[index]),
            area=int(areas[index]),
            box=(int(box[0]), int(box[1]), int(box[2]), int(box[3])),
            confidence=float(columns[0][index]),
            entropy=float(columns[1][index]),
            margin=float(columns[2][index]),
            share_below=float(columns[3][index]),
        )
        for index, box in enumerate(boxes)
    )


def threshold_for(
    section: HardExamplesSection, quantiles: Mapping[str, Mapping[str, float]]
) -> tuple[float, str]:
    """From where on a score is hard, and who says so.

    The configuration first, then the bundle's quantile, then `FALLBACK_THRESHOLD`. The quantile
    of the policy "random" is known without a bundle: its scores are spread evenly.
    """
    if section.threshold is not None:
        return section.threshold, "configured threshold"
    if section.policy == "random":
        return float(section.quantile), f"{section.quantile} quantile of an even draw"
    value = quantiles.get(section.policy, {}).get(section.quantile, math.nan)
    if math.isfinite(value):
        # A model that was never in doubt has quantile 0; a frame without doubt is not hard then.
        return max(value, 1e-9), f"model's own {section.quantile} quantile"
    return FALLBACK_THRESHOLD, "fallback threshold, the model brings no quantiles"


def is_empty(prediction: Prediction, background_id: int | None) -> bool:
    """Is there nothing but background (and ignored pixels) in the mask?"""
    present = np.flatnonzero(np.bincount(prediction.mask.ravel(), minlength=256))
    classes = present[present != IGNORE_INDEX]
    if background_id is None:
        return bool(classes.size <= 1)
    return bool(np.isin(classes, background_id).all())


def _over_threshold(
    score: float, section: HardExamplesSection, quantiles: Mapping[str, Mapping[str, float]]
) -> list[str]:
    threshold, whose = threshold_for(section, quantiles)
    if score < threshold:
        return []
    return [f"{section.policy} {score:.3f} reaches {threshold:.3f} ({whose})"]


def _scores_of(regions: tuple[RegionDoubt, ...]) -> dict[str, float]:
    """Every score but `ibt` from the regions by class; their pixels are all pixels of the frame."""
    pixels = max(sum(region.area for region in regions), 1)  # nothing seen is nothing doubted
    classes = max(len(regions), 1)
    return {
        "entropy": _share(sum(r.entropy * r.area for r in regions) / pixels),
        "margin": _share(sum((1.0 - r.margin) * r.area for r in regions) / pixels),
        "least_confidence": _share(sum((1.0 - r.confidence) * r.area for r in regions) / pixels),
        "share_below": _share(sum(r.share_below * r.area for r in regions) / pixels),
        "cross_entropy": _share(sum(r.entropy for r in regions) / classes),
    }


def _share_of_doubtful_pieces(prediction: Prediction, confidence_below: float) -> float:
    if prediction.mask.size == 0:
        return 0.0
    labels = connected_pieces(prediction.mask).labels.ravel()
    areas = np.bincount(labels)
    confidence = np.bincount(labels, weights=_plane(prediction, "confidence").ravel()) / areas
    large = areas >= MIN_REGION_SHARE * prediction.mask.size
    counted = confidence[large] if large.any() else confidence
    return float(np.count_nonzero(counted <= confidence_below) / counted.size)


def _plane(
    prediction: Prediction, name: Literal["confidence", "entropy", "margin"]
) -> NDArray[np.float32]:
    """One (H, W) float32 plane within 0 .. 1; what is no number is as doubtful as can be."""
    plane: NDArray[np.float32] = getattr(prediction, name)
    # The sum is finite exactly when no pixel is NaN or infinite: one quick pass on the usual path.
    if plane.size == 0 or (math.isfinite(float(plane.sum(dtype=np.float64)))):
        return np.clip(plane, 0.0, 1.0)
    return np.clip(np.where(np.isfinite(plane), plane, np.float32(_WORST[name])), 0.0, 1.0)


def _share(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def _box(inside: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])
