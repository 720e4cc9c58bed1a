"""A SAM to a folder that `assist.model.type: onnx` runs without torch; checked, then written.

What can be exported is what is built of segment-anything's own parts; HQ-SAM and SAM 2 are not.
"""

import importlib.metadata
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from segment_anything.modeling import Sam
from torch import Tensor

from cloud.assist.onnx_sam import (
    DECODER_INPUTS,
    DECODER_OUTPUTS,
    ENCODER_INPUTS,
    ENCODER_OUTPUTS,
    session_of,
)
from cloud.assist.onnx_sam_folder import (
    DESCRIPTION,
    OnnxGraph,
    OnnxSamDescription,
    described_file,
)
from cloud.preannotation.sam.by_name import TINY_STABILITY_OFFSET
from cloud.preannotation.sam.lean_attention import make_lean
from cloud.preannotation.sam.mobile import load_mobile_sam
from cloud.preannotation.sam.onnx_graphs import LARGEST_FILE, OPSET, write_decoder, write_encoder
from cloud.preannotation.sam.original import load_original_sam
from cloud.preannotation.sam.tiny import load_tiny_sam
from cloud.weights.sam_names import SAM_MODELS, sam_name, sam_weights, weights_digest
from lifelong.errors import ConfigError, ExportMismatchError

Tell = Callable[[str], None]

# Two libraries that add the same numbers in another order differ by rounding; relative to the
# largest value, since that is what float32 rounds by. Deep encoders round more often.
TOLERANCE = 2e-4
_LIBRARIES = ("torch", "onnx", "onnxscript", "onnxruntime")
ENCODER_FILE, DECODER_FILE, INT8_FILE = "encoder.onnx", "decoder.onnx", "encoder.int8.onnx"

_LOADERS: dict[str, Callable[[Path, str], Sam]] = {
    "tiny": lambda weights, _: load_tiny_sam(weights),
    "sam": load_original_sam,
    "mobile_sam": lambda weights, _: load_mobile_sam(weights),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What is exported, beside its weights."""

    name: str
    exported_from: str  # for people
    weights_sha256: str
    takes_masks: bool = True
    stability_offset: float = 1.0


def exportable(
    name: str, *, checkpoint: Path | None = None, weights_path: Path | None = None
) -> tuple[Sam, Source]:
    """A SAM by the name the catalogue gives it.

    Args:
        name: e.g. tiny_sam, sam_vit_b, mobile_sam.
        checkpoint: file of the weights; None: what was pulled, of `tiny_sam` the shipped ones.
        weights_path: where `cornerloop models pull` keeps weights; None: its usual place.

    Raises:
        ConfigError: no such SAM, or one that cannot be exported.
        ModelLoadError: weights that are not there, or cannot be loaded.
    """
    known = {
        sam_name(kind, model): (kind, model)
        for kind, models in SAM_MODELS.items()
        for model in models or ("",)
    }
    kind, model = known.get(name, ("", ""))
    if kind not in _LOADERS:
        usable = ", ".join(other for other, (of, _) in known.items() if of in _LOADERS)
        why = "is not built of segment-anything's parts" if kind else "is no SAM that is known here"
        raise ConfigError(f"{name}: {why}; these can be exported: {usable}")
    weights = sam_weights(kind, model, checkpoint, weights_path)
    sam = _LOADERS[kind](weights, model)
    source = Source(
        name=name,
        exported_from=weights.name,
        weights_sha256=weights_digest(weights),
        takes_masks=kind != "tiny",  # whose training never showed it a mask
        stability_offset=TINY_STABILITY_OFFSET if kind == "tiny" else 1.0,
    )
    return sam, source


def export_sam(
    sam: Sam, source: Source, folder: Path, *, tell: Tell, largest_file: int = LARGEST_FILE
) -> OnnxSamDescription:
    """Write encoder, decoder and `model.json`, after ONNX Runtime answered as torch does.

    An earlier export in that folder is replaced, and gone only when the new one is whole.

    Args:
        sam: float32, on the CPU.
        source: what it is.
        folder: made where it is not there.
        tell: takes words of progress.
        largest_file: bytes of weights above which they lie in a file of their own.

    Raises:
        ExportMismatchError: the graphs answer otherwise than torch; nothing was written.
    """
    make_lean(sam.image_encoder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as made_in:
        made = Path(made_in)
        tell(f"{source.name}: encoder to ONNX")
        encoder = _graph(made / ENCODER_FILE, write_encoder(sam, made / ENCODER_FILE,
                                                           largest_file=largest_file))  # fmt: skip
        tell(f"{source.name}: decoder to ONNX")
        decoder = _graph(made / DECODER_FILE, write_decoder(sam, made / DECODER_FILE,
                                                           largest_file=largest_file))  # fmt: skip
        tell(f"{source.name}: ONNX Runtime beside torch")
        differences = proven_equal(sam, made / ENCODER_FILE, made / DECODER_FILE)
        description = _described(sam, source, encoder, decoder, differences)
        (made / DESCRIPTION).write_text(description.to_json(), encoding="utf-8")
        _put(made, folder)
    return description


def proven_equal(sam: Sam, encoder: Path, decoder: Path) -> tuple[float, float]:
    """Largest difference of embeddings and of logits, as shares of the largest value of torch.

    Raises:
        ExportMismatchError: more than rounding.
    """
    side = sam.image_encoder.img_size
    noise = torch.from_numpy(
        np.random.default_rng(0).normal(0, 1, (1, 3, side, side)).astype(np.float32)
    )
    noise[..., side // 2 :, :] = 0.0  # padding, as a wide picture has it
    with torch.no_grad():
        embeddings = sam.image_encoder(noise)
    (given,) = session_of(encoder).run(list(ENCODER_OUTPUTS), {ENCODER_INPUTS[0]: noise.numpy()})
    of_embeddings = _difference("the encoder's embeddings", given, embeddings)
    session, of_logits = session_of(decoder), 0.0
    for words, points, labels, mask in _trials(sam):
        feed = _fed(sam, embeddings, points, labels, mask)
        low_res, predicted_iou = session.run(list(DECODER_OUTPUTS), feed)
        wanted, wanted_iou = _asked(sam, embeddings, points, labels, mask)
        of_logits = max(of_logits, _difference(f"logits for {words}", low_res, wanted))
        _difference(f"predicted IoU for {words}", predicted_iou, wanted_iou)
    return of_embeddings, of_logits


def _trials(sam: Sam) -> Iterator[tuple[str, Tensor, Tensor, Tensor | None]]:
    """Prompts of every kind: words, (1, P, 2) points, (1, P) labels, and a mask."""
    side = float(sam.image_encoder.img_size)
    click = torch.tensor([[[0.31, 0.42], [0.7, 0.15], [0.0, 0.0]]]) * side
    box = torch.tensor([[[0.2, 0.1], [0.8, 0.55]]]) * side
    height, width = sam.prompt_encoder.mask_input_size
    mask = torch.linspace(-9, 9, height * width).reshape(1, 1, height, width)
    nothing = torch.zeros(1, 0, 2)
    yield "a point", click[:, 1:], torch.tensor([[1.0, -1.0]]), None
    yield "two points", click, torch.tensor([[1.0, 0.0, -1.0]]), None
    yield "a box", box, torch.tensor([[2.0, 3.0]]), None
    both = torch.cat([click[:, :2], box], dim=1)
    yield "points in a box", both, torch.tensor([[1.0, 0.0, 2.0, 3.0]]), None
    yield "a point and a mask", click[:, 1:], torch.tensor([[1.0, -1.0]]), mask
    yield "a mask", nothing, torch.zeros(1, 0), mask


def _fed(
    sam: Sam, embeddings: Tensor, points: Tensor, labels: Tensor, mask: Tensor | None
) -> dict[str, NDArray[Any]]:
    height, width = sam.prompt_encoder.mask_input_size
    given = torch.zeros(1, 1, height, width) if mask is None else mask
    has_mask = torch.tensor([float(mask is not None)])
    parts = (embeddings, points, labels, given, has_mask)
    return {name: part.numpy() for name, part in zip(DECODER_INPUTS, parts, strict=True)}


@torch.no_grad()
def _asked(
    sam: Sam, embeddings: Tensor, points: Tensor, labels: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """segment-anything's own prompt encoder, which takes points and boxes apart."""
    clicks, corners = (labels == 0) | (labels == 1), labels > 1
    boxes = points[corners].reshape(1, 4) if corners.any() else None
    placed = (points[clicks][None], labels[clicks][None]) if clicks.any() else None
    sparse, dense = sam.prompt_encoder(points=placed, boxes=boxes, masks=mask)
    low_res, predicted_iou = sam.mask_decoder.predict_masks(
        image_embeddings=embeddings,
        image_pe=sam.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
    )
    return low_res, predicted_iou


def _difference(what: str, given: NDArray[np.float32], wanted: Tensor) -> float:
    expected = wanted.numpy()
    if given.shape != expected.shape:
        raise ExportMismatchError(f"{what}: shape {given.shape}, of torch {expected.shape}")
    scale = max(1.0, float(np.abs(expected).max()))
    difference = float(np.abs(given - expected).max()) / scale
    if not difference <= TOLERANCE:  # NaN is not
        raise ExportMismatchError(
            f"{what} differ from torch's by {difference:.1e} of the largest, {TOLERANCE:.0e} is "
            "rounding; nothing was written"
        )
    return difference


def _graph(path: Path, weights: Path | None) -> OnnxGraph:
    return OnnxGraph(
        graph=described_file(path), weights=None if weights is None else described_file(weights)
    )


def _described(
    sam: Sam, source: Source, encoder: OnnxGraph, decoder: OnnxGraph,
    differences: tuple[float, float],
) -> OnnxSamDescription:  # fmt: skip
    side = sam.image_encoder.img_size
    mean, std = (part.flatten().tolist() for part in (sam.pixel_mean, sam.pixel_std))
    return OnnxSamDescription(
        name=source.name,
        side=side,
        stride=side // sam.prompt_encoder.image_embedding_size[0],
        mean=(mean[0], mean[1], mean[2]),
        std=(std[0], std[1], std[2]),
        takes_masks=source.takes_masks,
        stability_offset=source.stability_offset,
        opset=OPSET,
        exported_from=source.exported_from,
        weights_sha256=source.weights_sha256,
        made_with={name: importlib.metadata.version(name) for name in _LIBRARIES},
        embedding_difference=differences[0],
        logit_difference=differences[1],
        encoder=encoder,
        decoder=decoder,
    )


def _put(made: Path, folder: Path) -> None:
    """The new files in place of the old ones; the description goes first and comes last, so that a
    folder that was left half-way is refused, not mixed."""
    (folder / DESCRIPTION).unlink(missing_ok=True)
    for old in (ENCODER_FILE, DECODER_FILE, INT8_FILE):
        for path in (folder / old, folder / f"{old}.data"):
            path.unlink(missing_ok=True)
    for path in sorted(made.iterdir(), key=lambda path: path.name == DESCRIPTION):
        shutil.move(path, folder / path.name)
