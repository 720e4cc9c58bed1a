"""K8S-06: unit and DaemonSet of the edge say what is true of the program."""

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from edge.cli import app
from lifelong.config import load_config
from tests.manifest_builds import build

ROOT = Path(__file__).parents[2]
EDGE = ROOT / "manifests/edge"
UNIT = EDGE / "cornerloop-edge.service"
COMMANDS = typer.main.get_group(app).commands


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(UNIT.read_text(encoding="utf-8"))
    return parser


def objects() -> list[dict[str, Any]]:
    return build("edge")


def daemon_set() -> dict[str, Any]:
    (found,) = [one for one in objects() if one["kind"] == "DaemonSet"]
    return found


def spoken() -> list[list[str]]:
    """Every call of `cornerloop-edge` in unit, manifest and README."""
    calls = [unit()["Service"]["ExecStart"].split()]
    pod = daemon_set()["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    calls.append(container["command"])
    calls += [container[probe]["exec"]["command"] for probe in ("startupProbe", "livenessProbe")]
    readme = (EDGE / "README.md").read_text(encoding="utf-8")
    calls += [
        line.split() for line in re.findall(r"^\S*cornerloop-edge .*--config.*$", readme, re.M)
    ]
    return calls


def test_k8s_06_every_command_that_is_named_exists() -> None:
    calls = spoken()
    assert len(calls) >= 4
    for program, command, *options in calls:
        assert program.rsplit("/", 1)[-1] == "cornerloop-edge"
        known = {name for option in COMMANDS[command].params for name in option.opts}
        assert {word for word in options if word.startswith("-")} <= known


def test_k8s_06_the_unit_is_hardened_watched_and_bounded() -> None:
    service = unit()["Service"]
    expected = {
        "Type": "notify",
        "Restart": "always",
        "WatchdogSec": "60",
        "DynamicUser": "yes",
        "StateDirectory": "cornerloop",
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "CapabilityBoundingSet": "",
    }
    assert {key: service[key] for key in expected} == expected
    assert service["MemoryMax"]
    assert int(unit()["Unit"]["StartLimitBurst"]) > 0
    # Ending takes the last uploads (10 s) and the last report (3 s).
    assert int(service["TimeoutStopSec"]) >= 20


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd on this machine")
def test_k8s_06_systemd_accepts_the_unit(tmp_path: Path) -> None:
    here = Path(sys.executable).parent / "cornerloop-edge"
    text = UNIT.read_text(encoding="utf-8")
    text = text.replace("/opt/cornerloop/venv/bin/cornerloop-edge", str(here))
    copy = tmp_path / UNIT.name
    copy.write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    complaints = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert (done.returncode, complaints) == (0, []), done.stderr


def test_k8s_06_the_manifest_has_known_kinds_probes_limits_and_fixed_images() -> None:
    assert {(one["apiVersion"], one["kind"]) for one in objects()} == {
        ("v1", "ConfigMap"),
        ("apps/v1", "DaemonSet"),
        ("networking.k8s.io/v1", "NetworkPolicy"),
    }
    pod = daemon_set()["spec"]["template"]["spec"]
    labels = daemon_set()["spec"]["template"]["metadata"]["labels"]
    assert daemon_set()["spec"]["selector"]["matchLabels"].items() <= labels.items()
    (container,) = pod["containers"]
    for one in (container, *pod["initContainers"]):
        tag = one["image"].rpartition(":")[2]
        assert tag not in {"", "latest"} and "/" not in tag
        assert one["resources"]["limits"]["memory"]
        assert one["resources"]["requests"]["cpu"]
        assert one["securityContext"]["readOnlyRootFilesystem"] is True
        assert one["securityContext"]["capabilities"]["drop"] == ["ALL"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    probe = container["livenessProbe"]
    assert probe["exec"]["command"][:2] == ["cornerloop-edge", "health"]
    # A beat comes once a second; what is older than a minute at three looks in a row hangs.
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 120
    mounted = {
        mount["name"]
        for one in (container, *pod["initContainers"])
        for mount in one["volumeMounts"]
    }
    assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_k8s_06_an_edge_without_a_link_keeps_its_pod() -> None:
    tolerations = daemon_set()["spec"]["template"]["spec"]["tolerations"]
    for key in ("node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready"):
        (found,) = [one for one in tolerations if one["key"] == key]
        assert found["effect"] == "NoExecute"
        assert "tolerationSeconds" not in found  # for ever


def test_k8s_06_the_configurations_are_accepted(tmp_path: Path) -> None:
    (config_map,) = [one for one in objects() if one["kind"] == "ConfigMap"]
    paths = {
        "example": (EDGE / "edge.yaml").read_text(),
        "kubernetes": config_map["data"]["edge.yaml"],
    }
    for name, text in paths.items():
        path = tmp_path / f"{name}.yaml"
        path.write_text(text.replace("EDGE_ID", "gate-north"), encoding="utf-8")
        edge = load_config(path).edge
        assert edge is not None
        assert edge.id == "gate-north"
        assert edge.state_path.is_relative_to("/var/lib/cornerloop")
        assert edge.outbox.path.is_relative_to("/var/lib/cornerloop")
