"""Drafts that skip people, PRE-20: proof before trust, audits, and the end of a rule."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from annotation.pulling import Pulled
from cloud.annotators.auto_accept import AutoAccept, is_audited
from cloud.annotators.auto_accept_records import AutoAcceptRecords, told, told_lines
from cloud.annotators.auto_accept_rule import (
    ALARM,
    Evidence,
    fitted_rule,
    is_broken,
    measured,
    same_class_share,
    wrong_share,
)
from cloud.cli import app
from lifelong.errors import ShapeError
from lifelong.labels.weights import AUTO, weight_of
from lifelong.links.journal import Journal, read_events
from lifelong.links.storage import Storage, open_storage
from lifelong.records.ids import RoundNumber, SampleId, sha256_hex
from lifelong.records.keys import draft_key, edge_mask_key
from lifelong.records.pixels import mask_from_png, png_from_mask
from lifelong.records.samples import Annotation, AnnotationTask, PreAnnotation, Skip
from lifelong.sections.labels import LabelsSection
from tests.builders import NOON, a_mask, a_pre_annotation, a_sample

BY = "tiny+tiny_segformer"
SIZE = 48 * 64


@dataclass
class People:
    """Annotators who know the truth; what they were offered is remembered."""

    storage: Storage
    offered: list[SampleId] = field(default_factory=list)
    truth: dict[SampleId, NDArray[np.uint8]] = field(default_factory=dict)
    sorted_tasks: list[AnnotationTask] = field(default_factory=list)

    def push(self, drafts: Sequence[PreAnnotation]) -> list[AnnotationTask]:
        for draft in drafts:
            if draft.sample_id not in self.offered:
                self.offered.append(draft.sample_id)
        return [
            AnnotationTask(
                sample_id=draft.sample_id,
                round_number=draft.round_number,
                project_id=1,
                task_id=1 + self.offered.index(draft.sample_id),
                draft_key=draft.mask_key,
            )
            for draft in drafts
        ]

    def pull(self, tasks: Sequence[AnnotationTask]) -> Pulled:
        return Pulled(annotations=tuple(self._corrected(task) for task in tasks))

    def sort(self, tasks: Sequence[AnnotationTask], order: Sequence[SampleId]) -> None:
        self.sorted_tasks = list(tasks)

    def _corrected(self, task: AnnotationTask) -> Annotation:
        data = png_from_mask(self.truth[task.sample_id])
        key = f"masks/{task.sample_id}/{task.task_id}.png"
        self.storage.put(key, data)
        return Annotation(
            sample_id=task.sample_id,
            round_number=task.round_number,
            annotation_id=task.task_id,
            annotator="anna",
            annotated_at=NOON + timedelta(days=int(task.round_number)),
            mask_key=key,
            mask_sha256=sha256_hex(data),
            agreement=0.9,
            changed_pixels=0,
        )


class World:
    """A loop's rounds with drafts of a known quality."""

    def __init__(self, tmp_path: Path, **section: object) -> None:
        self.storage = open_storage("memory://")
        self.people = People(self.storage)
        self.folder = tmp_path / "journal"
        self.section = LabelsSection.model_validate({"max_error_rate": 0.05, **section})
        self.number = 0
        self.made = 0
        self.annotators = self.restarted()

    def restarted(self) -> AutoAccept:
        """A service that remembers nothing but what storage holds."""
        self.annotators = AutoAccept(
            self.people,
            storage=self.storage,
            section=self.section,
            journal=Journal(self.folder, "cloud"),
            now=lambda: NOON + timedelta(days=self.number, hours=1),
        )
        return self.annotators

    def drafts(
        self, count: int, wrong: float, *, score: float = 0.9, **changes: object
    ) -> list[PreAnnotation]:
        """A round's drafts of which so many pixels are wrong; the edge's model says the same."""
        self.number += 1
        found = []
        for _ in range(count):
            self.made += 1
            random = np.random.default_rng(self.made)
            truth = a_mask(self.made)
            mask = truth.copy()
            flips = random.permutation(SIZE)[: round(wrong * SIZE)]
            mask.ravel()[flips] = (mask.ravel()[flips] + 1) % 3
            sample_id = SampleId(sha256_hex(str(self.made).encode())[:32])
            self.people.truth[sample_id] = truth
            draft = replace(
                a_pre_annotation(
                    0, sample_id=sample_id, round_number=RoundNumber(self.number),
                    mask_key=draft_key(RoundNumber(self.number), sample_id),
                    score=score + 0.0001 * float(random.random()),
                ),
                **changes,  # type: ignore[arg-type]
            )  # fmt: skip
            self.storage.put(draft.mask_key, png_from_mask(mask))
            self.storage.put(edge_mask_key(sample_id), png_from_mask(mask))
            found.append(draft)
        return found

    def turn(
        self, count: int, wrong: float, **changes: object
    ) -> tuple[list[AnnotationTask], Pulled]:
        """One round: out and back."""
        tasks = self.annotators.push(self.drafts(count, wrong, **changes))  # type: ignore[arg-type]
        return tasks, self.annotators.pull(tasks)

    @property
    def records(self) -> AutoAcceptRecords:
        return AutoAcceptRecords(self.storage)

    def events(self, name: str) -> list[dict[str, object]]:
        return [dict(event) for event in read_events(self.folder) if event["event"] == name]


def some_evidence(count: int, wrong: Callable[[int], float]) -> list[Evidence]:
    return [
        Evidence(
            sample_id=SampleId(f"{n:032x}"),
            round_number=RoundNumber(1),
            drafted_by=BY,
            confidence=0.5 + 0.5 * n / count,
            agreement=0.5 + 0.5 * n / count,
            wrong=wrong(n),
            audited=False,
            at=NOON,
        )
        for n in range(count)
    ]


# -- the rule ----------------------------------------------------------------------------------


def test_pre_20_a_rule_needs_proof_and_takes_the_loosest_that_is_proven() -> None:
    def fit(evidence: list[Evidence]) -> object:
        return fitted_rule(evidence, number=1, max_error_rate=0.05, at=NOON)

    assert fit([]) is None
    assert fit(some_evidence(30, lambda n: 0.0)) is None, "thirty good ones prove no 5 %"
    everything = fitted_rule(
        some_evidence(200, lambda n: 0.005), number=4, max_error_rate=0.05, at=NOON
    )
    assert everything is not None
    assert (everything.number, everything.pictures, everything.of) == (4, 200, 200)
    assert everything.at_most <= 0.05
    assert everything.accepts(drafted_by=BY, confidence=0.5, agreement=0.5)
    assert not everything.accepts(drafted_by="another", confidence=1.0, agreement=1.0)
    # The less sure half is bad: only the surer one is accepted.
    half = fitted_rule(
        some_evidence(200, lambda n: 0.3 if n < 100 else 0.005),
        number=1,
        max_error_rate=0.05,
        at=NOON,
    )
    assert half is not None
    assert half.pictures == 100
    assert not half.accepts(drafted_by=BY, confidence=0.74, agreement=0.99)
    assert not half.accepts(drafted_by=BY, confidence=0.99, agreement=0.74)
    assert half.accepts(drafted_by=BY, confidence=0.76, agreement=0.76)
    assert fit(some_evidence(200, lambda n: 0.08)) is None


def test_pre_20_audits_measure_an_interval_and_break_a_rule() -> None:
    def audits(count: int, wrong: float) -> list[Evidence]:
        return some_evidence(count, lambda n: wrong)

    nothing = measured([], 0.05)
    assert (nothing.audits, nothing.mean, nothing.at_least, nothing.at_most) == (0, None, 0.0, 1.0)
    good = measured(audits(40, 0.01), 0.05)
    assert good.at_least <= 0.01 <= good.at_most
    assert not is_broken(good, 0.05)
    late = measured([*audits(60, 0.005), *audits(6, 0.4)], 0.05)
    assert late.at_least < 0.05 < ALARM <= late.alarm, "a long good past hides nothing"
    assert is_broken(late, 0.05)
    assert is_broken(measured(audits(6, 0.4), 0.05), 0.05)


def test_pre_20_what_two_masks_say() -> None:
    one = np.array([[0, 1], [2, 255]], dtype=np.uint8)
    other = np.array([[0, 2], [255, 255]], dtype=np.uint8)
    assert same_class_share(one, other) == 0.25
    assert wrong_share(one, other) == 0.5
    for compare in (same_class_share, wrong_share):
        with pytest.raises(ShapeError):
            compare(one, other[:1])


# -- in the loop -------------------------------------------------------------------------------


def test_pre_20_switched_off_people_see_everything_and_the_proof_is_collected(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    for _ in range(4):
        tasks, pulled = world.turn(40, 0.004)
        assert not any(task.asks_nobody for task in tasks)
        assert {one.annotator for one in pulled.annotations} == {"anna"}
    evidence = world.records.evidence()
    assert len(evidence) == 160
    assert evidence[0].wrong == pytest.approx(12 / SIZE)
    assert evidence[0].agreement == 1.0
    assert world.records.rules() == []
    world.section = world.section.model_copy(update={"auto_accept": True})
    world.restarted()
    tasks, _ = world.turn(30, 0.004)
    assert sum(task.asks_nobody for task in tasks) > 20, "the first round after the switch"


def test_pre_20_sure_drafts_become_labels_and_a_share_is_audited(tmp_path: Path) -> None:
    world = World(tmp_path, auto_accept=True, audit_share=0.2)
    world.turn(160, 0.004)
    tasks, pulled = world.turn(100, 0.004)
    alone = [task for task in tasks if task.asks_nobody]
    audited = [task for task in tasks if is_audited(task.sample_id, 0.2)]
    assert 60 <= len(alone) <= 92
    assert 8 <= len(audited) <= 35
    assert not {task.sample_id for task in alone} & {task.sample_id for task in audited}
    assert not {task.sample_id for task in alone} & set(world.people.offered)
    assert {task.sample_id for task in audited} <= set(world.people.offered)
    machine = [one for one in pulled.annotations if one.annotator == AUTO]
    assert {one.sample_id for one in machine} == {task.sample_id for task in alone}
    first = machine[0]
    assert sha256_hex(world.storage.get(first.mask_key)) == first.mask_sha256
    assert mask_from_png(world.storage.get(first.mask_key), "").shape == (48, 64)
    row = told(world.records)["rules"][0]
    assert row["accepted"] == len(alone)
    assert row["audits"] > 0
    assert row["at_least"] <= row["error_rate"] == pytest.approx(0.004, abs=5e-4)
    assert row["error_rate"] <= row["at_most"]
    lines = told_lines(told(world.records), is_on=True)
    assert "on" in lines[0]
    assert f"{len(alone)} labels without a person, {row['audits']} audits: 0.39 % wrong" in lines[2]
    world.annotators.sort(tasks, [task.sample_id for task in tasks])
    assert not any(task.asks_nobody for task in world.people.sorted_tasks)


def test_pre_20_a_draft_source_that_goes_bad_halfway_is_stopped(tmp_path: Path) -> None:
    world = World(tmp_path, auto_accept=True)
    world.turn(160, 0.004)
    for _ in range(6):
        world.turn(30, 0.004)
    assert len(world.records.rules_in_force()) == 1, "nothing is wrong so far"
    before = told(world.records)["rules"][0]["accepted"]
    bad_rounds = 0
    while world.records.rules_in_force():
        bad_rounds += 1
        assert bad_rounds <= 4, "audits should have heard it"
        world.turn(30, 0.35)  # as sure of itself as ever
    row = told(world.records)["rules"][0]
    assert "audits found" in row["ended"]
    assert row["accepted"] - before <= 30 * bad_rounds
    # Whoever wants to look at what was let through is told what that is.
    ended = world.events("auto_accept.ended")
    assert len(ended) == 1
    assert len(row["unseen"]) == row["accepted"] == len(ended[0]["unseen"])  # type: ignore[arg-type]
    # From now on people see everything, and old good days prove nothing any more.
    for service in (world.annotators, world.restarted()):
        assert service is not None
        tasks, pulled = world.turn(30, 0.35)
        assert not any(task.asks_nobody for task in tasks)
        assert {one.annotator for one in pulled.annotations} == {"anna"}
    # New proof begins a new rule.
    for _ in range(6):
        world.turn(30, 0.001)
    rules = world.records.rules()
    assert len(rules) <= 2
    assert all(rule.at_most <= 0.05 for rule in rules)


def test_pre_20_a_verdict_holds_whatever_happens_between_two_pushes(tmp_path: Path) -> None:
    world = World(tmp_path, auto_accept=True)
    world.turn(160, 0.004)
    drafts = world.drafts(20, 0.004)
    first = world.annotators.push(drafts)
    world.section = world.section.model_copy(update={"auto_accept": False})
    again = world.restarted().push(drafts)
    assert again == first
    assert sum(task.asks_nobody for task in again) > 10
    pulled = world.annotators.pull(again)
    assert len(pulled.annotations) == 20
    assert world.annotators.pull(again).annotations == pulled.annotations


def test_pre_20_what_looks_odd_goes_to_people(tmp_path: Path) -> None:
    world = World(tmp_path, auto_accept=True)
    world.turn(160, 0.004)
    erased = world.drafts(3, 0.0, erased_classes=("person",))
    unsure = world.drafts(3, 0.0, score=0.2)
    others = world.drafts(3, 0.0, labelled_by="a new model")
    no_edge = world.drafts(3, 0.0)
    world.storage.delete(edge_mask_key(no_edge[0].sample_id))
    world.storage.put(edge_mask_key(no_edge[1].sample_id), b"no mask")
    world.storage.put(
        edge_mask_key(no_edge[2].sample_id), png_from_mask(np.zeros((2, 2), dtype=np.uint8))
    )
    for drafts in (erased, unsure, others, no_edge):
        assert not any(task.asks_nobody for task in world.annotators.push(drafts))


def test_pre_20_a_stricter_wish_ends_the_rule(tmp_path: Path) -> None:
    world = World(tmp_path, auto_accept=True)
    world.turn(160, 0.004)
    world.turn(10, 0.004)
    world.section = world.section.model_copy(update={"max_error_rate": 0.005})
    world.restarted()
    tasks, _ = world.turn(10, 0.004)
    assert not any(task.asks_nobody for task in tasks)
    assert "max_error_rate is 0.005" in told(world.records)["rules"][0]["ended"]


def test_pre_20_skips_and_unreadable_answers_prove_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    drafts = world.drafts(2, 0.0)
    tasks = world.annotators.push(drafts)

    class Half(People):
        def pull(self, tasks: Sequence[AnnotationTask]) -> Pulled:
            one = super().pull(tasks[:1]).annotations[0]
            self.storage.put(one.mask_key, b"no mask")
            skip = Skip(sample_id=tasks[1].sample_id, round_number=RoundNumber(1), reason="blurred")
            return Pulled(annotations=(one,), skips=(skip,))

    half = Half(world.storage, world.people.offered, world.people.truth)
    world.people = half
    pulled = world.restarted().pull(tasks)
    assert len(pulled.annotations) == len(pulled.skips) == 1
    assert world.records.evidence() == []
    assert world.annotators.push([]) == []
    assert world.annotators.pull([]).annotations == ()


def test_lll_10_labels_that_no_person_saw_weigh_less_in_training() -> None:
    section = LabelsSection(auto_weight=0.3)
    assert weight_of(a_sample(annotator=AUTO), section) == 0.3
    assert weight_of(a_sample(annotator="anna"), section) == 1.0
    assert weight_of(a_sample(annotator=""), section) == 1.0


def test_pre_20_the_command_tells_how_it_stands(tmp_path: Path) -> None:
    world = World(tmp_path, auto_accept=True)
    world.storage = open_storage(str(tmp_path / "files"))
    world.people.storage = world.storage
    world.restarted()
    world.turn(160, 0.004)
    world.turn(10, 0.004)
    config = tmp_path / "config.yaml"
    config.write_text("storage: files\nlabels: {auto_accept: true}\n", encoding="utf-8")
    said = CliRunner().invoke(app, ["review", "auto", "--config", str(config)])
    assert said.exit_code == 0, said.output
    assert said.output.startswith("labels.auto_accept is on; ")
    assert f"rule 1 ({BY})" in said.output
    machine = CliRunner().invoke(app, ["review", "auto", "--json", "--config", str(config)])
    assert json.loads(machine.output) == told(world.records)
