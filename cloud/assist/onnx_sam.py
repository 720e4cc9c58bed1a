"""A SAM for clicks without torch: two ONNX graphs, and numpy around them.

The graphs know nothing of a picture's size. Scaling pictures, prompts and logits is done here, so
any size and aspect ratio is answered as torch answers it.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloud.assist.drawn_hints import padded_hint
from cloud.assist.encoder_pictures import encoder_input, input_size
from cloud.assist.enlarging import enlarged, padded_steps
from cloud.assist.interactive_model import Decoded, Embedded, go_on
from cloud.assist.onnx_sam_folder import (
    FLOAT32,
    INT8,
    OnnxGraph,
    OnnxSamDescription,
    read_description,
    verify,
)
from lifelong.errors import ConfigError, ModelLoadError, ModelOutputError, PromptError
from lifelong.onnx_layout import refuse_foreign_files
from lifelong.onnx_runtime import onnxruntime
from lifelong.records.prompts import Prompt

# To be raised by whoever changes how pictures are prepared for the encoder.
PREPARING_VERSION = 1
IMAGE, EMBEDDINGS = "image", "embeddings"
ENCODER_INPUTS, ENCODER_OUTPUTS = (IMAGE,), (EMBEDDINGS,)
DECODER_INPUTS = (EMBEDDINGS, "points", "labels", "mask_input", "has_mask_input")
DECODER_OUTPUTS = ("low_res", "predicted_iou")
# Labels of points, as segment-anything's prompt encoder numbers them.
_NO_POINT, _TOP_LEFT, _BOTTOM_RIGHT = -1.0, 2.0, 3.0


class OnnxSam:
    """See `InteractiveModel`; threads may share it, it keeps nothing of a prompt or picture."""

    def __init__(
        self, description: OnnxSamDescription, encoder: Any, decoder: Any, *, precision: str
    ) -> None:
        """Args:
        encoder, decoder: sessions of ONNX Runtime.
        precision: of the encoder, float32 or int8.
        """
        self.name = description.name if precision == FLOAT32 else f"{description.name}_int8"
        self.takes_masks = description.takes_masks
        self.digest = _digest(description, precision)
        self.description = description
        self._encoder, self.decoder = encoder, decoder

    def embed(self, image: NDArray[np.uint8], *, pause: Callable[[], None] = go_on) -> Embedded:
        """See `InteractiveModel`; pauses before the encoder, which then runs to its end."""
        says = self.description
        prepared = encoder_input(image, side=says.side, mean=says.mean, std=says.std)
        pause()
        (embeddings,) = _answer(self.name, self._encoder, ENCODER_OUTPUTS, {IMAGE: prepared})
        return Embedded(image.shape[0], image.shape[1], {EMBEDDINGS: embeddings})

    def decode(
        self, embedded: Embedded, prompt: Prompt, *, previous: NDArray[np.float32] | None = None,
        several: bool,
    ) -> Decoded:  # fmt: skip
        """See `InteractiveModel`."""
        points, labels = encoder_points(
            prompt, (embedded.height, embedded.width), self.description.side
        )
        if not len(labels) and previous is None:
            raise PromptError(
                "neither a point nor a box; click on the object or draw a box around it"
            )
        side = self.description.low_res_side
        mask = np.zeros((side, side), np.float32) if previous is None else previous
        feed = {
            EMBEDDINGS: embedded.arrays[EMBEDDINGS],
            "points": points[None],
            "labels": labels[None],
            "mask_input": np.asarray(mask, np.float32)[None, None],
            "has_mask_input": np.array([previous is not None], np.float32),
        }
        low_res, predicted_iou = _answer(self.name, self.decoder, DECODER_OUTPUTS, feed)
        kept = slice(1, None) if several else slice(0, 1)
        return Decoded(low_res[0, kept], predicted_iou[0, kept])

    def enlarge(self, low_res: NDArray[np.float32], embedded: Embedded) -> NDArray[np.float32]:
        """See `InteractiveModel`; twice bilinear, as segment-anything does it."""
        size, side = (embedded.height, embedded.width), self.description.side
        return enlarged(low_res, padded_steps(side, input_size(*size, side), size))

    def hint(self, drawn: NDArray[np.bool_], embedded: Embedded) -> NDArray[np.float32]:
        """See `InteractiveModel`."""
        return padded_hint(drawn, self.description.low_res_side)


def load_onnx_sam(
    folder: Path, *, precision: str = FLOAT32, device: str = "auto", threads: int = 0
) -> OnnxSam:
    """The exported SAM in a folder, its hashes verified.

    Args:
        folder: as `cornerloop models export` wrote it.
        precision: of the encoder, float32 or int8; the decoder is always float32.
        device: cpu, cuda, cuda:1 …; `auto` takes a GPU where ONNX Runtime can use one.
        threads: of each session on the CPU; 0: ONNX Runtime's own choice.

    Raises:
        ModelLoadError: a missing, damaged or foreign file; names it and says what to do.
        ConfigError: the device is one that this ONNX Runtime cannot use.
    """
    description = read_description(folder)
    encoder = description.encoder_of(precision)
    if encoder is None:
        what = "`cornerloop models export --int8` adds one" if precision == INT8 else (
            f"expected {FLOAT32} or {INT8}"
        )  # fmt: skip
        raise ModelLoadError(f"{folder}: no {precision} encoder; {what}")
    sessions = [
        _session(folder, graph, device, threads) for graph in (encoder, description.decoder)
    ]
    expected = ((ENCODER_INPUTS, ENCODER_OUTPUTS), (DECODER_INPUTS, DECODER_OUTPUTS))
    for session, names, graph in zip(
        sessions, expected, (encoder, description.decoder), strict=True
    ):
        _require_names(session, names, folder / graph.graph.name)
    return OnnxSam(description, *sessions, precision=precision)


def encoder_points(
    prompt: Prompt, size: tuple[int, int], side: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(P, 2) points in the encoder's pixels and (P,) labels, in segment-anything's order.

    Clicks come first, then the corners of the box; clicks without a box are followed by a point
    that is none. Nothing at all gives P = 0.

    Args:
        prompt: in pixels of the picture.
        size: height and width of the picture.
        side: of the encoder's square.

    Raises:
        PromptError: more than one box.
    """
    if len(prompt.boxes) > 1:
        raise PromptError(f"{len(prompt.boxes)} boxes in one prompt; SAM takes one at a time")
    height, width = input_size(*size, side)
    scale = np.array([width / size[1], height / size[0]])
    places = [(point.x, point.y) for point in prompt.points]
    labels = [float(point.is_positive) for point in prompt.points]
    for box in prompt.boxes:
        places += [(box.x0, box.y0), (box.x1, box.y1)]
        labels += [_TOP_LEFT, _BOTTOM_RIGHT]
    if prompt.points and not prompt.boxes:
        places.append((0.0, 0.0))
        labels.append(_NO_POINT)
    scaled = np.array(places, np.float64).reshape(-1, 2) * scale
    return scaled.astype(np.float32), np.array(labels, np.float32)


def session_of(path: Path, *, device: str = "cpu", threads: int = 0) -> Any:
    """A graph that ONNX Runtime has loaded.

    Raises:
        ModelLoadError: it cannot.
        ConfigError: the device is one that it cannot use.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    providers = _providers(device)
    try:
        return onnxruntime.InferenceSession(str(path), sess_options=options, providers=providers)
    except Exception as error:  # ONNX Runtime raises its own types per error code
        raise ModelLoadError(f"{path}: ONNX Runtime cannot load it ({error})") from error


def _session(folder: Path, graph: OnnxGraph, device: str, threads: int) -> Any:
    path = verify(folder, graph)
    if graph.weights is None:
        refuse_foreign_files(path.read_bytes(), str(path))
    return session_of(path, device=device, threads=threads)


def _providers(device: str) -> list[Any]:
    cpu, gpu = "CPUExecutionProvider", "CUDAExecutionProvider"
    kind, _, number = device.partition(":")
    if kind == "cpu" or (kind == "auto" and gpu not in onnxruntime.get_available_providers()):
        return [cpu]
    if kind not in {"auto", "cuda"} or (number and not number.isdigit()):
        raise ConfigError(f"device: {device!r} is none; say auto, cpu, cuda or cuda:1")
    if gpu not in onnxruntime.get_available_providers():
        raise ConfigError(
            f"device: {device}, but this ONNX Runtime computes on the CPU only; install "
            "onnxruntime-gpu, or say auto or cpu"
        )
    return [(gpu, {"device_id": int(number or 0)}), cpu]


def _require_names(
    session: Any, names: tuple[tuple[str, ...], tuple[str, ...]], path: Path
) -> None:
    found = tuple(tuple(part.name for part in side()) for side in (
        session.get_inputs, session.get_outputs
    ))  # fmt: skip
    if found != names:
        raise ModelLoadError(
            f"{path}: takes {found[0]} and gives {found[1]}; expected {names[0]} and {names[1]}, "
            "as `cornerloop models export` writes it"
        )


def _answer(
    name: str, session: Any, outputs: tuple[str, ...], feed: dict[str, NDArray[np.generic]]
) -> list[NDArray[np.float32]]:
    try:
        found: list[NDArray[np.float32]] = session.run(list(outputs), feed)
    except Exception as error:  # as in `session_of`
        raise ModelOutputError(f"{name}: ONNX Runtime failed ({error})") from error
    return found


def _digest(description: OnnxSamDescription, precision: str) -> str:
    """The decoder counts too: with another one, equal embeddings would have another meaning."""
    encoder = description.encoder_of(precision)
    files = [
        file.sha256 for graph in (encoder, description.decoder) if graph for file in graph.files
    ]
    says = [description.side, description.mean, description.std]
    return hashlib.sha256(json.dumps([PREPARING_VERSION, files, says]).encode()).hexdigest()
