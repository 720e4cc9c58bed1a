"""An int8 encoder beside the float32 one of an exported SAM, and what it loses.

Two ways to quantise, both ONNX Runtime's. Static: weights and activations, with scales taken from
pictures; what convolutions are made for. Dynamic: the weights of matrix products, with scales of
activations taken anew for every picture; what attention needs, whose activations differ widely.
Whichever a graph may profit from is tried, and the one whose masks are nearest to float32's kept.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

# ONNX Runtime is imported first where it is told to keep to itself.
# isort: off
import lifelong.onnx_runtime  # noqa: F401
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
# isort: on

from annotation.assist.segmenter import Mask
from cloud.assist.drawn_hints import around
from cloud.assist.encoder_pictures import encoder_input
from cloud.assist.interactive_model import Embedded
from cloud.assist.onnx_sam import IMAGE, OnnxSam, load_onnx_sam, session_of
from cloud.assist.onnx_sam_folder import (
    DESCRIPTION,
    INT8,
    Int8Loss,
    OnnxGraph,
    OnnxSamDescription,
    described_file,
)
from lifelong.errors import ConfigError, ModelLoadError
from lifelong.links.durable_files import write_whole
from lifelong.records.prompts import Point, Prompt

INT8_FILE = "encoder.int8.onnx"
# A mask may change by as much before people are warned, in mean IoU with float32's masks and in
# mean IoU with the truth.
_LEAST_AGREEMENT, _MOST_LOSS = 0.9, 0.01
_GRID = 3  # points a side where nobody says what is to be seen
_FEW_CONVOLUTIONS = 10  # a ViT has three: where it cuts the picture up, and its neck

Picture = NDArray[np.uint8]
Recipe = Callable[[onnx.ModelProto, Path, Iterator[NDArray[np.float32]]], None]


@dataclass(frozen=True, slots=True)
class Example:
    """A picture that tells the loss."""

    image: Picture  # (H, W, 3) RGB
    objects: tuple[Mask, ...] = ()  # (H, W) each; none: asked at a grid of points, truth unknown


@dataclass(frozen=True, slots=True)
class _Answer:
    """One prompt as both encoders have it answered."""

    agreement: float  # IoU of the two masks
    truth: tuple[float, float] | None  # IoU with the object: float32, int8


def add_int8(
    folder: Path, calibration: Sequence[Picture], examples: Sequence[Example], *,
    tell: Callable[[str], None],
) -> OnnxSamDescription:  # fmt: skip
    """Write `encoder.int8.onnx` and say in `model.json` what it loses; an old one is replaced.

    Args:
        folder: an exported SAM.
        calibration: (H, W, 3) uint8 RGB each, of what will be annotated.
        examples: other such pictures.
        tell: takes words of progress.

    Raises:
        ModelLoadError: no exported SAM, or one that cannot be quantised.
        ConfigError: no picture to calibrate on, or none that tells the loss.
    """
    if not calibration or not examples:
        raise ConfigError(
            f"{len(calibration)} pictures to calibrate int8 on and {len(examples)} that tell its "
            "loss; at least one of each is needed"
        )
    whole = load_onnx_sam(folder, device="cpu")
    says = whole.description
    with tempfile.TemporaryDirectory(prefix=".int8-", dir=folder) as made_in:
        tried: list[tuple[Int8Loss, Path]] = []
        for method in methods_for(folder / says.encoder.graph.name):
            tell(f"{says.name}: int8, {method}")
            path = Path(made_in, f"{method}.onnx")
            _quantise(folder / says.encoder.graph.name, path, method, says, calibration)
            counted = len(calibration) if method != "dynamic" else 0
            loss = _measured(whole, path, method, examples, calibrated_on=counted)
            tell(f"{says.name}: {loss.words}")
            tried.append((loss, path))
        loss, path = max(tried, key=lambda one: one[0].iou_with_float32)
        shutil.move(path, folder / INT8_FILE)
    graph = OnnxGraph(graph=described_file(folder / INT8_FILE))
    described = says.model_copy(update={"encoder_int8": graph, INT8: loss})
    write_whole(folder / DESCRIPTION, described.to_json().encode())
    return described


def methods_for(encoder: Path) -> tuple[str, ...]:
    """What is worth trying, by the layers of a graph; see `RECIPES`."""
    kinds = [node.op_type for node in onnx.load(encoder, load_external_data=False).graph.node]
    attends, convolves = "Softmax" in kinds, kinds.count("Conv") > _FEW_CONVOLUTIONS
    if not attends:
        return ("static", "static_inner")
    return ("dynamic", "static_inner") if convolves else ("dynamic",)


def _quantise(
    source: Path, target: Path, method: str, says: OnnxSamDescription,
    calibration: Sequence[Picture],
) -> None:  # fmt: skip
    inputs = (
        encoder_input(picture, side=says.side, mean=says.mean, std=says.std)
        for picture in calibration
    )
    try:
        model = onnx.load(source)
        # Says "shapes are known", or the quantiser complains to the root logger.
        model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
        RECIPES[method](model, target, inputs)
    except Exception as error:  # the quantiser raises whatever a graph it does not know causes
        raise ModelLoadError(
            f"{source}: cannot be made int8 ({type(error).__name__}: {error}); use it as it is"
        ) from error


def _static(
    model: onnx.ModelProto, target: Path, inputs: Iterator[NDArray[np.float32]],
    kept: Sequence[str] = (),
) -> None:  # fmt: skip
    """Weights take 7 of their 8 bits: CPUs without VNNI add two products in 16 bits, which 8-bit
    weights overflow, and the loss measured here would not be the loss over there."""
    quantize_static(
        onnx.shape_inference.infer_shapes(model),
        target,
        _Inputs(inputs),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=list(kept),
    )


def _static_inner(
    model: onnx.ModelProto, target: Path, inputs: Iterator[NDArray[np.float32]]
) -> None:
    """The first convolution sees the picture's fine steps, the last one makes the embedding: both
    stay float32."""
    convolutions = [node.name for node in model.graph.node if node.op_type == "Conv"]
    _static(model, target, inputs, [convolutions[0], convolutions[-1]])


def _dynamic(model: onnx.ModelProto, target: Path, _: Iterator[NDArray[np.float32]]) -> None:
    quantize_dynamic(
        model,
        target,
        op_types_to_quantize=["MatMul", "Gemm"],
        per_channel=True,
        reduce_range=True,
        weight_type=QuantType.QInt8,
    )


RECIPES: dict[str, Recipe] = {
    "static": _static,
    "static_inner": _static_inner,
    "dynamic": _dynamic,
}


class _Inputs(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime has no types
    """Pictures as the encoder's input, one at a time, as ONNX Runtime's quantiser asks for them."""

    def __init__(self, inputs: Iterator[NDArray[np.float32]]) -> None:
        self._inputs = inputs

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next input; None after the last."""
        found = next(self._inputs, None)
        return None if found is None else {IMAGE: found}


def _measured(
    whole: OnnxSam, path: Path, method: str, examples: Sequence[Example], *, calibrated_on: int
) -> Int8Loss:
    """Both encoders in front of the same decoder."""
    says = whole.description
    small = OnnxSam(says, session_of(path), whole.decoder, precision=INT8)
    answers: list[_Answer] = []
    seconds: tuple[list[float], list[float]] = [], []
    for example in examples:
        seen = [_embedded(model, example.image, spent)
                for model, spent in zip((whole, small), seconds, strict=True)]  # fmt: skip
        answers += _answers(whole, seen, example)
    agreements = np.sort([answer.agreement for answer in answers])
    known = np.array([answer.truth for answer in answers if answer.truth is not None])
    truth = known.mean(axis=0).tolist() if len(known) else (None, None)
    agreement = float(agreements.mean())
    size_ratio = path.stat().st_size / says.encoder.size
    time_ratio = median(seconds[1]) / median(seconds[0])
    return Int8Loss(
        method=method,
        calibrated_on=calibrated_on,
        pictures=len(examples),
        prompts=len(answers),
        iou_with_float32=agreement,
        worst_iou_with_float32=float(agreements[: max(1, len(agreements) // 10)].mean()),
        iou_with_truth=truth[1],
        iou_with_truth_float32=truth[0],
        size_ratio=size_ratio,
        time_ratio=time_ratio,
        words=_words(method, agreement, truth, size_ratio, time_ratio),
    )


def _embedded(model: Any, image: Picture, spent: list[float]) -> Embedded:
    began = time.perf_counter()
    found: Embedded = model.embed(image)
    spent.append(time.perf_counter() - began)
    return found


def _answers(model: OnnxSam, seen: Sequence[Embedded], example: Example) -> Iterator[_Answer]:
    for prompt, truth in _prompts(example):
        full, small = (
            model.enlarge(model.decode(one, prompt, several=False).low_res, one)[0] > 0
            for one in seen
        )
        ious = None if truth is None else (_iou(full, truth), _iou(small, truth))
        yield _Answer(agreement=_iou(full, small), truth=ious)


def _prompts(example: Example) -> Iterator[tuple[Prompt, Mask | None]]:
    """A click into the middle of every object, and its box; or a grid of clicks."""
    height, width = example.image.shape[:2]
    for thing in example.objects:
        inside = distance_transform_edt(np.pad(thing, 1))[1:-1, 1:-1]
        row, column = np.unravel_index(int(inside.argmax()), thing.shape)
        yield Prompt(points=(Point(float(column) + 0.5, float(row) + 0.5),)), thing
        yield Prompt(boxes=(around(thing),)), thing
    if not example.objects:
        shares = (np.arange(_GRID) + 0.5) / _GRID
        for down in shares:
            for right in shares:
                yield Prompt(points=(Point(float(right * width), float(down * height)),)), None


def _iou(one: Mask, other: Mask) -> float:
    """1 for two empty masks."""
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0


def _words(
    method: str, agreement: float, truth: Sequence[float | None], size: float, seconds: float
) -> str:
    before, after = truth
    found = f"int8 ({method}): mean IoU {agreement:.3f} with the masks of float32"
    worse = agreement < _LEAST_AGREEMENT
    if before is not None and after is not None:
        found += f", {after:.3f} with the truth where float32 has {before:.3f}"
        worse = worse or before - after > _MOST_LOSS
    found += f"; {size:.2f} of the bytes, {seconds:.2f} of the time here"
    return f"{found}; it loses too much, stay with float32" if worse else found
