"""K8S-05 beside the rounds: who waits for whom, and what does not hold up what."""

import threading
from pathlib import Path

import pytest

from cloud.fleet.edges import Edges
from cloud.fleet.rollout import Rollouts
from cloud.loop import Ports
from cloud.releasing.releases import Releases
from cloud.rounds import Rounds
from cloud.service import Service
from lifelong.config import RoundsSection
from lifelong.errors import StorageUnavailableError
from lifelong.links.journal import Journal
from lifelong.records.edge_health import EdgeHealth
from lifelong.records.ids import EdgeId, RoundNumber
from lifelong.records.keys import bundle_key, health_key
from lifelong.records.rollouts import RolloutState
from lifelong.records.rounds import RoundState
from lifelong.records.wire import to_json
from lifelong.sections.fleet import ReleasesSection
from tests.builders import a_round
from tests.edge_fixtures import HandClock
from tests.simulated_fleet import TimedStorage, VirtualClock
from tests.tiny_bundle import tiny_bundle

FIRST, SECOND, THIRD = tiny_bundle(seed=1), tiny_bundle(seed=2), tiny_bundle(seed=3)
STAGES = ReleasesSection(stages=(0.5, 1.0), observe_minutes=30)


class Untouched:
    """A port that a round in RELEASING never uses."""

    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"{name} was asked of a round that is being released")


class Free:
    """A lease that nobody else wants."""

    def hold(self) -> bool:
        return True

    def release(self) -> None:
        return None


class Cloud:
    """The loop and the roll-outs over one storage."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.seconds = VirtualClock(), HandClock()
        self.storage = TimedStorage(self.clock)
        for bundle in (FIRST, SECOND, THIRD):
            self.storage.put(bundle_key(bundle.version_id), bundle.to_bytes())
        journal = Journal(folder, "cloud")
        self.releases = Releases(self.storage, journal, self.clock)
        self.releases.publish(FIRST.version_id, RoundNumber(0), "first model")
        self.rollouts = Rollouts(
            storage=self.storage,
            releases=self.releases,
            edges=Edges(self.storage, self.clock),
            section=STAGES,
            journal=journal,
            now=self.clock,
        )
        self.rounds = Rounds(self.storage)
        nobody = Untouched()
        self.service = Service(
            ports=Ports(
                inbox=nobody,  # type: ignore[arg-type]
                selection=nobody,  # type: ignore[arg-type]
                preannotator=nobody,  # type: ignore[arg-type]
                annotators=nobody,  # type: ignore[arg-type]
                job=nobody,  # type: ignore[arg-type]
                releases=self.rollouts,
            ),
            rounds=self.rounds,
            lease=Free(),  # type: ignore[arg-type]
            rules=RoundsSection(),
            people_pause_s=0.0,
            journal=journal,
            now=self.clock,
            roll_out=self.rollouts.step,
            clock=self.seconds,
        )

    def releasing(self, number: int, version: str) -> None:
        round_ = a_round(RoundState.RELEASING, number=RoundNumber(number), candidate=version)
        self.rounds.save(round_)

    def state(self) -> RoundState:
        return self.rounds.all()[-1].state


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


def test_k8s_05_a_round_is_released_when_its_model_has_begun_to_reach_the_fleet(cloud):
    cloud.releasing(1, SECOND.version_id)
    assert cloud.service.step()
    assert cloud.state() is RoundState.RELEASED
    assert cloud.rollouts.newest().state is RolloutState.OBSERVING
    # The next round begins at once, and learns from what the gate has accepted.
    assert cloud.service.step()
    assert (cloud.state(), cloud.rounds.all()[-1].incumbent) == (
        RoundState.COLLECTING,
        SECOND.version_id,
    )


def test_k8s_05_a_round_waits_in_releasing_until_the_roll_out_before_it_has_ended(cloud):
    cloud.releasing(1, SECOND.version_id)
    cloud.service.step()
    cloud.releasing(2, THIRD.version_id)
    assert not cloud.service.step()
    assert cloud.state() is RoundState.RELEASING
    cloud.rollouts.wish("halt", "olga")
    while cloud.rollouts.step():
        pass
    assert cloud.service.step()
    assert cloud.state() is RoundState.RELEASED
    newest = cloud.rollouts.newest()
    assert (newest.version_id, newest.before) == (THIRD.version_id, FIRST.version_id)


def test_k8s_05_after_a_halt_rounds_learn_from_the_version_before(cloud):
    cloud.releasing(1, SECOND.version_id)
    cloud.service.step()
    cloud.rollouts.wish("halt", "olga")
    while cloud.rollouts.step():
        pass
    cloud.service.step()
    assert cloud.rounds.all()[-1].incumbent == FIRST.version_id
    assert cloud.releases.incumbent() == FIRST


def test_k8s_05_the_service_steps_a_roll_out_beside_the_rounds(cloud):
    cloud.releasing(1, SECOND.version_id)
    cloud.service._tried_step()
    cloud.rollouts.wish("promote", "olga")
    for _ in range(2):
        cloud.service._tried_step()
    assert cloud.rollouts.newest().state is RolloutState.OBSERVING  # not looked at again so soon
    for _ in range(2):
        cloud.seconds.advance(5.0)
        cloud.service._tried_step()
    assert cloud.rollouts.newest().state is RolloutState.PROMOTED


def test_k8s_05_a_roll_out_that_cannot_be_looked_at_holds_up_no_round(cloud, caplog):
    cloud.releasing(1, SECOND.version_id)

    def fails() -> bool:
        raise StorageUnavailableError("the listing timed out")

    cloud.service._roll_out = fails
    cloud.service._tried_step()
    assert cloud.state() is RoundState.RELEASED
    assert "the roll-out waits" in caplog.text


def test_k8s_05_a_damaged_report_holds_up_neither(cloud):
    cloud.releasing(1, SECOND.version_id)
    cloud.service._tried_step()
    cloud.storage.put(health_key(EdgeId("edge-1")), b"\xff\x00")
    good = EdgeHealth(
        edge_id=EdgeId("edge-2"),
        report=1,
        at=cloud.clock(),
        report_seconds=60.0,
        software="0.1.0",
        label_map_digest="d",
        version_id=SECOND.version_id,
    )
    cloud.storage.put(health_key(EdgeId("edge-2")), to_json(good))
    cloud.rollouts.step()
    judged = cloud.rollouts.judgement(cloud.rollouts.newest())
    assert set(judged.members) <= {"edge-1", "edge-2"}
    assert cloud.service.last_error == ""


def test_two_threads_may_look_at_the_fleet_at_once(cloud, tmp_path):
    """The page is served by threads; each look is whole."""
    from cloud.assembly import make_fleet_view, open_cloud
    from lifelong.config import Config

    config = Config.model_validate(
        {"storage": str(tmp_path / "store"), "journal_path": tmp_path / "journal"}
    )
    view = make_fleet_view(open_cloud(config))
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(len(view()["edges"]))) for _ in "1234"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert found == [0, 0, 0, 0]
