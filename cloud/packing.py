"""Trained weights to a bundle: exported, proven, and told how unsure is usual for this model."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lifelong.edge_config import HardExamplesSection
from lifelong.hard_examples import frame_scores
from lifelong.model_bundle import BundleManifest, ModelBundle, make_bundle
from lifelong.segmenter import OnnxSegmenter
from lifelong.training.checkpoints import Weights, load_weights
from lifelong.training.networks import build_network
from lifelong.training.onnx_export import onnx_from_network, prove_equal

QUANTILES = ("0.50", "0.75", "0.90", "0.95", "0.99")

_MOST_MEASURED = 64  # pictures; more would not move the quantiles, only the clock
_PROVEN_ON = 2  # real pictures on which the export is compared with torch

T = TypeVar("T")


def packed(
    weights: Weights,
    manifest: BundleManifest,
    images: Sequence[NDArray[np.uint8]],
    reduce: Callable[[ModelBundle], ModelBundle] | None = None,
) -> ModelBundle:
    """A bundle whose manifest is `manifest` with the model's own score quantiles.

    Args:
        images: (H, W, 3) uint8 RGB each, of what the model was trained for; best ones that it
            was not trained on.
        reduce: answers the proven bundle with one of fewer bits, or with the same.

    Raises:
        ModelLoadError: the weights are those of another network.
        ExportMismatchError: ONNX Runtime does not answer as torch does.
    """
    network = build_network(manifest.network, len(manifest.label_map), seed=0)
    load_weights(network, weights, "trained weights")
    bundle = make_bundle(manifest, onnx_from_network(network, manifest.preprocessing))
    prove_equal(bundle, network, list(images[:_PROVEN_ON]))
    if reduce is not None:
        bundle = reduce(bundle)  # before anything is measured: it is this one that answers
    quantiles = score_quantiles(bundle, images)
    return make_bundle(replace(bundle.manifest, score_quantiles=quantiles), bundle.onnx)


def score_quantiles(
    bundle: ModelBundle, images: Iterable[NDArray[np.uint8]]
) -> Mapping[str, Mapping[str, float]]:
    """Quantiles of the frame scores by score name, measured with the exported model."""
    segmenter, section = OnnxSegmenter(bundle), HardExamplesSection()
    scores = [frame_scores(segmenter.segment(image), section) for image in images]
    if not scores:
        return {}
    return {
        name: {
            quantile: round(float(np.quantile([s[name] for s in scores], float(quantile))), 6)
            for quantile in QUANTILES
        }
        for name in scores[0]
    }


def measured_among(samples: Sequence[T]) -> list[T]:
    """At most 64 of them, evenly spread."""
    if len(samples) <= _MOST_MEASURED:
        return list(samples)
    places = np.linspace(0, len(samples) - 1, _MOST_MEASURED).astype(int)
    return [samples[place] for place in places]
