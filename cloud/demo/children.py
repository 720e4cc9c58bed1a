"""The demo's processes: started, watched, started again when one dies, ended with the demo.

What runs is written down, so that a demo that was killed outright is cleaned up by the next.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from cloud.worker_process import WorkerProcess, process_start
from lifelong.errors import LifelongError
from lifelong.links.durable_files import write_whole


class Children:
    """Named child processes with a log file each."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = dict(environment)
        self._commands: dict[str, Sequence[str]] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._noted: dict[str, int] = {}
        self.restarts: dict[str, int] = {}

    def end_leftovers(self) -> list[str]:
        """End what an earlier demo of this folder left running; answers their names."""
        ended = []
        with contextlib.suppress(OSError, ValueError):
            for name, (number, started) in json.loads(self._record.read_bytes()).items():
                if found := WorkerProcess.found(int(number), str(started)):
                    found.end()
                    ended.append(str(name))
        self._record.unlink(missing_ok=True)
        return ended

    def start(self, name: str, *arguments: str) -> None:
        """Start `python -m …` under a name; its output goes to `logs/{name}.log`."""
        self._commands[name] = [sys.executable, "-m", *arguments]
        self.restarts.setdefault(name, 0)
        self._launch(name)

    def note(self, name: str, number: int | None) -> None:
        """Write a process down that somebody else starts and ends, for `end_leftovers`."""
        if number is not None and self._noted.get(name) != number:
            self._noted[name] = number
            self._write()

    def look_after(self, most_restarts: int = 20) -> list[str]:
        """Start again whatever died; answers the names.

        Raises:
            LifelongError: one dies again and again; names its log.
        """
        died = [name for name, child in self._running.items() if child.poll() is not None]
        for name in died:
            self.restarts[name] += 1
            if self.restarts[name] > most_restarts:
                raise LifelongError(f"{name} ended {most_restarts} times; see {self.log(name)}")
            self._launch(name)
        return died

    def process_id(self, name: str) -> int:
        """The operating system's number of a child."""
        return self._running[name].pid

    def end(self, name: str) -> None:
        """Stop one child: asked first, made to after ten seconds."""
        child = self._running.pop(name, None)
        if child is None:
            return
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        self._write()

    def end_all(self) -> None:
        """Stop every child, the last started first."""
        for name in reversed(list(self._running)):
            self.end(name)

    def log(self, name: str) -> Path:
        """Where a child's output goes."""
        return self._folder / "logs" / f"{name}.log"

    @property
    def _record(self) -> Path:
        return self._folder / "children.json"

    def _launch(self, name: str) -> None:
        self.log(name).parent.mkdir(parents=True, exist_ok=True)
        with self.log(name).open("ab") as output:
            self._running[name] = subprocess.Popen(
                self._commands[name],
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C is the demo's to handle: it stops its children in order.
                start_new_session=True,
            )
        time.sleep(0.05)
        self._write()

    def _write(self) -> None:
        numbers = {n: c.pid for n, c in self._running.items()} | self._noted
        state = {name: [number, process_start(number)] for name, number in numbers.items()}
        write_whole(self._record, json.dumps(state).encode())
