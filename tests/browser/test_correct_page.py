"""UX-09 and ANN-05 in a real Chromium: drafts corrected with keys alone, over files in a folder."""

import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from fastapi import Request
from fastapi.responses import Response
from numpy.typing import NDArray
from playwright.sync_api import Page, sync_playwright

from annotation.assist.segmenter import Readiness
from cloud.access.headers import add_headers
from cloud.access.permissions import Caller, Role
from cloud.web.app import make_app
from lifelong.links.storage import Storage, open_storage
from lifelong.records.pixels import jpeg_from_image, mask_from_png, png_from_mask
from lifelong.records.samples import PreAnnotation, RegionScore
from tests.builders import a_pre_annotation, an_image
from tests.chromium import ARGUMENTS, CHROMIUM
from tests.correct_room import CorrectRoom, DiscModel, discs
from tests.web_parts import some_parts

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no {CHROMIUM}; `make test` installs it"),
]

HEIGHT, WIDTH = 240, 320
ROAD, CAR, PERSON, UNKNOWN = 0, 1, 2, 255


def a_draft_mask(seed: int) -> NDArray[np.uint8]:
    """A road with a car, a person (of whom the draft is least sure), and an unknown corner."""
    mask = np.full((HEIGHT, WIDTH), ROAD, dtype=np.uint8)
    mask[100:140, 60 + 10 * seed : 130 + 10 * seed] = CAR
    mask[40:90, 200:220] = PERSON
    mask[:20, :30] = UNKNOWN
    return mask


def drafts(storage: Storage, count: int) -> list[PreAnnotation]:
    made = []
    for seed in range(count):
        image = jpeg_from_image(an_image(seed, HEIGHT, WIDTH))
        left = 60 + 10 * seed
        draft = a_pre_annotation(
            seed,
            height=HEIGHT,
            width=WIDTH,
            regions=(
                RegionScore(class_id=CAR, area=2800, box=(left, 100, left + 69, 139), score=0.7),
                RegionScore(class_id=PERSON, area=1000, box=(200, 40, 219, 89), score=0.4),
            ),
        )
        storage.put(draft.image_key, image)
        storage.put(draft.mask_key, png_from_mask(a_draft_mask(seed)))
        made.append(draft)
    return made


class Browser:
    """One window at `/correct`, and what its console said."""

    def __init__(self, page: Page, room: CorrectRoom, url: str) -> None:
        self.page, self.room, self.url = page, room, url
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "console",
            lambda line: self.complaints.append(line.text) if line.type == "error" else None,
        )

    def open(self) -> None:
        self.page.goto(f"{self.url}/correct")
        self.wait_for(0)

    def wait_for(self, number: int) -> None:
        """Until the task is there, with its picture."""
        key = f"1-{self.room.tasks[number].sample_id}"
        self.page.wait_for_selector(f"#correct[data-task='{key}'][data-picture='{key}']")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def move(self, right: int, down: int) -> None:
        """Move the crosshair, in pixels of the picture, by steps a key press makes."""
        for key, count in (("ArrowRight", right), ("ArrowDown", down)):
            for _ in range(abs(count)):
                away = {"ArrowRight": "ArrowLeft", "ArrowDown": "ArrowUp"}[key]
                self.page.keyboard.press(key if count > 0 else away)

    def says(self, words: str) -> str:
        self.page.wait_for_function(
            "words => document.getElementById('said').textContent.includes(words)", arg=words
        )
        return self.page.inner_text("#said")

    def waits_for_class(self, name: str) -> None:
        self.page.wait_for_function(
            "name => document.querySelector('#classes button[aria-pressed=true] .name')"
            ".textContent === name",
            arg=name,
        )

    def chosen(self) -> str:
        return self.page.inner_text("#classes button[aria-pressed=true] .name")


@contextmanager
def served(room: CorrectRoom) -> Iterator[str]:
    """The real application, with the real headers; everybody who asks is Tess."""
    app = make_app(some_parts(correction_desk=room.desk, storage=room.storage))

    @app.middleware("http")
    async def known(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        request.state.caller = Caller(
            name="tess", role=Role.ANNOTATOR, token_id="t1", csrf="csrf-of-tess"
        )
        if request.method == "POST":
            assert request.headers["x-csrf-token"] == "csrf-of-tess"
        told = await answer(request)
        add_headers(told.headers, request.url.path, is_tls=False)
        return told

    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=240)


@contextmanager
def browser_at(room: CorrectRoom, **context: Any) -> Iterator[Browser]:
    with served(room) as url, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = chromium.new_page(**{"viewport": {"width": 1280, "height": 900}, **context})
        yield Browser(page, room, url)
        chromium.close()


def a_room(tmp_path: Path, count: int = 3, model: DiscModel | None = None) -> CorrectRoom:
    storage = open_storage("memory://")
    return CorrectRoom(tmp_path, storage=storage, drafts=drafts(storage, count), model=model)


def written(room: CorrectRoom, number: int) -> NDArray[np.uint8]:
    annotation = room.pulled()[room.tasks[number].sample_id]
    return mask_from_png(room.storage.get(annotation.mask_key), "mask")


def test_ux_09_three_tasks_with_the_keyboard_alone_come_back_pixel_for_pixel(
    tmp_path: Path,
) -> None:
    """Class, renamed region, positive and negative point, words, undo, redo, accept and next;
    ANN-05: class and words stay for the next picture, also when the page is loaded again."""
    room = a_room(tmp_path, model=DiscModel())
    with browser_at(room) as at:
        at.open()
        assert "0 of 3 done" in at.page.inner_text("#progress")

        # The first one: the most doubtful region is the person, who is a car.
        at.press("Tab")
        at.says("Region 1 of 4: person, 1,000 pixels, the draft is sure to 0.40")
        at.press("2")
        at.says("The region is car now")
        # An object: one click, one click for what does not belong to it.
        at.press("Escape")
        at.press("3")
        at.says("person is chosen")
        at.page.screenshot(path=tmp_path / "region.png")
        at.move(5, 0)
        here = at.page.evaluate(
            "() => ['--x', '--y'].map(n => parseFloat(crosshair.style.getPropertyValue(n)))"
        )
        x, y = here[0] / 100 * WIDTH, here[1] / 100 * HEIGHT
        at.press("Space")
        at.says("person: ")
        at.press("n")
        at.says("negative")
        at.move(4, 0)
        at.press("Space")
        at.page.wait_for_function("document.querySelectorAll('.point').length === 2")
        at.says("person: ")
        at.page.screenshot(path=tmp_path / "points.png")
        step = at.page.evaluate(
            "() => parseFloat(crosshair.style.getPropertyValue('--x'))"
        ) / 100 * WIDTH - x  # fmt: skip
        at.press("u")
        at.says("Undone")
        assert at.page.locator(".point").count() == 1
        at.press("r")
        at.says("Done again")
        at.press("n", "Enter")
        at.wait_for(1)
        at.says("Accepted")
        expected = a_draft_mask(0)
        expected[expected == PERSON] = CAR
        points = [(x, y, True), (x + step, y, False)]
        expected[discs((HEIGHT, WIDTH), points)] = PERSON
        assert np.array_equal(written(room, 0), expected)

        # The second one: the class stayed; words; a region discarded and one given away.
        assert at.chosen() == "person"
        at.press("t")
        at.page.keyboard.type("people on foot")
        at.press("Enter")
        at.says("1 found")
        at.press("Escape", "Tab", "Delete")
        at.says("Nobody knows")
        at.press("Tab", "Shift+Delete")
        at.says("belongs to road")
        at.press("Control+z", "Control+Shift+Z", "a")
        at.wait_for(2)
        expected = a_draft_mask(1)
        expected[:, :3] = PERSON
        expected[40:90, 200:220] = UNKNOWN
        expected[100:140, 70:140] = ROAD
        assert np.array_equal(written(room, 1), expected)

        # The third one, after the page was loaded again: words and class are still there.
        at.page.reload()
        at.wait_for(2)
        assert at.chosen() == "person"
        at.press("Shift+T")
        at.says("1 found")
        assert room.model is not None
        assert room.model.words == [("people on foot",), ("people on foot",)]
        at.press("u", "u", "Enter")
        at.says("Nothing waits")
        assert np.array_equal(written(room, 2), a_draft_mask(2))
        assert "3 of 3 done" in at.page.inner_text("#progress")
        assert at.complaints == []
    for annotation in room.pulled().values():
        assert annotation.annotator == "tess"
        assert annotation.seconds is not None
        assert 0 < annotation.seconds < 600


def test_ux_09_box_class_by_name_skip_and_help_by_keyboard(tmp_path: Path) -> None:
    room = a_room(tmp_path, count=2, model=DiscModel())
    with browser_at(room) as at:
        at.open()
        at.press("?")
        assert at.page.locator("#help-dialog").is_visible()
        at.page.screenshot(path=tmp_path / "help.png")
        at.press("Escape", "/")
        at.page.keyboard.type("car")
        at.press("Enter")
        at.waits_for_class("car")
        at.press("b")
        at.says("One corner")
        at.move(10, 8)
        at.press("b")
        at.says("car: ")
        expected = a_draft_mask(0)
        expected[120:129, 160:171] = CAR
        at.press("Enter")
        at.wait_for(1)
        assert np.array_equal(written(room, 0), expected)
        at.press("s")
        at.page.keyboard.type("out of focus")
        at.press("Enter")
        at.says("Nothing waits")
        (skip,) = room.exchange.pull(room.tasks).skips
        assert skip.reason == "skipped: out of focus (tess)"
        assert at.complaints == []


def test_ux_09_mouse_and_a_lost_connection(tmp_path: Path) -> None:
    """Alt and the right button are negative, dragging draws a box; nothing is lost offline."""
    room = a_room(tmp_path, count=1, model=DiscModel())
    with browser_at(room) as at:
        at.open()
        at.press("3")
        stage = at.page.locator("#stage").bounding_box()
        assert stage is not None
        scale = stage["width"] / WIDTH

        def place(x: float, y: float) -> tuple[float, float]:
            return stage["x"] + (x + 0.5) * scale, stage["y"] + (y + 0.5) * scale

        at.page.mouse.click(*place(150, 60))
        at.says("person: ")
        at.page.mouse.click(*place(153, 60), button="right")
        at.page.wait_for_function("document.querySelectorAll('.point.negative').length === 1")
        at.says("person: ")
        expected = a_draft_mask(0)
        expected[discs((HEIGHT, WIDTH), [(150.5, 60.5, True), (153.5, 60.5, False)])] = PERSON
        at.page.context.set_offline(True)
        at.press("Enter")
        at.page.wait_for_selector("#trouble:not([hidden])")
        assert "kept here" in at.page.inner_text("#trouble")
        assert not room.pulled()
        at.page.context.set_offline(False)
        at.says("Nothing waits")
        assert np.array_equal(written(room, 0), expected)
        offline = [one for one in at.complaints if "ERR_INTERNET_DISCONNECTED" not in one]
        assert offline == []


def test_ux_09_a_model_that_is_loading_says_so_and_then_answers(tmp_path: Path) -> None:
    model = DiscModel()
    model.readiness = Readiness.LOADING
    room = a_room(tmp_path, count=1, model=model)
    with browser_at(room) as at:
        at.open()
        at.says("still loading")
        at.press("Space")
        at.says("asking again")
        model.readiness = Readiness.READY
        at.says("road: ")


def test_ux_09_without_a_model_regions_are_taken_in_hand(tmp_path: Path) -> None:
    room = a_room(tmp_path, count=1)
    with browser_at(room) as at:
        at.open()
        at.press("t")
        at.says("No model is served")
        at.move(-40, 0)
        at.press("Space")
        at.says("Region: car, 2,800 pixels")
        at.press("3", "Enter")
        at.says("Nothing waits")
        expected = a_draft_mask(0)
        expected[expected == CAR] = PERSON
        expected[40:90, 200:220] = PERSON
        assert np.array_equal(written(room, 0), expected)
        assert at.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_ux_09_the_page_fits_a_phone_and_both_schemes(
    tmp_path: Path, scheme: str, width: int
) -> None:
    room = a_room(tmp_path, count=1, model=DiscModel())
    size = {"width": width, "height": 780}
    with browser_at(room, viewport=size, color_scheme=scheme) as at:
        at.open()
        at.press("Tab")
        at.says("Region 1")
        at.page.screenshot(path=tmp_path / f"{scheme}-{width}.png", full_page=True)
        wide = at.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width
        # Cut off, "traffic light" and "traffic sign" would read the same.
        is_whole = at.page.evaluate("""() => {
            const name = document.querySelector(".classes .name");
            name.textContent = "traffic light above the second lane";
            return name.scrollWidth <= name.clientWidth && name.scrollHeight <= name.clientHeight;
        }""")
        assert is_whole
        assert at.complaints == []
