"""Audit tasks: pictures with known answers among a round's tasks, to measure people and drafts.

An audit looks like any other task: its image lies where images lie, its data and attributes have
the same fields, and its draft is made by the same drafter. Without a drafter the known answer is
damaged on purpose (`annotation/review/audit_scores.py`). It never becomes a sample and does not
count for the round. In storage:

    audits/{round}/{sample}.json                      what was asked
    audits/{round}/{sample}/truth.png                 the known answer
    audits/{round}/{sample}/result-{annotation}.json  what came of it, once an annotation
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from annotation.review.assessment import Assessor
from annotation.review.audit_scores import (
    AnswerScore,
    ErrorCount,
    count_errors,
    score_answer,
    with_planted_errors,
)
from annotation.studio_tasks import StudioAnnotation, StudioTask, latest_first
from annotation.tasks import carries
from lifelong.errors import ObjectExistsError, RecordError
from lifelong.labels.folders import labelled_pairs
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage
from lifelong.records.ids import EdgeId, RoundNumber, SampleId, VersionId, sample_id_of, sha256_hex
from lifelong.records.keys import draft_key, image_key
from lifelong.records.label_map import IGNORE_INDEX, LabelMap
from lifelong.records.pixels import (
    image_from_bytes,
    jpeg_from_image,
    mask_from_png,
    png_from_mask,
)
from lifelong.records.samples import AnnotationTask, HardExample, PreAnnotation
from lifelong.records.wire import from_json, to_json, to_plain
from lifelong.sections.review import ReviewSection

Drafter = Callable[[HardExample, RoundNumber], PreAnnotation]


class AuditStudio(Protocol):
    """What is asked of Label Studio to score audits."""

    def full_tasks(self, project_id: int, task_ids: Iterable[int]) -> list[StudioTask]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """One picture with a known answer in one round."""

    name: str  # of the picture in the audit folder
    draft: PreAnnotation
    truth_key: str
    planted: bool  # the draft is the answer, damaged; False: the drafter made it
    task: AnnotationTask | None = None  # None until it is pushed


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditResult:
    """What one annotator made of one audit, and what the draft was worth."""

    sample_id: SampleId
    round_number: RoundNumber
    annotation_id: int
    annotator: str
    annotated_at: datetime | None  # UTC
    seconds: float | None
    with_draft: bool
    answer: AnswerScore | None  # None when it cannot be read
    draft: AnswerScore
    errors: ErrorCount | None  # of the draft; None when it was not shown
    unreadable: str = ""  # why


class Audits:
    """Chooses audits for a round, knows which tasks they are, and scores them."""

    def __init__(
        self,
        *,
        storage: Storage,
        label_map: LabelMap,
        rules: ReviewSection,
        journal: Journal,
        drafter: Drafter | None = None,
    ) -> None:
        self._storage = storage
        self._label_map = label_map
        self._rules = rules
        self._journal = journal
        self._drafter = drafter
        self._scored: set[str] = set()  # keys of audits scored as often as the rules ask for
        self._pushed: dict[str, Audit] = {}  # by key; what is pushed does not change any more

    def tasks_for(
        self, number: RoundNumber, drafts: Sequence[PreAnnotation]
    ) -> Sequence[PreAnnotation]:
        """The audits of a round whose tasks are `drafts`; asked again, the same ones.

        Raises:
            ConfigError: there are no labelled pictures in the audit folder.
            RecordError: one of them is no picture, or its answer has another size or classes.
        """
        kept = self.of_round(number)
        if kept:
            return [audit.draft for audit in kept]
        if self._rules.audit_path is None or not self._rules.audit_share or not drafts:
            return []
        wanted = max(1, math.floor(self._rules.audit_share * len(drafts) + 0.5))
        made: list[PreAnnotation] = []
        for image, truth in self._by_turns(self._rules.audit_path, number):
            if len(made) == wanted:
                break
            donor = drafts[_hash(f"{number} {image.name}") % len(drafts)]
            audit = self._audit(image, truth, number, donor)
            if audit.draft.sample_id not in {draft.sample_id for draft in drafts}:
                self._storage.put(_key(audit.draft), to_json(audit))
                made.append(audit.draft)
        return made

    def among(self, drafts: Sequence[PreAnnotation]) -> list[PreAnnotation]:
        """The drafts in their order, by rounds, with each round's audits somewhere among them."""
        mixed: list[PreAnnotation] = []
        ordered = sorted(drafts, key=lambda draft: draft.round_number)
        for number, of_round in groupby(ordered, key=lambda draft: draft.round_number):
            listed = list(of_round)
            for audit in self.tasks_for(number, listed):
                place = _hash(f"place of {audit.sample_id}") % (len(listed) + 1)
                listed.insert(place, audit)
            mixed += listed
        return mixed

    def noted(self, tasks: Sequence[AnnotationTask]) -> list[AnnotationTask]:
        """Remember which tasks are audits; returns the others."""
        others = []
        audits = {
            (number, audit.draft.sample_id): audit
            for number in {task.round_number for task in tasks}
            for audit in self.of_round(number)
        }
        for task in tasks:
            audit = audits.get((task.round_number, task.sample_id))
            if audit is None:
                others.append(task)
            elif audit.task != task:
                noted = replace(audit, task=task)
                self._storage.put(_key(audit.draft), to_json(noted))
                self._pushed[_key(audit.draft)] = noted
        return others

    def of_round(self, number: RoundNumber) -> list[Audit]:
        """The audits of a round."""
        keys = [key for key in self._storage.keys(f"audits/{number}") if key.count("/") == 2]
        return [self._pushed.get(key) or self._read(key) for key in keys]

    def results(self) -> list[AuditResult]:
        """Every score there is, oldest round first."""
        keys = [key for key in self._storage.keys("audits") if "/result-" in key]
        found = [from_json(AuditResult, self._storage.get(key), key) for key in keys]
        return sorted(found, key=lambda one: (one.round_number, one.sample_id, one.annotation_id))

    def score(
        self, rounds: Sequence[RoundNumber], studio: AuditStudio, assessor: Assessor
    ) -> list[AuditResult]:
        """Score what was submitted for the audits of these rounds; an annotation counts once, as
        it was when it was first seen.

        Returns:
            The new results.
        """
        new = []
        for number in rounds:
            waiting = {
                audit.task.task_id: audit
                for audit in self.of_round(number)
                if audit.task is not None and _key(audit.draft) not in self._scored
            }
            projects = {audit.task.project_id for audit in waiting.values() if audit.task}
            for project_id in sorted(projects):
                for full in studio.full_tasks(project_id, waiting):
                    new += self._score_task(waiting[full.task_id], full, assessor)
        return new

    def _read(self, key: str) -> Audit:
        audit = from_json(Audit, self._storage.get(key), key)
        if audit.task is not None:
            self._pushed[key] = audit
        return audit

    def _score_task(self, audit: Audit, full: StudioTask, assessor: Assessor) -> list[AuditResult]:
        task = audit.task
        if task is None or not carries(full.data, task.sample_id, task.round_number):
            return []
        submitted = latest_first(full)
        if len(submitted) >= self._rules.annotators:
            self._scored.add(_key(audit.draft))
        new = []
        for one in submitted:
            key = f"{_folder(audit.draft)}/result-{one.annotation_id}.json"
            if self._storage.exists(key):
                continue
            result = self._result(audit, task, full, one, assessor)
            try:
                self._storage.put_if_absent(key, to_json(result))
            except ObjectExistsError:
                continue
            self._journal.event("audit.scored", **to_plain(result))
            new.append(result)
        return new

    def _result(
        self,
        audit: Audit,
        task: AnnotationTask,
        full: StudioTask,
        one: StudioAnnotation,
        assessor: Assessor,
    ) -> AuditResult:
        truth = mask_from_png(self._storage.get(audit.truth_key), audit.truth_key)
        draft = mask_from_png(self._storage.get(audit.draft.mask_key), audit.draft.mask_key)
        answer, errors, unreadable = None, None, ""
        try:
            mask = assessor.readings(task, full).of(one).mask
            answer = score_answer(mask, truth, self._label_map)
            errors = None if task.is_blank else count_errors(draft, mask, truth)
        except RecordError as error:
            unreadable = str(error)
        return AuditResult(
            sample_id=task.sample_id,
            round_number=task.round_number,
            annotation_id=one.annotation_id,
            annotator=one.annotator,
            annotated_at=one.at,
            seconds=one.seconds,
            with_draft=not task.is_blank,
            answer=answer,
            draft=score_answer(draft, truth, self._label_map),
            errors=errors,
            unreadable=unreadable,
        )

    def _by_turns(self, folder: Path, number: RoundNumber) -> list[tuple[Path, Path]]:
        """The pictures of the audit folder, least used in earlier rounds first: nobody shall
        learn an answer by heart."""
        used: dict[str, int] = {}
        for key in self._storage.keys("audits"):
            parts = key.split("/")
            if len(parts) == 3 and int(parts[1]) < number:
                name = from_json(Audit, self._storage.get(key), key).name
                used[name] = used.get(name, 0) + 1
        pairs = labelled_pairs(folder)
        return sorted(pairs, key=lambda p: (used.get(p[0].name, 0), _hash(f"{number} {p[0].name}")))

    def _audit(self, image: Path, truth: Path, number: RoundNumber, donor: PreAnnotation) -> Audit:
        encoded = image.read_bytes()
        picture = image_from_bytes(encoded, str(image))
        if image.suffix.lower() == ".png":
            encoded = jpeg_from_image(picture)  # as every other picture
        answer = mask_from_png(truth.read_bytes(), str(truth))
        self._label_map.check(answer, str(truth))
        if answer.shape != picture.shape[:2]:
            raise RecordError(f"{truth}: {answer.shape} pixels, {image} has {picture.shape[:2]}")
        sample_id = sample_id_of(encoded)
        self._storage.put(image_key(sample_id), encoded)
        example = _as_example(sample_id, encoded, answer.shape, donor)
        if self._drafter is not None:
            draft = self._drafter(example, number)
        else:
            draft = self._damaged(example, number, answer, donor)
        truth_key = f"audits/{number}/{sample_id}/truth.png"
        self._storage.put(truth_key, png_from_mask(answer))
        return Audit(
            name=image.name, draft=draft, truth_key=truth_key, planted=self._drafter is None
        )

    def _damaged(
        self,
        example: HardExample,
        number: RoundNumber,
        answer: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
        donor: PreAnnotation,
    ) -> PreAnnotation:
        mask = with_planted_errors(
            answer,
            classes=len(self._label_map),
            errors=self._rules.audit_errors,
            seed=_hash(f"errors in {example.sample_id}, round {number}"),
        )
        # What the answer does not say, a draft would guess: holes would give the audit away.
        known = mask[mask != IGNORE_INDEX]
        if known.size:
            mask[mask == IGNORE_INDEX] = np.bincount(known).argmax()
        key = draft_key(number, example.sample_id)
        self._storage.put(key, png_from_mask(mask))
        return PreAnnotation(
            sample_id=example.sample_id,
            round_number=number,
            image_key=example.image_key,
            mask_key=key,
            height=example.height,
            width=example.width,
            score=donor.score,
            proposed_by=donor.proposed_by,
            labelled_by=donor.labelled_by,
            attributes=donor.attributes,
        )


def summary(results: Iterable[AuditResult]) -> dict[str, Any]:
    """Audit results per annotator and for the drafts alone, JSON-ready; shares are 0 .. 1."""
    people: dict[str, list[AuditResult]] = {}
    drafts: dict[tuple[int, str], AnswerScore] = {}
    for result in results:
        people.setdefault(result.annotator, []).append(result)
        drafts[result.round_number, result.sample_id] = result.draft
    return {
        "annotators": [
            {"annotator": name, "unreadable": sum(r.answer is None for r in ones)}
            | _means([r.answer for r in ones if r.answer is not None])
            | {
                "errors_found": sum(r.errors.found for r in ones if r.errors),
                "errors_missed": sum(r.errors.missed for r in ones if r.errors),
            }
            for name, ones in sorted(people.items())
        ],
        "drafts": _means(list(drafts.values())),
    }


def _means(scores: Sequence[AnswerScore]) -> dict[str, Any]:
    def mean(values: Sequence[float]) -> float | None:
        return sum(values) / len(values) if values else None

    def by_class(of: Callable[[AnswerScore], Mapping[str, float]]) -> dict[str, float | None]:
        names = sorted({name for score in scores for name in of(score)})
        return {n: mean([of(score)[n] for score in scores if n in of(score)]) for n in names}

    return {
        "audits": len(scores),
        "miou": mean([score.miou for score in scores]),
        "boundary": mean([score.boundary for score in scores]),
        "right_share": mean([score.right_share for score in scores]),
        "iou": by_class(lambda score: score.iou),
        "boundary_f": by_class(lambda score: score.boundary_f),
    }


def _as_example(
    sample_id: SampleId, encoded: bytes, size: tuple[int, ...], donor: PreAnnotation
) -> HardExample:
    """An audit's picture as the drafter knows pictures."""
    return HardExample(
        sample_id=sample_id,
        edge_id=EdgeId("audit"),
        captured_at=datetime(1970, 1, 1, tzinfo=UTC),
        sequence=0,
        version_id=VersionId(""),
        score=donor.score,
        reasons=(),
        image_key=image_key(sample_id),
        image_sha256=sha256_hex(encoded),
        mask_key="",
        mask_sha256="",
        height=size[0],
        width=size[1],
        attributes=donor.attributes,
    )


def _folder(draft: PreAnnotation) -> str:
    return f"audits/{draft.round_number}/{draft.sample_id}"


def _key(draft: PreAnnotation) -> str:
    return f"{_folder(draft)}.json"


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
