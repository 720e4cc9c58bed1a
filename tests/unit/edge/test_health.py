"""The liveness file: EDGE-12's numbers, whole, at most once a second."""

import errno
import json
import os

import pytest

from edge.health import Health, age_s
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


def test_a_full_disk_makes_the_file_stale_but_not_old(tmp_path, clock, monkeypatch):
    """A probe that restarts nodes whose disk is full would take the last thing that works."""
    health = Health(tmp_path / "health.json", clock=clock, now=clock.now)
    health.beat()
    before = health.path.read_bytes()
    os.utime(health.path, (1000, 1000))

    def full(_path, _data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("edge.health.write_whole", full)
    health.beat(at_once=True)
    assert health.path.read_bytes() == before
    age = age_s(health.path)
    assert age is not None and age < 60


def test_the_age_of_the_last_sign_of_life(tmp_path):
    path = tmp_path / "health.json"
    assert age_s(path) is None
    path.write_text("{}")
    os.utime(path, (1000, 1000))
    assert age_s(path, now=lambda: 1030.0) == 30.0
    assert age_s(path, now=lambda: 900.0) == 0.0  # the clock was set back


def test_another_model_has_times_of_its_own(tmp_path, clock):
    health = Health(tmp_path / "health.json", clock=clock, now=clock.now)
    for _ in range(50):
        health.frame_took(0.020, "a")
    assert health.quantile_ms(0.5) == pytest.approx(20.0)
    health.frame_took(0.050, "b")
    assert health.quantile_ms(0.5) == pytest.approx(50.0)
    assert health.vitals.frames == 51


def test_edge_12_the_share_of_frames_that_fail_is_of_the_last_ones(tmp_path, clock):
    health = Health(tmp_path / "health.json", clock=clock, now=clock.now)
    assert health.failed_share == 0.0
    for _ in range(100):
        health.frame_took(0.01)
    for _ in range(50):
        health.frame_failed("NaN")
    assert health.failed_share == pytest.approx(1 / 3)
    assert (health.vitals.frames_failed, health.vitals.last_error) == (50, "NaN")
    for _ in range(1000):
        health.frame_took(0.01)
    assert health.failed_share == 0.0
