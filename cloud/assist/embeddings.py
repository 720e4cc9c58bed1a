"""The embedding of a picture, computed once: from memory, from disk, or from the encoder.

Whoever asks for what is being computed waits for that, and makes it as urgent as they are.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from annotation.assist.segmenter import Picture
from cloud.assist.embedding_files import EmbeddingFiles, EmbeddingKey
from cloud.assist.interactive_model import Embedded, InteractiveModel
from cloud.assist.turns import Level, Pause, Turn, Turns
from cloud.assist.work_book import Work

# Where an embedding was when it was wanted; joined: somebody else had it computed already.
MEMORY, DISK, COMPUTED, JOINED = "memory", "disk", "computed", "joined"
SOURCES = (MEMORY, DISK, COMPUTED, JOINED)


class EmbeddingMemory:
    """Embeddings in memory, at most so many bytes; the one used longest ago goes first."""

    def __init__(self, *, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[EmbeddingKey, Embedded] = OrderedDict()
        self._bytes = 0

    @property
    def nbytes(self) -> int:
        """Of all arrays kept."""
        return self._bytes

    def get(self, key: EmbeddingKey) -> Embedded | None:
        """What is kept under a key; it goes last from now on."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def put(self, key: EmbeddingKey, embedded: Embedded) -> None:
        """Keep an embedding, unless it alone is over the limit."""
        size = embedded.nbytes
        with self._lock:
            old = self._kept.pop(key, None)
            self._bytes -= 0 if old is None else old.nbytes
            if size > self._limit:
                return
            self._kept[key] = embedded
            self._bytes += size
            while self._bytes > self._limit:
                _, gone = self._kept.popitem(last=False)
                self._bytes -= gone.nbytes


@dataclass(slots=True)
class _Flight:
    """One embedding on its way, and those who look for it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    turn: Turn[Embedded] | None = None
    looking: int = 0


class Embeddings:
    """See the module; every method may be called from many threads at once."""

    def __init__(self, memory: EmbeddingMemory, files: EmbeddingFiles | None, turns: Turns) -> None:
        self._memory, self._files, self._turns = memory, files, turns
        self._lock = threading.Lock()
        self._flights: dict[EmbeddingKey, _Flight] = {}
        self._lookups = dict.fromkeys(SOURCES, 0)

    @property
    def lookups(self) -> dict[str, int]:
        """How often an embedding was wanted, by where it was."""
        with self._lock:
            return dict(self._lookups)

    @property
    def trouble(self) -> str:
        """Why embeddings are not kept on disk though they should be; "" where they are."""
        return "" if self._files is None else self._files.trouble

    def is_on_disk(self, picture: Picture, model: InteractiveModel) -> bool:
        """Is the picture's embedding kept beyond this process?"""
        key = EmbeddingKey(picture.digest, model.digest)
        return self._files is not None and self._files.has(key)

    def are_there(self, picture: Picture, model: InteractiveModel) -> bool:
        """Is the picture's embedding in memory or on disk?"""
        key = EmbeddingKey(picture.digest, model.digest)
        if self._memory.get(key) is not None:
            return True
        return self.is_on_disk(picture, model)

    def of(
        self, picture: Picture, model: InteractiveModel, *, level: Level, work: Work
    ) -> Embedded:
        """The picture as the model sees it.

        Args:
            picture: is fetched and decoded only where nobody has its embedding.
            model: computes it.
            level: how urgent it is.
            work: of the one who waits.

        Raises:
            ModelBusyError: the work was cancelled.
            PictureAccessError, ImageError: see `Picture.pixels`.
        """
        key = EmbeddingKey(picture.digest, model.digest)
        found = self._memory.get(key)
        if found is not None:
            self._count(MEMORY)
            return found
        flight = self._looking(key)
        try:
            # One of those who ask looks on the disk, and begins; the others find what it found.
            with flight.lock:
                found = self._memory.get(key)
                if found is not None:
                    self._count(MEMORY)
                    return found
                found = self._read(key)
                if found is not None:
                    self._count(DISK)
                    return found
                turn = flight.turn
                if turn is None or not self._turns.join(turn, work, level):
                    turn = self._begin(key, picture, model, level, work)
                    flight.turn = turn
                    self._count(COMPUTED)
                else:
                    self._count(JOINED)
            return self._turns.wait(turn, work)
        finally:
            self._looked(key, flight)

    def _begin(
        self, key: EmbeddingKey, picture: Picture, model: InteractiveModel, level: Level,
        work: Work,
    ) -> Turn[Embedded]:  # fmt: skip
        done: list[Embedded] = []

        def compute(pause: Pause) -> Embedded:
            pause()
            embedded = model.embed(picture.pixels(), pause=pause)
            self._memory.put(key, embedded)
            done.append(embedded)
            return embedded

        def write() -> None:  # when nobody waits for it any longer
            if self._files is not None:
                self._files.write(key, done.pop())

        return self._turns.submit(level, compute, work, after=write)

    def _read(self, key: EmbeddingKey) -> Embedded | None:
        found = None if self._files is None else self._files.read(key)
        if found is not None:
            self._memory.put(key, found)
        return found

    def _count(self, source: str) -> None:
        with self._lock:
            self._lookups[source] += 1

    def _looking(self, key: EmbeddingKey) -> _Flight:
        with self._lock:
            flight = self._flights.setdefault(key, _Flight())
            flight.looking += 1
            return flight

    def _looked(self, key: EmbeddingKey, flight: _Flight) -> None:
        with self._lock:
            flight.looking -= 1
            if not flight.looking:
                del self._flights[key]
