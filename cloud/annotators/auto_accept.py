"""Drafts that are sure enough skip people, some of them are audited, and bad audits end it.

This stands between the loop and the annotators, as one of them. Off (`labels.auto_accept: false`)
it only notes what people's corrections say about drafts, so that the proof is there on the day
somebody switches it on. `auto_accept_rule.py` has the rule, `auto_accept_records.py` says where
everything lies.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from annotation.exchange import drafted_by
from annotation.pulling import Pulled
from cloud.annotators.auto_accept_records import AutoAcceptRecords, RuleEnd, Verdict
from cloud.annotators.auto_accept_rule import (
    AcceptRule,
    Evidence,
    fitted_rule,
    is_broken,
    measured,
    same_class_share,
    wrong_share,
)
from cloud.loop import Annotators
from lifelong.errors import ObjectNotFoundError, RecordError
from lifelong.labels.weights import AUTO
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage
from lifelong.records.ids import SampleId, sha256_hex
from lifelong.records.keys import edge_mask_key
from lifelong.records.pixels import mask_from_png
from lifelong.records.samples import Annotation, AnnotationTask, PreAnnotation
from lifelong.sections.labels import LabelsSection

logger = logging.getLogger(__name__)


class AutoAccept:
    """An annotator that answers for sure drafts itself and leaves the others to people."""

    def __init__(
        self,
        people: Annotators,
        *,
        storage: Storage,
        section: LabelsSection,
        journal: Journal,
        now: Callable[[], datetime],
    ) -> None:
        self._people = people
        self._section = section
        self._journal = journal
        self._now = now
        self._storage = storage
        self.records = AutoAcceptRecords(storage)
        self._noted: set[tuple[int, str]] = set()  # what is in the evidence, or tells nothing

    def push(self, drafts: Sequence[PreAnnotation]) -> list[AnnotationTask]:
        """Offer drafts to people, but for those that count without them.

        Returns:
            One task a draft, in the drafts' order; those of accepted drafts ask nobody.
        """
        rules = {by: self._rule(by) for by in sorted({drafted_by(draft) for draft in drafts})}
        verdicts = [self._verdict(draft, rules[drafted_by(draft)]) for draft in drafts]
        asked = [d for d, v in zip(drafts, verdicts, strict=True) if not v.skips_people]
        tasks = {task.sample_id: task for task in self._people.push(asked)} if asked else {}
        return [
            _without_people(draft) if verdict.skips_people else tasks[draft.sample_id]
            for draft, verdict in zip(drafts, verdicts, strict=True)
        ]

    def pull(self, tasks: Sequence[AnnotationTask]) -> Pulled:
        """What people have finished, and what counts without them."""
        asked = [task for task in tasks if not task.asks_nobody]
        pulled = self._people.pull(asked) if asked else Pulled()
        if any([self._note(annotation) for annotation in pulled.annotations]):
            self._judge()
        accepted = [self._accepted(task) for task in tasks if task.asks_nobody]
        return Pulled(annotations=(*pulled.annotations, *accepted), skips=tuple(pulled.skips))

    def sort(self, tasks: Sequence[AnnotationTask], order: Sequence[SampleId]) -> None:
        """The people's order is the people's."""
        asked = [task for task in tasks if not task.asks_nobody]
        if asked:
            self._people.sort(asked, order)

    # -- deciding ----------------------------------------------------------------------------

    def _verdict(self, draft: PreAnnotation, rule: AcceptRule | None) -> Verdict:
        known = self.records.verdict(draft.round_number, draft.sample_id)
        if known is not None:
            return known
        by, agreement = drafted_by(draft), self._agreement(draft)
        # A class that the semantic model saw and the vote painted over: somebody must look.
        accepted = (
            rule is not None
            and not draft.erased_classes
            and rule.accepts(drafted_by=by, confidence=draft.score, agreement=agreement)
        )
        verdict = Verdict(
            sample_id=draft.sample_id,
            round_number=draft.round_number,
            drafted_by=by,
            draft_key=draft.mask_key,
            label_map_digest=draft.label_map_digest,
            confidence=draft.score,
            agreement=agreement,
            rule=rule.number if rule is not None and accepted else 0,
            audited=accepted and is_audited(draft.sample_id, self._section.audit_share),
            at=self._now(),
        )
        verdict = self.records.add_verdict(verdict)
        if verdict.rule:
            self._journal.event(
                "draft.accepted",
                sample_id=draft.sample_id,
                round_number=draft.round_number,
                rule=verdict.rule,
                audited=verdict.audited,
                confidence=round(verdict.confidence, 4),
                agreement=round(verdict.agreement, 4),
            )
        return verdict

    def _rule(self, models: str) -> AcceptRule | None:
        """The rule in force for these models; a new one when the evidence has come to allow it."""
        if not self._section.auto_accept:
            return None
        rule = self.records.rule_of(models)
        if rule is not None:
            wanted = self._section.max_error_rate
            if rule.at_most <= wanted:
                return rule
            self._end(rule, f"labels.max_error_rate is {wanted:g} now")
        number = self.records.last_number() + 1
        found = fitted_rule(
            self.records.untouched_evidence(models),
            number=number,
            max_error_rate=self._section.max_error_rate,
            at=self._now(),
        )
        if found is None:
            return None
        self.records.add_rule(found)
        self._journal.event(
            "auto_accept.began",
            rule=number,
            drafted_by=models,
            pictures=found.pictures,
            error_rate=round(found.error_rate, 5),
            at_most=round(found.at_most, 5),
        )
        return found

    def _agreement(self, draft: PreAnnotation) -> float:
        """With the edge's own mask; 0 where that cannot be read, so that a person looks."""
        key = edge_mask_key(draft.sample_id)
        try:
            edge = mask_from_png(self._storage.get(key), key)
            own = mask_from_png(self._storage.get(draft.mask_key), draft.mask_key)
            return same_class_share(own, edge)
        except (ObjectNotFoundError, RecordError):
            return 0.0

    def _accepted(self, task: AnnotationTask) -> Annotation:
        verdict = self.records.verdict(task.round_number, task.sample_id)
        data = self._storage.get(task.draft_key)
        return Annotation(
            sample_id=task.sample_id,
            round_number=task.round_number,
            annotation_id=0,
            annotator=AUTO,
            annotated_at=verdict.at if verdict is not None else self._now(),
            mask_key=task.draft_key,
            mask_sha256=sha256_hex(data),
            agreement=1.0,
            changed_pixels=0,
            label_map_digest=task.label_map_digest,
        )

    # -- learning from people ------------------------------------------------------------------

    def _note(self, annotation: Annotation) -> bool:
        """Write down, once, what a person found wrong with a draft; True when that is an audit."""
        place = (annotation.round_number, annotation.sample_id)
        if place in self._noted:
            return False
        self._noted.add(place)
        verdict = self.records.verdict(*place)
        if verdict is None or self.records.has_evidence(*place):
            return False
        if annotation.label_map_digest != verdict.label_map_digest:
            return False  # other classes: pixels cannot be compared
        try:
            said = mask_from_png(self._storage.get(annotation.mask_key), annotation.mask_key)
            draft = mask_from_png(self._storage.get(verdict.draft_key), verdict.draft_key)
            wrong = wrong_share(draft, said)
        except (ObjectNotFoundError, RecordError) as error:
            logger.warning("sample %s says nothing about its draft: %s", place[1], error)
            return False
        self.records.add_evidence(
            Evidence(
                sample_id=annotation.sample_id,
                round_number=annotation.round_number,
                drafted_by=verdict.drafted_by,
                confidence=verdict.confidence,
                agreement=verdict.agreement,
                wrong=wrong,
                audited=verdict.audited,
                at=annotation.annotated_at,
            )
        )
        return verdict.audited

    def _judge(self) -> None:
        """End the rules whose audits say that the bound is broken."""
        for rule in self.records.rules_in_force():
            rate = measured(self.records.audits_of(rule), rule.max_error_rate)
            if is_broken(rate, rule.max_error_rate):
                told = f"{100 * rate.mean:.1f}" if rate.mean is not None else "?"
                self._end(
                    rule,
                    f"{rate.audits} audits found {told} % of the pixels wrong (at least "
                    f"{100 * rate.at_least:.1f} %), {100 * rule.max_error_rate:g} % are allowed",
                )

    def _end(self, rule: AcceptRule, reason: str) -> None:
        end = RuleEnd(
            number=rule.number, reason=reason, unseen=self.records.unseen(rule), at=self._now()
        )
        if self.records.add_end(end):
            logger.warning("drafts are no longer accepted without people: %s", reason)
            self._journal.event(
                "auto_accept.ended", rule=rule.number, reason=reason, unseen=list(end.unseen)
            )


def is_audited(sample_id: SampleId, share: float) -> bool:
    """Does a person look at this one all the same? The same answer whenever it is asked.

    The sample's own id decides, so the choice has nothing to do with what is in the picture.

    >>> [is_audited(SampleId("0123456789abcdef"), share) for share in (0.0, 1.0)]
    [False, True]
    """
    digest = hashlib.sha256(f"audit of a sure draft: {sample_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def _without_people(draft: PreAnnotation) -> AnnotationTask:
    return AnnotationTask(
        sample_id=draft.sample_id,
        round_number=draft.round_number,
        project_id=0,
        task_id=0,
        draft_key=draft.mask_key,
        drafted_by=drafted_by(draft),
        label_map_digest=draft.label_map_digest,
    )
