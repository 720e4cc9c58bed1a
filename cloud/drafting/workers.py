"""Worker processes that draft pictures: each takes the next one when it is free.

A worker that dies (no memory left, killed) costs the picture it was at, which is reported, and is
replaced; the others never notice. Nothing listens on a port.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from cloud.drafting.raw_pictures import RawPicture
from cloud.drafting.records import DraftRecord, Failure
from lifelong.errors import ModelLoadError
from lifelong.records.wire import from_plain

# A worker that dies before its first picture will do so again: memory, or a broken installation.
_STARTS = 3

Finished = DraftRecord | Failure


@dataclass(slots=True)
class _Worker:
    number: int
    process: "subprocess.Popen[str]"
    picture: RawPicture | None = None
    ready: bool = False
    reader: threading.Thread = field(init=False)


class DraftWorkers:
    """A number of processes that draft; end it with `close`, or use it as a context."""

    def __init__(self, number: int, setup: Callable[[int], dict[str, Any]]) -> None:
        """`setup` gives the first line that worker 0, 1 … is told."""
        self._setup, self._number = setup, number
        self._answers: queue.SimpleQueue[tuple[int, str | None]] = queue.SimpleQueue()
        self._workers: dict[int, _Worker] = {}
        self._started = 0
        self._died_early = 0
        self._stopped = False

    def __enter__(self) -> "DraftWorkers":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def draft(self, pictures: Iterable[RawPicture], finished: Callable[[Finished], None]) -> None:
        """Draft all pictures; `finished` is told of each, in the order they are done.

        Raises:
            ModelLoadError: no picture can be drafted with these settings; says why.
        """
        waiting = deque(pictures)
        for place in range(min(self._number, len(waiting))):
            self._start(place)
        while self._workers and not self._stopped:
            key, line = self._answers.get()
            worker = self._workers.get(key)
            if worker is None:
                continue
            if line is None:
                self._buried(worker, waiting, finished)
            else:
                self._heard(worker, json.loads(line), finished)
            self._send_on(worker, waiting)

    def stop(self) -> None:
        """Let `draft` return as soon as it can; pictures at work are given up."""
        self._stopped = True
        self._answers.put((-1, None))

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers.values():
            worker.process.kill()
        for worker in self._workers.values():
            worker.process.wait()
            worker.reader.join(timeout=5)
            _close_pipes(worker.process)
        self._workers.clear()

    def _start(self, place: int) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "cloud.preannotation.draft_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            # Ctrl-C is for us; we end them.
            start_new_session=os.name == "posix",
        )
        key = self._started
        self._started += 1
        worker = _Worker(number=place, process=process)
        worker.reader = threading.Thread(target=self._read, args=(key, process), daemon=True)
        self._workers[key] = worker
        _say(process, self._setup(place))
        worker.reader.start()

    def _read(self, key: int, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._answers.put((key, line))
        self._answers.put((key, None))

    def _heard(
        self, worker: _Worker, answer: dict[str, Any], finished: Callable[[Finished], None]
    ) -> None:
        if "fatal" in answer:
            raise ModelLoadError(answer["fatal"])
        if "ready" in answer:
            worker.ready = True
            return
        assert worker.picture is not None
        if "record" in answer:
            finished(from_plain(DraftRecord, answer["record"], worker.picture.name))
        else:
            finished(Failure(image=worker.picture.name, error=answer["failed"]))
        worker.picture = None

    def _send_on(self, worker: _Worker, waiting: deque[RawPicture]) -> None:
        """The next picture for a worker that is free; its end where there is none."""
        if worker.process.poll() is not None or not worker.ready or worker.picture is not None:
            return
        if not waiting:
            if worker.process.stdin is not None and not worker.process.stdin.closed:
                worker.process.stdin.close()
            return
        worker.picture = waiting.popleft()
        told = {
            "path": str(worker.picture.path.absolute()),
            "name": worker.picture.name,
            "draft": worker.picture.draft,
        }
        _say(worker.process, told)

    def _buried(
        self, worker: _Worker, waiting: deque[RawPicture], finished: Callable[[Finished], None]
    ) -> None:
        """A worker is gone: at its end, or before it."""
        key = next(key for key, one in self._workers.items() if one is worker)
        del self._workers[key]
        code = worker.process.wait()
        _close_pipes(worker.process)
        if not worker.ready:
            self._died_early += 1
            if self._died_early >= _STARTS:
                raise ModelLoadError(
                    f"workers end before their first picture ({_told(code)}); start one by hand "
                    "with --workers 1 and look at what it prints"
                )
        if worker.picture is not None:
            finished(
                Failure(
                    image=worker.picture.name,
                    error=f"{worker.picture.name}: the worker at it died ({_told(code)}); with "
                    "little memory, run again with fewer --workers or a smaller picture",
                )
            )
            worker.picture = None
        if waiting and not self._stopped:
            self._start(worker.number)


def _told(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _say(process: "subprocess.Popen[str]", value: dict[str, Any]) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it has just died; the end of its answers says so
        process.stdin.write(json.dumps(value) + "\n")
        process.stdin.flush()


def _close_pipes(process: "subprocess.Popen[str]") -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):  # what was not read any more
                pipe.close()
