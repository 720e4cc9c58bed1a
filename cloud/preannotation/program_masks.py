"""Masks by a program of somebody else's: JSON lines in, JSON lines out, a process of its own.

The program is started once and asked picture after picture. A question is one line on its standard
input, `{"image": "/path/to/picture.png"}`; its answer is one line on its standard output,

    {"masks": [{"size": [height, width], "counts": [zeros, ones, zeros, …]}, …],
     "scores": [0.9, …]}

with COCO's uncompressed run lengths (column by column, zeros first) and, if it likes, how good it
thinks each mask is. `{"error": "…"}` refuses a picture. Its standard error goes to our log. The end
of its input is its end. Nothing of it is imported, and it is told none of our secrets: whoever may
write the configuration names it, and it runs with the rights of this process, without a shell.
"""

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cloud.preannotation.region_masks import MaskProposals, Rle, proposals_from_rles
from lifelong.errors import ConfigError, ModelLoadError, ModelOutputError

_MOST_BYTES = 256 * 2**20  # of an answer; a thousand ragged masks of a 4K picture stay below
# Variables a program needs to run at all; tokens and passwords are in none of these.
_TOLD = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
_TOLD_PREFIXES = ("CUDA_", "OMP_", "LC_")


class ProgramProposer:
    """Asks a program for masks; starts it again when it has ended."""

    def __init__(self, program: Path | None, *, seconds: float) -> None:
        """`seconds`: patience with one picture, the program's start included.

        Raises:
            ConfigError: no program is named, or there is no such file.
        """
        if program is None or not program.is_file():
            raise ConfigError(
                f"preannotation.masks.program is {program}: masks of type `program` need a file "
                "that can be run"
            )
        self.name = f"program:{program.name}"
        self._program, self._seconds = program, seconds
        self._process: subprocess.Popen[bytes] | None = None

    def propose(self, image: NDArray[np.uint8]) -> MaskProposals:
        """See `MaskProposer`.

        Raises:
            ModelLoadError: the program cannot be started.
            ModelOutputError: it ended, took too long, refused, or its answer is none.
        """
        with tempfile.TemporaryDirectory(prefix="cornerloop-") as folder:
            path = Path(folder) / "picture.png"
            Image.fromarray(image).save(path, compress_level=1)
            answer = self._asked({"image": str(path)})
        return _proposals(answer, image.shape[0], image.shape[1], self.name)

    def _asked(self, question: dict[str, str]) -> Any:
        process = self._running()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(question).encode() + b"\n")
            process.stdin.flush()
            line = self._line(process)
            return json.loads(line)
        except (OSError, ValueError, ModelOutputError) as error:
            self._end()  # what it says later would be the answer to another question
            if isinstance(error, ModelOutputError):
                raise
            raise ModelOutputError(f"{self.name}: {error}; expected one JSON line") from error

    def _line(self, process: subprocess.Popen[bytes]) -> bytes:
        assert process.stdout is not None
        handle, found = process.stdout.fileno(), bytearray()
        until = time.monotonic() + self._seconds
        while not found.endswith(b"\n"):
            left = until - time.monotonic()
            if left <= 0 or not select.select([handle], [], [], left)[0]:
                raise ModelOutputError(f"{self.name}: no answer within {self._seconds:g} s")
            part = os.read(handle, 1 << 20)
            if not part:
                raise ModelOutputError(f"{self.name}: ended with code {process.wait()}")
            found += part
            if len(found) > _MOST_BYTES:
                raise ModelOutputError(f"{self.name}: its answer is larger than {_MOST_BYTES} B")
        return bytes(found)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            path = str(self._program.absolute())
            words = [sys.executable, path] if self._program.suffix == ".py" else [path]
            try:
                self._process = subprocess.Popen(
                    words,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env=_environment(),
                )
            except OSError as error:
                raise ModelLoadError(
                    f"{path}: cannot be started ({error.strerror}); make it executable"
                ) from error
            weakref.finalize(self, _stopped, self._process)
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            _stopped(process)


def _stopped(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # what it did not want to read any more
                pipe.close()
    try:
        process.wait(1.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _environment() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name in _TOLD or name.startswith(_TOLD_PREFIXES)
    }


def _proposals(answer: Any, height: int, width: int, name: str) -> MaskProposals:
    if isinstance(answer, dict) and "error" in answer:
        raise ModelOutputError(f"{name}: {str(answer['error'])[:500]}")
    try:
        rles = [_rle(one, height, width) for one in answer["masks"]]
        scores = answer.get("scores")
        if scores is not None:
            scores = [min(max(float(score), 0.0), 1.0) for score in scores]
            if len(scores) != len(rles):
                raise ValueError(f"{len(scores)} scores of {len(rles)} masks")
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ModelOutputError(f"{name}: its answer is no list of masks ({error})") from error
    return proposals_from_rles(rles, height=height, width=width, predicted_iou=scores)


def _rle(told: Any, height: int, width: int) -> Rle:
    counts = [int(count) for count in told["counts"]]
    if list(told["size"]) != [height, width]:
        raise ValueError(f"a mask of {told['size']} for a picture of {[height, width]}")
    if min(counts, default=-1) < 0 or sum(counts) > height * width or not sum(counts[1::2]):
        raise ValueError("counts that are negative, empty, or more than there are pixels")
    return Rle(size=[height, width], counts=counts)
