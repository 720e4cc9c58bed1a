"""Hints of a real Label Studio: submitted work is pulled at once, and by the poll without them."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn

from annotation.label_studio_server import LabelStudioServer
from annotation.pulling import Pulled
from annotation.webhooks import HINT_PATH, SECRET_HEADER
from cloud.lease import Lease
from cloud.loop import Ports
from cloud.rounds import Rounds
from cloud.service import Service
from cloud.web.app import make_app
from lifelong.config import RoundsSection
from lifelong.links.journal import Journal, utc_now
from lifelong.records.ids import SampleId
from lifelong.records.rounds import Round, RoundState
from lifelong.records.samples import AnnotationTask
from tests.builders import a_hard_example, a_mask, a_round
from tests.label_studio_room import SECRET, Room
from tests.web_parts import some_parts

pytestmark = pytest.mark.integration

POLL = 240.0  # seconds; far longer than any test here waits


class NobodyChooses:
    """A selection that leaves the order as it is."""

    def choose(self, *_: object, **__: object) -> tuple[()]:
        return ()

    def order(self, open_: object, **_: object) -> tuple[SampleId, ...]:
        return ()


@dataclass
class Running:
    """A service in a thread of its own, and its page on a port of its own."""

    service: Service
    room: Room
    tasks: list[AnnotationTask]
    url: str
    looks: list[float]
    page: uvicorn.Server
    page_thread: threading.Thread

    def found(self) -> bool:
        """Is the round of two tasks done with people?"""
        return Rounds(self.room.storage).all()[-1].state is not RoundState.ANNOTATING


def until(true: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)
    return true()


@pytest.fixture(params=[POLL])
def running(
    label_studio_server: LabelStudioServer, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Running]:
    """A round of two tasks with people; the service has just looked and pauses."""
    label_studio_server.start()
    room = Room(label_studio_server, tmp_path)
    looks: list[float] = []
    held: list[Service] = []
    app = make_app(some_parts(hint=lambda: held[0].wake(), secret=SECRET))
    page = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    page_thread = threading.Thread(target=page.run)
    page_thread.start()
    assert until(lambda: page.started, 120)
    url = f"http://127.0.0.1:{page.servers[0].sockets[0].getsockname()[1]}"
    room.exchange = room.again(webhook_url=url)
    tasks = room.exchange.push(room.drafts(2))
    rounds = Rounds(room.storage)
    round_: Round = a_round(
        RoundState.ANNOTATING,
        examples=(a_hard_example(0), a_hard_example(1)),
        tasks=tuple(tasks),
    )
    rounds.save(round_)
    real_pull = room.exchange.pull

    def pull(tasks: Sequence[AnnotationTask]) -> Pulled:
        looks.append(time.monotonic())
        return real_pull(tasks)

    room.exchange.pull = pull  # type: ignore[method-assign]
    service = Service(
        ports=Ports(
            inbox=None,  # type: ignore[arg-type]
            selection=NobodyChooses(),
            preannotator=None,  # type: ignore[arg-type]
            annotators=room.exchange,
            job=NoJob(),  # type: ignore[arg-type]
            releases=None,  # type: ignore[arg-type]
        ),
        rounds=rounds,
        lease=Lease(room.storage, 30, utc_now),
        rules=RoundsSection(step_seconds=0.05),
        people_pause_s=request.param,
        journal=Journal(room.journal_folder, "cloud"),
        now=utc_now,
    )
    held.append(service)
    stop = threading.Event()
    thread = threading.Thread(target=service.run, args=(stop,))
    thread.start()
    assert until(lambda: len(looks) == 1, 120), "the first look, then the pause"
    yield Running(service, room, tasks, url, looks, page, page_thread)
    stop.set()
    service.wake()
    thread.join(timeout=120)
    page.should_exit = True
    page_thread.join(timeout=120)
    room.close()


class NoJob:
    """Training that never ends."""

    def hand_over(self, _: Round) -> tuple[str, ...]:
        return ()

    def failure(self, _: int) -> str:
        return ""

    def candidate(self, _: int) -> None:
        return None


def test_what_is_submitted_is_pulled_long_before_the_poll(running: Running) -> None:
    begun = time.monotonic()
    for position, task in enumerate(running.tasks):
        running.room.submit(task, a_mask(position))
    assert until(running.found, POLL / 2), running.service.last_error
    assert time.monotonic() - begun < POLL / 2
    (event, _) = running.room.events("annotation.pulled")
    assert event["sample_id"] == running.tasks[0].sample_id


@pytest.mark.parametrize("running", [1.0], indirect=True)
def test_a_receiver_that_is_down_is_made_up_for_by_the_poll(running: Running) -> None:
    running.page.should_exit = True
    running.page_thread.join(timeout=240)
    assert not running.page_thread.is_alive()
    for position, task in enumerate(running.tasks):
        running.room.submit(task, a_mask(position))
    assert until(running.found, 120), running.service.last_error


def test_a_thousand_hints_ask_label_studio_once(running: Running) -> None:
    """As fast as one connection can send them; a look is made for each second of the flood."""
    with httpx.Client(headers={SECRET_HEADER: SECRET}, timeout=120) as client:
        begun = time.monotonic()
        for _ in range(1000):
            assert client.post(f"{running.url}{HINT_PATH}", json={}).status_code == 204
        took = time.monotonic() - begun
    assert until(lambda: len(running.looks) > 1, 120)
    time.sleep(2.0)  # hints that came during the last look
    assert len(running.looks) - 1 <= took + 2


def test_hints_of_strangers_wake_nobody(running: Running) -> None:
    for headers in ({}, {SECRET_HEADER: "guess"}):
        assert httpx.post(f"{running.url}{HINT_PATH}", headers=headers).status_code == 401
    time.sleep(1.0)
    assert len(running.looks) == 1
