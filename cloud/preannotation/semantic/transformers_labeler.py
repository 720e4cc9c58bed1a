"""Any semantic segmentation checkpoint of transformers: per pixel, or by queries for masks.

Networks that score pixels (SegFormer, UperNet, BEiT, DPT …) answer with logits. Universal ones
(MaskFormer, Mask2Former, OneFormer) answer with queries, each a class and a mask; a pixel's score
for a class is the sum over queries of the class's probability times the mask's.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForSemanticSegmentation,
    AutoModelForUniversalSegmentation,
    AutoTokenizer,
    OneFormerProcessor,
)

from cloud.preannotation.devices import chosen_device, chosen_precision
from cloud.preannotation.semantic.enlarging import probabilities_at, shares_at
from cloud.preannotation.semantic.placing import Meanings, placing_of
from cloud.weights.store import located_hub
from lifelong.errors import ModelLoadError
from lifelong.records.label_map import LabelMap

# Their processors enlarge the masks of queries to this side before anything else.
_MASK2FORMER_SIDE_PX = 384
_BY_QUERIES = ("maskformer", "mask2former", "oneformer")


class TransformersLabeler:
    """A checkpoint in a folder, in the store of pulled weights, or by its id on the hub.

    Raises:
        ModelLoadError: it cannot be loaded, or lacks weights of its own network.
        LabelMapError: none of its classes is one of the label map's.
    """

    def __init__(
        self,
        model: str,
        label_map: LabelMap,
        *,
        meanings: Meanings | None = None,
        device: str = "auto",
        weights_path: Path | None = None,
        precision: str = "float32",
        align_corners: bool = False,
    ) -> None:
        """Args:
        precision: of the network: `float32`, `bfloat16` or `auto`, see `chosen_precision`;
            enlarging and probabilities are float32.
        align_corners: as SSA enlarges logits; queries are enlarged as the library does.
        """
        self.name = Path(model).name
        self._device = chosen_device(device)
        self._half = chosen_precision(precision, self._device) == "bfloat16"
        self._align_corners = align_corners
        place = located_hub(model, weights_path)
        try:
            self._kind, network, self._processor = _loaded(str(place))
        except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
            first = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
            raise ModelLoadError(
                f"{model}: expected a folder or hub id of a semantic segmentation checkpoint of "
                f"transformers ({first}); `cornerloop models pull ORGANISATION/NAME` brings one"
            ) from error
        # Whatever type the weights were stored in, and on whatever device.
        self._network = network.float().eval().to(self._device)
        names = self._network.config.id2label
        self._placing = placing_of(label_map, names, where=model, meanings=meanings)

    @torch.inference_mode()
    def label(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `SemanticLabeler`."""
        inputs = self._inputs(image).to(self._device)
        with torch.autocast(
            torch.device(self._device).type, dtype=torch.bfloat16, enabled=self._half
        ):
            answer = self._network(**inputs)
        size = (image.shape[0], image.shape[1])
        if self._kind not in _BY_QUERIES:
            return probabilities_at(
                answer.logits.float(),
                size,
                self._placing,
                where=self.name,
                align_corners=self._align_corners,
            )
        masks = answer.masks_queries_logits.float()
        if self._kind == "mask2former":
            side = (_MASK2FORMER_SIDE_PX, _MASK2FORMER_SIDE_PX)
            masks = F.interpolate(masks, side, mode="bilinear", align_corners=False)
        scores = scores_of_queries(answer.class_queries_logits.float(), masks)
        return shares_at(scores, size, self._placing, where=self.name)

    def _inputs(self, image: NDArray[np.uint8]) -> Any:
        # Of an array three pixels high a processor would take the rows for channels.
        picture = Image.fromarray(image)
        if self._kind == "oneformer":
            return self._processor(images=picture, task_inputs=["semantic"], return_tensors="pt")
        return self._processor(images=picture, return_tensors="pt")


def _loaded(place: str) -> tuple[str, Any, Any]:
    """The kind of network, the network, and what prepares its pictures."""
    kind: str = AutoConfig.from_pretrained(place).model_type
    classes = (
        AutoModelForUniversalSegmentation
        if kind in _BY_QUERIES
        else AutoModelForSemanticSegmentation
    )
    network, said = classes.from_pretrained(place, output_loading_info=True)
    # transformers fills what a checkpoint lacks with random numbers and a warning.
    trained = {name for name, _ in network.named_parameters()}
    lacking = sorted(trained & set(said["missing_keys"]))
    if lacking:
        raise ValueError(f"it lacks weights: {lacking[0]} and {len(lacking) - 1} others")
    return kind, network, _processor(place, kind)


def scores_of_queries(classes: Tensor, masks: Tensor) -> Tensor:
    """(1, Q, K + 1) class logits, the last for "nothing", and (1, Q, h, w) mask logits to
    (1, K, h, w) scores >= 0 (Cheng et al. 2021, MaskFormer, section 3.4)."""
    return torch.einsum("bqk,bqhw->bkhw", classes.softmax(dim=-1)[..., :-1], masks.sigmoid())


def _processor(place: str, kind: str) -> Any:
    if kind != "oneformer":
        return AutoImageProcessor.from_pretrained(place)
    # Its list of classes lies in a data set on the hub, unless it was pulled with the weights.
    name = _class_list(Path(place))
    here = {"repo_path": place} if name and (Path(place) / name).is_file() else {}
    return OneFormerProcessor(
        image_processor=AutoImageProcessor.from_pretrained(place, **here),
        tokenizer=AutoTokenizer.from_pretrained(place),
    )


def _class_list(folder: Path) -> str | None:
    """The file of classes that a OneFormer folder's processor asks for."""
    for name in ("preprocessor_config.json", "processor_config.json"):
        if (folder / name).is_file():
            says = json.loads((folder / name).read_bytes())
            wanted = says.get("image_processor", says).get("class_info_file")
            if isinstance(wanted, str):
                return wanted
    return None
