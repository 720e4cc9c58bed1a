"""The configuration file of a demo's run: written at its start, changed by the demo's roles."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cloud.demo.plan import DemoPlan
from lifelong.config import load_config
from lifelong.links.durable_files import write_whole
from lifelong.links.loopback_ports import free_port

TOKEN = "CORNERLOOP_LABEL_STUDIO_TOKEN"  # name of an environment variable
# A run makes its own key: nodes take no model that nobody signed.
SIGNING: Mapping[str, Mapping[str, object]] = {
    "releases": {"signing_key": "keys/signing.json"},
    "edge": {"updates": {"trusted_keys": "keys/ring.json"}},
}
HOST_FOLDER = "var/lib/cornerloop"  # as the manifest names it, under the job's root


def write_config(folder: Path, plan: DemoPlan) -> Path:
    """Write `config.yaml` if there is none: a run goes on as it began.

    Raises:
        ConfigError: the plan says what the schema does not allow.
    """
    path = folder / "config.yaml"
    if not path.exists():
        content = _content(plan)
        for section, values in plan.overrides.items():
            content[section] = {**content.get(section, {}), **values}
        _write(path, content)
    load_config(path)
    return path


def rewrite_config(path: Path, changes: Mapping[str, Mapping[str, object]]) -> None:
    """Change values of some sections; the file is replaced whole."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    for section, values in changes.items():
        content[section] = {**content.get(section, {}), **values}
    _write(path, content)


def _content(plan: DemoPlan) -> dict[str, Any]:
    return {
        "storage": "storage",
        "holdouts": "holdouts",
        "journal_path": "journal",
        "edge": {
            "id": "edge-1",
            "source": {"type": "folder", "path": "frames", "poll_seconds": 0.2},
            "outbox": {"path": "outbox"},
            "state_path": "edge-state",
            "release_poll_seconds": 0.5,
            "threads": 1,
            "health": {"report_seconds": 2.0},  # whoever watches a demo does not wait a minute
            **SIGNING["edge"],
        },
        "releases": dict(SIGNING["releases"]),
        "label_studio": {
            "url": "http://127.0.0.1:1",  # until the server has started and has a port
            "token_env": TOKEN,
            "project": "Cornerloop demo",
            "local_files_root": ".",  # of the storage folder's parent: Label Studio serves no root
            "poll_seconds": 0.5,
        },
        "rounds": {
            "min_examples": plan.examples,
            "annotation_budget": plan.examples,
            "step_seconds": 0.3,
        },
        "training": {"seed": plan.seed},
        "job": {
            "dataset_path": f"host/{HOST_FOLDER}/dataset",
            "report_not_before_seconds": 0,
            "linger_seconds": 0,
        },
        "web": {"port": free_port()},
    }


def _write(path: Path, content: Mapping[str, Any]) -> None:
    write_whole(path, yaml.safe_dump(dict(content), sort_keys=False).encode())
