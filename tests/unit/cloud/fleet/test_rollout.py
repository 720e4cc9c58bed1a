"""K8S-05: a fleet simulator. A good model reaches all, a bad one never leaves its first stage."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cloud.fleet.edges import Edges
from cloud.fleet.rollout import Rollouts
from cloud.releasing.releases import Releases
from lifelong.errors import ConfigError, RoundError, StorageUnavailableError
from lifelong.links.journal import Journal, read_events
from lifelong.links.storage import Storage
from lifelong.records.edge_health import EdgeHealth
from lifelong.records.ids import EdgeId, RoundNumber, VersionId
from lifelong.records.keys import CURRENT_RELEASE, STAGED_RELEASE, bundle_key
from lifelong.records.model_versions import Release
from lifelong.records.rollouts import Rollout, RolloutState
from lifelong.records.wire import to_json
from lifelong.sections.fleet import ReleasesSection
from lifelong.staging import draw_of
from tests.simulated_fleet import (
    REPORT_MINUTES,
    SimulatedNode,
    TimedStorage,
    VirtualClock,
    a_fleet,
    live,
    read,
)
from tests.tiny_bundle import tiny_bundle

OLD, NEW, NEXT = tiny_bundle(seed=1), tiny_bundle(seed=2), tiny_bundle(seed=3)
STAGES = ReleasesSection(
    stages=(0.1, 0.5, 1.0), observe_minutes=30, silent_minutes=15, max_failed_share=0.1
)


class Site:
    """A storage, a fleet that runs the old model, and a controller that may be started anew."""

    def __init__(self, folder: Path, nodes: int, section: ReleasesSection = STAGES) -> None:
        self.clock = VirtualClock()
        self.storage = TimedStorage(self.clock)
        self.folder = folder
        self.section = section
        for bundle in (OLD, NEW, NEXT):
            self.storage.put(bundle_key(bundle.version_id), bundle.to_bytes())
        self.releases = Releases(self.storage, Journal(folder, "cloud"), self.clock)
        self.nodes = a_fleet(self.clock, nodes)
        self.begin_anew()
        assert self.rollouts.publish(OLD.version_id, RoundNumber(0), "first model")
        self.turn()

    def begin_anew(self, storage: Storage | None = None) -> Rollouts:
        """A controller that knows nothing but what storage holds."""
        store = storage or self.storage
        journal = Journal(self.folder, "cloud")
        self.rollouts = Rollouts(
            storage=store,
            releases=Releases(store, journal, self.clock),
            edges=Edges(store, self.clock),
            section=self.section,
            journal=journal,
            now=self.clock,
        )
        return self.rollouts

    def turn(self) -> None:
        """Five minutes of everybody's life."""
        self.clock.pass_minutes(REPORT_MINUTES)
        live(self.nodes, self.storage)
        self.rollouts.step()

    def turns(self, count: int) -> None:
        for _ in range(count):
            self.turn()

    def offer(self, number: int = 1) -> Release | None:
        return self.rollouts.publish(
            NEW.version_id, RoundNumber(number), f"round {number} accepted"
        )

    def tried(self) -> set[EdgeId]:
        """Nodes that have ever run the new model."""
        return {node.edge_id for node in self.nodes if NEW.version_id in node.seen}

    def run_by_all(self) -> set[str | None]:
        return {node.running for node in self.nodes if not node.is_dead}

    def newest(self) -> Rollout:
        found = self.rollouts.newest()
        assert found is not None
        return found

    def events(self, name: str) -> list[dict[str, Any]]:
        return [event for event in read_events(self.folder) if event["event"] == name]


def first_stage(site: Site, count: int | None = None) -> list[SimulatedNode]:
    """The nodes that the next release's first stage will draw."""
    number = site.releases.current().number + 1
    drawn = [node for node in site.nodes if draw_of(node.edge_id, number) < STAGES.stages[0]]
    return drawn[:count]


def refuses(health: EdgeHealth) -> EdgeHealth:
    return replace(
        health,
        version_id=OLD.version_id,
        refused_version=health.version_id,
        refused_reason="mean confidence fell to 0.1",
    )


def falls_back(health: EdgeHealth) -> EdgeHealth:
    return replace(health, version_id=OLD.version_id, fallbacks=1)


BAD: dict[str, tuple[Callable[[EdgeHealth], EdgeHealth | None], str]] = {
    "refused": (refuses, "refused it: mean confidence fell to 0.1"),
    "fell back": (falls_back, "fell back"),
    "crashed": (lambda health: None, "silent for"),
    "slower": (lambda h: replace(h, p50_ms=45.0), "median time per frame went from 20.0 to 45.0"),
    "drift": (lambda h: replace(h, alarms={"drift.psi": "PSI 0.5 over 0.25"}), "PSI 0.5"),
    "failing frames": (lambda h: replace(h, failed_share=0.2), "20 % of its frames fail"),
}


def test_k8s_05_a_good_model_reaches_all_of_200_nodes_stage_by_stage(tmp_path):
    site = Site(tmp_path, 200)
    assert site.offer()
    site.turn()
    canaries = site.tried()
    assert 8 <= len(canaries) <= 32
    assert site.newest().state is RolloutState.OBSERVING
    site.turns(8)
    half = site.tried()
    assert 70 <= len(half) <= 130
    assert canaries < half
    assert {node.running for node in site.nodes} == {OLD.version_id, NEW.version_id}
    site.turns(10)
    assert site.newest().state is RolloutState.PROMOTED
    assert site.run_by_all() == {NEW.version_id}
    assert read(site.storage, STAGED_RELEASE) is None
    current = read(site.storage, CURRENT_RELEASE)
    assert (current.version_id, current.share, current.is_rollback) == (NEW.version_id, 1.0, False)
    # The history is what nodes were told, with numbers that only rise.
    assert [(r.number, r.version_id, r.share) for r in site.releases.history()] == [
        (1, OLD.version_id, 1.0),
        (2, NEW.version_id, 0.1),
        (3, NEW.version_id, 1.0),
    ]
    assert [len(site.events(f"rollout.{name}")) for name in ("begun", "widened", "promoted")] == [
        1,
        1,
        1,
    ]


@pytest.mark.parametrize("kind", BAD)
def test_k8s_05_a_bad_model_never_leaves_the_first_stage(tmp_path, kind):
    fate, words = BAD[kind]
    site = Site(tmp_path, 200)
    for node in site.nodes:
        node.new = fate
    canaries = {node.edge_id for node in first_stage(site)}
    site.offer()
    site.turns(12)
    assert site.newest().state is RolloutState.HALTED
    assert site.tried() <= canaries
    assert site.run_by_all() == {OLD.version_id}
    current = read(site.storage, CURRENT_RELEASE)
    assert (current.number, current.version_id, current.is_rollback) == (3, OLD.version_id, True)
    assert read(site.storage, STAGED_RELEASE) is None
    (halted,) = site.events("rollout.halted")
    assert any(words in reason for reason in halted["reasons"]), halted["reasons"]
    assert halted["reasons"] == list(site.newest().reasons)


def test_k8s_05_some_bad_nodes_are_nobodys_regression_and_more_are(tmp_path):
    """One node of a dozen may die by itself; max_failed_share says how many are too many."""
    site = Site(tmp_path, 200)
    drawn = first_stage(site)
    drawn[0].new = lambda health: None
    assert STAGES.max_failed_share * len(drawn) >= 1
    site.offer()
    site.turns(8)
    assert site.newest().stage == 1

    other = Site(tmp_path / "other", 200)
    for node in drawn[: int(STAGES.max_failed_share * len(drawn)) + 1]:
        twin = next(n for n in other.nodes if n.edge_id == node.edge_id)
        twin.new = lambda health: None
    other.offer()
    other.turns(8)
    assert other.newest().state is RolloutState.HALTED


def test_k8s_05_nodes_that_were_silent_or_alarming_before_do_not_count_against_a_model(tmp_path):
    site = Site(tmp_path, 60)
    for node in first_stage(site):
        node.new = lambda h: replace(h, failed_share=0.2)
    ill = [node for node in site.nodes if node not in first_stage(site)][:30]
    for node in ill[:15]:
        node.is_dead = True
    site.turns(5)
    # The canaries have failing frames already before they see the model.
    for node in first_stage(site):
        node.first_version = None
        health = replace(node.healthy(), failed_share=0.2)
        site.storage.put(f"edges/{node.edge_id}/health.json", to_json(health))
    site.offer()
    for node in first_stage(site):
        node.first_version = OLD.version_id
    site.turns(24)
    assert site.newest().state is RolloutState.PROMOTED, site.newest().reasons


def test_k8s_05_a_small_fleet_has_a_canary_too(tmp_path):
    site = Site(tmp_path, 3)
    for node in site.nodes:
        node.new = refuses
    site.offer()
    site.turn()
    assert len(site.tried()) == 1
    site.turn()
    site.turn()
    assert site.newest().state is RolloutState.HALTED
    assert len(site.tried()) == 1


def test_k8s_05_without_a_report_nothing_is_proven_and_a_person_may_decide(tmp_path):
    site = Site(tmp_path, 0)
    assert site.offer()
    site.turns(30)
    assert site.newest().state is RolloutState.OBSERVING
    assert site.rollouts.judgement(site.newest()).members == ()
    site.rollouts.wish("promote", "olga")
    with pytest.raises(RoundError, match="decided before"):
        site.rollouts.wish("halt", "otto")
    site.turns(2)
    assert site.newest().state is RolloutState.PROMOTED
    with pytest.raises(RoundError, match="no roll-out is under way"):
        site.rollouts.wish("halt", "otto")


def test_k8s_05_a_person_halts(tmp_path):
    site = Site(tmp_path, 40)
    site.offer()
    site.turn()
    site.rollouts.wish("halt", "olga")
    site.turns(3)
    assert site.newest().reasons == ("halted by olga",)
    assert site.run_by_all() == {OLD.version_id}


def test_k8s_05_a_node_that_does_not_take_the_model_is_waited_for_but_not_for_ever(tmp_path):
    site = Site(tmp_path, 40)
    for node in site.nodes:
        node.number = 10**6  # it looks, reports, and takes nothing
    site.offer()
    site.turns(11)
    assert site.newest().state is RolloutState.OBSERVING
    assert site.rollouts.judgement(site.newest()).waiting
    site.turns(4)
    assert site.newest().state is RolloutState.HALTED
    assert "has not taken the model" in " ".join(site.newest().reasons)


def test_k8s_05_one_stage_is_a_release_for_everybody_at_once(tmp_path):
    site = Site(tmp_path, 20, ReleasesSection())
    assert site.offer()
    site.turn()
    assert site.run_by_all() == {NEW.version_id}
    assert site.rollouts.newest() is None


def test_k8s_05_one_roll_out_at_a_time_and_a_repeated_offer_changes_nothing(tmp_path):
    site = Site(tmp_path, 40)
    first = site.offer()
    assert site.offer() == first
    assert site.rollouts.publish(NEXT.version_id, RoundNumber(2), "round 2 accepted") is None
    site.turns(20)
    assert site.newest().state is RolloutState.PROMOTED
    assert site.offer()  # repeated after the end: it was carried out
    assert site.newest().state is RolloutState.PROMOTED
    assert site.rollouts.publish(NEXT.version_id, RoundNumber(2), "round 2 accepted").share < 1
    site.turns(20)
    assert site.run_by_all() == {NEXT.version_id}


def test_k8s_05_an_operators_roll_back_ends_a_roll_out(tmp_path):
    site = Site(tmp_path, 40)
    site.offer()
    site.turn()
    site.releases.roll_back(OLD.version_id, "olga")
    site.turns(2)
    assert site.newest().state is RolloutState.HALTED
    assert "release 3 came in between: rolled back by olga" in site.newest().reasons[0]
    assert site.run_by_all() == {OLD.version_id}
    assert len(site.releases.history()) == 3


def test_k8s_05_a_halt_that_cannot_be_signed_yet_stops_the_spread_at_once(tmp_path):
    site = Site(tmp_path, 40)
    for node in site.nodes:
        node.new = refuses
    site.offer()
    site.turn()
    while site.newest().state is RolloutState.OBSERVING:
        site.turn()
    roll_back = site.rollouts._releases.roll_back

    def cannot_sign(version_id: VersionId, who: str, *, after: int | None = None) -> Release:
        raise ConfigError("the password of the signing key is not set")

    site.rollouts._releases.roll_back = cannot_sign
    with pytest.raises(ConfigError):
        site.rollouts.step()
    assert read(site.storage, STAGED_RELEASE) is None
    assert site.newest().state is RolloutState.HALTING
    site.rollouts._releases.roll_back = roll_back
    site.turn()
    assert site.newest().state is RolloutState.HALTED
    assert read(site.storage, CURRENT_RELEASE).is_rollback


def outcome(site: Site) -> tuple[Any, ...]:
    """What must be the same whenever and wherever the controller died."""
    newest = site.newest()
    told = [(r.number, r.version_id, r.share, r.is_rollback) for r in site.releases.history()]
    pointers = [read(site.storage, key) for key in (CURRENT_RELEASE, STAGED_RELEASE)]
    ends = [(p.number, p.version_id, p.share) if p else None for p in pointers]
    return newest.state, newest.stage, told, ends, site.run_by_all()


@pytest.mark.parametrize("fate", ["good", "bad"])
def test_k8s_05_a_controller_killed_at_any_write_changes_nothing(tmp_path, fate):
    def ran(folder: Path, dies_at: int | None) -> tuple[Any, int]:
        site = Site(folder, 12)
        if fate == "bad":
            for node in site.nodes:
                node.new = refuses
        left, writes, killed = dies_at, 0, 0
        for minute in range(26):
            site.clock.pass_minutes(REPORT_MINUTES)
            live(site.nodes, site.storage)
            site.storage.writes_left = 10**6 if left is None else left
            before = site.storage.writes_left
            try:
                if minute == 0:
                    site.offer()
                else:
                    site.rollouts.step()
            except StorageUnavailableError:
                killed += 1
                left = None
                site.storage.writes_left = None
                site.begin_anew()
                if minute == 0:
                    assert site.offer()
                site.rollouts.step()
            else:
                done = before - site.storage.writes_left
                writes += done
                left = None if left is None else left - done
            site.storage.writes_left = None
        assert killed == (dies_at is not None)
        return outcome(site), writes

    undisturbed, writes = ran(tmp_path / "undisturbed", None)
    assert undisturbed[0] is (RolloutState.PROMOTED if fate == "good" else RolloutState.HALTED)
    assert writes >= 8
    for death in range(writes):
        disturbed, _ = ran(tmp_path / f"death-{death}", death)
        assert disturbed == undisturbed, f"killed at write {death}"
