"""The liveness file: EDGE-12's numbers, whole, at most once a second."""

import json

import pytest

from edge.health import Health
from tests.edge_fixtures import HandClock


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def test_it_is_written_at_most_once_a_second_and_at_once_when_asked(tmp_path, clock):
    health = Health(tmp_path / "state/health.json", clock=clock, now=clock.now)

    def frames() -> int:
        return json.loads(health.path.read_text())["frames"]

    health.beat()
    health.frame_took(0.01)
    clock.advance(0.9)
    health.beat()
    assert frames() == 0
    clock.advance(0.2)
    health.beat()
    assert frames() == 1
    health.frame_took(0.01)
    health.beat(at_once=True)
    assert frames() == 2
    assert [path.name for path in health.path.parent.iterdir()] == ["health.json"]


def test_edge_12_fps_and_quantiles(tmp_path, clock):
    health = Health(tmp_path / "health.json", clock=clock, now=clock.now)
    for number in range(100):
        health.frame_took((number + 1) / 1000)
        clock.advance(0.1)
    assert health.fps == pytest.approx(10.0, rel=0.02)
    assert health.quantile_ms(0.50) == pytest.approx(51.0)
    assert health.quantile_ms(0.99) == pytest.approx(100.0)
    clock.advance(60)
    assert health.fps == 0.0


def test_a_disk_that_cannot_be_written_does_not_stop_the_node(tmp_path, clock):
    (tmp_path / "file").write_text("")
    Health(tmp_path / "file/health.json", clock=clock, now=clock.now).beat()
