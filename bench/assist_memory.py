"""Picture after picture, click after click: does the server's memory stay what it was?

A server with our tiny SAM gets `clicks` clicks on each of `pictures` pictures, over HTTP. After
every picture its resident memory is read. The first 50 fill what is kept on purpose; from there on
the largest value may not exceed the value then by 5 %. In memory there is room for embeddings of
fewer than 50 pictures, so that all that is filled is full by then. The series is written beside
the other files while it grows, so that a run that is ended leaves what it saw.
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.assist_requests import predict_body, setup_body
from bench.assist_servers import Server, ours
from bench.assist_settings import NOWHERE, settings_for
from bench.assist_studio import PictureFolder
from lifelong.records.prompts import Point

_FIRST = 10_000  # number of the first picture
_SETTLED = 50  # pictures
_SHOWN = 40  # values of the series
_MEMORY_MIB = 6  # an embedding of the tiny SAM has 160 KiB


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryCase:
    """How many pictures, and clicks on each."""

    folder: Path
    height: int
    width: int
    pictures: int
    clicks: int


def memory_figures(case: MemoryCase) -> dict[str, object]:
    """The series, and how much it grew after the first 50 pictures, or after half of fewer."""
    pictures = PictureFolder(case.folder / "pictures", case.height, case.width)
    settings = settings_for(pictures.root, NOWHERE, memory_mib=_MEMORY_MIB)
    log = case.folder / "memory.jsonl"
    log.unlink(missing_ok=True)
    begun = time.perf_counter()
    with ours(case.folder / "ours-memory", settings) as server:
        server.ask("POST", "/setup", setup_body())
        series = []
        for number in range(case.pictures):
            _click_all_over(server, pictures, number, case.clicks)
            series.append(server.resident_mib())
            with log.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({"picture": number, "mib": round(series[-1], 1)}) + "\n")
    seconds = time.perf_counter() - begun
    settled = min(_SETTLED, max(1, case.pictures // 2))
    return {
        "memory_pictures": case.pictures, "memory_clicks": case.pictures * case.clicks,
        "memory_growth": round(max(series[settled - 1 :]) / series[settled - 1], 4),
        "memory_settled_mib": round(series[settled - 1], 1),
        "memory_end_mib": round(series[-1], 1), "memory_largest_mib": round(max(series), 1),
        "memory_series_mib": [round(value, 1) for value in _shown(series)],
        "memory_ms_a_click": round(1000 * seconds / (case.pictures * case.clicks), 1),
    }  # fmt: skip


def _click_all_over(server: Server, pictures: PictureFolder, number: int, clicks: int) -> None:
    address = pictures.address(_FIRST + number)
    for points in _people(number, clicks, pictures.size):
        server.predict(predict_body(address, points, pictures.size, task_id=number + 1))


def _people(number: int, clicks: int, size: tuple[int, int]) -> Iterator[list[Point]]:
    """Objects of one to four clicks, as people correct what they see."""
    rng = np.random.default_rng(number)
    points: list[Point] = []
    for _ in range(clicks):
        if len(points) == 4 or rng.random() < 0.4:
            points = []
        y, x = rng.uniform(0, 1, 2) * (size[0] - 1, size[1] - 1)
        points = [*points, Point(float(x), float(y), not points or rng.random() < 0.6)]
        yield points


def _shown(series: Sequence[float]) -> Sequence[float]:
    step = max(1, len(series) // _SHOWN)
    return series[step - 1 :: step]
