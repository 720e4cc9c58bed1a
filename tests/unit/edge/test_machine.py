"""EDGE-12: temperature, memory and disk, read from a machine that a test has drawn."""

from pathlib import Path

import pytest

from edge.machine import cpu_celsius, look_at


def a_zone(root: Path, number: int, kind: str, millidegrees: str) -> None:
    zone = root / f"sys/class/thermal/thermal_zone{number}"
    zone.mkdir(parents=True)
    (zone / "type").write_text(f"{kind}\n")
    (zone / "temp").write_text(millidegrees)


def a_sensor(root: Path, number: int, name: str, millidegrees: str) -> None:
    sensor = root / f"sys/class/hwmon/hwmon{number}"
    sensor.mkdir(parents=True)
    (sensor / "name").write_text(f"{name}\n")
    (sensor / "temp1_input").write_text(millidegrees)


def test_edge_12_the_hottest_sensor_of_the_processor_counts(tmp_path):
    a_zone(tmp_path, 0, "acpitz", "98000\n")  # of the case; not the processor's
    a_zone(tmp_path, 1, "cpu-thermal", "51250\n")
    a_sensor(tmp_path, 0, "coretemp", "63000\n")
    assert cpu_celsius(tmp_path / "sys/class") == 63.0


def test_edge_12_without_a_processors_sensor_the_hottest_of_all(tmp_path):
    a_zone(tmp_path, 0, "acpitz", "41000")
    a_sensor(tmp_path, 0, "nvme", "48500")
    assert cpu_celsius(tmp_path / "sys/class") == 48.5


@pytest.mark.parametrize("nonsense", ["", "n/a", "-273150", "4294967295", "99999999"])
def test_edge_12_nonsense_of_a_sensor_is_not_a_temperature(tmp_path, nonsense):
    a_zone(tmp_path, 0, "cpu-thermal", nonsense)
    assert cpu_celsius(tmp_path / "sys/class") is None


def test_edge_12_what_a_machine_does_not_say_is_none(tmp_path):
    seen = look_at(tmp_path / "nowhere", tmp_path, root=tmp_path / "empty")
    assert (seen.cpu_celsius, seen.memory_bytes, seen.outbox_free_bytes) == (None, None, None)
    assert seen.state_free_bytes


def test_edge_12_this_machine_tells_its_memory_and_disk(tmp_path):
    seen = look_at(tmp_path, tmp_path)
    assert seen.memory_bytes is not None and seen.load is not None
    assert 2**20 < seen.memory_bytes < 2**40
    assert seen.outbox_free_bytes == seen.state_free_bytes != 0
    assert seen.load >= 0.0
