"""Servers of interactive annotation as processes of their own: ours, and the peers'.

The peers are examples of label-studio-ml-backend, which is no part of this repository;
docs/assist.md says how to get it. They are served as their Dockerfiles say: gunicorn, one process,
eight threads. Their log is quieter than docker-compose.yml has it, which makes them faster. The
SAM example always builds a vit_h; so that all have equal weights, the name is made to mean another
model before it starts.
"""

import base64
import http.client
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lifelong.links.loopback_ports import free_port

ROOT = Path(__file__).parents[1]
TOKEN = "0" * 40  # of the Label Studio that is no real one; nobody checks it
_STARTING_S = 180.0
_ANSWER_S = 600.0
_USER, _PASSWORD = "bench", "bench-password"
_ROOT_VARIABLE = "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"
# What `vit_h` means to the SAM example, by the name of the weights.
_VIT_H = {
    "vit_b": "registry['vit_h'] = registry['vit_b']",
    "tiny": (
        "from cloud.preannotation.sam.tiny import load_tiny_sam\n"
        "registry['vit_h'] = lambda checkpoint=None: load_tiny_sam()"
    ),
}


class BenchServerError(RuntimeError):
    """A server did not start, or did not answer; the message holds the end of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peers:
    """Where label-studio-ml-backend lies, and the Python that can run its examples."""

    folder: Path
    python: Path


class Server:
    """A process that answers on a port of loopback."""

    def __init__(
        self, command: Sequence[str], *, port: int, folder: Path, log: Path,
        environment: Mapping[str, str],
    ) -> None:  # fmt: skip
        self.port, self._log = port, log
        login = base64.b64encode(f"{_USER}:{_PASSWORD}".encode()).decode()
        self._headers = {"Content-Type": "application/json", "Authorization": f"Basic {login}"}
        with log.open("wb") as written:
            self._process = subprocess.Popen(
                list(command), cwd=folder, env={**os.environ, **environment},
                stdout=written, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Status and body of an answer; a connection of its own, as Label Studio makes it.

        Raises:
            OSError: nobody answers.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_ANSWER_S)
        try:
            connection.request(method, path, body=body, headers=self._headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def predict(self, body: bytes) -> tuple[bytes, float]:
        """The answer to POST /predict, and the seconds until its last byte was here.

        Raises:
            BenchServerError: anything but an answer.
        """
        begun = time.perf_counter()
        try:
            status, answer = self.ask("POST", "/predict", body)
        except OSError as error:
            raise BenchServerError(f"no answer to a click ({error})\n{self.log_end()}") from error
        seconds = time.perf_counter() - begun
        if status != 200:
            raise BenchServerError(f"{status}: {answer[:2000]!r}\n{self.log_end()}")
        return answer, seconds

    def wait_until(self, path: str) -> None:
        """Wait until GET `path` answers 200.

        Raises:
            BenchServerError: the process ended, or three minutes passed.
        """
        deadline = time.monotonic() + _STARTING_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                if self.ask("GET", path)[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise BenchServerError(f"it did not start\n{self.log_end()}")

    def resident_mib(self) -> float:
        """What the process and its children hold in memory at present."""
        return sum(_resident_mib(pid) for pid in _with_children(self._process.pid))

    def log_end(self) -> str:
        """The last of what it said."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-3000:]

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def ours(folder: Path, settings: str) -> Iterator[Server]:
    """`cornerloop assist` with a configuration of its own, ready to answer.

    Args:
        folder: for its configuration, journal, embeddings and log; may have been used before.
        settings: the configuration file's text.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "cornerloop.yaml"
    config.write_text(settings, encoding="utf-8")
    port = free_port()
    server = Server(
        [sys.executable, "-m", "cloud", "assist", "--config", str(config), "--port", str(port)],
        port=port,
        folder=folder,
        log=folder / "server.log",
        environment={
            "CORNERLOOP_ASSIST_USER": _USER,
            "CORNERLOOP_ASSIST_PASSWORD": _PASSWORD,
            "CORNERLOOP_LABEL_STUDIO_TOKEN": TOKEN,
            "PYTHONPATH": str(ROOT),
        },
    )
    with _running(server, "/ready"):
        yield server


@contextmanager
def sam_example(
    peers: Peers, folder: Path, weights: Path | None, pictures: Path
) -> Iterator[Server]:
    """The example `segment_anything_model`.

    Args:
        folder: for its state and log.
        weights: a vit_b's; None: our tiny SAM.
        pictures: Label Studio's document root.
    """
    example = peers.folder / "label_studio_ml" / "examples" / "segment_anything_model"
    meaning = _VIT_H["tiny" if weights is None else "vit_b"]
    start = (
        "import sys, warnings\n"
        # segment-anything puts tensors into numpy arrays the way numpy 1 liked it.
        "warnings.simplefilter('ignore')\n"
        f"sys.path[:0] = [{str(example)!r}, {str(ROOT)!r}]\n"
        "from segment_anything import sam_model_registry as registry\n"
        f"{meaning}\n"
        "from _wsgi import app\n"
    )
    environment = {
        "SAM_CHOICE": "SAM",
        "VITH_CHECKPOINT": str(weights or "tiny"),
        _ROOT_VARIABLE: str(pictures),
    }
    with _example(peers, folder, start, environment) as server:
        yield server


@contextmanager
def sam2_example(
    peers: Peers, folder: Path, weights: Path, size: str, pictures: Path
) -> Iterator[Server]:
    """The example `segment_anything_2_image`.

    Args:
        folder: for its state and log; the example looks for `checkpoints` in it.
        size: tiny, small, base_plus or large, of the weights.
        pictures: Label Studio's document root.
    """
    example = peers.folder / "label_studio_ml" / "examples" / "segment_anything_2_image"
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    link = folder / "checkpoints" / weights.name
    if not link.exists():
        link.symlink_to(weights.resolve())
    start = f"import sys\nsys.path[:0] = [{str(example)!r}, {str(ROOT)!r}]\nfrom _wsgi import app\n"
    environment = {
        "DEVICE": "cpu",
        "MODEL_CONFIG": f"configs/sam2.1/sam2.1_hiera_{size[0]}.yaml",
        "MODEL_CHECKPOINT": weights.name,
        _ROOT_VARIABLE: str(pictures),
    }
    with _example(peers, folder, start, environment) as server:
        yield server


def sam2_weights(peers: Peers, target: Path, size: str) -> None:
    """Write a SAM 2.1's weights with the peers' Python, which has the authors' package.

    Raises:
        BenchServerError: it has not.
    """
    program = (
        f"import sys; from pathlib import Path; sys.path.insert(0, {str(ROOT)!r})\n"
        "from bench.assist_weights import write_sam2\n"
        f"write_sam2(Path({str(target)!r}), {size!r})"
    )
    done = subprocess.run(
        [str(peers.python), "-c", program], capture_output=True, text=True, cwd=target.parent,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise BenchServerError(done.stderr.strip().splitlines()[-1])


@contextmanager
def _example(
    peers: Peers, folder: Path, start: str, environment: Mapping[str, str]
) -> Iterator[Server]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench_wsgi.py").write_text(start, encoding="utf-8")
    port = free_port()
    server = Server(
        [
            str(peers.python), "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", "1",
            "--threads", "8", "--timeout", "0", "bench_wsgi:app",
        ],
        port=port,
        folder=folder,
        log=folder / "server.log",
        environment={
            "LOG_LEVEL": "WARNING",
            "MODEL_DIR": str(folder),
            "PYTHONPATH": os.pathsep.join([str(folder), str(peers.folder)]),
            **environment,
        },
    )  # fmt: skip
    with _running(server, "/health"):
        yield server


@contextmanager
def _running(server: Server, ready: str) -> Iterator[None]:
    try:
        server.wait_until(ready)
        yield
    finally:
        server.stop()


def _with_children(pid: int) -> list[int]:
    try:
        lines = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except OSError:
        return [pid]
    return [pid, *(one for child in lines.split() for one in _with_children(int(child)))]


def _resident_mib(pid: int) -> float:
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except OSError:  # it ended meanwhile, or this is not Linux
        return 0.0
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20
