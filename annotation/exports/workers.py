"""Processes that turn items into what a format writes; the parent sends, waits and writes files.

Each process has one small pile of items at a time, so memory does not grow with the data set. A
process ends when the parent does, however that ends. One that dies (no memory left) costs the item
it was at.
"""

import multiprocessing
import signal
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from annotation.exports.picture_items import Item, Source
from annotation.formats.writing import Entry, Writer
from lifelong.errors import LifelongError

_PILE = 8  # items sent at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """An item, and the side it is on."""

    item: Item
    split: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """What became of one item: an entry, or an error."""

    entry: Entry | None = None
    error: str = ""
    size: tuple[int, int] = (0, 0)  # height, width, pixels
    image: str = ""  # where the picture says its image lies
    annotator: str = ""
    model_version: str = ""


def convert(source: Source, writer: Writer, job: Job) -> Converted:
    """One item as its format has it; what goes wrong is told in words."""
    try:
        picture = source.read(job.item)
        entry = writer.entry(picture, job.split)
    except LifelongError as error:
        return Converted(error=_told(job.item, str(error)))
    except Exception as error:  # a foreign reader's or writer's; it costs one picture, not the run
        return Converted(error=_told(job.item, f"{type(error).__name__}: {error}"))
    return Converted(
        entry=entry,
        size=(picture.height, picture.width),
        image=picture.image,
        annotator=picture.provenance.annotator,
        model_version=picture.provenance.model_version,
    )


def _told(item: Item, error: str) -> str:
    return error if item.where in error else f"{item.where}: {error}"


def conversions(
    source: Source, writer: Writer, jobs: Iterable[Job], workers: int
) -> Generator[tuple[Job, Converted], None, None]:
    """Convert all jobs, in any order; one worker is this process itself. Close it at the end."""
    if workers == 1:
        for job in jobs:
            yield job, convert(source, writer, job)
        return
    with _Pool(source, writer, workers) as pool:
        yield from pool.run(iter(jobs))


@dataclass(slots=True)
class _Worker:
    process: BaseProcess
    line: Connection
    pile: list[Job] = field(default_factory=list)


class _Pool:
    def __init__(self, source: Source, writer: Writer, workers: int) -> None:
        self._setup = (source, writer)
        self._fresh = multiprocessing.get_context("spawn")
        self._workers = [self._start() for _ in range(workers)]

    def __enter__(self) -> "_Pool":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.line.close()
        for worker in self._workers:
            worker.process.join(timeout=1)
            if worker.process.is_alive():  # still at a large picture that nobody wants any more
                worker.process.terminate()
                worker.process.join()

    def run(self, jobs: Iterator[Job]) -> Iterator[tuple[Job, Converted]]:
        """Piles go to whoever is free; a pile whose process died is done again one by one."""
        again: list[Job] = []
        while True:
            for number, worker in enumerate(self._workers):
                if not worker.pile:
                    pile = [again.pop()] if again else list(islice(jobs, _PILE))
                    if not pile:
                        break
                    worker.pile = pile
                    if not self._send(worker, pile):
                        self._workers[number] = self._start()
                        again += pile
            busy = [worker for worker in self._workers if worker.pile]
            if not busy:
                return
            ready = set(wait([worker.line for worker in busy]))
            for number, worker in enumerate(self._workers):
                if worker.line not in ready:
                    continue
                pile, worker.pile = worker.pile, []
                try:
                    answers = worker.line.recv()
                except (EOFError, ConnectionError):
                    worker.process.join()
                    self._workers[number] = self._start()
                    if len(pile) > 1:
                        again += pile
                        continue
                    answers = [Converted(error=_died(pile[0], worker.process.exitcode))]
                yield from zip(pile, answers, strict=True)

    def _send(self, worker: _Worker, pile: list[Job]) -> bool:
        try:
            worker.line.send(pile)
        except (BrokenPipeError, ConnectionError):
            return False
        return True

    def _start(self) -> _Worker:
        ours, theirs = self._fresh.Pipe()
        process = self._fresh.Process(target=_work, args=(theirs, *self._setup), daemon=True)
        process.start()
        theirs.close()  # or its end would never be seen
        return _Worker(process, ours)


def _died(job: Job, exit_code: int | None) -> str:
    return _told(
        job.item,
        f"the process that converted it died (exit code {exit_code}); is there memory for it?",
    )


def _work(line: Connection, source: Source, writer: Writer) -> None:
    """A worker's life: piles in, answers out, until the parent hangs up or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
    while True:
        try:
            pile = line.recv()
            line.send([convert(source, writer, job) for job in pile])
        except (EOFError, ConnectionError):
            return
