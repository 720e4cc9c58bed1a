"""A network's own description of pictures, fitted to what it was trained for, inside its ONNX file.

An exported model with the output `features` (1, D, h, w) becomes one with two small outputs in
its place; both are distances to what the model knows, in units of what is usual there:

* `strangeness` (1, h, w): each cell's Mahalanobis distance to the nearest class mean, with one
  covariance for all classes (Lee et al. 2018, "A simple unified framework …", eq. 2). All D
  directions count: those in which familiar cells hardly differ are the ones that tell.
* `embedding` (1, K + 1): mean and deviation of every feature over the picture, standardised; K
  principal directions, whitened by what pictures of one learning task differ by, and how far the
  rest lies from their plane (probabilistic PCA, Tipping & Bishop 1999). Euclid's distance
  between embeddings is then Mahalanobis's.

It is fitted with the very model that will answer, also one of fewer bits, and computes in float32.
Equal models and pictures give equal bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from lifelong.errors import ModelLoadError
from lifelong.segmenter import EMBEDDING, STRANGENESS
from lifelong.training.onnx_export import FEATURES

Floats = NDArray[np.float64]

FEWEST_PICTURES = 12  # to describe anything by; below, covariances are guesses
DIRECTIONS = 32
_PICTURES_PER_DIRECTION = 4
_FEWEST_CELLS = 30  # of a class, to have a mean of its own
_SHRINKAGE = 1e-3  # of the cells' covariance towards its mean variance
_EPSILON = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenPicture:
    """What a model saw in one familiar picture."""

    learning_task: str
    features: NDArray[np.float32]  # (D, h, w)
    classes: NDArray[np.int64]  # (h, w), what the model takes each cell for


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What is to be put into the ONNX file; D features, S = 2 D statistics, K directions."""

    cell_centre: Floats  # (D, 1)
    cell_whitening: Floats  # (D, D)
    class_means: Floats  # (C, D), whitened
    picture_centre: Floats  # (S,)
    picture_scale: Floats  # (S,)
    plane: Floats  # (K, S), orthonormal
    whitening: Floats  # (K, K)
    rest_scale: float  # of the distance from the plane


def description_of(seen: Sequence[SeenPicture]) -> Description | None:
    """Fit to familiar pictures; None when they are too few, or hold no number."""
    finite = [picture for picture in seen if np.isfinite(picture.features).all()]
    if len(finite) < FEWEST_PICTURES:
        return None
    centre, whitening, means = _known_cells(finite)
    statistics = np.stack([_statistics(picture.features) for picture in finite])
    tasks = [picture.learning_task for picture in finite]
    middle, scale, plane, squeeze, rest = _known_pictures(statistics, tasks)
    return Description(
        cell_centre=centre[:, None],
        cell_whitening=whitening,
        class_means=means,
        picture_centre=middle,
        picture_scale=scale,
        plane=plane,
        whitening=squeeze,
        rest_scale=rest,
    )


def described_onnx(data: bytes, description: Description | None) -> bytes:
    """The model with `embedding` and `strangeness` in place of `features`; without, just logits.

    Raises:
        ModelLoadError: the model has no output `features` of known size.
    """
    model = onnx.load_from_string(data)
    graph = model.graph
    outputs = {output.name: output for output in graph.output}
    if FEATURES not in outputs:
        raise ModelLoadError(f"an ONNX model without output {FEATURES!r} cannot be described")
    shape = [d.dim_value for d in outputs[FEATURES].type.tensor_type.shape.dim]
    if len(shape) != 4 or min(shape) < 1:
        raise ModelLoadError(f"output {FEATURES!r} has shape {shape}; export it at a fixed size")
    kept = [output for output in graph.output if output.name != FEATURES]
    del graph.output[:]
    graph.output.extend(kept)
    if description is not None:
        _append(graph, description, (shape[2], shape[3]))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _known_cells(seen: Sequence[SeenPicture]) -> tuple[Floats, Floats, Floats]:
    """Centre (D,), whitening (D, D) and whitened class means (C, D) of all cells."""
    cells = np.concatenate([_flat(picture.features).T for picture in seen]).astype(np.float64)
    classes = np.concatenate([picture.classes.ravel() for picture in seen])
    counts = np.bincount(classes)
    known = np.flatnonzero(counts >= _FEWEST_CELLS)
    if known.size == 0:
        known = np.array([int(counts.argmax())])
    means = np.stack([cells[classes == class_id].mean(axis=0) for class_id in known])
    place = np.searchsorted(known, classes).clip(max=known.size - 1)
    inside = known[place] == classes
    spread = cells[inside] - means[place[inside]]
    scale = _scales(spread.std(axis=0))
    spread /= scale
    covariance = spread.T @ spread / len(spread)
    # A triangle and not principal axes: it has no signs to choose, so equal input is equal output.
    whitening = _inverse_root(covariance, _SHRINKAGE) / scale
    centre = means.mean(axis=0)
    return centre, whitening, (means - centre) @ whitening.T


def _known_pictures(
    statistics: Floats, tasks: Sequence[str]
) -> tuple[Floats, Floats, Floats, Floats, float]:
    """Centre (S,), scale (S,), plane (K, S), whitening (K, K), and the scale of the rest."""
    centre = statistics.mean(axis=0)
    # By the spread within a task: what tells tasks apart then stands out, as it should.
    scale = _scales(_within(statistics, tasks).std(axis=0))
    standard = (statistics - centre) / scale
    count = min(DIRECTIONS, len(standard) // _PICTURES_PER_DIRECTION, standard.shape[1])
    _, strengths, axes = np.linalg.svd(standard, full_matrices=False)
    plane = axes[:count]
    signs = np.sign(plane[np.arange(count), np.abs(plane).argmax(axis=1)])
    plane = plane * signs[:, None]
    inside = _within(standard @ plane.T, tasks)
    # Each direction by its own spread first: a task's direction may hardly vary within the task.
    spread = _scales(inside.std(axis=0))
    inside /= spread
    covariance = inside.T @ inside / len(inside)
    squeeze = _inverse_root(covariance, _shrinkage_of(inside)) / spread
    rest = float((strengths[count:] ** 2).sum()) / len(standard)
    dimensions = max(standard.shape[1] - count, 1)
    rest_scale = 1.0 / np.sqrt(max(rest / dimensions, _EPSILON))
    return centre, scale, plane, squeeze, rest_scale


def _within(rows: Floats, tasks: Sequence[str]) -> Floats:
    """Rows less the mean of their learning task, or of all when tasks hold too few."""
    names = sorted(set(tasks))
    if len(rows) - len(names) < FEWEST_PICTURES // 2:
        centred: Floats = rows - rows.mean(axis=0)
        return centred
    apart = rows.copy()
    for name in names:
        members = np.array([task == name for task in tasks])
        apart[members] -= rows[members].mean(axis=0)
    return apart


def _shrinkage_of(samples: Floats) -> float:
    """How far to draw a covariance of few samples to its mean, 0 .. 1 (Ledoit & Wolf 2004)."""
    count, dimensions = samples.shape
    covariance = samples.T @ samples / count
    target = np.trace(covariance) / dimensions
    away = float(((covariance - target * np.eye(dimensions)) ** 2).sum()) / dimensions
    squares = (samples**2).T @ (samples**2) / count - covariance**2
    noise = float(squares.sum()) / dimensions / count
    return min(max(noise / away, 0.0), 1.0) if away > 0.0 else 1.0


def _inverse_root(covariance: Floats, share: float) -> Floats:
    """The lower triangle W with W' W = ((1 - share) covariance + share x its mean variance)^-1."""
    dimensions = len(covariance)
    mean = max(float(np.trace(covariance)) / dimensions, _EPSILON)
    share = max(share, _EPSILON)
    root = np.linalg.cholesky((1.0 - share) * covariance + share * mean * np.eye(dimensions))
    inverse: Floats = np.linalg.solve(root, np.eye(dimensions))
    return inverse


def _scales(deviations: Floats) -> Floats:
    """Deviations to divide by; a feature that never changed must not become infinite."""
    floor = max(float(deviations.max(initial=0.0)) * 1e-3, _EPSILON)
    scales: Floats = np.maximum(deviations, floor)
    return scales


def _statistics(features: NDArray[np.float32]) -> Floats:
    """(D, h, w) to (2 D,): means, then deviations, as the ONNX nodes compute them."""
    flat = _flat(features).astype(np.float64)
    return np.concatenate([flat.mean(axis=1), np.sqrt(flat.var(axis=1) + _EPSILON)])


def _flat(features: NDArray[np.float32]) -> NDArray[np.float32]:
    return features.reshape(features.shape[0], -1)


def _append(graph: onnx.GraphProto, description: Description, grid: tuple[int, int]) -> None:
    """The arithmetic of the module's docstring as nodes behind `features`."""
    rows, columns = grid
    features = description.cell_centre.shape[0]
    means = description.class_means
    length = len(description.plane) + 1
    constants: dict[str, NDArray[np.generic]] = {
        "flat": np.array([features, rows * columns], np.int64),
        "grid": np.array([1, rows, columns], np.int64),
        "row": np.array([1, length], np.int64),
        "first": np.array([0], np.int64),
        "second": np.array([1], np.int64),
        "epsilon": np.array(_EPSILON, np.float32),
        "zero": np.array(0.0, np.float32),
        "cell_centre": description.cell_centre.astype(np.float32),
        "cell_whitening": description.cell_whitening.astype(np.float32),
        "class_means": (-2.0 * means).astype(np.float32),
        "class_squares": (means**2).sum(axis=1, keepdims=True).astype(np.float32),
        "centre": description.picture_centre.astype(np.float32)[:, None],
        "scale": (1.0 / description.picture_scale).astype(np.float32)[:, None],
        "plane": description.plane.astype(np.float32),
        "back": np.ascontiguousarray(description.plane.T).astype(np.float32),
        "whitening": description.whitening.astype(np.float32),
        "rest_scale": np.array(description.rest_scale, np.float32),
    }
    for name, values in constants.items():
        graph.initializer.append(numpy_helper.from_array(values, _own(name)))
    for number, (kind, inputs, output, attributes) in enumerate(_NODES):
        named = [FEATURES if name == FEATURES else _own(name) for name in inputs]
        result = output if output in (EMBEDDING, STRANGENESS) else _own(output)
        name = _own(f"{kind}_{number}")
        graph.node.append(helper.make_node(kind, named, [result], name=name, **attributes))
    for name, shape in ((EMBEDDING, [1, length]), (STRANGENESS, [1, rows, columns])):
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))


def _own(name: str) -> str:
    """A name that the exported network does not use."""
    return f"description_{name}"


_KEEP = {"keepdims": 1}
# Operator, inputs, output, attributes. |z - m|² = |z|² - 2 m·z + |m|² needs no (C, D, cells).
_NODES: tuple[tuple[str, tuple[str, ...], str, dict[str, int]], ...] = (
    ("Reshape", (FEATURES, "flat"), "cells", {}),
    ("Sub", ("cells", "cell_centre"), "centred", {}),
    ("MatMul", ("cell_whitening", "centred"), "white", {}),
    ("ReduceSumSquare", ("white", "first"), "lengths", _KEEP),
    ("MatMul", ("class_means", "white"), "towards", {}),
    ("Add", ("towards", "class_squares"), "to_classes", {}),
    ("ReduceMin", ("to_classes", "first"), "to_nearest", _KEEP),
    ("Add", ("lengths", "to_nearest"), "signed", {}),
    ("Max", ("signed", "zero"), "squares", {}),
    ("Sqrt", ("squares",), "distances", {}),
    ("Reshape", ("distances", "grid"), STRANGENESS, {}),
    ("ReduceMean", ("cells", "second"), "means", _KEEP),
    ("Sub", ("cells", "means"), "around", {}),
    ("Mul", ("around", "around"), "squared", {}),
    ("ReduceMean", ("squared", "second"), "variances", _KEEP),
    ("Add", ("variances", "epsilon"), "above_zero", {}),
    ("Sqrt", ("above_zero",), "deviations", {}),
    ("Concat", ("means", "deviations"), "statistics", {"axis": 0}),
    ("Sub", ("statistics", "centre"), "off_centre", {}),
    ("Mul", ("off_centre", "scale"), "standard", {}),
    ("MatMul", ("plane", "standard"), "inside", {}),
    ("MatMul", ("back", "inside"), "shadow", {}),
    ("Sub", ("standard", "shadow"), "rest", {}),
    ("ReduceSumSquare", ("rest", "first"), "rest_square", _KEEP),
    ("Sqrt", ("rest_square",), "rest_length", {}),
    ("Mul", ("rest_length", "rest_scale"), "rest_scaled", {}),
    ("MatMul", ("whitening", "inside"), "whitened", {}),
    ("Concat", ("whitened", "rest_scaled"), "column", {"axis": 0}),
    ("Reshape", ("column", "row"), EMBEDDING, {}),
)
