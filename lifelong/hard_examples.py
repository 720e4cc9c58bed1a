"""Hard example mining: is this prediction worth a person's minute, and why?

Every score runs from 0 (the model is sure) to 1 (it has no idea). The names are those of
`edge.hard_examples.policy`; the policies after Sedna's hard example filters keep its formulae and
answer for every input, also for those on which Sedna's raise.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lifelong.labels.region_doubts import RegionDoubt, bounded_plane, region_scores
from lifelong.preprocessing import at_picture_size
from lifelong.records.label_map import IGNORE_INDEX
from lifelong.records.pixels import Prediction
from lifelong.regions import connected_pieces
from lifelong.sections.edge import HardExamplesSection

# Half way between sure and clueless, as Sedna's filters have it; used only when neither the
# configuration nor the bundle says what is unusual for this model.
FALLBACK_THRESHOLD = 0.5

# Policies that compare two looks at one picture.
SECOND_LOOKS = ("flip_consistency", "disagreement")

_NEEDED = {
    "flip_consistency": "no second look at the mirrored picture",
    "disagreement": "no previous model on this node to disagree with",
    "novelty": "this model's bundle brings no prototypes",
}

# Pieces smaller than this share of the picture are grain along borders, not objects.
MIN_REGION_SHARE = 0.0005


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Is a frame hard, how hard, and why, in words."""

    is_hard: bool
    score: float  # of the configured policy, 0 (sure) .. 1 (no idea)
    reasons: tuple[str, ...]  # empty when the frame is not hard
    scores: Mapping[str, float]  # all that were computed, by name
    regions: tuple[RegionDoubt, ...] = ()  # one a class
    novelty: float | None = None  # 0 .. 1, of the prediction; None when the model cannot say
    missing: str = ""  # what the policy would have needed and did not get; the score is 0 then
    # Chosen by chance, to see without bias, or because all are kept: no scene filter may touch it.
    is_unfiltered: bool = False

    @property
    def priority(self) -> float:
        """What leaves the node first: hardness x novelty, 0 .. 1; without novelty the score."""
        return self.score if self.novelty is None else self.score * self.novelty


def judge(
    prediction: Prediction,
    section: HardExamplesSection,
    quantiles: Mapping[str, Mapping[str, float]],
    draw: float,
    *,
    background_id: int | None = None,
    second: Prediction | None = None,
) -> Verdict:
    """Decide about one frame; answers for every prediction, also an empty one.

    Args:
        quantiles: `score_quantiles` of the running bundle's manifest; may be empty.
        draw: a number in [0, 1) for the random choices, by the caller.
        background_id: class id of `section.background`; None: a frame that is one class all
            over counts as empty.
        second: another look at the same picture, upright and at the same size, for the policies
            in `SECOND_LOOKS`; None when there is none.
    """
    regions = region_scores(prediction, section.confidence_below, by="class")
    scores = _scores_of(prediction, regions, section.confidence_below) | _novelties(prediction)
    novelty = scores.get("novelty")
    if section.policy == "ibt":
        scores["ibt"] = _share_of_doubtful_pieces(prediction, section.confidence_below)
    if section.policy in SECOND_LOOKS and second is not None:
        scores[section.policy] = disagreement(prediction, second)
    if section.policy == "edge_only":  # nothing leaves the node, whatever the other switches say
        score, missing, reasons = scores["entropy"], "", list[str]()
    else:
        score, missing, reasons = _by_policy(section, scores, quantiles, draw)
        reasons += _by_switches(regions, section, novelty, draw, background_id)
    return Verdict(
        is_hard=bool(reasons),
        score=score,
        reasons=tuple(reasons),
        scores=scores,
        regions=regions,
        novelty=novelty,
        missing=missing,
        is_unfiltered=section.policy in {"random", "cloud_only"} or draw < section.random_share,
    )


def disagreement(first: Prediction, second: Prediction) -> float:
    """Share of the pixels to which two predictions of one picture give different classes, 0 .. 1.

    Of two pictures of different size nothing is comparable: 1.

    >>> masks = np.array([[0, 0, 1, 1]], np.uint8), np.array([[0, 1, 1, 1]], np.uint8)
    >>> sure = np.ones((1, 4), np.float32)
    >>> disagreement(*(
    ...     Prediction(mask=m, confidence=sure, entropy=1 - sure, margin=sure, version_id="0" * 16)
    ...     for m in masks
    ... ))
    0.25
    """
    if first.mask.shape != second.mask.shape:
        return 1.0
    if first.mask.size == 0:
        return 0.0
    return float(np.count_nonzero(first.mask != second.mask) / first.mask.size)


def frame_scores(prediction: Prediction, section: HardExamplesSection) -> dict[str, float]:
    """One number per score policy for a frame, each 0 (sure) .. 1 (no idea).

    Means are over the cells of the network's own grid, where its answer was made.

    * `entropy`: mean normalised entropy
    * `margin`: one minus the mean margin
    * `least_confidence`: one minus the mean of the best probability
    * `share_below`: share of pixels whose best probability is under `confidence_below`
    * `cross_entropy`: mean over the classes present of the class's mean normalised entropy;
      Sedna's 1 + Σ p ln p / ln n turned round, and a small object weighs as much as the road
    * `ibt`: share of regions whose mean best probability is at most `confidence_below` (Sedna's
      image-box threshold with regions in place of boxes)
    * `novelty`: of the whole picture or of its strangest class, whichever is newer, and
      `class_novelty` of the latter alone; absent when the bundle cannot say

    Training takes the quantiles of these over its pictures into the bundle's manifest.
    """
    regions = region_scores(prediction, section.confidence_below, by="class")
    scores = _scores_of(prediction, regions, section.confidence_below) | _novelties(prediction)
    scores["ibt"] = _share_of_doubtful_pieces(prediction, section.confidence_below)
    return scores


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
    return _is_background({int(class_id) for class_id in present}, background_id)


def _is_background(present: set[int], background_id: int | None) -> bool:
    classes = present - {IGNORE_INDEX}
    return len(classes) <= 1 if background_id is None else classes <= {background_id}


def _by_policy(
    section: HardExamplesSection,
    scores: Mapping[str, float],
    quantiles: Mapping[str, Mapping[str, float]],
    draw: float,
) -> tuple[float, str, list[str]]:
    """Score, what was missing for it, and the reasons for which the policy calls a frame hard."""
    if section.policy == "cloud_only":
        return scores["entropy"], "", ["policy cloud_only keeps every frame"]
    if section.policy == "random":
        score = min(max(draw, 0.0), 1.0)
    elif section.policy not in scores:
        # Nothing was looked at, so nothing is hard; not even for a threshold of 0.
        return 0.0, _NEEDED[section.policy], []
    else:
        score = scores[section.policy]
    threshold, whose = threshold_for(section, quantiles)
    if score < threshold:
        return score, "", []
    return score, "", [f"{section.policy} {score:.3f} reaches {threshold:.3f} ({whose})"]


def _by_switches(
    regions: tuple[RegionDoubt, ...],
    section: HardExamplesSection,
    novelty: float | None,
    draw: float,
    background_id: int | None,
) -> list[str]:
    """Reasons for which a frame is hard whatever the policy says."""
    reasons = []
    if section.novel_from is not None and novelty is not None and novelty >= section.novel_from:
        reasons.append(f"novelty {novelty:.3f} reaches {section.novel_from:.3f} (novel_from)")
    if draw < section.random_share:
        reasons.append(f"drawn for the random share of {section.random_share:g}")
    present = {region.class_id for region in regions}
    if section.empty_is_hard and _is_background(present, background_id):
        reasons.append("nothing but background was found")
    return reasons


def _novelties(prediction: Prediction) -> dict[str, float]:
    """`class_novelty` of the strangest class, `novelty` of it or the whole picture; may be empty.

    What is no number is as novel as can be.
    """
    strangest = [_share(v) if math.isfinite(v) else 1.0 for v in prediction.class_novelty.values()]
    scores = {"class_novelty": max(strangest)} if strangest else {}
    if prediction.novelty is not None:
        whole = _share(prediction.novelty) if math.isfinite(prediction.novelty) else 1.0
        scores["novelty"] = max([whole, *strangest])
    return scores


def _scores_of(
    prediction: Prediction, regions: tuple[RegionDoubt, ...], confidence_below: float
) -> dict[str, float]:
    """Every score of pixels; `regions` are those by class. Nothing seen is nothing doubted."""
    if not regions:
        return dict.fromkeys(
            ("entropy", "margin", "least_confidence", "share_below", "cross_entropy"), 0.0
        )
    confidence = bounded_plane(prediction, "confidence")
    return {
        "entropy": _mean(bounded_plane(prediction, "entropy")),
        "margin": 1.0 - _mean(bounded_plane(prediction, "margin")),
        "least_confidence": 1.0 - _mean(confidence),
        "share_below": float(np.count_nonzero(confidence < confidence_below) / confidence.size),
        "cross_entropy": _share(sum(region.entropy for region in regions) / len(regions)),
    }


def _share_of_doubtful_pieces(prediction: Prediction, confidence_below: float) -> float:
    if prediction.mask.size == 0:
        return 0.0
    labels = connected_pieces(prediction.mask).labels.ravel()
    areas = np.bincount(labels)
    sure = bounded_plane(at_picture_size(prediction), "confidence").ravel()
    confidence = np.bincount(labels, weights=sure) / areas
    large = areas >= MIN_REGION_SHARE * prediction.mask.size
    counted = confidence[large] if large.any() else confidence
    return float(np.count_nonzero(counted <= confidence_below) / counted.size)


def _mean(plane: NDArray[np.float32]) -> float:
    return _share(float(plane.mean(dtype=np.float64)))


def _share(value: float) -> float:
    return min(max(value, 0.0), 1.0)
