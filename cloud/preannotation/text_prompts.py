"""A draft of what words ask for: boxes from a detector, masks from a SAM, classes from a table.

`text_detectors` finds the boxes and `sam` turns them into masks; what is said here is which box
means which class, which of several boxes for one thing stays, and who lies on top.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import nms

from cloud.preannotation.drafting import Draft, DraftRegion, draft_of_regions
from cloud.preannotation.naming.english import words_of
from cloud.preannotation.region_masks import Rle, box_of, rle_from_mask
from cloud.preannotation.sam.promptable import Embedding, PromptableModel, Prompts
from cloud.preannotation.text_detectors import DETECTORS, FoundBoxes, TextDetector
from lifelong.errors import ConfigError, ModelOutputError
from lifelong.records.label_map import LabelMap
from lifelong.sections.drafting import TextPromptsSection

_UNNAMED = "unknown"
_MASKS_AT_ONCE = 16  # full-size logits of more would fill the memory
_KEY = "preannotation.text_prompts.prompts"


class TextPromptDrafter:
    """A `Drafter` that looks for given words.

    Boxes are painted from the largest mask to the smallest, as in Semantic Segment Anything, and
    not by score: scores of different words are not on one scale, and a person in front of a bus
    must stay visible however sure the detector is of the bus.
    """

    def __init__(
        self,
        detector: TextDetector,
        sam: PromptableModel,
        classes: Mapping[str, int],
        *,
        nms_iou: float = 0.7,
    ) -> None:
        """`classes`: prompt in normal form to class id, see `class_table`."""
        detector.check(tuple(classes))
        self.proposed_by, self.labelled_by = sam.name, detector.name
        self._detector, self._sam = detector, sam
        self._classes, self._nms_iou = dict(classes), nms_iou

    @torch.inference_mode()
    def draft(self, image: NDArray[np.uint8]) -> Draft:
        """See `Drafter`. What was found where words of several prompts ran together is a region
        without a class; a picture in which nothing was found is a mask of 255."""
        found = without_doubles(
            self._detector.find(image, tuple(self._classes)), nms_iou=self._nms_iou
        )
        regions = self._regions(image, found)
        order = sorted(range(len(regions)), key=lambda n: (-regions[n].area, regions[n].score))
        draft = draft_of_regions(
            [regions[n] for n in order], height=image.shape[0], width=image.shape[1]
        )
        seen = {region.class_id for region in regions if region.class_id is not None}
        lost = sorted(seen - {int(class_id) for class_id in np.unique(draft.mask)})
        return replace(draft, erased=tuple(lost))

    def _regions(self, image: NDArray[np.uint8], found: FoundBoxes) -> list[DraftRegion]:
        if not len(found.boxes):
            return []
        (embedding,) = self._sam.embed([image])
        answers = self._sam.ask(embedding, Prompts(boxes=found.boxes), several=False)
        if answers.predicted_iou.shape != (len(found.boxes), 1):
            raise ModelOutputError(
                f"{self._sam.name}: {tuple(answers.predicted_iou.shape)} masks for "
                f"{len(found.boxes)} boxes, expected one each"
            )
        low_res = answers.low_res(torch.ones_like(answers.predicted_iou, dtype=torch.bool))
        ious = answers.predicted_iou[:, 0].float().cpu().clamp(0.0, 1.0).tolist()
        masks = self._masks(low_res, embedding)
        return [
            self._region(found, number, rle, iou=ious[number], stability=stability)
            for number, (rle, stability) in enumerate(masks)
            if sum(rle["counts"][1::2])  # a SAM may answer a box with nothing at all
        ]

    def _region(
        self, found: FoundBoxes, number: int, rle: Rle, *, iou: float, stability: float
    ) -> DraftRegion:
        prompt, phrase = found.prompts[number], found.phrases[number] or _UNNAMED
        others = () if prompt in (None, phrase) else (prompt,)
        return DraftRegion(
            rle=rle,
            area=sum(rle["counts"][1::2]),
            box=box_of(rle),
            class_id=None if prompt is None else self._classes[prompt],
            class_name=phrase,
            class_proposals=tuple(name for name in (phrase, *others) if name is not None),
            score=min(1.0, float(found.scores[number]) * iou * stability),
            predicted_iou=iou,
            stability=stability,
        )

    def _masks(self, low_res: Tensor, embedding: Embedding) -> list[tuple[Rle, float]]:
        """Run lengths and stability of every mask."""
        masks: list[tuple[Rle, float]] = []
        for begin in range(0, len(low_res), _MASKS_AT_ONCE):
            logits = self._sam.enlarge(low_res[begin : begin + _MASKS_AT_ONCE], embedding)
            if not bool(torch.isfinite(logits).all()):
                raise ModelOutputError(f"{self._sam.name}: masks hold NaN or infinite values")
            offset = self._sam.stability_offset
            sure = (logits > offset).flatten(1).sum(1).float()
            perhaps = (logits > -offset).flatten(1).sum(1).clamp(min=1).float()
            whole = (logits > 0).cpu().numpy()
            pairs = zip(whole, (sure / perhaps).cpu().tolist(), strict=True)
            masks.extend((rle_from_mask(mask), stability) for mask, stability in pairs)
        return masks


def class_table(prompts: Mapping[str, str], label_map: LabelMap) -> dict[str, int]:
    """Prompts in normal form (lower case, single blanks, no signs) and the class each means.

    Raises:
        ConfigError: no prompt at all, one without a word, one whose class the label map does not
            have, or one that is given to two classes.
    """
    if not prompts:
        raise ConfigError(
            f"{_KEY}: empty; say what to look for and which class it means, e.g. "
            f"{{parked car: {label_map.names[0]}}}"
        )
    table: dict[str, int] = {}
    for prompt, name in prompts.items():
        if name not in label_map:
            raise ConfigError(
                f"{_KEY}.{prompt}: the label map has no class {name!r}; "
                f"it has {', '.join(label_map.names)}"
            )
        normal, class_id = " ".join(words_of(prompt)), label_map.id_of(name)
        if not normal:
            raise ConfigError(f"{_KEY}: {prompt!r} holds no word")
        if table.setdefault(normal, class_id) != class_id:
            raise ConfigError(
                f"{_KEY}.{prompt}: means {name!r} and {label_map.names[table[normal]]!r}; "
                "a prompt means one class only"
            )
    return table


def without_doubles(found: FoundBoxes, *, nms_iou: float) -> FoundBoxes:
    """Of boxes that overlap more than `nms_iou`, whatever their prompts, the one with most score.

    A box whose words mean no class never displaces one that means a class. Boxes without any
    area are left out.
    """
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    solid = torch.nonzero((sides > 0).all(dim=1)).flatten()
    lower = torch.tensor([prompt is None for prompt in found.prompts], dtype=torch.float32)
    kept = solid[nms(found.boxes[solid], (found.scores - 2 * lower)[solid], nms_iou)]
    return _of(found, kept.tolist())


def text_prompt_drafter(
    section: TextPromptsSection,
    sam: PromptableModel,
    label_map: LabelMap,
    *,
    device: str = "auto",
    weights_path: Path | None = None,
) -> TextPromptDrafter:
    """The drafter a configuration names, with the detector's weights loaded.

    Args:
        weights_path: where `cornerloop models pull` keeps weights; None: its usual place.

    Raises:
        ConfigError: the table of prompts is empty or does not fit the label map.
        ModelLoadError: weights that cannot be loaded; says what was expected.
    """
    classes = class_table(section.prompts, label_map)
    detector = DETECTORS[section.detector](section, device, weights_path)
    return TextPromptDrafter(detector, sam, classes, nms_iou=section.nms_iou)


def _of(found: FoundBoxes, numbers: Sequence[int]) -> FoundBoxes:
    return FoundBoxes(
        boxes=found.boxes[list(numbers)],
        scores=found.scores[list(numbers)],
        phrases=tuple(found.phrases[number] for number in numbers),
        prompts=tuple(found.prompts[number] for number in numbers),
    )
