"""A real model bundle of a few hundred bytes: one 1x1 convolution from RGB to class scores."""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from lifelong.model_bundle import BundleManifest, ModelBundle, make_bundle
from lifelong.preprocessing import Preprocessing
from lifelong.records.ids import RoundNumber, VersionId, sha256_hex
from lifelong.records.label_map import LabelMap
from tests.builders import SMALL_MAP


def tiny_weights(
    label_map: LabelMap, seed: int = 0, gain: float = 1.0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights (C, 3, 1, 1) and bias (C,), float32, of the tiny model; for numpy references."""
    random = np.random.default_rng(seed)
    weights = gain * random.normal(size=(len(label_map), 3, 1, 1))
    bias = gain * random.normal(size=len(label_map))
    return weights.astype(np.float32), bias.astype(np.float32)


def tiny_onnx(
    weights: NDArray[np.float32], bias: NDArray[np.float32], height: int = 16, width: int = 24
) -> bytes:
    """ONNX bytes: `image` (1, 3, height, width) float32 to `logits` (1, C, height, width)."""
    classes = weights.shape[0]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weights", "bias"], ["logits"])],
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, height, width])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, classes, height, width])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def tiny_bundle(
    label_map: LabelMap = SMALL_MAP,
    seed: int = 0,
    *,
    gain: float = 1.0,
    height: int = 16,
    width: int = 24,
    parent: VersionId | None = None,
    score_quantiles: dict[str, dict[str, float]] | None = None,
    weights: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
) -> ModelBundle:
    """A bundle that loads and answers; `seed` picks the model, a higher `gain` a surer one.

    `weights=(w, b)` replaces the random ones, e.g. by NaN to build a broken model.
    """
    kernel, bias = weights or tiny_weights(label_map, seed, gain)
    onnx_bytes = tiny_onnx(kernel, bias, height, width)
    manifest = BundleManifest(
        label_map=label_map,
        preprocessing=Preprocessing(height=height, width=width),
        network="tiny",
        weights_sha256=sha256_hex(kernel.tobytes() + bias.tobytes()),
        parent=parent,
        round_number=RoundNumber(0),
        strategy="",
        score_quantiles=score_quantiles or {},
    )
    return make_bundle(manifest, onnx_bytes)
