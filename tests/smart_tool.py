"""Label Studio's smart tool in a real browser, as a person uses it."""

import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Page, sync_playwright

from annotation.label_studio_server import LabelStudioServer
from tests.chromium import ARGUMENTS, CHROMIUM, log_in

_REGIONS = "() => Htx.annotationStore.selected.serializeAnnotation()"
_SUGGESTED = """() => [...Htx.annotationStore.selected.suggestions.values()]
    .map(region => region.cleanId || region.id)"""


class SmartTool:
    """One task in the editor, with Auto-Annotation switched on."""

    def __init__(self, page: Page, server: LabelStudioServer) -> None:
        self.page = page
        self._server = server

    def open(self, project: int, task: int) -> None:
        """Open a task's quick view and switch Auto-Annotation on."""
        self.page.goto(f"{self._server.url}/projects/{project}/data?task={task}")
        self.page.wait_for_selector("canvas", timeout=240_000)
        self.page.wait_for_function("() => window.Htx && Htx.annotationStore.selected")
        self.page.wait_for_timeout(2000)
        self.page.get_by_text("Auto-Annotation", exact=True).first.click()

    def choose(self, tool: str, label: str, *, shape: str = "key-point-tool") -> None:
        """Take a label of a tool, by the tool's name in the labelling config, and the smart tool.

        The editor shows the labels of all tools in the order of the config.
        """
        config = str(self.page.evaluate("() => Htx.annotationStore.store.config"))
        shown = [
            (tag.get("name"), one.get("value"))
            for tag in ElementTree.fromstring(config).iter()
            if tag.tag.endswith("Labels")
            for one in tag.iter("Label")
        ]
        chosen = self.page.locator(".lsf-label").nth(shown.index((tool, label)))
        if "lsf-label_selected" not in str(chosen.get_attribute("class")):
            chosen.click()
        # The smart tool has a shape of its own, whatever label is taken.
        self.page.locator("button.lsf-tool_smart").first.hover()
        self.page.locator(f"button.lsf-tool_smart[aria-label={shape}]").click()
        self.page.mouse.move(5, 5)
        self.page.wait_for_timeout(300)

    def click(self, x: float, y: float, *, negative: bool = False) -> float:
        """Click at shares of the picture, with Alt where it is `negative`; seconds to the answer.

        Else Ctrl is held: a region that lies there already would be selected instead.
        """
        left, top = self._place(x, y)
        keys = ["Alt" if negative else "Control"]
        return self._answered(lambda: self._with(keys, lambda: self.page.mouse.click(left, top)))

    def drag(self, x0: float, y0: float, x1: float, y1: float) -> float:
        """Draw a box; seconds to the answer."""

        def move() -> None:
            mouse = self.page.mouse
            mouse.move(*self._place(x0, y0))
            mouse.down()
            mouse.move(*self._place((x0 + x1) / 2, (y0 + y1) / 2), steps=4)
            mouse.move(*self._place(x1, y1), steps=4)
            mouse.up()

        return self._answered(lambda: self._with(["Control"], move))

    def type(self, words: str) -> float:
        """Type into the first text field of the config; seconds to the answer."""
        field = self.page.locator("input[type=text]:visible, textarea:visible").first
        field.fill(words)
        return self._answered(lambda: field.press("Enter"))

    def accept(self) -> None:
        """Keep what was suggested."""
        self.page.locator("[data-testid=bottombar-accept-suggestions-button]").click()
        self.page.wait_for_timeout(500)

    def submit(self) -> None:
        """Submit, or update what was submitted."""
        label = "Submit current annotation"
        if not self.page.get_by_label(label).count():
            label = "Update current annotation"
        with self.page.expect_response(
            lambda answer: "/annotations" in answer.url and answer.request.method != "GET"
        ):
            self.page.get_by_label(label).click()
        self.page.wait_for_timeout(500)

    def regions(self) -> list[dict[str, Any]]:
        """What the editor would submit now, prompts included."""
        return list(self.page.evaluate(_REGIONS))

    def wait_until_saved(self) -> None:
        """The editor saves a draft some seconds after the last change."""
        self.page.wait_for_function(
            "() => Htx.annotationStore.selected.draftSaved"
            " && !Htx.annotationStore.selected.isDraftSaving",
            timeout=120_000,
        )
        self.page.wait_for_timeout(1000)

    def _place(self, x: float, y: float) -> tuple[float, float]:
        box = self.page.locator(".konvajs-content").first.bounding_box()
        assert box is not None
        return box["x"] + box["width"] * x, box["y"] + box["height"] * y

    def _with(self, keys: list[str], action: Callable[[], None]) -> None:
        for key in keys:
            self.page.keyboard.down(key)
        try:
            action()
        finally:
            for key in reversed(keys):
                self.page.keyboard.up(key)

    def _answered(self, action: Callable[[], None]) -> float:
        """Seconds until what was asked has been answered and drawn."""
        before = self.page.evaluate(_SUGGESTED)
        with self.page.expect_response(
            lambda answer: "interactive-annotating" in answer.url, timeout=120_000
        ) as answer:
            begin = time.monotonic()
            action()
        assert answer.value.status == 200
        if answer.value.json().get("data", {}).get("result"):
            self.page.wait_for_function(
                f"before => JSON.stringify(({_SUGGESTED})()) !== JSON.stringify(before)",
                arg=before,
                timeout=120_000,
            )
        seconds = time.monotonic() - begin
        self.page.wait_for_timeout(300)
        return seconds


@contextmanager
def smart_tool(server: LabelStudioServer) -> Iterator[SmartTool]:
    """A browser that is logged in."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        log_in(page, server)
        try:
            yield SmartTool(page, server)
        finally:
            browser.close()
