"""The pictures of a project's open tasks, embedded before anybody clicks on them."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from annotation.assist.segmenter import Picture
from lifelong.errors import ConfigError, LifelongError, ModelLoadError

_PAGE = 100

Task = tuple[int, Mapping[str, object]]  # id and data


class OpenTasks(Protocol):
    """Who lists the tasks that nobody has worked on: Label Studio."""

    def tasks_to_come(self, project_id: int, *, after: int, count: int) -> Sequence[Task]:
        """The next `count` ones behind the task `after`, by id."""


class Embedder(Protocol):
    """Who embeds: `cloud.assist.segmenters.Segmenters`."""

    def embed(self, picture: Picture, *, model: str) -> bool:
        """True where it was computed, False where it was there."""

    def is_on_disk(self, picture: Picture, *, model: str) -> bool:
        """Will it be there for the next process?"""

    def close(self) -> None:
        """Write what is not written yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One task whose picture could not be embedded."""

    task: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingReport:
    """How it went."""

    tasks: int
    embedded: int
    were_there: int
    not_kept: int  # embedded, but not on disk: it is full, or its bound is too small for all
    seconds: float
    failures: tuple[Failure, ...] = field(default=())


def open_tasks(studio: OpenTasks, project_id: int) -> list[Task]:
    """All tasks that nobody has worked on, by id.

    Raises:
        LabelStudioError: Label Studio cannot be reached, or refuses.
    """
    found: list[Task] = []
    while page := studio.tasks_to_come(project_id, after=found[-1][0] if found else 0, count=_PAGE):
        found += page
    return found


def embed_tasks(
    tasks: Sequence[Task], picture_of: Callable[[Task], Picture], embedder: Embedder, *,
    model: str, workers: int, ended: Callable[[], None],
    clock: Callable[[], float] = time.monotonic,
) -> EmbeddingReport:  # fmt: skip
    """Embed the picture of every task that has none yet; one that fails stops no other.

    Args:
        tasks: as `open_tasks` lists them.
        picture_of: the task's picture; raises PictureAccessError where it names none.
        embedder: keeps what it computed, so that a second run goes on where one was broken off;
            is closed in the end.
        model: of the embedder, "" the default one.
        workers: pictures that are fetched and embedded at once.
        ended: is called after every task.
        clock: seconds.

    Raises:
        ConfigError, ModelLoadError: no model to embed with.
    """
    begun = clock()

    def one(task: Task) -> tuple[Picture, bool] | Failure:
        try:
            picture = picture_of(task)
            return picture, embedder.embed(picture, model=model)
        except LifelongError as error:
            if isinstance(error, ConfigError | ModelLoadError):
                raise  # the next picture would fare no better
            return Failure(task=task[0], why=str(error))
        finally:
            ended()

    with ThreadPoolExecutor(workers, thread_name_prefix="embed") as pool:
        waiting = [pool.submit(one, task) for task in tasks]
        try:
            outcomes = [each.result() for each in waiting]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    done = [outcome for outcome in outcomes if not isinstance(outcome, Failure)]
    new = [picture for picture, is_new in done if is_new]
    embedder.close()
    return EmbeddingReport(
        tasks=len(tasks),
        embedded=len(new),
        were_there=len(done) - len(new),
        not_kept=sum(not embedder.is_on_disk(picture, model=model) for picture in new),
        seconds=clock() - begun,
        failures=tuple(outcome for outcome in outcomes if isinstance(outcome, Failure)),
    )
