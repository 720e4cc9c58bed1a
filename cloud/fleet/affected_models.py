"""Which models learned certain samples, which of them run somewhere, and what to do about it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from cloud.fleet.edges import SeenEdge
from lifelong.knowledge_base import KnowledgeBase
from lifelong.records.ids import EdgeId, SampleId, VersionId
from lifelong.records.model_versions import ModelVersion, Release


@dataclass(frozen=True, slots=True, kw_only=True)
class AffectedModel:
    """A model version that some of the samples have shaped."""

    version_id: VersionId
    trained_on: tuple[SampleId, ...]  # of those samples, by itself
    replayed: tuple[SampleId, ...]
    ancestors: tuple[VersionId, ...]  # that were trained on or replayed some, nearest first
    releases: tuple[int, ...]  # numbers
    is_current: bool  # what edges are to run now
    edges: tuple[EdgeId, ...]  # that last said they run it
    clean_ancestor: VersionId | None  # the nearest one that none of the samples have shaped


def affected_models(
    samples: Collection[SampleId],
    kb: KnowledgeBase,
    releases: Sequence[Release],
    edges: Sequence[SeenEdge],
) -> list[AffectedModel]:
    """Every version that was trained on, replayed, or descends from one that did; oldest first.

    Args:
        releases: the whole history, oldest first.
    """
    wanted = frozenset(samples)
    direct = {key for key, version in kb.versions.items() if _uses(version, wanted)}
    current = releases[-1].version_id if releases else None
    found = []
    for version_id, version in kb.versions.items():
        line = kb.line_of(version_id)
        shaped = [one.version_id for one in line[1:] if one.version_id in direct]
        if version_id not in direct and not shaped:
            continue
        found.append(
            AffectedModel(
                version_id=version_id,
                trained_on=tuple(s for s in version.trained_on if s in wanted),
                replayed=tuple(s for s in version.replayed if s in wanted),
                ancestors=tuple(shaped),
                releases=tuple(r.number for r in releases if r.version_id == version_id),
                is_current=version_id == current,
                edges=tuple(e.edge_id for e in edges if _runs(e, version_id)),
                clean_ancestor=_clean(line, direct),
            )
        )
    return found


def advice(model: AffectedModel) -> str:
    """What to do about one, in words."""
    if not (model.is_current or model.edges):
        return "runs nowhere; nothing to do, as long as it is not released again"
    if model.clean_ancestor is None:
        return (
            "no ancestor is free of these samples: train a first model anew from pictures that "
            "may be used (`cornerloop begin` with a new storage), then let the rounds go on"
        )
    return (
        f"`cornerloop rollback {model.clean_ancestor}` brings the last version before these "
        "samples to the edges; the next round learns from it what has been learned since, "
        "without them"
    )


def _uses(version: ModelVersion, samples: frozenset[SampleId]) -> bool:
    return not samples.isdisjoint(version.trained_on) or not samples.isdisjoint(version.replayed)


def _clean(line: Sequence[ModelVersion], direct: Collection[VersionId]) -> VersionId | None:
    """The first version of a line, newest first, with nothing of the samples in or above it."""
    last = max((i for i, one in enumerate(line) if one.version_id in direct), default=-1)
    return line[last + 1].version_id if last + 1 < len(line) else None


def _runs(edge: SeenEdge, version_id: VersionId) -> bool:
    return edge.health is not None and edge.health.version_id == version_id
