"""A reader who types what a page says: blocks marked `run` and `keep`, in a folder of their own."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self

from annotation.label_studio import LabelStudio
from tests.documented_commands import ROOT, Block, blocks_of

TRIES = 1200


class Reader:
    """Types a page's blocks one after the other into one shell's environment.

    Blocks marked `keep` go on running until the end; `logs` has what they said.
    """

    def __init__(self, page: Path, folder: Path, **environment: str) -> None:
        self.blocks = [block for block in blocks_of(page) if block.marks]
        self.folder = folder
        self._kept: list[subprocess.Popen[bytes]] = []
        self._shell = folder.parent / "environment.sh"
        bin_path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        given = os.environ | {"PATH": bin_path, "OMP_NUM_THREADS": "1"} | environment
        self._shell.write_text(
            "".join(f"export {k}={shlex.quote(v)}\n" for k, v in given.items() if k.isidentifier())
        )

    @property
    def left(self) -> int:
        """How many blocks are not typed yet."""
        return len(self.blocks)

    def type_next(self, **changes: str) -> str:
        """Type the next block; answers what it printed.

        Args:
            changes: words of the page that mean another one here.
        """
        block = self.blocks.pop(0)
        text = block.text
        for old, new in changes.items():
            assert old in text, f"{block}: {old!r} is not in it"
            text = text.replace(old, new)
        return self._keep(block, text) if "keep" in block.marks else self._run(block, text)

    def log(self, index: int) -> str:
        """What the index-th block that goes on running has said so far."""
        return self._log(index).read_text(encoding="utf-8", errors="replace")

    def wait(self, is_so: Callable[[], bool], what: str) -> None:
        """Look again and again until it is so."""
        for _ in range(TRIES):
            if is_so():
                return
            for index, process in enumerate(self._kept):
                assert process.poll() is None, f"ended: {self.log(index)[-3000:]}"
            time.sleep(0.25)
        logs = "\n".join(self.log(index)[-1500:] for index in range(len(self._kept)))
        raise AssertionError(f"not so after {TRIES} looks: {what}\n{logs}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in reversed(self._kept):
            os.killpg(process.pid, signal.SIGTERM)
        for process in self._kept:
            try:
                process.wait(240)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _log(self, index: int) -> Path:
        return self.folder.parent / f"kept-{index}.log"

    def _run(self, block: Block, text: str) -> str:
        script = f"set -euo pipefail\n. {self._shell}\n{text}\nexport -p > {self._shell}\n"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == 0, f"{block}:\n{text}\n{done.stdout}\n{done.stderr[-3000:]}"
        return done.stdout + done.stderr

    def _keep(self, block: Block, text: str) -> str:
        with self._log(len(self._kept)).open("wb") as log:
            script = f". {self._shell}\nexec {text.strip()}"
            process = subprocess.Popen(
                ["bash", "-c", script],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._kept.append(process)
        return ""


def a_clone(folder: Path) -> Path:
    """A folder that looks like the repository's root and may be written into."""
    folder.mkdir()
    for name in ("docs", "examples", "manifests", ".venv", ".venv-label-studio"):
        if (ROOT / name).exists():
            (folder / name).symlink_to(ROOT / name)
    return folder


def an_example(name: str, folder: Path) -> Path:
    """A copy of an example's files."""
    return shutil.copytree(ROOT / "examples" / name, folder / name)


def submitted_as_drafted(url: str, token: str, title: str, at_most: int = 1000) -> int:
    """Submit open tasks of a project as a person who finds nothing to correct; answers how many."""
    count = 0
    with closing(LabelStudio(url, token, 60.0)) as studio:
        for project in studio.projects_titled(title):
            for task in studio.open_tasks(project.project_id)[:at_most]:
                (draft, *_) = task.predictions
                studio.create_annotation(
                    task.task_id,
                    draft.regions,
                    seconds=1.0,
                    parent_prediction=draft.prediction_id,
                )
                count += 1
    return count
