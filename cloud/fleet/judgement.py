"""How a stage of a roll-out goes: whose report speaks for the model, whose against it, and why."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from cloud.fleet.edges import SeenEdge, alarms_of, is_silent
from lifelong.records.edge_health import EdgeHealth
from lifelong.records.ids import EdgeId
from lifelong.records.rollouts import Baseline, Rollout
from lifelong.sections.fleet import ReleasesSection
from lifelong.staging import draw_of

# A node that reports but does not run the model may need more time than a stage is observed for:
# a thin link. After so many times that long it counts as failed.
_PATIENCE = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A stage at one moment."""

    members: tuple[EdgeId, ...]
    running: tuple[EdgeId, ...]  # run the new model, and nothing speaks against it
    waiting: tuple[EdgeId, ...]  # report, and do not run it yet
    failed: Mapping[EdgeId, str]  # with the reason in words
    is_bad: bool  # more have failed than may
    is_proven: bool  # observed for long enough, and enough run it well

    def told(self) -> str:
        """One line for people."""
        return (
            f"{len(self.members)} nodes: {len(self.running)} run it well, "
            f"{len(self.waiting)} have not taken it, {len(self.failed)} failed"
        )


def baselines_of(
    seen: Iterable[SeenEdge], section: ReleasesSection, now: datetime
) -> dict[EdgeId, Baseline]:
    """How every node that is not silent does now; who is silent before is no one's fault."""
    return {
        edge.edge_id: Baseline(
            p50_ms=edge.health.p50_ms,
            fallbacks=edge.health.fallbacks,
            alarms=tuple(sorted(alarms_of(edge.health))),
        )
        for edge in seen
        if edge.health is not None and not is_silent(edge, section, now)
    }


def wide_enough(share: float, edges: Iterable[EdgeId], number: int) -> float:
    """The share, or as much more as it takes for one of these nodes to be among it.

    A tenth of five nodes may draw none, and a stage that nobody tries proves nothing.
    """
    lowest = min((draw_of(edge, number) for edge in edges), default=0.0)
    return max(share, min(lowest + 1e-9, 1.0))


def judge(
    rollout: Rollout, seen: Iterable[SeenEdge], section: ReleasesSection, now: datetime
) -> Judgement:
    """Judge the present stage by the last reports of its nodes.

    A node counts when it reported before its stage began, or has since, and draws a place in the
    stage's share.
    """
    elapsed = now - rollout.stage_began_at
    observed = timedelta(minutes=section.observe_minutes)
    members: list[EdgeId] = []
    running: list[EdgeId] = []
    waiting: list[EdgeId] = []
    failed: dict[EdgeId, str] = {}
    for edge in seen:
        baseline = rollout.baselines.get(edge.edge_id)
        is_known = baseline is not None or edge.arrived_at >= rollout.stage_began_at
        if not is_known or draw_of(edge.edge_id, rollout.number) >= rollout.share:
            continue
        members.append(edge.edge_id)
        reason = _against(edge, baseline, rollout, section, now)
        if reason:
            failed[edge.edge_id] = reason
        elif edge.health is not None and edge.health.version_id == rollout.version_id:
            running.append(edge.edge_id)
        elif elapsed >= _PATIENCE * observed:
            failed[edge.edge_id] = "reports, but has not taken the model"
        else:
            waiting.append(edge.edge_id)
    may_fail = section.max_failed_share * len(members)
    return Judgement(
        members=tuple(members),
        running=tuple(running),
        waiting=tuple(waiting),
        failed=failed,
        is_bad=len(failed) > may_fail,
        is_proven=bool(running) and elapsed >= observed and len(members) - len(running) <= may_fail,
    )


def _against(
    edge: SeenEdge,
    baseline: Baseline | None,
    rollout: Rollout,
    section: ReleasesSection,
    now: datetime,
) -> str:
    """What speaks against the model on this node, in words; empty when nothing does."""
    if is_silent(edge, section, now):
        return f"silent for {(now - edge.arrived_at).total_seconds() / 60:.0f} min"
    health = edge.health
    if health is None:
        return f"its report cannot be read: {edge.trouble}"
    if health.refused_version == rollout.version_id:
        return f"refused it: {health.refused_reason}"
    if baseline is not None and health.fallbacks > baseline.fallbacks:
        return "fell back to the model before"
    if health.version_id != rollout.version_id:
        return ""  # it cannot speak for or against a model that it does not run
    return "; ".join([*_new_alarms(health, baseline), *_slower(health, baseline, section)])


def _new_alarms(health: EdgeHealth, baseline: Baseline | None) -> list[str]:
    before = baseline.alarms if baseline else ()
    return [words for name, words in alarms_of(health).items() if name not in before]


def _slower(health: EdgeHealth, baseline: Baseline | None, section: ReleasesSection) -> list[str]:
    before = baseline.p50_ms if baseline else 0.0
    if before <= 0.0 or health.p50_ms <= section.max_slowdown * before:
        return []
    return [f"median time per frame went from {before:.1f} to {health.p50_ms:.1f} ms"]
