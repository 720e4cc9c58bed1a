"""Any segmenter as one ONNX file, described by a small JSON file of the same name beside it.

`{"names": ["road", null, …], "mean": [r, g, b], "std": [r, g, b], "size": [height, width]}`: names
by the model's numbers (null means no class); mean and std of pixels in 0 .. 1, for float inputs;
size, where the graph leaves it open and the model does not take any.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from cloud.preannotation.devices import chosen_device
from cloud.preannotation.semantic.enlarging import probabilities_at
from cloud.preannotation.semantic.placing import Meanings, placing_of
from lifelong.errors import ModelLoadError, ModelOutputError
from lifelong.onnx_runtime import onnxruntime
from lifelong.records.label_map import LabelMap

_FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_BYTES = "tensor(uint8)"
_RGB = 3
Triple = tuple[float, float, float]


class _Description(BaseModel):
    """The JSON file beside the graph."""

    model_config = ConfigDict(extra="forbid")

    names: list[str | None]
    mean: Triple | None = None
    std: Triple | None = None
    size: tuple[int, int] | None = None  # height, width


@dataclass(frozen=True, slots=True, kw_only=True)
class _Input:
    """How the graph wants its picture."""

    name: str
    channels_last: bool
    dtype: Any  # numpy's type
    size: tuple[int, int] | None  # None: the picture's own


class OnnxLabeler:
    """An ONNX graph: one picture (1, 3, h, w) float or (1, h, w, 3) uint8 in; logits (1, K, h, w)
    or whole numbers (1, h, w) or (1, 1, h, w) out.

    Raises:
        ModelLoadError: a file is missing or does not say what is needed; names it.
        LabelMapError: none of its classes is one of the label map's.
    """

    def __init__(
        self,
        model: Path,
        label_map: LabelMap,
        *,
        meanings: Meanings | None = None,
        device: str = "auto",
        align_corners: bool = False,
    ) -> None:
        self.name, self._align_corners = model.stem, align_corners
        self._says = _described(model)
        self._session = _session(model, device)
        self._input = _input_of(self._session, self._says, model)
        self._output: str = self._session.get_outputs()[0].name
        names = {i: name for i, name in enumerate(self._says.names) if name is not None}
        self._placing = placing_of(label_map, names, where=str(model), meanings=meanings)
        self._classes = len(self._says.names)

    def label(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `SemanticLabeler`."""
        feed = {self._input.name: self._prepared(image)}
        try:
            (answer,) = self._session.run([self._output], feed)
        except Exception as error:  # ONNX Runtime raises its own types per error code
            raise ModelOutputError(f"{self.name}: {error}") from error
        size = (image.shape[0], image.shape[1])
        if np.issubdtype(answer.dtype, np.integer):
            return self._of_numbers(answer, size)
        if answer.ndim != 4 or answer.shape[:2] != (1, self._classes):
            raise ModelOutputError(
                f"{self.name}: expected logits (1, {self._classes}, h, w) for its "
                f"{self._classes} names, got {answer.shape}"
            )
        logits = torch.from_numpy(np.ascontiguousarray(answer, dtype=np.float32))
        return probabilities_at(
            logits, size, self._placing, where=self.name, align_corners=self._align_corners
        )

    def _of_numbers(
        self, answer: NDArray[np.integer[Any]], size: tuple[int, int]
    ) -> NDArray[np.float32]:
        """Numbers are sure of themselves; one without a name leaves its pixel unknown."""
        if answer.ndim == 4 and answer.shape[1] == 1:
            answer = answer[:, 0]
        if answer.ndim != 3 or answer.shape[0] != 1:
            raise ModelOutputError(
                f"{self.name}: expected class numbers (1, h, w) or (1, 1, h, w), got {answer.shape}"
            )
        rows, columns = (_nearest(answer.shape[i + 1], size[i]) for i in range(2))
        numbers = answer[0][rows[:, None], columns]
        out = np.zeros((self._placing.classes, *size), dtype=np.float32)
        for number, target in enumerate(self._placing.targets):
            if target is not None:
                out[target] += numbers == number
        return out

    def _prepared(self, image: NDArray[np.uint8]) -> NDArray[Any]:
        wish = self._input
        if wish.dtype == np.uint8 and wish.size in (None, image.shape[:2]):
            picture: NDArray[Any] = image
        else:
            pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
            if wish.size not in (None, image.shape[:2]):
                pixels = F.interpolate(pixels, wish.size, mode="bilinear", antialias=True)
            scaled = pixels[0].permute(1, 2, 0).numpy()
            if wish.dtype == np.uint8:
                picture = scaled.round().clip(0, 255)
            else:
                mean, std = (
                    np.array(three, dtype=np.float32) for three in (self._says.mean, self._says.std)
                )
                picture = (scaled / 255 - mean) / std
        layout = picture if wish.channels_last else picture.transpose(2, 0, 1)
        return np.ascontiguousarray(layout[None], dtype=wish.dtype)


def _described(model: Path) -> _Description:
    sidecar = model.with_suffix(".json")
    for needed in (model, sidecar):
        if not needed.is_file():
            raise ModelLoadError(
                f"{needed}: no such file; an ONNX segmenter is NAME.onnx beside NAME.json with "
                '{"names": [...], "mean": [r, g, b], "std": [r, g, b]}'
            )
    try:
        says = _Description.model_validate_json(sidecar.read_bytes())
    except (ValidationError, OSError) as error:
        lines = str(error).splitlines()
        raise ModelLoadError(f"{sidecar}: {' '.join(lines[1:3]) or lines[0]}") from error
    if not any(name is not None for name in says.names):
        raise ModelLoadError(f"{sidecar}: names must hold at least one name")
    if says.mean is not None and max(says.mean) > 1:
        raise ModelLoadError(
            f"{sidecar}: mean {says.mean} is of pixels in 0 .. 255; divide mean and std by 255"
        )
    if says.std is not None and min(says.std) <= 0:
        raise ModelLoadError(f"{sidecar}: std {says.std} must be above 0")
    if says.size is not None and min(says.size) < 1:
        raise ModelLoadError(f"{sidecar}: size {says.size} must be [height, width] above 0")
    return says


def _session(model: Path, device: str) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    providers = ["CPUExecutionProvider"]
    if chosen_device(device).startswith("cuda"):
        available = onnxruntime.get_available_providers()
        providers = [p for p in ("CUDAExecutionProvider",) if p in available] + providers
    try:
        return onnxruntime.InferenceSession(str(model), sess_options=options, providers=providers)
    except Exception as error:  # as above
        raise ModelLoadError(f"{model}: ONNX Runtime cannot load it ({error})") from error


def _input_of(session: Any, says: _Description, model: Path) -> _Input:
    inputs = session.get_inputs()
    shape = list(inputs[0].shape) if inputs else []
    if len(inputs) != 1 or len(shape) != 4 or (shape[1] == _RGB) == (shape[3] == _RGB):
        raise ModelLoadError(
            f"{model}: expected one input (1, 3, h, w) or (1, h, w, 3), got "
            f"{[list(i.shape) for i in inputs]}"
        )
    channels_last = shape[3] == _RGB
    kind = inputs[0].type
    if kind not in _FLOATS and kind != _BYTES:
        raise ModelLoadError(f"{model}: expected float or uint8 input, got {kind}")
    if kind != _BYTES and (says.mean is None or says.std is None):
        raise ModelLoadError(
            f"{model.with_suffix('.json')}: mean and std are missing, and the graph takes floats; "
            "take them from the model's training"
        )
    sides = shape[1:3] if channels_last else shape[2:4]
    fixed = all(isinstance(side, int) and side > 0 for side in sides)
    if fixed and says.size is not None and tuple(sides) != says.size:
        raise ModelLoadError(
            f"{model.with_suffix('.json')}: size {says.size}, but the graph takes {tuple(sides)}"
        )
    return _Input(
        name=inputs[0].name,
        channels_last=channels_last,
        dtype=_FLOATS.get(kind, np.uint8),
        size=(sides[0], sides[1]) if fixed else says.size,
    )


def _nearest(source: int, target: int) -> NDArray[np.int64]:
    """For each of `target` places the nearest of `source` ones, pixel centres aligned."""
    places = ((np.arange(target) + 0.5) * source / target).astype(np.int64)
    return np.minimum(places, source - 1)
