"""How fast the monitor's pages answer beside a loop that has run for long, and ten times as long.

A process of its own serves the real application over HTTP on loopback, with the real watch in its
thread. Each page is asked once a look, so no answer finds facts that another one left; the
slowest answer counts as much as the middle one. Ten times as much may cost at most twice as long.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import httpx

from bench.measuring import report
from lifelong.links.storage import open_storage
from lifelong.records.keys import EDGES
from tests.large_loop import live_long

SIZES = {1: (200, 500), 10: (2000, 5000)}  # times: rounds of 50 samples, edge nodes
ROUND_SAMPLES = 50
PATIENCE_S = 120.0
# Work of one person at a time; they are not made of what the loop has lived.
_WITHOUT = frozenset({"/correct", "/access"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="ten answers a page instead of forty")
    parser.add_argument("--pages", nargs="*", help="only these addresses")
    parser.add_argument("--folder", type=Path, help="keep the made-up states here, for other runs")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)  # the process of its own
    options = parser.parse_args()
    if options.serve is not None:
        _serve(options.serve)
        return
    folder = options.folder or Path(tempfile.mkdtemp(prefix="bench-monitor-"))
    try:
        report(
            measured(folder, answers=10 if options.quick else 40, only=options.pages),
            as_json=options.json,
        )
    finally:
        if options.folder is None:
            shutil.rmtree(folder)


def measured(folder: Path, *, answers: int, only: list[str] | None = None) -> dict[str, float]:
    """Seconds of the middle and the slowest answer of each page, at both sizes."""
    found: dict[int, dict[str, list[float]]] = {}
    figures: dict[str, float] = {}
    for times, (rounds, edges) in SIZES.items():
        place = folder / f"times-{times}"
        if not (place / "complete").exists():
            live_long(open_storage(str(place)), rounds=rounds, samples=ROUND_SAMPLES, edges=edges)
            (place / "complete").touch()
        found[times], memory = _asked(place, answers, only)
        figures[f"memory_mib_x{times}"] = memory
        for page, seconds in found[times].items():
            figures[f"{page} p50_ms_x{times}"] = 1000 * statistics.median(seconds)
            figures[f"{page} max_ms_x{times}"] = 1000 * max(seconds)
    for page, seconds in found[1].items():
        figures[f"{page} ratio_x10"] = statistics.median(found[10][page]) / statistics.median(
            seconds
        )
    for times, pages in found.items():
        middles = map(statistics.median, pages.values())
        figures[f"slowest_page_p50_ms_x{times}"] = 1000 * max(middles)
        figures[f"slowest_answer_ms_x{times}"] = 1000 * max(map(max, pages.values()))
    figures["most_growth_x10"] = max(figures[f"{page} ratio_x10"] for page in found[1])
    return figures


def _asked(
    place: Path, answers: int, only: list[str] | None
) -> tuple[dict[str, list[float]], float]:
    server = subprocess.Popen(
        [sys.executable, "-m", "bench.monitor", "--serve", str(place)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        told = json.loads(server.stdout.readline())
        with httpx.Client(base_url=told["url"], timeout=PATIENCE_S) as client:
            pages = {name: at for name, at in told["pages"].items() if not only or name in only}
            found: dict[str, list[float]] = {page: [] for page in pages}
            for turn in range(answers + 1):
                _wait_for_new_look(client)
                for page, address in pages.items():
                    begun = time.perf_counter()
                    client.get(address).raise_for_status()
                    if turn:  # the first answer of a process reads templates
                        found[page].append(time.perf_counter() - begun)
            memory = client.get("/bench/memory").json()
        return found, float(memory)
    finally:
        server.terminate()
        server.wait(30)


def _wait_for_new_look(client: httpx.Client) -> None:
    """So that every answer works its facts out anew, as the first one after each look does."""
    before = client.get("/bench/look").text
    while client.get("/bench/look").text == before:
        time.sleep(0.05)


def _serve(place: Path) -> None:
    """The application without a gate, which is measured by its own tests, until SIGTERM."""
    import socket

    import psutil
    import uvicorn

    from cloud.access.permissions import Caller, Role
    from cloud.web.app import make_app
    from cloud.web.site import PAGES
    from tests.web_parts import a_watch, some_parts

    storage = open_storage(str(place))
    watch = a_watch(storage, place.parent / "journal")
    parts = some_parts(storage, looks=watch.look)
    app = make_app(replace(parts))
    numbers = sorted(int(key.split("/")[1][:-5]) for key in storage.keys("rounds"))
    edge = next(iter(storage.keys(EDGES))).split("/")[1]
    pages = {address: address for address, _, _ in PAGES if address not in _WITHOUT}
    pages |= {
        "/rounds/NEWEST": f"/rounds/{numbers[-1]}",
        "/rounds/MIDDLE": f"/rounds/{numbers[len(numbers) // 2]}",
        "/rounds?page=3": "/rounds?page=3",
        "/edges/ONE": f"/edges/{edge}",
        "/edges?page=4": "/edges?page=4",
        "/releases/MIDDLE": f"/releases/{len(numbers) // 2}",
    }

    @app.middleware("http")
    async def known(request, answer):  # type: ignore[no-untyped-def]
        request.state.caller = Caller(name="bench", role=Role.ADMIN, token_id="b", csrf="c")
        return await answer(request)

    @app.get("/bench/look")
    def look() -> str:
        return watch.look().at.isoformat()

    @app.get("/bench/memory")
    def memory() -> float:
        return float(psutil.Process().memory_info().rss) / 2**20

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    watch.refresh()
    threading.Thread(target=watch.run, args=(threading.Event(),), daemon=True).start()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    print(json.dumps({"url": f"http://127.0.0.1:{port}", "pages": pages}), flush=True)
    thread.join()


if __name__ == "__main__":
    main()
