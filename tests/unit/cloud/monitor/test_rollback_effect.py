"""UX-10, OPS: what rolling back would lose and gain, worked out by hand."""

from datetime import timedelta

import pytest

from cloud.fleet.edges import EdgeState, SeenEdge, Standing
from cloud.monitor.look import Look
from cloud.monitor.rollback_effect import (
    previous_release,
    previous_rollback,
    rollback_effect,
)
from lifelong.links.storage import open_storage
from lifelong.records.ids import EdgeId, RoundNumber, SampleId, VersionId
from lifelong.records.model_versions import (
    EvaluationReport,
    Examination,
    GateDecision,
    ModelVersion,
    Release,
    TaskResult,
)
from tests.builders import NOON
from tests.large_loop import a_health, live_long, version_of
from tests.web_parts import a_watch


def version(name: str, parent: str | None, number: int, samples: str) -> ModelVersion:
    return ModelVersion(
        version_id=VersionId(name),
        parent=VersionId(parent) if parent else None,
        round_number=RoundNumber(number),
        bundle_key=f"models/{name}.bundle",
        sha256="0" * 64,
        label_map_digest="d",
        network="n",
        strategy="s",
        weights_sha256="0" * 64,
        trained_on=tuple(SampleId(one) for one in samples),
    )


def release(number: int, name: str, *, share: float = 1.0, back: bool = False) -> Release:
    return Release(
        number=number,
        version_id=VersionId(name),
        bundle_key=f"models/{name}.bundle",
        sha256="0" * 64,
        label_map_digest="d",
        round_number=RoundNumber(number),
        released_at=NOON + timedelta(hours=number),
        why="",
        is_rollback=back,
        share=share,
    )


def report(name: str, **tasks: float) -> EvaluationReport:
    return EvaluationReport(
        version_id=VersionId(name),
        tasks={
            task: TaskResult(miou=miou, pixel_accuracy=0.9, iou={}, images=4)
            for task, miou in tasks.items()
        },
    )


def examination(
    number: int, candidate: EvaluationReport, incumbent: EvaluationReport
) -> Examination:
    return Examination(
        round_number=RoundNumber(number),
        candidate=candidate,
        incumbent=incumbent,
        decision=GateDecision(
            version_id=candidate.version_id,
            incumbent=incumbent.version_id,
            accepted=True,
            reasons=(),
        ),
    )


def a_look(**changes: object) -> Look:
    """first -> b (round 1: samples pq) -> c (round 2: samples rst); c runs."""
    versions = [version("a", None, 0, ""), version("b", "a", 1, "pq"), version("c", "b", 2, "rst")]
    releases = (release(1, "a"), release(2, "b"), release(3, "c"))
    facts: dict[str, object] = {
        "at": NOON,
        "releases": releases,
        "current": releases[-1],
        "versions": {one.version_id: one for one in versions},
        "examinations": {
            VersionId("b"): examination(1, report("b", day=0.5), report("a", day=0.4)),
            VersionId("c"): examination(
                2, report("c", day=0.48, fog=0.6), report("b", day=0.52, fog=0.3)
            ),
        },
    }
    return Look(**{**facts, **changes})  # type: ignore[arg-type]


def a_standing(edge: str, runs: str | None) -> Standing:
    health = a_health(0, release(1, runs or "a"), last=VersionId(runs or "a"))
    return Standing(
        seen=SeenEdge(
            edge_id=EdgeId(edge), arrived_at=NOON, health=health if runs is not None else None
        ),
        state=EdgeState.WELL,
        reasons=(),
        wanted=None,
        age_s=1.0,
    )


def test_ops_rolling_back_one_release_by_hand() -> None:
    fleet = (a_standing("x", "c"), a_standing("y", "b"), a_standing("z", None))
    effect = previous_rollback(a_look(fleet=fleet))
    assert effect is not None
    assert (effect.current, effect.target) == ("c", "b")
    assert effect.same_examination
    assert [(t.task, t.now, t.then) for t in effect.tasks] == [
        ("day", 0.48, 0.52),
        ("fog", 0.6, 0.3),
    ]
    assert [round(t.change or 0, 3) for t in effect.tasks] == [0.04, -0.3]
    assert effect.mean_change == pytest.approx(-0.13)
    assert [t.task for t in effect.lost] == ["fog"]
    assert [t.task for t in effect.gained] == ["day"]
    assert effect.undone_rounds == (2,)
    assert (effect.undone_samples, effect.regained_samples) == (3, 0)
    assert (effect.edges, effect.edges_unknown) == (("x",), 1)


def test_ops_reports_of_different_examinations_are_said_to_be_so() -> None:
    effect = rollback_effect(a_look(), VersionId("a"))
    assert effect is not None
    assert not effect.same_examination
    assert [(t.task, t.now, t.then, t.change) for t in effect.tasks] == [
        ("day", 0.48, 0.4, pytest.approx(-0.08)),
        ("fog", 0.6, None, None),  # the first model was never examined in fog: no figure
    ]
    assert effect.undone_rounds == (1, 2)
    assert effect.undone_samples == 5


def test_ops_going_forward_again_after_a_rollback_regains_samples() -> None:
    back = release(4, "b", back=True)
    look = a_look(releases=(*a_look().releases, back), current=back)
    assert previous_release(look) is not None
    assert previous_release(look).version_id == "a"  # type: ignore[union-attr]
    effect = rollback_effect(look, VersionId("c"))
    assert effect is not None
    assert (effect.undone_samples, effect.regained_samples) == (0, 3)
    assert [t.change for t in effect.tasks] == [pytest.approx(-0.04), pytest.approx(0.3)]


def test_ops_a_staged_release_is_not_what_one_goes_back_to() -> None:
    releases = (release(1, "a"), release(2, "b", share=0.1), release(3, "c"))
    found = previous_release(a_look(releases=releases, current=releases[-1]))
    assert found is not None
    assert found.version_id == "a"


def test_ops_nothing_to_go_back_to() -> None:
    assert previous_rollback(Look(at=NOON)) is None
    assert rollback_effect(Look(at=NOON), VersionId("a")) is None
    only = release(1, "a")
    assert previous_release(a_look(releases=(only,), current=only)) is None
    unknown = rollback_effect(a_look(), VersionId("zz"))  # its record is gone
    assert unknown is not None
    assert all(task.then is None for task in unknown.tasks)
    assert unknown.mean_change is None


def test_ops_a_loop_that_has_run_for_long(tmp_path) -> None:  # type: ignore[no-untyped-def]
    storage = open_storage("memory://")
    live_long(storage, rounds=20, samples=5, edges=9, pictures=0)
    look = a_watch(storage, tmp_path).refresh()
    effect = look.fact(previous_rollback)
    assert effect is not None
    assert (effect.current, effect.target) == (version_of(19), version_of(18))
    assert effect.same_examination
    assert effect.undone_samples == 5
    assert len(effect.edges) == 9  # eight run the last version, one the first
