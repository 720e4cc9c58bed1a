"""Two models of different classes sit one examination: compared on the classes that both know.

The candidate's own report holds every class of its label map. For the comparison, answers of the
incumbent are read as classes of the candidate's map; pixels of classes that only the candidate
knows are left out for both, since one of them could not have said so; and an answer that the
candidate's map has no name for any more counts as wrong, like any other wrong answer.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lifelong.evaluation import Examined, Holdouts, Segmenter, evaluate
from lifelong.labels.map_changes import LabelMapChange
from lifelong.labels.readings import LabelCodes, LabelReader
from lifelong.records.label_map import IGNORE_INDEX, LabelMap
from lifelong.records.model_versions import EvaluationReport, GateDecision
from lifelong.records.pixels import Prediction
from lifelong.sections.gate import GateSection

_NAMELESS = "(no class any more)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """What two models did in one examination."""

    candidate: EvaluationReport  # every class of its own label map
    compared: EvaluationReport  # the candidate on the classes that the incumbent knows as well
    incumbent: EvaluationReport | None  # on the same classes and pixels; None without one
    change: LabelMapChange | None  # None: both are of one label map, or there is no incumbent


def examined(
    candidate: Segmenter,
    incumbent: tuple[Segmenter, LabelMap] | None,
    holdouts: Holdouts,
    reader: LabelReader,
) -> Reports:
    """Let both models sit the examination.

    Args:
        candidate: a model of `reader.label_map`.
        incumbent: the model in use, and the label map that it answers in.
        holdouts: masks of label codes, as `reader` reads them.

    Raises:
        LabelMapChangeError: nobody said how the incumbent's classes became the candidate's.
        RecordError, ModelOutputError: as `lifelong.evaluation.evaluate`.
    """
    after = reader.label_map
    full = evaluate(candidate, holdouts, after, codes=reader.codes)
    if incumbent is None:
        return Reports(candidate=full, compared=full, incumbent=None, change=None)
    segmenter, before = incumbent
    if before.digest == after.digest:
        report = evaluate(segmenter, holdouts, after, codes=reader.codes)
        return Reports(candidate=full, compared=full, incumbent=report, change=None)
    change = reader.history.since(before)
    wider, codes = _wider(after), _wider_codes(reader.codes, len(after))
    added = tuple(after.id_of(name) for name in change.added)
    shared = {task: _WithoutNew(pictures, added) for task, pictures in holdouts.items()}
    answers = change.table()
    answers[: len(change.before)][answers[: len(change.before)] == IGNORE_INDEX] = len(after)
    return Reports(
        candidate=full,
        compared=evaluate(candidate, shared, wider, codes=codes),
        incumbent=evaluate(_Read(segmenter, answers), shared, wider, codes=codes),
        change=change,
    )


def rules_for(sat: Reports, rules: GateSection) -> GateSection:
    """The gate's rules for these two models.

    To know other classes is what was asked for, so the old ones need not gain beside it: they may
    lose as much as a learning task may forget. Where the hold-outs show a new class, one at least
    must have been learned, else there is nothing that could excuse a lack of gain.
    """
    if sat.change is None:
        return rules
    shown = [iou for ious in _new_classes(sat.change, sat.candidate) for iou in ious[1].values()]
    if shown and not any(iou > 0 for iou in shown):
        return rules
    return rules.model_copy(update={"min_gain": min(rules.min_gain, -rules.max_forgetting)})


def with_classes_told(decision: GateDecision, sat: Reports) -> GateDecision:
    """The decision with notes on what became of the classes."""
    if sat.change is None:
        return decision
    notes = [f"classes: {words}" for words in sat.change.words()]
    for name, ious in _new_classes(sat.change, sat.candidate):
        if not ious:
            notes.append(f"{name}: new, and no hold-out shows it; nobody knows how well it is told")
        for task, iou in ious.items():
            images = sat.candidate.tasks[task].class_images.get(name, 0)
            notes.append(f"{name}: new, IoU {100 * iou:.1f} on {images} images of {task}")
    return replace(decision, notes=(*decision.notes, *notes))


def _new_classes(
    change: LabelMapChange, report: EvaluationReport
) -> list[tuple[str, Mapping[str, float]]]:
    """IoU of each new class by learning task; empty where no hold-out shows it."""
    tasks = report.tasks.items()
    return [
        (name, {task: result.iou[name] for task, result in tasks if name in result.iou})
        for name in change.added
    ]


@dataclass(frozen=True, slots=True)
class _Read:
    """A segmenter whose answers are read as ids of another label map."""

    segmenter: Segmenter
    table: NDArray[np.uint8]

    def segment(self, image: NDArray[np.uint8]) -> Prediction:
        prediction = self.segmenter.segment(image)
        return replace(prediction, mask=self.table[prediction.mask])


@dataclass(frozen=True, slots=True)
class _WithoutNew:
    """A hold-out without the pixels that are surely of a new class."""

    pictures: Iterable[Examined]
    added: tuple[int, ...]

    def __iter__(self) -> Iterator[Examined]:
        for image, truth in self.pictures:
            new = np.isin(truth, self.added)
            yield image, np.where(new, IGNORE_INDEX, truth).astype(np.uint8)


def _wider(label_map: LabelMap) -> LabelMap:
    """The label map with one more class, for answers that it has no name for."""
    taken = set(label_map.colours)
    spare = next((grey, grey, grey) for grey in range(256) if (grey, grey, grey) not in taken)
    return LabelMap((*label_map.names, _NAMELESS), (*label_map.colours, spare))


def _wider_codes(codes: LabelCodes, classes: int) -> LabelCodes:
    members = np.zeros((256, classes + 1), dtype=bool)
    members[:, :classes] = codes.members
    return LabelCodes(members, codes.sure)
