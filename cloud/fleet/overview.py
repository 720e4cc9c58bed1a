"""The fleet on one page: every node, how many stand how, and how far a roll-out has come."""

from datetime import datetime
from typing import Any

from cloud.fleet.edges import Edges, EdgeState, Standing, standing_of
from cloud.fleet.rollout import Rollouts
from lifelong.errors import ObjectNotFoundError
from lifelong.links.storage import Storage
from lifelong.records.keys import CURRENT_RELEASE, STAGED_RELEASE
from lifelong.records.model_versions import Release
from lifelong.records.wire import from_json, to_plain
from lifelong.sections.fleet import ReleasesSection


def fleet_overview(
    storage: Storage,
    edges: Edges,
    rollouts: Rollouts,
    section: ReleasesSection,
    now: datetime,
) -> dict[str, Any]:
    """What `cornerloop edges --json` prints: JSON-ready values."""
    current, staged = _pointer(storage, CURRENT_RELEASE), _pointer(storage, STAGED_RELEASE)
    found = [standing_of(seen, current, staged, section, now) for seen in edges.look()]
    return {
        "counts": {str(state): sum(s.state is state for s in found) for state in EdgeState},
        "current": release_summary(current),
        "staged": release_summary(staged),
        "rollout": rollout_summary(rollouts),
        "edges": [edge_summary(standing) for standing in found],
    }


def edge_summary(standing: Standing) -> dict[str, Any]:
    """One node as JSON-ready values."""
    health = standing.seen.health
    return {
        "edge": standing.seen.edge_id,
        "state": str(standing.state),
        "reasons": list(standing.reasons),
        "age_seconds": round(standing.age_s, 1),
        "wanted": standing.wanted.version_id if standing.wanted else None,
        "health": to_plain(health) if health else None,
    }


def rollout_summary(rollouts: Rollouts) -> dict[str, Any] | None:
    """The last roll-out and how its stage goes; None before the first."""
    rollout = rollouts.newest()
    if rollout is None:
        return None
    judged = None if rollout.is_over else rollouts.judgement(rollout)
    return {
        "number": rollout.number,
        "version": rollout.version_id,
        "before": rollout.before,
        "why": rollout.why,
        "state": str(rollout.state),
        "stages": list(rollout.stages),
        "stage": rollout.stage + 1,
        "share": round(rollout.share, 4),
        "entered": {name: at.isoformat() for name, at in rollout.entered.items()},
        "reasons": list(rollout.reasons),
        "now": judged.told() if judged else "",
        "failed": dict(judged.failed) if judged else {},
    }


def release_summary(release: Release | None) -> dict[str, Any] | None:
    """A release in short, JSON-ready."""
    if release is None:
        return None
    return {
        "number": release.number,
        "version": release.version_id,
        "share": release.share,
        "why": release.why,
    }


def _pointer(storage: Storage, key: str) -> Release | None:
    try:
        return from_json(Release, storage.get(key), key)
    except ObjectNotFoundError:
        return None
