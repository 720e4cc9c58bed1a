"""Everything in a picture that words name, as masks with a label each.

Two ways. A text detector finds boxes for any words, and the model for clicks turns each into a
mask. Where there are no weights of a detector, the semantic model of drafts answers for words that
mean a class of the label map: the connected regions of that class. Neither way encodes the picture
for the masks again.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from annotation.assist.segmenter import Found, Mask, Thresholds
from cloud.assist.finders import Seen
from cloud.assist.mask_overlaps import distinct, extent_of, iou
from cloud.preannotation.ontology import Ontology
from cloud.preannotation.semantic_labels import SemanticLabeler, class_ids_of
from cloud.preannotation.text_detectors import FoundBoxes, TextDetector, joined
from cloud.preannotation.text_prompts import without_doubles
from cloud.preannotation.word_labels import labels_of, phrases_of
from lifelong.errors import ConfigError, ModelOutputError, PromptError
from lifelong.records.label_map import LabelMap
from lifelong.records.prompts import Box, Point, Prompt

_MOST = 100  # objects of one answer
_MOST_BYTES = 2**30  # of their masks
# Regions of fewer pixels than this share of the picture are specks more often than things.
_LEAST_SHARE = 0.0006
_LEAST_PX = 16
# A click model's mask takes a region's place where both say nearly the same, and where the model
# is as sure of it as segment-anything's own grid of clicks asks for. Measured on drawn scenes in
# docs/assist.md.
_AGREEMENT = 0.7
_SURE = 0.88


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """How the words of annotators are read."""

    ontology: Ontology
    label_map: LabelMap

    def read(self, words: Sequence[str], labels: Sequence[str]) -> dict[str, str]:
        """Phrase to label, see `labels_of`."""
        return labels_of(phrases_of(words), labels, self.ontology, self.label_map.names)


class DetectorWords:
    """A `WordFinder` for any words."""

    def __init__(
        self, detector: TextDetector, vocabulary: Vocabulary, *, nms_iou: float = 0.7
    ) -> None:
        self.name = detector.name
        self._detector, self._vocabulary, self._nms_iou = detector, vocabulary, nms_iou
        self._turn = threading.Lock()

    def find(
        self, seen: Seen, words: Sequence[str], *, labels: Sequence[str], thresholds: Thresholds
    ) -> list[Found]:
        """See `WordFinder`; best first."""
        meant = self._vocabulary.read(words, labels)
        try:
            self._detector.check(tuple(meant))
        except ConfigError as error:
            raise PromptError(str(error).rpartition("prompts: ")[2]) from error
        image = seen.pixels()
        seen.pause()
        with self._turn:
            boxes = self._boxes(image, meant, thresholds)
        return _best(self._masks(seen, boxes, meant), seen, nms_iou=self._nms_iou)

    def _boxes(
        self, image: NDArray[np.uint8], meant: Mapping[str, str], thresholds: Thresholds
    ) -> FoundBoxes:
        def asked(phrases: Sequence[str]) -> FoundBoxes:
            return self._detector.find(
                image, tuple(phrases),
                box_threshold=thresholds.box, text_threshold=thresholds.text,
            )  # fmt: skip

        found = asked(list(meant))
        if len(meant) > 1 and None in found.prompts:
            # Words of several phrases lit up one box. Each phrase alone says what it finds.
            found = joined([asked([phrase]) for phrase in meant])
        return without_doubles(found, nms_iou=self._nms_iou)

    def _masks(self, seen: Seen, found: FoundBoxes, meant: Mapping[str, str]) -> list[Found]:
        order = torch.argsort(found.scores, descending=True, stable=True).tolist()
        masks: list[Found] = []
        for number in order:
            prompt = found.prompts[number]
            if prompt is None:  # sure of something, but of none of the words
                continue
            if len(masks) == _most(seen):
                break
            seen.pause()
            mask, predicted = _mask_in(seen, found.boxes[number].tolist())
            masks.append(
                Found(
                    mask=mask,
                    label=meant[prompt],
                    phrase=found.phrases[number] or prompt,
                    score=float(np.clip(float(found.scores[number]) * predicted, 0.0, 1.0)),
                )
            )
        return masks


class ClassWords:
    """A `WordFinder` for words that mean a class of the label map."""

    def __init__(
        self, labeler: SemanticLabeler, vocabulary: Vocabulary, *,
        box_threshold: float = 0.35, nms_iou: float = 0.7,
    ) -> None:  # fmt: skip
        self.name = labeler.name
        self._labeler, self._vocabulary = labeler, vocabulary
        self._threshold, self._nms_iou = box_threshold, nms_iou
        self._turn = threading.Lock()

    def find(
        self, seen: Seen, words: Sequence[str], *, labels: Sequence[str], thresholds: Thresholds
    ) -> list[Found]:
        """See `WordFinder`; best first. `thresholds.box` is of a region's mean probability."""
        meant = self._vocabulary.read(words, labels)
        classes = self._classes(meant)
        image = seen.pixels()
        seen.pause()
        with self._turn:
            probabilities = self._labeler.label(image)
        least = self._threshold if thresholds.box is None else thresholds.box
        class_ids = class_ids_of(probabilities)
        found = [
            Found(mask=mask, label=meant[phrase], phrase=phrase, score=score)
            for class_id, phrase in classes.items()
            for mask, score in _regions(class_ids == class_id, probabilities[class_id], least)
        ]
        found = sorted(found, key=lambda one: -one.score)[: _most(seen)]
        return _best([_refined(seen, one) for one in found], seen, nms_iou=self._nms_iou)

    def _classes(self, meant: Mapping[str, str]) -> dict[int, str]:
        """Class id to the phrase that asks for it."""
        ontology, names = self._vocabulary.ontology, self._vocabulary.label_map.names
        classes: dict[int, str] = {}
        for phrase, label in meant.items():
            class_id = ontology.class_of(phrase)
            if class_id is None:
                class_id = ontology.class_of(label)
            if class_id is None:
                raise PromptError(
                    f"{phrase!r}: {self.name} answers words here, and knows only "
                    f"{', '.join(names)}; for other words `cornerloop models pull "
                    "IDEA-Research/grounding-dino-tiny` and start again"
                )
            first = classes.setdefault(class_id, phrase)
            if meant[first] != label:
                raise PromptError(
                    f"{first!r} and {phrase!r} are both {names[class_id]!r} to {self.name}, which "
                    f"answers words here, so it cannot say which is {meant[first]!r} and which "
                    f"{label!r}; ask for one of them"
                )
        return classes


def _regions(
    of_class: Mask, probability: NDArray[np.float32], least: float
) -> list[tuple[Mask, float]]:
    """Connected regions, corners included, and the mean probability of each."""
    count, numbers, stats, _ = cv2.connectedComponentsWithStats(
        of_class.astype(np.uint8), connectivity=8
    )
    sums = np.bincount(numbers.ravel(), weights=probability.ravel(), minlength=count)
    areas = stats[:, cv2.CC_STAT_AREA]
    means = sums / np.maximum(areas, 1)
    enough = max(_LEAST_PX, _LEAST_SHARE * of_class.size)
    stays = [n for n in range(1, count) if areas[n] >= enough and means[n] > least]
    best = sorted(stays, key=lambda number: -means[number])[:_MOST]
    return [(numbers == number, float(min(1.0, means[number]))) for number in best]


def _refined(seen: Seen, found: Found) -> Found:
    """The same object as the model for clicks outlines it, where it means the same object."""
    seen.pause()
    extent = extent_of(found.mask)
    # The pixel farthest from the region's edge; the picture's own edge is one too.
    inside = cv2.distanceTransform(np.pad(found.mask.astype(np.uint8), 1), cv2.DIST_L2, 3)
    y, x = np.unravel_index(int(inside[1:-1, 1:-1].argmax()), found.mask.shape)
    prompt = Prompt(
        points=(Point(float(x), float(y)),),
        boxes=(Box(extent.x0, extent.y0, extent.x1, extent.y1),),
    )
    masks, predicted = _decoded(seen, prompt, several=True)
    agreement = [iou(mask, found.mask) for mask in masks]
    best = int(np.argmax(agreement))
    if agreement[best] < _AGREEMENT or predicted[best] < _SURE:
        return found
    score = found.score * min(1.0, float(predicted[best]))
    return Found(mask=masks[best], label=found.label, phrase=found.phrase, score=score)


def _mask_in(seen: Seen, box: Sequence[float]) -> tuple[Mask, float]:
    """The mask that a box means, and its predicted IoU, 0 .. 1."""
    x0, y0, x1, y1 = box
    masks, predicted = _decoded(seen, Prompt(boxes=(Box(x0, y0, x1, y1),)), several=False)
    return masks[0], float(np.clip(predicted[0], 0.0, 1.0))


def _decoded(
    seen: Seen, prompt: Prompt, *, several: bool
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """(K, H, W) masks and (K,) predicted IoU."""
    answer = seen.model.decode(seen.embedded, prompt, previous=None, several=several)
    logits = seen.model.enlarge(answer.low_res, seen.embedded)
    if not (np.isfinite(logits).all() and np.isfinite(answer.predicted_iou).all()):
        raise ModelOutputError(f"{seen.model.name}: masks hold NaN or infinite values")
    return logits > 0, answer.predicted_iou


def _best(found: Sequence[Found], seen: Seen, *, nms_iou: float) -> list[Found]:
    """Each object once, best first: of two masks for it, by whatever words, the better one."""
    kept = distinct([one.mask for one in found], [one.score for one in found], most=nms_iou)
    return [found[number] for number in kept[: _most(seen)]]


def _most(seen: Seen) -> int:
    pixels = seen.embedded.height * seen.embedded.width
    return max(1, min(_MOST, _MOST_BYTES // pixels))
