"""Annotations with regions that look wrong go back to their annotator once, before they teach.

This stands between the loop and the annotators, as one of them. When all of a round is finished,
the incumbent, which has learned nothing of it yet, looks at every annotation
(`lifelong/labels/errors.py`). The most suspicious ones go back as a reviewer's rejection would send
them, with the regions outlined; whatever is submitted then counts, changed or not. In storage:

    doubted/{round}.json                 who was asked, about what, by which model; written once
    doubted/{round}/{sample}.jpg         the picture with the regions outlined
    doubted/{round}/{sample}.json        what the person said
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from annotation.pulling import Pulled
from cloud.loop import Annotators
from lifelong.errors import (
    ModelError,
    ObjectExistsError,
    ObjectNotFoundError,
    RecordError,
    ReviewError,
)
from lifelong.labels.errors import ClassThresholds, SuspectRegion, Suspects, suspects, suspicion
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage
from lifelong.model_bundle import ModelBundle
from lifelong.preprocessing import enlarged, softmax
from lifelong.records.ids import RoundNumber, SampleId, VersionId
from lifelong.records.keys import image_key
from lifelong.records.pixels import image_from_bytes, jpeg_from_image, mask_from_png
from lifelong.records.samples import Annotation, AnnotationTask, PreAnnotation
from lifelong.records.wire import from_json, to_json
from lifelong.segmenter import OnnxSegmenter

logger = logging.getLogger(__name__)

# A model that contradicts more of a picture than this is not at home in it, and is no judge.
AT_HOME = 0.75  # share of the annotated pixels with the class that the model says
MOST_REGIONS = 5  # of a picture: more are no question but a new annotation
_OUTLINE = (230, 159, 0)  # told apart with every kind of colour vision (Okabe and Ito 2008)


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """Regions of one annotation that a model takes for something else."""

    sample_id: SampleId
    annotation_id: int
    annotator: str
    mask_key: str
    regions: tuple[SuspectRegion, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubts:
    """What people of one round were asked again."""

    round_number: RoundNumber
    version_id: VersionId  # the model that doubts
    doubts: tuple[Doubt, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubtAnswer:
    """What a person made of a doubt: of each of its regions, the share of pixels that changed."""

    sample_id: SampleId
    annotation_id: int  # the one that counts
    annotator: str
    changed: tuple[float, ...]  # 0 .. 1


class Desk(Protocol):
    """Who puts work back into the queue."""

    def ask_again(
        self, task: AnnotationTask, annotation_id: int, reason: str, picture_key: str
    ) -> None:
        """Send one annotation back, with a picture in the annotator's sight.

        Raises:
            ReviewError: it is not there any more.
        """


class DoubtedLabels:
    """Annotators whose work is looked at by the incumbent before it is handed on."""

    def __init__(
        self,
        people: Annotators,
        desk: Desk,
        *,
        storage: Storage,
        journal: Journal,
        share: float,
        names: Sequence[str],
        incumbent: Callable[[], ModelBundle | None],
    ) -> None:
        """
        Args:
            share: of a round's tasks, at most so many go back.
            names: of the classes, by id, for what people read.
        """
        self._people = people
        self._desk = desk
        self._storage = storage
        self._journal = journal
        self._share = share
        self._names = names
        self._incumbent = incumbent

    def push(self, drafts: Sequence[PreAnnotation]) -> list[AnnotationTask]:
        """As the annotators do."""
        return self._people.push(drafts)

    def sort(self, tasks: Sequence[AnnotationTask], order: Sequence[SampleId]) -> None:
        """As the annotators do."""
        self._people.sort(tasks, order)

    def pull(self, tasks: Sequence[AnnotationTask]) -> Pulled:
        """What people have finished and, where they were asked, looked at again."""
        pulled = self._people.pull(tasks)
        annotations, skips = tuple(pulled.annotations), tuple(pulled.skips)
        numbers = {task.round_number for task in tasks}
        if len(numbers) != 1:  # the loop asks about one round
            return Pulled(annotations=annotations, skips=skips)
        number = numbers.pop()
        asked = self._asked(number)
        if asked is None:
            if len(annotations) + len(skips) < len(tasks):
                return Pulled(annotations=annotations, skips=skips)
            asked = self._look(number, annotations, math.floor(self._share * len(tasks)))
        waiting = self._sent_back(asked, tasks, annotations)
        left = tuple(one for one in annotations if one.sample_id not in waiting)
        return Pulled(annotations=left, skips=skips)

    def _look(self, number: RoundNumber, annotations: Sequence[Annotation], most: int) -> Doubts:
        """Let the incumbent judge a finished round, and write down whom to ask; done once."""
        bundle = self._incumbent()
        doubts: tuple[Doubt, ...] = ()
        if bundle is not None and most:
            fit = [a for a in annotations if a.label_map_digest in {"", _digest(bundle)}]
            try:
                doubts = self._doubts(bundle, fit, most)
            except (ModelError, RecordError, ObjectNotFoundError) as error:
                # Nobody is asked; the round itself will say what is broken, if it matters there.
                logger.warning("round %d is not looked at again: %s", number, error)
        made = Doubts(
            round_number=number,
            version_id=bundle.version_id if bundle is not None else VersionId(""),
            doubts=doubts,
        )
        try:
            self._storage.put_if_absent(_key(number), to_json(made))
        except ObjectExistsError:
            return self._asked(number) or made
        return made

    def _doubts(
        self, bundle: ModelBundle, annotations: Sequence[Annotation], most: int
    ) -> tuple[Doubt, ...]:
        """The most suspicious annotations, at most so many, the worst first."""
        segmenter = OnnxSegmenter(bundle, threads=1)
        thresholds = ClassThresholds(len(bundle.manifest.label_map))
        at_home = []
        for annotation in annotations:
            shares, mask = self._looked_at(segmenter, annotation)
            thresholds.add(shares, mask)
            known = mask < shares.shape[0]
            if known.any() and (shares.argmax(axis=0) == mask)[known].mean() >= AT_HOME:
                at_home.append(annotation)
        found: list[tuple[float, Annotation, Suspects]] = []
        for annotation in at_home:
            one = suspects(*self._looked_at(segmenter, annotation), thresholds.values)
            if one.regions:
                found.append((suspicion(one.regions), annotation, one))
        found.sort(key=lambda entry: (-entry[0], entry[1].sample_id))
        for _, annotation, one in found[:most]:
            self._outline(annotation, one)
        return tuple(
            Doubt(
                sample_id=annotation.sample_id,
                annotation_id=annotation.annotation_id,
                annotator=annotation.annotator,
                mask_key=annotation.mask_key,
                regions=one.regions[:MOST_REGIONS],
            )
            for _, annotation, one in found[:most]
        )

    def _sent_back(
        self, asked: Doubts, tasks: Sequence[AnnotationTask], annotations: Sequence[Annotation]
    ) -> set[SampleId]:
        """Send back what was not yet; returns the samples whose answer is awaited."""
        by_sample = {annotation.sample_id: annotation for annotation in annotations}
        task_of = {task.sample_id: task for task in tasks}
        waiting = set()
        for doubt in asked.doubts:
            now = by_sample.get(doubt.sample_id)
            if now is None:
                continue  # still in the queue, or skipped by now
            if now.annotation_id != doubt.annotation_id:
                self._note(asked.round_number, doubt, now)
            elif self._ask(asked, doubt, task_of[doubt.sample_id]):
                waiting.add(doubt.sample_id)
        return waiting

    def _ask(self, asked: Doubts, doubt: Doubt, task: AnnotationTask) -> bool:
        """Send one back; where that is refused, it counts as it is."""
        reason = question(doubt.regions, self._names)
        try:
            picture = _picture_key(asked.round_number, doubt.sample_id)
            self._desk.ask_again(task, doubt.annotation_id, reason, picture)
        except ReviewError as error:
            logger.warning("sample %s is not asked again: %s", doubt.sample_id, error)
            return False
        self._journal.event(
            "annotation.doubted",
            sample_id=doubt.sample_id,
            round_number=asked.round_number,
            annotation_id=doubt.annotation_id,
            annotator=doubt.annotator,
            version_id=asked.version_id,
            reason=reason,
        )
        return True

    def _note(self, number: RoundNumber, doubt: Doubt, now: Annotation) -> None:
        """Write down, once, what the person said to each region."""
        key = f"doubted/{number}/{doubt.sample_id}.json"
        if self._storage.exists(key):
            return
        before = mask_from_png(self._storage.get(doubt.mask_key), doubt.mask_key)
        after = mask_from_png(self._storage.get(now.mask_key), now.mask_key)
        changed = tuple(round(_changed(before, after, region), 4) for region in doubt.regions)
        answer = DoubtAnswer(
            sample_id=doubt.sample_id,
            annotation_id=now.annotation_id,
            annotator=now.annotator,
            changed=changed,
        )
        self._storage.put(key, to_json(answer))
        self._journal.event(
            "annotation.confirmed" if max(changed) < 0.5 else "annotation.corrected",
            sample_id=doubt.sample_id,
            round_number=number,
            annotator=now.annotator,
            changed=list(changed),
        )

    def _looked_at(
        self, segmenter: OnnxSegmenter, annotation: Annotation
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Probabilities (C, H, W) and the annotation (H, W) of one picture."""
        key = annotation.mask_key
        mask = mask_from_png(self._storage.get(key, sha256=annotation.mask_sha256), key)
        logits = segmenter.logits(self._image(annotation.sample_id))
        planes = [enlarged(plane, *mask.shape) for plane in logits]
        return softmax(np.stack(planes)), mask

    def _image(self, sample_id: SampleId) -> NDArray[np.uint8]:
        key = image_key(sample_id)
        return image_from_bytes(self._storage.get(key), key)

    def _outline(self, annotation: Annotation, found: Suspects) -> None:
        image = self._image(annotation.sample_id).copy()
        shown = ((found.places > 0) & (found.places <= MOST_REGIONS)).astype(np.uint8)
        lines, _ = cv2.findContours(shown, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(image, lines, -1, _OUTLINE, thickness=2)
        key = _picture_key(annotation.round_number, annotation.sample_id)
        self._storage.put(key, jpeg_from_image(image))

    def _asked(self, number: RoundNumber) -> Doubts | None:
        try:
            return from_json(Doubts, self._storage.get(_key(number)), _key(number))
        except ObjectNotFoundError:
            return None


def question(regions: Sequence[SuspectRegion], names: Sequence[str]) -> str:
    """What the annotator reads above the picture.

    >>> one = SuspectRegion(class_id=0, taken_for=1, area=90, box=(4, 5, 13, 13), score=0.8)
    >>> question([one], ["road", "car"])
    'Please look again: road at (8, 9) looks like car. Submit it as it is if it is right.'
    """
    told = ", ".join(
        f"{names[one.class_id]} at ({(one.box[0] + one.box[2]) // 2}, "
        f"{(one.box[1] + one.box[3]) // 2}) looks like {names[one.taken_for]}"
        for one in regions
    )
    return f"Please look again: {told}. Submit it as it is if it is right."


def _changed(before: NDArray[np.uint8], after: NDArray[np.uint8], region: SuspectRegion) -> float:
    """Of the doubted pixels' box, those of the doubted class: which share has another one now?"""
    x0, y0, x1, y1 = region.box
    there = before[y0 : y1 + 1, x0 : x1 + 1] == region.class_id
    now = after[y0 : y1 + 1, x0 : x1 + 1]
    # A region may be a small part of its box's class: what changed is held against its own area.
    return min(1.0, float((there & (now != region.class_id)).sum()) / max(region.area, 1))


def _digest(bundle: ModelBundle) -> str:
    return bundle.manifest.label_map.digest


def _key(number: RoundNumber) -> str:
    return f"doubted/{number}.json"


def _picture_key(number: RoundNumber, sample_id: SampleId) -> str:
    return f"doubted/{number}/{sample_id}.jpg"
