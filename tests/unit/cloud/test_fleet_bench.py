"""K8S-09: the bench of a fleet still runs, on few nodes; its figures are for docs/fleet.md."""

from bench.fleet import measured


def test_k8s_09_every_cost_of_a_fleet_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr("bench.fleet.TURNS", 1)
    monkeypatch.setattr("bench.fleet.ACTS", 4)
    found = measured(tmp_path, "memory", [2, 4], [3])
    by_nodes, by_samples = found["by_nodes"], found["by_samples_admitted_before"]
    assert isinstance(by_nodes, dict) and isinstance(by_samples, dict)
    assert set(by_nodes) == {2, 4}
    for figures in (*by_nodes.values(), *by_samples.values()):
        assert min(figures.values()) > 0.0
    assert {name for name in found if name.startswith("flat_")} >= {
        "flat_poll_by_nodes",
        "flat_admit_by_samples",
    }
