"""One whole turn of the loop with fakes: accepted, refused, and killed between any two steps."""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloud.lease import Lease
from cloud.loop import Ports
from cloud.releasing.releases import Releases
from cloud.rounds import Rounds
from cloud.service import Service
from lifelong.config import RoundsSection
from lifelong.errors import ImageError, LabelStudioUnavailableError, LifelongError
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage, open_storage
from lifelong.records.ids import RoundNumber, SampleId, VersionId
from lifelong.records.keys import bundle_key
from lifelong.records.model_versions import EvaluationReport, Examination, GateDecision
from lifelong.records.rounds import Round, RoundState
from lifelong.records.samples import Annotation, AnnotationTask, HardExample, PreAnnotation, Skip
from tests.builders import a_hard_example, a_pre_annotation
from tests.tiny_bundle import tiny_bundle

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
OLD, NEW = tiny_bundle(seed=1), tiny_bundle(seed=2)
RULES = RoundsSection(min_examples=3, annotation_budget=4)


class KilledError(LifelongError):
    """The process died here."""


@dataclass
class Pulled:
    annotations: tuple[Annotation, ...] = ()
    skips: tuple[Skip, ...] = ()


@dataclass
class World:
    """Everything outside the service, which outlives its deaths; counts and may kill."""

    storage: Storage
    examples: list[HardExample]
    accepted: bool = True
    skipped: frozenset[SampleId] = frozenset()
    poisoned: frozenset[SampleId] = frozenset()
    failure_reason: str = ""
    people_away: int = 0  # looks at which nobody has finished anything
    kill_at: int = 0  # the n-th call of a port; negative: just after it
    calls: int = 0
    killed: bool = False
    tasks: dict[SampleId, AnnotationTask] = field(default_factory=dict)
    handed_over: dict[SampleId, int] = field(default_factory=dict)
    trained: set[RoundNumber] = field(default_factory=set)
    pushed: int = 0
    sorted_orders: list[tuple[SampleId, ...]] = field(default_factory=list)

    def call(self, action: Callable[[], object]) -> object:
        self.calls += 1
        if self.calls == self.kill_at:
            self.killed = True
            raise KilledError("before the call")
        result = action()
        if self.calls == -self.kill_at:
            self.killed = True
            raise KilledError("after the call")
        return result

    # the ports -------------------------------------------------------------------------------

    def collect(self) -> list[HardExample]:
        return self.call(lambda: list(self.examples))  # type: ignore[return-value]

    def choose(
        self,
        waiting: Iterable[HardExample],
        *,
        incumbent: VersionId | None,
        budget: int,
        at_least: int,
    ) -> tuple[HardExample, ...]:
        """By score alone; `cloud/selecting/selection.py` has tests of its own."""
        ranked = sorted(waiting, key=lambda e: -e.score)
        fresh = sum(example.version_id == incumbent for example in ranked)
        return tuple(ranked[:budget]) if fresh >= at_least else ()

    def order(
        self,
        open_: Iterable[HardExample],
        *,
        done: Sequence[HardExample],
        incumbent: VersionId | None,
    ) -> tuple[SampleId, ...]:
        return tuple(example.sample_id for example in open_)

    def sort(self, tasks: Sequence[AnnotationTask], order: Sequence[SampleId]) -> None:
        self.sorted_orders.append(tuple(order))

    def annotate(self, example: HardExample, number: RoundNumber) -> PreAnnotation:
        if example.sample_id in self.poisoned:
            raise ImageError(f"{example.image_key}: not a readable image")
        return self.call(  # type: ignore[return-value]
            lambda: a_pre_annotation(sample_id=example.sample_id, round_number=number)
        )

    def push(self, drafts: Sequence[PreAnnotation]) -> list[AnnotationTask]:
        def do() -> list[AnnotationTask]:
            for draft in drafts:
                if draft.sample_id not in self.tasks:
                    self.pushed += 1
                    self.tasks[draft.sample_id] = AnnotationTask(
                        sample_id=draft.sample_id,
                        round_number=draft.round_number,
                        project_id=1,
                        task_id=self.pushed,
                        draft_key=draft.mask_key,
                    )
            return [self.tasks[d.sample_id] for d in drafts]

        return self.call(do)  # type: ignore[return-value]

    def pull(self, tasks: Sequence[AnnotationTask]) -> Pulled:
        def do() -> Pulled:
            if self.people_away > 0:
                self.people_away -= 1
                return Pulled()
            return Pulled(
                tuple(annotation_of(t) for t in tasks if t.sample_id not in self.skipped),
                tuple(
                    Skip(sample_id=t.sample_id, round_number=t.round_number, reason="skipped")
                    for t in tasks
                    if t.sample_id in self.skipped
                ),
            )

        return self.call(do)  # type: ignore[return-value]

    def hand_over(self, round_: Round) -> tuple[str, ...]:
        def do() -> None:
            for annotation in round_.annotations:
                self.handed_over[annotation.sample_id] = round_.number
            self.trained.add(round_.number)

        self.call(do)
        return ()

    def candidate(self, number: RoundNumber) -> VersionId | None:
        return NEW.version_id if number in self.trained else None

    def failure(self, number: RoundNumber) -> str:
        return self.failure_reason

    def examination(self, version_id: VersionId) -> Examination | None:
        reasons = () if self.accepted else ("clear lost 12.0 points",)
        decision = GateDecision(
            version_id=version_id,
            incumbent=OLD.version_id,
            accepted=self.accepted,
            reasons=reasons,
        )
        report = EvaluationReport(version_id=version_id, tasks={})
        return self.call(  # type: ignore[return-value]
            lambda: Examination(
                round_number=RoundNumber(1), candidate=report, incumbent=report, decision=decision
            )
        )


def annotation_of(task: AnnotationTask) -> Annotation:
    return Annotation(
        sample_id=task.sample_id,
        round_number=task.round_number,
        annotation_id=task.task_id,
        annotator="anna",
        annotated_at=NOON,
        mask_key=f"masks/{task.sample_id}/{task.task_id}.png",
        mask_sha256="00" * 32,
        agreement=0.9,
        changed_pixels=10,
    )


def a_world(**changes: object) -> World:
    storage = open_storage("memory://")
    for bundle in (OLD, NEW):
        storage.put(bundle_key(bundle.version_id), bundle.to_bytes())
    examples = [
        replace(a_hard_example(i), score=0.1 * i, version_id=OLD.version_id) for i in range(6)
    ]
    return World(storage, examples, **changes)  # type: ignore[arg-type]


def a_service(world: World, folder: Path) -> Service:
    journal = Journal(folder, "cloud")
    releases = Releases(world.storage, journal, lambda: NOON)
    if releases.current() is None:
        releases.publish(OLD.version_id, RoundNumber(0), "first model")
    return Service(
        ports=Ports(
            inbox=world,
            selection=world,
            preannotator=world,
            annotators=world,
            job=world,
            releases=releases,
        ),
        rounds=Rounds(world.storage),
        lease=Lease(world.storage, 30, lambda: NOON),
        rules=RULES,
        people_pause_s=0.0,
        journal=journal,
        now=lambda: NOON,
    )


def play(world: World, folder: Path, steps: int = 60) -> list[Round]:
    """Step until a round is over; a killed service is started anew."""
    service = a_service(world, folder)
    for _ in range(steps):
        try:
            service.step()
        except KilledError:
            service = a_service(world, folder)
        rounds = Rounds(world.storage).all()
        if rounds and rounds[-1].is_over:
            break
    return Rounds(world.storage).all()


def test_a_better_candidate_is_released(tmp_path: Path) -> None:
    world = a_world()
    (round_,) = play(world, tmp_path)
    assert round_.state is RoundState.RELEASED
    assert [round(e.score, 1) for e in round_.examples] == [0.5, 0.4, 0.3, 0.2]
    current = Releases(world.storage, Journal(tmp_path, "x"), lambda: NOON).current()
    assert current is not None
    assert current.version_id == NEW.version_id
    assert set(round_.entered) == {
        "collecting", "preannotating", "annotating", "training", "gating", "releasing", "released",
    }  # fmt: skip


def test_lll07_a_refused_candidate_is_never_published(tmp_path: Path) -> None:
    """LLL-07: the reasons stand in the round, the pointer stays."""
    world = a_world(accepted=False)
    (round_,) = play(world, tmp_path)
    assert round_.state is RoundState.REFUSED
    assert round_.decision is not None
    assert round_.decision.reasons == ("clear lost 12.0 points",)
    current = Releases(world.storage, Journal(tmp_path, "x"), lambda: NOON).current()
    assert current is not None
    assert current.version_id == OLD.version_id


# Ports are called 10 times in a whole turn; each is killed just before and just after its work.
@pytest.mark.parametrize("kill_at", [sign * n for n in range(1, 11) for sign in (1, -1)])
def test_a_round_survives_a_kill_around_any_call(kill_at: int, tmp_path: Path) -> None:
    """Nothing lost, nothing twice, no twin tasks."""
    world = a_world(kill_at=kill_at, people_away=1)
    (round_,) = play(world, tmp_path)
    assert round_.state is RoundState.RELEASED
    assert world.killed
    assert world.pushed == len(round_.tasks) == 4
    assert set(world.handed_over) == {e.sample_id for e in round_.examples}
    releases = Releases(world.storage, Journal(tmp_path, "x"), lambda: NOON)
    assert [r.version_id for r in releases.history()] == [OLD.version_id, NEW.version_id]


def test_skipped_tasks_do_not_hold_a_round_up(tmp_path: Path) -> None:
    world = a_world()
    world.skipped = frozenset({world.examples[5].sample_id})
    (round_,) = play(world, tmp_path)
    assert round_.state is RoundState.RELEASED
    assert len(round_.annotations) == 3
    assert [s.reason for s in round_.skips] == ["skipped"]


def test_a_round_without_annotations_fails_with_its_reason(tmp_path: Path) -> None:
    world = a_world()
    world.skipped = frozenset(e.sample_id for e in world.examples)
    (round_,) = play(world, tmp_path)
    assert (round_.state, round_.failure) == (RoundState.FAILED, "no task was annotated")


def test_one_poisoned_image_does_not_stop_a_round(tmp_path: Path) -> None:
    world = a_world()
    world.poisoned = frozenset({world.examples[4].sample_id})
    (round_,) = play(world, tmp_path)
    assert round_.state is RoundState.RELEASED
    assert len(round_.annotations) == 3
    assert "not a readable image" in round_.skips[0].reason


def test_a_training_failure_ends_the_round_and_the_next_one_begins(tmp_path: Path) -> None:
    world = a_world(failure_reason="the loss became NaN")
    (first,) = play(world, tmp_path)
    assert (first.state, first.failure) == (RoundState.FAILED, "the loss became NaN")
    a_service(world, tmp_path).step()
    rounds = Rounds(world.storage).all()
    assert [r.state for r in rounds] == [RoundState.FAILED, RoundState.COLLECTING]


def test_too_few_fresh_examples_begin_no_round(tmp_path: Path) -> None:
    world = a_world()
    stale = VersionId("00000000000000ff")
    world.examples = [
        e if i < 2 else replace(e, version_id=stale) for i, e in enumerate(world.examples)
    ]
    rounds = play(world, tmp_path, steps=5)
    assert [r.state for r in rounds] == [RoundState.COLLECTING]


def test_label_studio_being_down_is_waited_out(tmp_path: Path) -> None:
    world = a_world()
    real, left = world.push, [3]

    def push(drafts: Sequence[PreAnnotation]) -> list[AnnotationTask]:
        left[0] -= 1
        if left[0] >= 0:
            raise LabelStudioUnavailableError("http://127.0.0.1:1 does not answer")
        return real(drafts)

    world.push = push  # type: ignore[method-assign]
    service = a_service(world, tmp_path)
    seen: list[str] = []

    class Impatient(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            seen.append(service.last_error)
            service.wake()  # this clock has no time for pauses
            rounds = Rounds(world.storage).all()
            return bool(rounds and rounds[-1].is_over) or len(seen) > 60

    stop = Impatient()
    service.run(stop)
    assert any("does not answer" in text for text in seen)
    assert service.last_error == ""
    assert Rounds(world.storage).all()[-1].state is RoundState.RELEASED
