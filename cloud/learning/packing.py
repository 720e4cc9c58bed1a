"""Trained weights to a bundle: exported, proven, and told how unsure is usual for this model."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cloud.learning.familiarity import FamiliarPicture, described, quantiles_of
from lifelong.hard_examples import disagreement, frame_scores
from lifelong.labels.second_looks import mirrored_look
from lifelong.model_bundle import BundleManifest, ModelBundle, make_bundle
from lifelong.sections.edge import HardExamplesSection
from lifelong.segmenter import OnnxSegmenter
from lifelong.training.adapters import network_of
from lifelong.training.checkpoints import Weights, load_weights
from lifelong.training.onnx_export import onnx_from_network, prove_equal

_MOST_MEASURED = 64  # pictures; more would not move the quantiles, only the clock
_PROVEN_ON = 2  # real pictures on which the export is compared with torch

T = TypeVar("T")


def packed(
    weights: Weights,
    manifest: BundleManifest,
    images: Sequence[NDArray[np.uint8]],
    reduce: Callable[[ModelBundle], ModelBundle] | None = None,
    *,
    familiar: Sequence[FamiliarPicture] = (),
    previous: ModelBundle | None = None,
) -> ModelBundle:
    """A bundle whose manifest is `manifest` with the model's own score quantiles.

    Args:
        images: (H, W, 3) uint8 RGB each, of what the model was trained for; best ones that it
            was not trained on.
        reduce: answers the proven bundle with one of fewer bits, or with the same.
        familiar: other pictures that it was trained on; with enough of them the bundle can tell
            what is new to it.
        previous: the model that this one follows; tells how much disagreement is usual.

    Raises:
        ModelLoadError: the weights are those of another network.
        ExportMismatchError: ONNX Runtime does not answer as torch does.
    """
    network = network_of(manifest.network, len(manifest.label_map), weights)
    load_weights(network, weights, "trained weights")
    describes = bool(familiar)
    exported = onnx_from_network(network, manifest.preprocessing, with_features=describes)
    bundle = make_bundle(manifest, exported)
    prove_equal(bundle, network, list(images[:_PROVEN_ON]))
    if reduce is not None:
        bundle = reduce(bundle)  # before anything is measured: it is this one that answers
    if describes:
        bundle = described(bundle, familiar, images)
    quantiles = score_quantiles(bundle, images, previous)
    return make_bundle(replace(bundle.manifest, score_quantiles=quantiles), bundle.onnx)


def score_quantiles(
    bundle: ModelBundle,
    images: Iterable[NDArray[np.uint8]],
    previous: ModelBundle | None = None,
) -> Mapping[str, Mapping[str, float]]:
    """Quantiles of the frame scores by score name, measured with the exported model.

    With the scores of second looks: `flip_consistency`, and `disagreement` with `previous`.
    """
    segmenter, section = OnnxSegmenter(bundle), HardExamplesSection()
    before = OnnxSegmenter(previous) if previous is not None else None
    rows: list[dict[str, float]] = []
    for image in images:
        prediction = segmenter.segment(image)
        row = frame_scores(prediction, section)
        row["flip_consistency"] = disagreement(prediction, mirrored_look(segmenter, image))
        if before is not None:
            row["disagreement"] = disagreement(prediction, before.segment(image))
        rows.append(row)
    if not rows:
        return {}
    # A picture without any class that has prototypes has no `class_novelty`.
    names = [name for name in rows[0] if all(name in row for row in rows)]
    return {name: quantiles_of([row[name] for row in rows]) for name in names}


def measured_among(samples: Sequence[T]) -> list[T]:
    """At most 64 of them, evenly spread."""
    if len(samples) <= _MOST_MEASURED:
        return list(samples)
    places = np.linspace(0, len(samples) - 1, _MOST_MEASURED).astype(int)
    return [samples[place] for place in places]
