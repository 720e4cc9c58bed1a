"""What `cornerloop serve` tells of itself: its threads, its measures, what it stands on."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import uvicorn
from fastapi.concurrency import run_in_threadpool
from numpy.typing import NDArray

from cloud.assembly import Cloud, open_label_studio
from cloud.assist_service.serving import ServedAssist
from cloud.audit_log import AuditLog
from cloud.metrics.measures import JournalTail, Measures
from cloud.metrics.service import Gauges
from cloud.monitor.heartbeats import Heartbeats
from cloud.monitor.readiness import Vitals
from cloud.monitor.surroundings import Surroundings
from cloud.monitor.watch import Watch
from cloud.service import Service
from lifelong.config import Config
from lifelong.links.journal import utc_now

if TYPE_CHECKING:
    from annotation.label_studio import LabelStudio
    from cloud.preannotation.drafting import Draft, Drafter

# One picture may take minutes to draft without a GPU, one look at a large store too; nobody is
# restarted for being slow.
PATIENCE_S = 900.0
ROUNDS, WATCH, SURROUNDINGS, PAGES = "rounds", "watch", "surroundings", "pages"


class VitalSigns:
    """Made before the parts of the service, which are handed what they beat and measure with."""

    def __init__(self) -> None:
        self.hearts = Heartbeats()
        self.measures = Measures()

    def measured(self, drafter: "Drafter") -> "Drafter":
        """A drafter whose pictures are timed, each of them a sign of life of the rounds."""
        return _MeasuredDrafter(drafter, self.measures, self.hearts.beater(ROUNDS))

    def vitals(
        self,
        surroundings: Surroundings,
        watch: Watch,
        service: Service,
        assist: ServedAssist | None,
    ) -> Vitals:
        """For `/healthz` and `/readyz`."""

        def models() -> Mapping[str, tuple[str, str]]:
            if assist is None:
                return {}
            states = assist.states()
            return {one.name: (str(one.readiness), one.words) for one in states}

        return Vitals(
            hearts=self.hearts,
            seen=lambda: surroundings.seen,
            models=models,
            leads=lambda: service.leads,
            peek=watch.peek,
        )

    def surroundings(self, cloud: Cloud) -> Surroundings:
        """What the service stands on."""
        config = cloud.config
        places = {"journal": config.journal_path}
        if "://" not in config.storage:
            places["storage"] = Path(config.storage)
        return Surroundings(
            label_studio=_asking(config) if config.annotation_folder is None else None,
            places=places,
            audit_entries=AuditLog(cloud.storage, utc_now).count,
            beat=self.hearts.beater(SURROUNDINGS),
        )

    def started(
        self, name: str, run: Callable[[], None], *, patience_s: float = PATIENCE_S
    ) -> threading.Thread:
        """A daemon thread that is expected to live as long as the service."""
        thread = threading.Thread(target=run, name=name, daemon=True)
        self.hearts.expect(name, patience_s=patience_s, is_alive=thread.is_alive)
        thread.start()
        return thread

    def answering(self, server: uvicorn.Config, *, patience_s: float = PATIENCE_S) -> None:
        """Expect the pages to be answered, too: a probe port of its own would not notice."""
        self.hearts.expect(PAGES, patience_s=patience_s)
        server.callback_notify = _PoolBeat(self.hearts.beater(PAGES))


def gauges(config: Config, assist: ServedAssist | None) -> Gauges:
    """Numbers that others keep."""
    return Gauges(
        journal_events=JournalTail(config.journal_path).counts,
        embedding_lookups=assist.lookups if assist else None,
        assist_work=assist.waiting if assist else None,
        version=version("cornerloop"),
    )


class _PoolBeat:
    """A beat from where requests are worked on: pages hang with the loop, and with a full pool."""

    def __init__(self, beat: Callable[[], None]) -> None:
        self._beat = beat
        self._waiting: asyncio.Task[None] | None = None

    async def __call__(self) -> None:
        # Not awaited: uvicorn calls in between two looks at whether it is to end.
        if self._waiting is None or self._waiting.done():
            self._waiting = asyncio.create_task(run_in_threadpool(self._beat))


class _MeasuredDrafter:
    """See `Drafter`."""

    def __init__(self, drafter: "Drafter", measures: Measures, beat: Callable[[], None]) -> None:
        self._drafter, self._measures, self._beat = drafter, measures, beat
        self.proposed_by = drafter.proposed_by
        self.labelled_by = drafter.labelled_by

    def draft(self, image: NDArray[np.uint8]) -> "Draft":
        """See `Drafter`."""
        self._beat()
        with self._measures.draft():
            return self._drafter.draft(image)


def _asking(config: Config) -> Callable[[], None]:
    """Asks Label Studio who we are: it must answer, and take our token."""
    opened: list[LabelStudio] = []

    def ask() -> None:
        if not opened:
            opened.append(open_label_studio(config))
        opened[0].whoami()

    return ask
