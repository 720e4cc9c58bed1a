"""`python -m cloud …` in processes of its own, two at a time, and what it leaves on disk."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from annotation.formats.ssa import mask_from_ssa
from lifelong.records.label_map import CITYSCAPES, LabelMap

Ran = subprocess.CompletedProcess[str]

_TOO_LONG_S = 300

# Imported by every Python that finds it on its path: no connection but to this machine itself, and
# every try is written down.
_GUARD = """
import os, socket

def _told(what):
    with open(os.environ["NETWORK_LOG"], "a", encoding="utf-8") as log:
        log.write(f"{what}\\n")

def _is_here(host):
    return host in ("localhost", "::1", None) or str(host).startswith("127.")

_getaddrinfo = socket.getaddrinfo

def _refuse_names(host, *arguments, **keywords):
    if _is_here(host):
        return _getaddrinfo(host, *arguments, **keywords)
    _told(f"name {host}")
    raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

class _Guarded(socket.socket):
    def _checked(self, address):
        if isinstance(address, tuple) and not _is_here(address[0]):
            _told(f"connection {address}")
            raise OSError(101, "Network is unreachable")

    def connect(self, address):
        self._checked(address)
        return super().connect(address)

    def connect_ex(self, address):
        self._checked(address)
        return super().connect_ex(address)

socket.getaddrinfo, socket.socket = _refuse_names, _Guarded
"""


def started(
    *arguments: object, environment: Mapping[str, str] | None = None
) -> "subprocess.Popen[str]":
    """`cornerloop ARGUMENTS`; a model hub's settings of this machine do not count."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "CORNERLOOP_"))}
    return subprocess.Popen(
        [sys.executable, "-m", "cloud", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=clean | dict(environment or {}),
    )


def ran(*arguments: object, environment: Mapping[str, str] | None = None) -> Ran:
    """The same, until its end."""
    process = started(*arguments, environment=environment)
    try:
        stdout, stderr = process.communicate(timeout=_TOO_LONG_S)
    finally:
        process.kill()  # nothing, but where it took too long
    return Ran(process.args, process.returncode, stdout, stderr)


def all_ran(
    commands: Sequence[Sequence[object]], environment: Mapping[str, str] | None = None
) -> list[Ran]:
    """Several commands, two at a time: these are tests for small machines."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda command: ran(*command, environment=environment), commands))


def complaints(run: Ran) -> str:
    """What a program said on stderr, but for the progress that only slow machines get to see."""
    return "".join(
        line for line in run.stderr.splitlines(keepends=True) if " INFO cloud." not in line
    )


def network_guard(folder: Path) -> dict[str, str]:
    """The environment in which a program and its children have no network; the file that
    NETWORK_LOG names lists what they tried."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_GUARD, encoding="utf-8")
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        "PYTHONPATH": os.pathsep.join(paths),
        "NETWORK_LOG": str(folder / "tried.txt"),
        "HF_HOME": str(folder / "hub cache"),
    }


def configured(path: Path, **preannotation: Any) -> Path:
    """A configuration file with this section."""
    path.write_text(yaml.safe_dump({"preannotation": preannotation}), encoding="utf-8")
    return path


def draft_files(dataset: Path) -> dict[str, bytes]:
    """Name of each draft and its JSON."""
    found = sorted((dataset / "ssa_output").rglob("*_semantic.json"))
    return {path.name.removesuffix("_semantic.json"): path.read_bytes() for path in found}


def contents(dataset: Path) -> dict[str, dict[str, Any]]:
    """The same, read."""
    return {name: json.loads(data) for name, data in draft_files(dataset).items()}


def masks_of(dataset: Path, label_map: LabelMap = CITYSCAPES) -> dict[str, NDArray[np.uint8]]:
    """The same through the reader of SSA's files: (H, W) class ids."""
    found = draft_files(dataset).items()
    return {name: mask_from_ssa(data, label_map, name) for name, data in found}


def report_of(dataset: Path) -> dict[str, Any]:
    """What a run without shares says it did."""
    told: dict[str, Any] = json.loads((dataset / ".cornerloop/report.json").read_bytes())
    return told
