"""Pictures to class scores for every pixel: the semantic branch of a draft, by name."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from cloud.preannotation.devices import chosen_device
from cloud.preannotation.drafting_training import normalised
from cloud.preannotation.semantic.enlarging import probabilities_at
from cloud.preannotation.semantic.onnx_labeler import OnnxLabeler
from cloud.preannotation.semantic.placing import Meanings, placing_of
from cloud.preannotation.semantic.tiling import TiledLabeler
from cloud.preannotation.semantic.transformers_labeler import TransformersLabeler
from lifelong.errors import ConfigError, ModelLoadError
from lifelong.model_bundle import read_bundle
from lifelong.preprocessing import enlarged, softmax
from lifelong.records.label_map import IGNORE_INDEX, LabelMap
from lifelong.sections.drafting import SemanticSection
from lifelong.segmenter import OnnxSegmenter

TINY_SEGFORMER_WEIGHTS = Path(__file__).parent / "weights" / "tiny_segformer.safetensors"
_TINY_SIDE_PX = 480  # the longer side of what the tiny model was trained on


class SemanticLabeler(Protocol):
    """Who says what every pixel is."""

    name: str

    def label(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(H, W, 3) uint8 RGB to (C, H, W) float32 probabilities in the label map's order.

        Their sum over C may be below 1: the rest is what the model takes for no class of the label
        map; see `class_ids_of`.
        """


def class_ids_of(probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(C, H, W) probabilities to (H, W) class ids, the lowest on a tie.

    255 where what is missing to a sum of 1 is more than any class has: the model knows the pixel,
    but the label map has no class for it. Never class 0.
    """
    # Class by class: numpy's argmax over the first axis takes eight bytes a pixel, and its time.
    best, total = probabilities[0].copy(), probabilities[0].copy()
    class_ids = np.zeros(best.shape, dtype=np.uint8)
    for class_id in range(1, len(probabilities)):
        scores = probabilities[class_id]
        class_ids[scores > best] = class_id
        np.maximum(best, scores, out=best)
        total += scores
    class_ids[1.0 - total > best] = IGNORE_INDEX
    return class_ids


class TinyLabeler:
    """The small SegFormer we ship, or one trained the same way by `drafting_training`.

    Raises:
        ModelLoadError: no such file, a truncated one, or weights of another architecture.
        LabelMapError: none of its classes is one of the label map's.
    """

    def __init__(
        self,
        label_map: LabelMap,
        *,
        weights: Path = TINY_SEGFORMER_WEIGHTS,
        meanings: Meanings | None = None,
        device: str = "auto",
        align_corners: bool = False,
    ) -> None:
        self.name, self._align_corners = weights.stem, align_corners
        self._device = chosen_device(device)
        network = load_tiny_segformer(weights)
        self._network = network.to(self._device)
        names = network.config.id2label
        self._placing = placing_of(label_map, names, where=str(weights), meanings=meanings)

    @torch.inference_mode()
    def label(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `SemanticLabeler`."""
        pixels = normalised([image])
        height, width = image.shape[:2]
        scale = _TINY_SIDE_PX / max(height, width)
        size = (max(32, round(height * scale)), max(32, round(width * scale)))
        if size != (height, width):
            pixels = F.interpolate(pixels, size, mode="bilinear", antialias=True)
        logits = self._network(pixel_values=pixels.to(self._device)).logits
        return probabilities_at(
            logits,
            (height, width),
            self._placing,
            where=self.name,
            align_corners=self._align_corners,
        )


class BundleLabeler:
    """Our own deployed model: drafts without any foreign weights.

    Raises:
        ModelLoadError: no such file, or it cannot be loaded.
        LabelMapError: none of its classes is one of the label map's.
    """

    def __init__(
        self, bundle: Path, label_map: LabelMap, *, meanings: Meanings | None = None
    ) -> None:
        if not bundle.is_file():
            raise ModelLoadError(f"{bundle}: no such file; expected a model bundle")
        self.name = bundle.stem
        self._segmenter = OnnxSegmenter(read_bundle(bundle.read_bytes(), str(bundle)))
        names = dict(enumerate(self._segmenter.bundle.manifest.label_map.names))
        self._placing = placing_of(label_map, names, where=str(bundle), meanings=meanings)

    def label(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `SemanticLabeler`."""
        height, width = image.shape[:2]
        scores = softmax(self._segmenter.logits(image))
        placed = np.zeros((self._placing.classes, height, width), dtype=np.float32)
        for source, target in enumerate(self._placing.targets):
            if target is not None:
                placed[target] += enlarged(scores[source], height, width)
        return placed


def load_tiny_segformer(weights: Path = TINY_SEGFORMER_WEIGHTS) -> SegformerForSemanticSegmentation:
    """Weights (.safetensors) with the network's configuration (.json) beside them.

    Raises:
        ModelLoadError: says which file is missing or does not fit.
    """
    config = weights.with_suffix(".json")
    for needed in (weights, config):
        if not needed.is_file():
            raise ModelLoadError(
                f"{needed}: no such file; a tiny SegFormer is NAME.safetensors beside NAME.json"
            )
    try:
        state = {name: value.float() for name, value in load_file(weights).items()}
        network = SegformerForSemanticSegmentation(
            SegformerConfig.from_dict(json.loads(config.read_text(encoding="utf-8")))
        )
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelLoadError(f"{weights}: not readable ({error}); fetch it again") from error
    # Counters of batches are whole numbers; everything else is a float.
    whole = {n: v.dtype for n, v in network.state_dict().items() if not v.is_floating_point()}
    state = {name: value.to(whole.get(name, value.dtype)) for name, value in state.items()}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ModelLoadError(
            f"{weights}: weights of another network than {config.name} describes; "
            "take both from one training"
        ) from error
    return network.eval()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Which model is wanted, for which classes, and where it shall run."""

    section: SemanticSection
    label_map: LabelMap
    meanings: Meanings | None
    device: str
    weights_path: Path | None
    precision: str
    align_corners: bool

    def model(self, what: str) -> str:
        """The model the section names, or an error that says it is needed."""
        if self.section.model is None:
            raise ConfigError(
                f"preannotation.semantic.model: type `{self.section.type}` needs a {what}; "
                "or use type `tiny`, which needs none"
            )
        return self.section.model


def _tiny(wish: Wish) -> SemanticLabeler:
    model = wish.section.model
    return TinyLabeler(
        wish.label_map,
        weights=TINY_SEGFORMER_WEIGHTS if model is None else Path(model),
        meanings=wish.meanings,
        device=wish.device,
        align_corners=wish.align_corners,
    )


def _transformers(wish: Wish) -> SemanticLabeler:
    return TransformersLabeler(
        wish.model("folder or hub id"),
        wish.label_map,
        meanings=wish.meanings,
        device=wish.device,
        weights_path=wish.weights_path,
        precision=wish.precision,
        align_corners=wish.align_corners,
    )


def _onnx(wish: Wish) -> SemanticLabeler:
    return OnnxLabeler(
        Path(wish.model("ONNX file")),
        wish.label_map,
        meanings=wish.meanings,
        device=wish.device,
        align_corners=wish.align_corners,
    )


def _bundle(wish: Wish) -> SemanticLabeler:
    return BundleLabeler(Path(wish.model("bundle file")), wish.label_map, meanings=wish.meanings)


LABELERS: dict[str, Callable[[Wish], SemanticLabeler]] = {
    "tiny": _tiny,
    "transformers": _transformers,
    "onnx": _onnx,
    "bundle": _bundle,
}


def labeler_from(
    section: SemanticSection,
    label_map: LabelMap,
    *,
    ontology: Meanings | None = None,
    device: str = "auto",
    weights_path: Path | None = None,
    precision: str = "float32",
    align_corners: bool = False,
) -> SemanticLabeler:
    """The labeler a configuration names, in tiles if it says so.

    Args:
        ontology: what the model's names mean; None: the label map's own names only.
        weights_path: where `cornerloop models pull` keeps weights; None: its usual place.
        precision: `float32`, `bfloat16` or `auto`, of `transformers`.
        align_corners: enlarge logits as SSA does instead of as transformers does.

    Raises:
        ConfigError: a type that needs a model without one, or tiles too small.
        ModelLoadError, LabelMapError: as the labelers say.
    """
    wish = Wish(
        section=section,
        label_map=label_map,
        meanings=ontology,
        device=device,
        weights_path=weights_path,
        precision=precision,
        align_corners=align_corners,
    )
    labeler = LABELERS[section.type](wish)
    if not section.tile_px:
        return labeler
    return TiledLabeler(labeler.label, name=labeler.name, tile_px=section.tile_px)
