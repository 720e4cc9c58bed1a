"""Many annotators at once: are their masks those of one annotator alone, and how long do they wait?

Eight people click on eight pictures, each at random places of pictures at random, all at the same
time, over HTTP. The same clicks are asked one after another of another server, which has embedded
nothing and shares nothing with the first. In memory there is room for a few of the pictures only,
so that embeddings are taken from disk, and computed, while others click.
"""

import random
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.assist_requests import Mask, painted, predict_body, setup_body
from bench.assist_servers import BenchServerError, Peers, Server, ours, sam_example
from bench.assist_settings import NOWHERE, settings_for
from bench.assist_studio import PictureFolder
from lifelong.records.prompts import Point

_Answers = dict[bytes, bytes | None]  # by bodies; None where the server failed
_FIRST = 100  # number of the first picture, apart from those of the other parts


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatorsCase:
    """How many people, pictures, and clicks of each person."""

    folder: Path
    height: int
    width: int
    annotators: int
    pictures: int
    clicks: int
    peers: Peers | None


@dataclass(frozen=True, slots=True)
class _Click:
    picture: int
    point: Point
    body: bytes


def annotator_figures(case: AnnotatorsCase) -> dict[str, object]:
    """Equal masks, waits, and the peer's with the same clicks; all with our tiny SAM."""
    pictures = PictureFolder(case.folder / "pictures", case.height, case.width)
    people = [_clicks_of(person, case, pictures) for person in range(case.annotators)]
    settings = settings_for(pictures.root, NOWHERE, memory_mib=1)
    figures: dict[str, object] = {}
    with ours(case.folder / "ours-alone", settings) as server:
        server.ask("POST", "/setup", setup_body())
        alone = {body: server.predict(body)[0] for body in _bodies(people)}
        figures["annotators_regions"] = sum(
            painted(answer, pictures.size) is not None for answer in alone.values()
        )
    with ours(case.folder / "ours-together", settings) as server:
        server.ask("POST", "/setup", setup_body())
        together, took, seconds = _at_once(server, people)
    figures |= {
        "annotators": case.annotators, "annotators_pictures": case.pictures,
        "annotators_clicks": len(took),
        "annotators_failed": _failed(together),
        "annotators_masks_differ": _differing(alone, together, pictures.size),
        "annotators_p50_ms": _percentile(took, 50), "annotators_p99_ms": _percentile(took, 99),
        "annotators_clicks_a_second": round(len(took) / seconds, 1),
        "peer_annotators_masks_differ": None,
    }  # fmt: skip
    return figures | _peer_figures(case, pictures, people)


def _peer_figures(
    case: AnnotatorsCase, pictures: PictureFolder, people: Sequence[Sequence[_Click]]
) -> dict[str, object]:
    if case.peers is None:
        return {}
    with ExitStack() as open_:
        peer = open_.enter_context(
            sam_example(case.peers, case.folder / "sam-example-tiny", None, pictures.root)
        )
        peer.ask("POST", "/setup", setup_body())
        alone = {body: peer.predict(body)[0] for body in _bodies(people)}
        together, took, _ = _at_once(peer, people)
    return {
        "peer_annotators_failed": _failed(together),
        "peer_annotators_masks_differ": _differing(alone, together, pictures.size),
        "peer_annotators_p50_ms": _percentile(took, 50),
        "peer_annotators_p99_ms": _percentile(took, 99),
    }


def _clicks_of(person: int, case: AnnotatorsCase, pictures: PictureFolder) -> list[_Click]:
    rng = random.Random(person)
    clicks = []
    for _ in range(case.clicks):
        picture = _FIRST + rng.randrange(case.pictures)
        point = Point(rng.uniform(0, case.width - 1), rng.uniform(0, case.height - 1))
        body = predict_body(pictures.address(picture), [point], pictures.size, task_id=picture)
        clicks.append(_Click(picture, point, body))
    return clicks


def _bodies(people: Sequence[Sequence[_Click]]) -> list[bytes]:
    """Each click once, picture after picture: the peer remembers one picture."""
    clicks = sorted((click for clicks in people for click in clicks), key=lambda one: one.picture)
    return [click.body for click in clicks]


def _at_once(
    server: Server, people: Sequence[Sequence[_Click]]
) -> tuple[_Answers, list[float], float]:
    """Answers by bodies, the seconds of every click that got one, and of all together."""
    answers: _Answers = {}
    took: list[float] = []

    def work(clicks: Sequence[_Click]) -> None:
        for click in clicks:
            try:
                answer, seconds = server.predict(click.body)
            except BenchServerError:
                answers[click.body] = None
            else:
                answers[click.body] = answer
                took.append(seconds)

    threads = [threading.Thread(target=work, args=(clicks,)) for clicks in people]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begun
    return answers, took, seconds


def _differing(expected: dict[bytes, bytes], found: _Answers, size: tuple[int, int]) -> int:
    """Of how many clicks with an answer is a pixel of the mask another one?"""
    return sum(
        not _equal(painted(expected[body], size), painted(answer, size))
        for body, answer in found.items()
        if answer is not None
    )


def _equal(one: Mask | None, other: Mask | None) -> bool:
    if one is None or other is None:
        return one is other  # an empty mask is no region
    return bool(np.array_equal(one, other))


def _failed(answers: _Answers) -> int:
    return sum(answer is None for answer in answers.values())


def _percentile(seconds: Sequence[float], percent: float) -> float:
    return round(1000 * float(np.percentile(seconds, percent)), 1)
