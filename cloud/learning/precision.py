"""Bundles that compute with fewer bits: fp16 and int8, each proven on pictures before it ships.

* `fp16` stores and computes with half precision; inputs and outputs stay float32. Half the bytes
  to send, quick where the device has half-precision arithmetic.
* `int8` is static quantisation in ONNX's own notation (QuantizeLinear and DequantizeLinear
  around each node): weights with a scale a channel, activations with a scale a tensor, taken from
  the values that real pictures cause. A quarter of the bytes, about twice as quick on a CPU.

What a reduced bundle loses is measured beside the fp32 one, on pictures it was not calibrated
on, and written into its manifest.
"""

import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

# ONNX Runtime is imported first where it is told to keep to itself.
# isort: off
import lifelong.onnx_runtime  # noqa: F401
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.transformers.float16 import convert_float_to_float16
# isort: on

from lifelong.errors import ConfigError, ModelError, ModelLoadError, RecordError
from lifelong.evaluation import Examined
from lifelong.model_bundle import ModelBundle, make_bundle
from lifelong.preprocessing import Preprocessing, network_input
from lifelong.segmentation_metrics import confusion_matrix, mean_iou
from lifelong.segmenter import OnnxSegmenter

FP32 = "fp32"

# Each, calibration and measuring, takes at most so many pictures; more would move neither the
# scales nor the loss, only the clock.
MOST_PICTURES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """How a reduced bundle answers beside the one it was made from."""

    miou: float  # what it loses, 0.01 = one point; negative: it wins
    agreement: float  # share of pixels with the same class, 0 .. 1
    pictures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduction:
    """What came of the wish for fewer bits."""

    bundle: ModelBundle  # the reduced one, or the one that was given
    wanted: str  # precision
    loss: Loss | None  # None when it could not be measured
    reasons: tuple[str, ...]  # why the bundle stays as it was; empty when it was reduced


def reduced(
    bundle: ModelBundle,
    precision: str,
    *,
    calibration: Sequence[NDArray[np.uint8]],
    examination: Sequence[Examined],
    max_loss: float,
) -> Reduction:
    """A bundle of fewer bits, if it is nearly as good; else the given one, and why.

    Its score quantiles are those of the given bundle; measure them anew.

    Args:
        precision: `fp32` changes nothing, `fp16`, `int8`.
        calibration: (H, W, 3) uint8 RGB each, of what the model was trained for.
        examination: other pictures, with their labels.
        max_loss: of mIoU, 0.01 = one point.

    Raises:
        ConfigError: no such precision.
    """
    if precision == FP32:
        return Reduction(bundle=bundle, wanted=precision, loss=None, reasons=())
    if precision not in REDUCTIONS:
        raise ConfigError(
            f"training.precision: no {precision!r}; there are {FP32}, {', '.join(REDUCTIONS)}"
        )

    def stays(reason: str, loss: Loss | None = None) -> Reduction:
        return Reduction(bundle=bundle, wanted=precision, loss=loss, reasons=(reason,))

    if bundle.manifest.precision != FP32:
        return stays(f"it is {bundle.manifest.precision} already; begin with the fp32 bundle")
    if not calibration or not examination:
        return stays(
            f"{len(calibration)} pictures to calibrate on and {len(examination)} to be examined "
            "by; at least one of each is needed"
        )
    try:
        data = _reduced_onnx(bundle, precision, calibration[:MOST_PICTURES])
        made = make_bundle(replace(bundle.manifest, precision=precision), data)
        loss = measured_loss(bundle, made, examination[:MOST_PICTURES])
    except (ModelError, RecordError) as error:
        return stays(f"{precision} does not work: {error}")
    if not loss.miou <= max_loss:
        return stays(
            f"{precision} loses {100 * loss.miou:.2f} points of mIoU on {loss.pictures} pictures, "
            f"{100 * max_loss:.2f} are allowed",
            loss,
        )
    manifest = replace(made.manifest, precision_loss=round(loss.miou, 6))
    return Reduction(bundle=make_bundle(manifest, data), wanted=precision, loss=loss, reasons=())


def _reduced_onnx(
    bundle: ModelBundle, precision: str, calibration: Sequence[NDArray[np.uint8]]
) -> bytes:
    try:
        return REDUCTIONS[precision](bundle.onnx, bundle.manifest.preprocessing, calibration)
    except Exception as error:  # both converters raise whatever a model they do not know causes
        raise ModelLoadError(f"the converter failed ({type(error).__name__}: {error})") from error


def measured_loss(full: ModelBundle, small: ModelBundle, examination: Iterable[Examined]) -> Loss:
    """Both bundles answer the same pictures.

    Raises:
        ModelLoadError, ModelOutputError: one of them cannot be run, or says NaN.
        RecordError: no labelled pixel, so that there is no mIoU.
    """
    classes = len(full.manifest.label_map)
    segmenters = OnnxSegmenter(full, threads=1), OnnxSegmenter(small, threads=1)
    matrices = [np.zeros((classes, classes), dtype=np.int64) for _ in segmenters]
    same = pixels = pictures = 0
    for image, truth in examination:
        masks = [segmenter.segment(image).mask for segmenter in segmenters]
        for matrix, mask in zip(matrices, masks, strict=True):
            matrix += confusion_matrix(truth, mask, classes)
        same += int(np.count_nonzero(masks[0] == masks[1]))
        pixels += masks[0].size
        pictures += 1
    if not matrices[0].any():
        raise RecordError(f"{pictures} pictures to be examined by, no labelled pixel in them")
    before, after = (mean_iou(matrix) for matrix in matrices)
    return Loss(miou=before - after, agreement=same / max(pixels, 1), pictures=pictures)


def fp16_onnx(data: bytes, how: Preprocessing, calibration: Sequence[NDArray[np.uint8]]) -> bytes:
    """The model in half precision, inputs and outputs still float32; needs no pictures."""
    with warnings.catch_warnings():
        # It warns of each weight too small for a half; whether that matters is measured.
        warnings.simplefilter("ignore")
        model = convert_float_to_float16(onnx.load_from_string(data), keep_io_types=True)
    return _plain_bytes(model)


def int8_onnx(data: bytes, how: Preprocessing, calibration: Sequence[NDArray[np.uint8]]) -> bytes:
    """The model statically quantised; equal pictures in equal order give equal bytes.

    Weights take 7 of their 8 bits: CPUs without VNNI add two products in 16 bits, which 8-bit
    weights overflow, and the loss measured here would not be the loss over there. The nodes that
    make the outputs stay float32, so that confidence keeps its fine steps.
    """
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(data))
    # Says "shapes are known", or the quantiser complains to the root logger.
    model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
    _name_nodes(model)
    outputs = {output.name for output in model.graph.output}
    with tempfile.TemporaryDirectory(prefix="cornerloop-int8-") as folder:
        target = Path(folder, "int8.onnx")
        quantize_static(
            model,
            target,
            _Pictures(model.graph.input[0].name, how, calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[node.name for node in model.graph.node if outputs & set(node.output)],
        )
        return _plain_bytes(onnx.load(target))


REDUCTIONS: dict[str, Callable[[bytes, Preprocessing, Sequence[NDArray[np.uint8]]], bytes]] = {
    "fp16": fp16_onnx,
    "int8": int8_onnx,
}


class _Pictures(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime has no types
    """Pictures as network input, one at a time, as ONNX Runtime's quantiser asks for them."""

    def __init__(
        self, name: str, how: Preprocessing, pictures: Sequence[NDArray[np.uint8]]
    ) -> None:
        self._inputs: Iterator[dict[str, NDArray[np.float32]]] = (
            {name: network_input(picture, how)} for picture in pictures
        )

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next input; None after the last."""
        return next(self._inputs, None)


def _name_nodes(model: onnx.ModelProto) -> None:
    """The quantiser tells nodes apart by name; a foreign model may have none."""
    taken = {node.name for node in model.graph.node}
    for number, node in enumerate(model.graph.node):
        if not node.name:
            node.name = f"{node.op_type}_{number}"
            while node.name in taken:
                node.name += "_"
            taken.add(node.name)


def _sort_nodes(model: onnx.ModelProto) -> None:
    """Each node behind those whose outputs it takes; the fp16 converter puts its casts last."""
    waiting = list(model.graph.node)
    missing = {name for node in waiting for name in node.output if name}
    ordered = []
    while waiting:
        # The first that can go: a graph that is in order stays as it is.
        place = next(i for i, node in enumerate(waiting) if missing.isdisjoint(node.input))
        ordered.append(waiting.pop(place))
        missing.difference_update(ordered[-1].output)
    del model.graph.node[:]
    model.graph.node.extend(ordered)


def _plain_bytes(model: onnx.ModelProto) -> bytes:
    """Checked, without notes on how it was made; equal models give equal bytes."""
    del model.metadata_props[:]
    del model.graph.value_info[:]
    _sort_nodes(model)
    model.producer_name, model.producer_version, model.doc_string = "", "", ""
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))
