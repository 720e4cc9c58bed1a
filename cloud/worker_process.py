"""A worker of the local job: an operating-system process that may outlive the job's own."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from lifelong.errors import SednaError

# What a worker needs of this machine; everything else is told by the manifest and by Sedna.
_INHERITED = (
    "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "SYSTEMROOT", "XDG_CACHE_HOME",
    "S3_ENDPOINT_URL", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY",
    "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "CORNERLOOP_LOG_FORMAT",
)  # fmt: skip


class WorkerProcess:
    """One running worker, started here or found again after a restart."""

    def __init__(
        self, number: int, started: str, child: subprocess.Popen[bytes] | None = None
    ) -> None:
        self.number = number
        self.started = started
        self._child = child

    @classmethod
    def start(
        cls, command: Sequence[str], *, environment: Mapping[str, str], log: Path
    ) -> "WorkerProcess":
        """Start a command as a container would: with its environment and little else.

        Raises:
            SednaError: there is no such command on this machine.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        own = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        # Threads that spin while they wait starve the other processes of a small machine.
        own.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        # The commands of this very installation come first.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        try:
            with log.open("ab") as output:
                child = subprocess.Popen(
                    _resolved(command, path),
                    env={**own, "PATH": path, **environment},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
        except OSError as error:
            raise SednaError(
                f"command {' '.join(command)!r} of the manifest cannot be started here ({error})"
            ) from error
        return cls(child.pid, process_start(child.pid), child)

    @classmethod
    def found(cls, number: int, started: str) -> "WorkerProcess | None":
        """A process of an earlier life, if it is still the same one and alive."""
        alive = bool(started) and process_start(number) == started
        return cls(number, started) if alive else None

    def exit_code(self) -> int | None:
        """None while it runs; 1 for a found one that has ended, since its own is unknown."""
        if self._child is not None:
            return self._child.poll()
        return None if process_start(self.number) == self.started else 1

    def kill(self) -> None:
        """Stop it at once, as a crash would; only a fault asks for that."""
        if self.exit_code() is None:
            os.kill(self.number, signal.SIGKILL)

    def end(self) -> None:
        """Ask it to stop, then make it stop."""
        for number, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
            if self.exit_code() is not None:
                return
            os.kill(self.number, number)
            deadline = time.monotonic() + patience
            while self.exit_code() is None and time.monotonic() < deadline:
                time.sleep(0.05)


def process_start(number: int) -> str:
    """When a process started, in the kernel's ticks; empty when it is gone or a zombie."""
    try:
        stat = Path(f"/proc/{number}/stat").read_text(encoding="utf-8")
    except OSError:
        return ""
    fields = stat.rsplit(")", 1)[-1].split()
    return "" if fields[0] == "Z" else fields[19]


def _resolved(command: Sequence[str], path: str) -> list[str]:
    found = shutil.which(command[0], path=path)
    return [found or command[0], *command[1:]]
