"""`PromptedSegmenter` as it is served: models by name, embeddings kept, clicks before all else."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from annotation.assist.segmenter import (
    Candidates,
    Found,
    Mask,
    ModelState,
    Picture,
    Thresholds,
    Wish,
    WorkItem,
)
from cloud.assist.clicks import Clicks
from cloud.assist.embeddings import Embeddings
from cloud.assist.finders import LikenessFinder, Seen, WordFinder
from cloud.assist.interactive_model import Embedded, InteractiveModel
from cloud.assist.model_room import ModelRoom
from cloud.assist.prefetching import KIND, Prefetching
from cloud.assist.prompt_checks import checked_wish
from cloud.assist.turns import Level, Pause, Turns
from cloud.assist.work_book import Work, WorkBook
from lifelong.errors import ModelBusyError, PromptError


def _nothing() -> str:
    return ""


class Segmenters:
    """See `PromptedSegmenter`; all computing is done in the threads of `turns`."""

    def __init__(
        self, room: ModelRoom, embeddings: Embeddings, turns: Turns, book: WorkBook, *,
        workers: int, waiting: int, words: WordFinder | None = None,
        likeness: LikenessFinder | None = None, clicks: Clicks | None = None,
        trouble: Callable[[], str] = _nothing,
    ) -> None:  # fmt: skip
        """Args:
        room: the models.
        embeddings: of pictures.
        turns: computes; has `workers` threads of each level.
        book: of what is under way.
        workers: pictures that are embedded beforehand at once.
        waiting: people's requests beyond those that may wait; what is more is refused.
        words: finds objects by words; None: nobody does.
        likeness: finds objects by an example; None: nobody does.
        clicks: answers clicks; None: with its usual memory of earlier ones.
        trouble: what of the service is missing though it answers, in words; "": nothing.
        """
        self._room, self._embeddings, self._turns, self._book = room, embeddings, turns, book
        self._words, self._likeness = words, likeness
        self._clicks = clicks or Clicks()
        self._trouble = trouble
        self._prefetching = Prefetching(embeddings, book, threads=workers)
        self._admitted = threading.BoundedSemaphore(workers + waiting)

    def start(self) -> None:
        """Begin to load models; returns at once."""
        self._room.start()

    def close(self) -> None:
        """End what is at work, and take back what waits."""
        self._prefetching.close()
        self._turns.close()

    def states(self) -> Sequence[ModelState]:
        """See `PromptedSegmenter`."""
        troubles = (self._embeddings.trouble, self._trouble())
        return self._room.states("; ".join(filter(None, troubles)))

    def lookups(self) -> dict[str, int]:
        """How often an embedding was wanted, by where it was."""
        return self._embeddings.lookups

    def size(self, picture: Picture, *, model: str = "") -> tuple[int, int]:
        """See `PromptedSegmenter`."""
        with self._request("click", picture) as work:
            embedded = self._embedded(picture, self._room.get(model), Level.CLICK, work)
        return embedded.height, embedded.width

    def segment(self, picture: Picture, wish: Wish, *, model: str = "") -> Candidates:
        """See `PromptedSegmenter`."""
        with self._request("click", picture) as work:
            chosen = self._room.get(model)
            embedded = self._embedded(picture, chosen, Level.CLICK, work)
            checked = checked_wish(wish, embedded.height, embedded.width)
            return self._turns.do(
                Level.DECODE,
                lambda _pause: self._clicks.answer(chosen, embedded, picture.digest, checked),
                work,
            )

    def find(
        self, picture: Picture, words: Sequence[str], *,
        labels: Sequence[str], thresholds: Thresholds, model: str = "",
    ) -> Sequence[Found]:  # fmt: skip
        """See `PromptedSegmenter`.

        Raises:
            PromptError: no text model is configured.
        """
        finder = self._words
        if finder is None:
            raise PromptError(
                "no text model is configured, so words find nothing; set "
                "preannotation.text_prompts to one, or click on the object"
            )
        return self._found(
            picture,
            model,
            lambda seen: finder.find(seen, words, labels=labels, thresholds=thresholds),
        )

    def find_like(
        self, picture: Picture, example: Mask, *, label: str, model: str = ""
    ) -> Sequence[Found]:
        """See `PromptedSegmenter`.

        Raises:
            PromptError: it is not served here.
        """
        finder = self._likeness
        if finder is None:
            raise PromptError("finding what looks like an example is not served here")
        return self._found(
            picture, model, lambda seen: finder.find_like(seen, example, label=label)
        )

    def prefetch(self, pictures: Iterable[Picture], *, subject: str, model: str = "") -> str:
        """See `PromptedSegmenter`; pictures are looked at one by one, when their turn comes."""
        return self._prefetching.begin(
            pictures,
            subject=subject,
            model=lambda: self._room.get(model, until_loaded=True),
        )

    def embed(self, picture: Picture, *, model: str = "") -> bool:
        """Embed a picture now unless that was done, however long the model takes to load.

        Returns:
            True where it was computed, False where it was there.
        """
        chosen = self._room.get(model, until_loaded=True)
        if self._embeddings.are_there(picture, chosen):
            return False
        work = Work(KIND, picture.name, 1, 0.0)
        self._embedded(picture, chosen, Level.PREFETCH, work)
        return True

    def is_on_disk(self, picture: Picture, *, model: str = "") -> bool:
        """Will the picture's embedding be there for the next process?"""
        return self._embeddings.is_on_disk(picture, self._room.get(model))

    def work(self) -> Sequence[WorkItem]:
        """See `PromptedSegmenter`."""
        return self._book.items()

    def cancel(self, work_id: str) -> bool:
        """See `PromptedSegmenter`."""
        return self._book.cancel(work_id)

    def _found(
        self, picture: Picture, model: str, ask: Callable[[Seen], Sequence[Found]]
    ) -> Sequence[Found]:
        with self._request("words", picture) as work:
            chosen = self._room.get(model)
            embedded = self._embedded(picture, chosen, Level.WORDS, work)

            def look(pause: Pause) -> Sequence[Found]:
                return ask(
                    Seen(
                        digest=picture.digest,
                        model=chosen,
                        embedded=embedded,
                        pixels=picture.pixels,
                        pause=pause,
                    )
                )

            return self._turns.do(Level.WORDS, look, work)

    def _embedded(
        self, picture: Picture, model: InteractiveModel, level: Level, work: Work
    ) -> Embedded:
        return self._embeddings.of(picture, model, level=level, work=work)

    @contextmanager
    def _request(self, kind: str, picture: Picture) -> Iterator[Work]:
        """Somebody's request, from its admission to its end.

        Raises:
            ModelBusyError: too many wait already.
        """
        if not self._admitted.acquire(blocking=False):
            raise ModelBusyError(
                "too many requests wait already (assist.waiting); try again in a moment"
            )
        work = self._book.begin(kind, picture.name)
        try:
            yield work
        except BaseException as error:
            self._book.end_by(work, error)
            raise
        else:
            self._book.end_by(work, None)
        finally:
            self._admitted.release()
