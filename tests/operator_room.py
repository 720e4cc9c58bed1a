"""A storage with two released models and whoever may roll back: pages over it, for tests."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fastapi.testclient import TestClient

from cloud.access.permissions import Role
from cloud.audit_log import AuditEntry, AuditLog
from cloud.fleet.budgets import Budgets
from cloud.fleet.edges import Edges
from cloud.fleet.rollout import Rollouts
from cloud.monitor.watch import Watch
from cloud.operator_actions import OperatorActions
from cloud.releasing.releases import Releases
from cloud.releasing.signing_keys import SignerSource
from cloud.rounds import Rounds
from lifelong.knowledge_base import KnowledgeBase
from lifelong.links.journal import Journal, utc_now
from lifelong.links.storage import Storage, open_storage
from lifelong.records.edge_health import EdgeHealth
from lifelong.records.ids import EdgeId, RoundNumber
from lifelong.records.keys import bundle_key, health_key
from lifelong.records.wire import to_json
from lifelong.sections.fleet import ReleasesSection
from tests.tiny_bundle import tiny_bundle
from tests.web_parts import a_client, some_parts

OLD, NEW, NEXT = tiny_bundle(seed=1), tiny_bundle(seed=2), tiny_bundle(seed=3)
STAGES = ReleasesSection(stages=(0.5, 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Everything that a test of an operator's action looks at."""

    storage: Storage
    releases: Releases
    rollouts: Rollouts
    actions: OperatorActions
    audit: AuditLog
    watch: Watch

    def client(self, role: Role | None = Role.OPERATOR) -> TestClient:
        """The pages as they look into this storage; each action looks anew."""
        parts = some_parts(self.storage, looks=self.watch.look, actions=self.actions)
        return a_client(parts, role)

    def recorded(self) -> list[AuditEntry]:
        """The audit log, oldest first."""
        return self.audit.newest()[::-1]


def a_room(
    folder: Path,
    *,
    storage: Storage | None = None,
    signer: SignerSource = lambda: None,
    begin: bool = True,
) -> Room:
    """Releases 1 (`OLD`) and 2 (`NEW`) are out, `NEXT` lies there; `edge-1` runs `NEW`."""
    store = storage or open_storage("memory://")
    journal = Journal(folder, "cloud")
    if begin:
        begun = Releases(store, journal, utc_now)
        for bundle in (OLD, NEW, NEXT):
            store.put(bundle_key(bundle.version_id), bundle.to_bytes())
        begun.publish(OLD.version_id, RoundNumber(0), "first model")
        begun.publish(NEW.version_id, RoundNumber(1), "round 1 accepted")
        store.put(health_key(EdgeId("edge-1")), to_json(_runs_new(utc_now())))
    releases = Releases(store, journal, utc_now, signer)
    rollouts = Rollouts(
        storage=store,
        releases=releases,
        edges=Edges(store, utc_now),
        section=STAGES,
        journal=journal,
        now=utc_now,
    )
    watch = Watch(
        storage=store,
        kb=KnowledgeBase(store),
        rollouts=rollouts,
        section=STAGES,
        now=utc_now,
        pause_s=1.0,
    )
    audit = AuditLog(store, utc_now)
    actions = OperatorActions(
        storage=store,
        releases=releases,
        rollouts=rollouts,
        rounds=Rounds(store).all,
        budgets=Budgets(store, journal),
        audit=audit,
        now=utc_now,
        done=watch.refresh,
    )
    return Room(
        storage=store,
        releases=releases,
        rollouts=rollouts,
        actions=actions,
        audit=audit,
        watch=watch,
    )


def _runs_new(now: datetime) -> EdgeHealth:
    return EdgeHealth(
        edge_id=EdgeId("edge-1"),
        report=7,
        at=now,
        report_seconds=60.0,
        software="0.1.0",
        label_map_digest="d",
        version_id=NEW.version_id,
        release_number=2,
    )
