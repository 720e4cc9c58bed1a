"""The monitor beside a loop that really runs: opened, photographed, clicked through, obeyed.

A demo runs with every real part in it: an edge process, Label Studio, the job's workers, and
`cornerloop serve`. Somebody enters by the printed link while it runs. Pictures go to
`runs/photographs`, for people to look at.
"""

import io
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Response

from cloud.demo.demo import Demo
from cloud.releasing.releases import Releases
from lifelong.links.journal import Journal, utc_now
from lifelong.links.storage import open_storage
from lifelong.records.rounds import RoundState
from tests.chromium import CHROMIUM
from tests.integration.test_whole_turn import LABEL_STUDIO, SMALL, a_demo

ROOT = Path(__file__).parents[2]
PHOTOGRAPHS = ROOT / "runs" / "photographs"
PATIENCE_S = 400.0
pytestmark = [
    pytest.mark.browser,
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="no Chromium: `make test` installs it"),
    pytest.mark.skipif(not LABEL_STUDIO.exists(), reason="no Label Studio: run `make setup`"),
]

# Long enough a training for a person to see it move.
WATCHED = replace(
    SMALL,
    overrides={
        **SMALL.overrides,
        "training": {**SMALL.overrides["training"], "steps": 150},
    },
)
SIZES = {"desk": (1280, 900), "phone": (360, 740)}


@dataclass
class RunningDemo:
    """A demo in a thread; `end` lets it go on from where its last round is over."""

    demo: Demo
    folder: Path
    lines: io.StringIO
    is_over: threading.Event = field(default_factory=threading.Event)
    may_end: threading.Event = field(default_factory=threading.Event)
    errors: list[BaseException] = field(default_factory=list)

    def run(self) -> None:
        try:
            self.demo.run(stay=False, while_open=self._stay_open)
        except BaseException as error:
            self.errors.append(error)
        finally:
            self.is_over.set()

    def _stay_open(self) -> None:
        self.is_over.set()
        self.may_end.wait(PATIENCE_S)

    def wait_for(self, words: str) -> None:
        """Until the demo has told this."""
        waiting = threading.Event()
        for _ in range(int(PATIENCE_S * 5)):
            if words in self.lines.getvalue() or self.errors:
                break
            waiting.wait(0.2)
        assert not self.errors, self.errors
        assert words in self.lines.getvalue()

    def link(self) -> str:
        """The link that was printed at the start."""
        self.wait_for("/enter#code=")
        found = re.search(r"http://\S+/enter#code=\S+", self.lines.getvalue())
        assert found is not None
        return found.group()


@dataclass
class Visitor:
    """Somebody with a browser, who notes whatever went wrong on the way."""

    page: Page
    home: str
    troubles: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.troubles.append(f"script: {error}"))
        self.page.on("response", self._answered)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.troubles.append(f"console: {message.text} at {self.page.url}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self.troubles.append(f"{response.status} {response.url}")
        if urlsplit(response.url).hostname not in {"127.0.0.1", None}:
            self.troubles.append(f"asked somebody else: {response.url}")

    def open(self, address: str) -> None:
        """Open a page and wait until it and its charts are there."""
        self.page.goto(urljoin(self.home, address), wait_until="load")
        self.page.wait_for_function(
            "[...document.querySelectorAll('.plot')].every(p => p.querySelector('svg'))"
        )

    def photograph(self, name: str) -> None:
        """A picture of the whole page."""
        PHOTOGRAPHS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=PHOTOGRAPHS / f"{name}.png", full_page=True)

    def links(self) -> set[str]:
        """Paths that the page leads to, of this site."""
        found = self.page.eval_on_selector_all("a[href]", "all => all.map(a => a.href)")
        ours = [urlsplit(one) for one in found if one.startswith(self.home)]
        return {one.path + (f"?{one.query}" if one.query else "") for one in ours}

    def is_too_wide(self) -> bool:
        """Must one scroll sideways?"""
        return bool(
            self.page.evaluate("document.documentElement.scrollWidth > window.innerWidth + 1")
        )


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    folder = tmp_path_factory.mktemp("watched")
    demo, lines = a_demo(folder, WATCHED)
    found = RunningDemo(demo, folder / "run", lines)
    thread = threading.Thread(target=found.run, daemon=True)
    thread.start()
    yield found
    found.may_end.set()
    thread.join(60)


@pytest.fixture(scope="module")
def visitor(running: RunningDemo, browser: Browser) -> Iterator[Visitor]:
    """Has entered by the printed link, as a person does: open it, press the button."""
    link = running.link()
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    found = Visitor(context.new_page(), home=link.split("/enter")[0] + "/")
    for _ in range(100):  # the link is told as soon as the server is started
        try:
            found.page.goto(link)
            break
        except Exception as error:
            if "ERR_CONNECTION_REFUSED" not in str(error):
                raise
            found.page.wait_for_timeout(300)
    found.troubles.clear()
    found.page.click("main button")
    found.page.wait_for_url(found.home)
    yield found
    context.close()


def test_sec01_the_printed_link_lets_one_person_in_and_works_once(
    visitor: Visitor, running: RunningDemo, browser: Browser
) -> None:
    """SEC-01: nobody else gets in, with the used link or without one."""
    assert visitor.page.locator("nav a").count() >= 6
    context = browser.new_context()
    stranger = context.new_page()
    stranger.goto(visitor.home)
    assert "/enter" in stranger.url, "whoever has no session is asked to enter"
    stranger.goto(running.link())
    stranger.click("main button")
    assert "/enter" in stranger.url
    context.close()


def test_the_running_training_is_seen_to_move(visitor: Visitor, running: RunningDemo) -> None:
    """The issue's live progress: a bar that rises without anybody pressing a key."""
    visitor.open("/")
    storage = open_storage(str(running.folder / "storage"))
    seen: set[float] = set()
    for _ in range(int(PATIENCE_S * 4)):
        bars = visitor.page.locator("progress[max]")
        if bars.count():
            seen.add(float(bars.first.evaluate("bar => bar.value / bar.max")))
        elif visitor.page.url.rstrip("/") == visitor.home.rstrip("/"):
            visitor.page.reload()
        if len(seen) >= 2 or running.is_over.is_set():
            break
        visitor.page.wait_for_timeout(250)
    assert not running.errors, running.errors
    assert len(seen) >= 2, sorted(storage.keys("rounds"))
    visitor.photograph("overview while it trains")


def test_every_page_opens_on_a_desk_and_on_a_phone_in_light_and_dark(
    visitor: Visitor, running: RunningDemo
) -> None:
    """No error in the console, no failed request, nobody else asked, no sideways scrolling."""
    assert running.is_over.wait(PATIENCE_S)
    assert not running.errors, (running.errors, running.lines.getvalue())
    visitor.page.wait_for_timeout(3000)  # the next look
    addresses, walked = {"/"}, set[str]()
    while addresses - walked:
        address = min(addresses - walked)
        walked.add(address)
        if re.search(r"\.json(\?|$)|^/(metrics|static|pictures)", address):
            continue
        visitor.open(address)
        assert visitor.page.locator("h1").count() == 1, address
        for size, (width, height) in SIZES.items():
            visitor.page.set_viewport_size({"width": width, "height": height})
            for scheme in ("light", "dark"):
                visitor.page.emulate_media(color_scheme=scheme)
                if address.count("/") < 3:
                    name = address.strip("/").replace("/", " ") or "overview"
                    visitor.photograph(f"{name.split('?')[0]}, {size}, {scheme}")
            assert not visitor.is_too_wide(), f"{address} on a {size}"
        visitor.page.set_viewport_size({"width": 1280, "height": 900})
        visitor.page.emulate_media(color_scheme="light")
        found = visitor.links()
        addresses |= {one for one in found if _is_new_kind(one, walked)}
    kinds = {re.sub(r"[0-9a-f]{8,}|\d+|edge-\d+", "…", one.split("?")[0]) for one in walked}
    assert {"/rounds", "/learning", "/queues", "/people", "/edges", "/releases"} <= kinds
    assert {"/rounds/…", "/edges/…", "/releases/…"} <= kinds, kinds
    assert visitor.troubles == []


def _is_new_kind(address: str, walked: set[str]) -> bool:
    """Two pages of a kind are enough: `/rounds/1`, `/rounds/2`."""

    def kind(one: str) -> str:
        return re.sub(r"[0-9a-f]{8,}|\d+", "…", one)

    return sum(kind(one) == kind(address) for one in walked) < 2


def test_ux08_the_pictures_of_a_round_are_there(visitor: Visitor, running: RunningDemo) -> None:
    """UX-08: frame, before, draft, corrected, after, each really drawn."""
    assert running.is_over.wait(PATIENCE_S)
    visitor.open("/rounds/1")
    visitor.page.evaluate(
        "document.querySelectorAll('img[loading]').forEach(i => i.loading = 'eager')"
    )
    visitor.page.wait_for_function(
        """() => { const all = [...document.querySelectorAll('main img')];
                   return all.length >= 5 && all.every(i => i.complete && i.naturalWidth > 0) }""",
        timeout=240_000,
    )
    visitor.photograph("round 1 with pictures")


def test_the_pages_can_be_walked_by_keyboard(visitor: Visitor) -> None:
    visitor.open("/")
    visitor.page.keyboard.press("Tab")
    assert visitor.page.evaluate("document.activeElement.className") == "skip"
    for _ in range(30):
        visitor.page.keyboard.press("Tab")
        if visitor.page.evaluate("document.activeElement.textContent") == "Releases":
            break
    visitor.page.keyboard.press("Enter")
    visitor.page.wait_for_url("**/releases")


def test_a_rollback_is_asked_for_confirmed_and_reaches_the_edge(
    visitor: Visitor, running: RunningDemo
) -> None:
    """One click shows what it would cost, a second one does it, and the robot runs it."""
    assert running.is_over.wait(PATIENCE_S)
    storage = open_storage(str(running.folder / "storage"))
    releases = Releases(storage, Journal(running.folder / "journal", "test"), utc_now)
    before = releases.current()
    assert before is not None and before.number >= 2, "the demo's round was released"
    visitor.open("/releases/1/rollback")
    visitor.photograph("what a rollback would cost")
    assert releases.current() == before, "looking at it changes nothing"
    visitor.page.click("main form button")
    visitor.page.wait_for_load_state()
    after = releases.current()
    assert after is not None
    assert (after.number, after.is_rollback) == (before.number + 1, True)
    assert after.version_id == releases.history()[0].version_id
    assert after.version_id in visitor.page.content()
    visitor.photograph("rolled back")
    for _ in range(100):
        health = storage.get("edges/edge-1/health.json").decode()
        if f'"{after.version_id}"' in health and f'"release_number":{after.number}' in re.sub(
            r"\s", "", health
        ):
            break
        visitor.page.wait_for_timeout(300)
    else:
        pytest.fail("the edge does not run it")
    visitor.open("/edges")
    assert after.version_id[:8] in visitor.page.content()
    assert RoundState.RELEASED in visitor.page.request.get(f"{visitor.home}rounds.json").text()
    assert visitor.troubles == []
