"""`python -m edge.models.model_trial`: a process of its own opens a new model first.

A model file is input from outside to a large native library. What it does wrong there (a crash,
a loop, all memory) happens to this child and not to the node. The child is told by arguments,
answers one line of JSON on stdout, and nothing is pickled.
"""

import argparse
import contextlib
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lifelong.errors import LifelongError, ModelOutputError, TrialError
from lifelong.links.durable_files import UNFINISHED
from lifelong.model_bundle import ModelBundle, read_bundle
from lifelong.onnx_layout import refuse_foreign_files
from lifelong.records.pixels import Prediction
from lifelong.segmenter import CPU, OnnxSegmenter

logger = logging.getLogger(__name__)

GREY = 127
NOISE_SEED = 0
NICE = 10  # frames go first
ALARM_AFTER_S = 5.0  # beyond its time: then it ends itself, should the node be gone
TOLD_OF_STDERR = 200  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTrial:
    """Calls the child for a bundle; `folder` takes the files that it reads."""

    folder: Path
    seconds: float = 60.0
    max_mib: int = 2048  # address space beyond what the child has at its start
    threads: int = 0
    providers: tuple[str, ...] = (CPU,)
    program: tuple[str, ...] = (sys.executable, "-m", "edge.models.model_trial")

    def __call__(self, bundle: ModelBundle, image: NDArray[np.uint8] | None) -> None:
        """Let the child answer grey, noise, and the last frame.

        Args:
            image: (H, W, 3), uint8, RGB: the last frame; None: there was none yet.

        Raises:
            TrialError: the child refused the model, died, or took too long; says why.
        """
        try:
            with tempfile.TemporaryDirectory(prefix=f"{UNFINISHED}trial-", dir=self.folder) as room:
                answer = self._answer(self._command(Path(room), bundle, image), bundle)
        except OSError as error:
            # A full disk or no process to be had says nothing about the model; the canary will.
            logger.warning("model %s is not tried in a process: %s", bundle.version_id, error)
            return
        if not answer.get("good"):
            raise TrialError(f"tried in a process of its own: {answer.get('reason')}")

    def _command(
        self, room: Path, bundle: ModelBundle, image: NDArray[np.uint8] | None
    ) -> list[str]:
        path = room / "model.bundle"
        path.write_bytes(bundle.to_bytes())
        command = [
            *self.program, "--bundle", str(path), "--seconds", str(self.seconds),
            "--max-mib", str(self.max_mib), "--threads", str(self.threads),
        ]  # fmt: skip
        for provider in self.providers:
            command += ["--provider", provider]
        if image is not None:
            frame = room / "frame.rgb"
            frame.write_bytes(image.tobytes())
            command += ["--frame", str(frame), "--height", str(image.shape[0])]
            command += ["--width", str(image.shape[1])]
        return command

    def _answer(self, command: Sequence[str], bundle: ModelBundle) -> dict[str, object]:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # a group of its own, to be ended as a whole
        )
        try:
            out, err = child.communicate(timeout=self.seconds)
        except subprocess.TimeoutExpired:
            return _refused(f"no answer within {self.seconds:g} s (edge.updates.trial_seconds)")
        finally:
            _end_group(child)
        for line in reversed(out.decode(errors="replace").splitlines()):
            if line.startswith("{"):
                return dict(json.loads(line))
        told = " ".join(err.decode(errors="replace").split())[-TOLD_OF_STDERR:]
        return _refused(f"{_how_it_ended(child.returncode)} {told}".strip())


def main(arguments: Sequence[str] | None = None) -> None:
    """The child: open the bundle, answer pictures, print how it went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--max-mib", type=int, required=True)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--provider", action="append", default=[])
    parser.add_argument("--frame", type=Path)
    parser.add_argument("--height", type=int, default=0)
    parser.add_argument("--width", type=int, default=0)
    told = parser.parse_args(arguments)
    _limit(told.seconds, told.max_mib, told.provider)
    began = time.monotonic()
    try:
        _try_out(told)
        answer: dict[str, object] = {"good": True, "seconds": round(time.monotonic() - began, 3)}
    except (LifelongError, OSError) as error:
        answer = _refused(str(error))
    except MemoryError:
        answer = _refused(f"needs more than {told.max_mib} MiB (edge.updates.trial_max_mib)")
    print(json.dumps(answer), flush=True)


def _try_out(told: argparse.Namespace) -> None:
    where = told.bundle.name
    bundle = read_bundle(told.bundle.read_bytes(), where)
    refuse_foreign_files(bundle.onnx, where)
    how = bundle.manifest.preprocessing
    shape = (how.height, how.width, 3)
    noise = np.random.default_rng(NOISE_SEED).integers(0, 256, shape, dtype=np.uint8)
    images = [np.full(shape, GREY, dtype=np.uint8), noise]
    if told.frame is not None:
        pixels = np.frombuffer(told.frame.read_bytes(), dtype=np.uint8)
        images.append(pixels.reshape(told.height, told.width, 3))
    segmenter = OnnxSegmenter(bundle, threads=told.threads, providers=told.provider or (CPU,))
    for image in images:
        check_answer(segmenter.segment(image), image, len(bundle.manifest.label_map))


def check_answer(prediction: Prediction, image: NDArray[np.uint8], classes: int) -> None:
    """Is this what a node can work with?

    Raises:
        ModelOutputError: another size, an id without a class, a confidence outside 0 .. 1.
    """
    if prediction.mask.shape != image.shape[:2]:
        raise ModelOutputError(f"mask {prediction.mask.shape} for a picture {image.shape[:2]}")
    if int(prediction.mask.max(initial=0)) >= classes:
        raise ModelOutputError(f"class id {prediction.mask.max()}, there are {classes} classes")
    for name in ("confidence", "entropy", "margin"):
        values = getattr(prediction, name)
        if not np.isfinite(values).all() or values.min() < -1e-3 or values.max() > 1 + 1e-3:
            raise ModelOutputError(f"{name} is not within 0 .. 1")


def _limit(seconds: float, max_mib: int, providers: Sequence[str]) -> None:
    """From here on this process cannot take more than its share, nor outlive its time."""
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.setitimer(signal.ITIMER_REAL, seconds + ALARM_AFTER_S)
    # Other providers reserve address space by the terabyte that they never use.
    if all(provider == CPU for provider in providers):
        most = _address_space() + max_mib * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _address_space() -> int:
    """Bytes of address space of this process at the moment; 0 where nobody tells."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _end_group(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # all of it has ended
        os.killpg(child.pid, signal.SIGKILL)
    child.communicate()


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"the process ended with code {code} and without an answer;"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"the process was ended by {name};"


def _refused(reason: str) -> dict[str, object]:
    return {"good": False, "reason": " ".join(reason.split())}


if __name__ == "__main__":
    main()
