"""A person corrects a real frame's draft, and our pull is the mask that the screen shows.

A vertex is dragged, a class changed, a piece erased with the brush, all with the mouse. The screen
is read with and without regions: what changes says how each pixel is coloured, and so its class.
"""

import io
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from annotation.exchange import Exchange
from annotation.label_studio import LabelStudio
from annotation.label_studio_server import LabelStudioServer
from cloud.demo.scenes import draw_scene
from lifelong.links.journal import Journal, utc_now
from lifelong.links.storage import Storage, open_storage
from lifelong.records.label_map import CITYSCAPES
from lifelong.records.pixels import jpeg_from_image, mask_from_png, png_from_mask
from lifelong.records.samples import AnnotationTask
from lifelong.sections.annotation import LabelStudioSection
from tests.browser.test_draft_in_label_studio import DRAWN
from tests.builders import a_pre_annotation
from tests.camvid import CAMVID
from tests.chromium import ARGUMENTS, CHROMIUM, log_in

pytestmark = [
    pytest.mark.integration,
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no {CHROMIUM}; `make test` installs it"),
]

LABEL_MAP = CITYSCAPES.with_distinct_colours()
CAR, TRUCK, ROAD = (CITYSCAPES.id_of(name) for name in ("car", "truck", "road"))
FRAME = "0016E5_08043"


# Where the editor shows the image on its canvas: it zooms a little when a region is chosen.
VIEW = """() => {
  const image = Htx.annotationStore.selected.objects.find(one => one.name == "image");
  return [image.zoomingPositionX, image.zoomingPositionY,
          image.stageZoomX * image.zoomScale, image.stageZoomY * image.zoomScale];
}"""


class Desk:
    """One task on the screen, and how image pixels and screen pixels belong together."""

    def __init__(self, page: Page, shape: tuple[int, ...]) -> None:
        self.page = page
        self.height, self.width = shape
        self.canvas = page.locator(".konvajs-content").first

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The point of the screen that shows (x, y) of the image, pixels."""
        box = self.canvas.bounding_box()
        assert box is not None
        left, top, across, down = self.page.evaluate(VIEW)
        return box["x"] + left + x * across, box["y"] + top + y * down

    def click(self, x: float, y: float) -> None:
        self.page.mouse.click(*self.at(x, y))
        self.page.wait_for_timeout(500)

    def drag(self, *points: tuple[float, float]) -> None:
        first, *rest = (self.at(*point) for point in points)
        self.page.mouse.move(*first)
        self.page.wait_for_timeout(200)
        self.page.mouse.down()
        for point in rest:
            self.page.mouse.move(*point, steps=12)
        self.page.mouse.up()
        self.page.wait_for_timeout(500)

    def chosen(self) -> str:
        """Id of the region that is chosen, "" for none."""
        return str(
            self.page.evaluate("(Htx.annotationStore.selected.highlightedNode?.id || '')")
        ).split("#")[0]

    def corners(self, region_id: str) -> NDArray[np.float64]:
        """(N, 2) corners of a polygon on the screen, x and y of the image, pixels."""
        points = self.page.evaluate(
            "id => Htx.annotationStore.selected.regions.find(r => r.id.startsWith(id + '#'))"
            ".serialize().value.points",
            region_id,
        )
        return np.array(points) / 100 * (self.width, self.height)

    def tool(self, name: str) -> None:
        self.page.get_by_label(name, exact=True).first.click()
        self.page.wait_for_timeout(400)

    def picture(self) -> NDArray[np.float64]:
        """(height, width, 3) colours on the screen at the centre of each image pixel."""
        left, top, across, down = self.page.evaluate(VIEW)
        screen = np.asarray(
            Image.open(io.BytesIO(self.canvas.screenshot())).convert("RGB"), dtype=np.float64
        )
        rows = (top + (np.arange(self.height) + 0.5) * down).astype(int)
        columns = (left + (np.arange(self.width) + 0.5) * across).astype(int)
        seen = np.full((self.height, self.width, 3), np.nan)
        inside_y = (rows >= 0) & (rows < screen.shape[0])
        inside_x = (columns >= 0) & (columns < screen.shape[1])
        seen[np.ix_(inside_y, inside_x)] = screen[np.ix_(rows[inside_y], columns[inside_x])]
        return seen


@pytest.fixture
def pushed(
    label_studio_server: LabelStudioServer, tmp_path: Path
) -> Iterator[tuple[Exchange, AnnotationTask, NDArray[np.uint8], Storage]]:
    """A real frame with its own labels as the draft, offered in a project of its own."""
    label_studio_server.start()
    image, mask = a_street()
    storage = open_storage(str(label_studio_server.documents_root / tmp_path.name))
    draft = a_pre_annotation(1, height=mask.shape[0], width=mask.shape[1])
    storage.put(draft.image_key, image)
    storage.put(draft.mask_key, png_from_mask(mask))
    with closing(LabelStudio(label_studio_server.url, label_studio_server.token, 60.0)) as studio:
        exchange = Exchange(
            storage=storage,
            studio=studio,
            label_map=LABEL_MAP,
            section=LabelStudioSection(
                project=f"Corrections {tmp_path.name}"[:50],
                local_files_root=label_studio_server.documents_root,
            ),
            journal=Journal(tmp_path / "journal", "cloud"),
            now=utc_now,
        )
        (task,) = exchange.push([draft])
        yield exchange, task, mask, storage


def test_ann_02_cnv_03_what_a_person_corrected_is_pulled_as_the_screen_shows_it(
    label_studio_server: LabelStudioServer,
    pushed: tuple[Exchange, AnnotationTask, NDArray[np.uint8], Storage],
    tmp_path: Path,
) -> None:
    exchange, task, mask, storage = pushed
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1600, "height": 1500})
        log_in(page, label_studio_server)
        page.goto(f"{label_studio_server.url}/projects/{task.project_id}/data?task={task.task_id}")
        page.wait_for_selector("canvas", timeout=240_000)
        page.wait_for_function(DRAWN, timeout=240_000)
        page.wait_for_timeout(2500)
        desk = Desk(page, mask.shape)
        page.screenshot(path=tmp_path / "opened.png")
        car = correct(desk, mask)
        page.screenshot(path=tmp_path / "corrected.png")
        page.keyboard.press("Escape")
        page.mouse.move(5, 1400)  # no hint of a tool over the picture
        page.wait_for_timeout(1000)
        shown = desk.picture()
        page.get_by_label("Hide all regions").click()
        page.mouse.move(5, 1400)
        page.wait_for_timeout(1000)
        bare = desk.picture()
        page.get_by_label("Show all regions").click()
        page.wait_for_timeout(500)
        page.get_by_label("Submit current annotation").click()
        page.wait_for_selector("text=Annotation saved successfully", timeout=120_000)
        browser.close()
    (annotation,) = exchange.pull([task]).annotations
    pulled = mask_from_png(storage.get(annotation.mask_key), "pulled")
    compare(shown, bare, pulled, mask, car)
    told = annotation.costs[0].classes
    assert sum(told[name].regions_touched for name in ("car", "truck")) == 1
    assert told["road"].pixels_removed > 100
    assert annotation.changed_pixels == np.count_nonzero(pulled != mask)


def correct(desk: Desk, mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Drag a corner of the largest car, make it a truck, erase a piece of road.

    Returns:
        (H, W) bool: the car as it was in the draft.
    """
    count, pieces, boxes, _ = cv2.connectedComponentsWithStats(
        (mask == CAR).astype(np.uint8), connectivity=4
    )
    car = pieces == int(boxes[1:count, 4].argmax()) + 1
    y, x = np.argwhere(cv2.erode(car.astype(np.uint8), np.ones((15, 15)))).mean(axis=0)
    desk.click(x, y)
    region_id = desk.chosen()
    assert region_id.startswith(f"draft-{CAR}-")
    before = desk.corners(region_id)
    # The topmost of the corners that stand alone: a mouse cannot tell two that touch apart.
    apart = np.hypot(*(before[:, None] - before[None]).T) + 99 * np.eye(len(before))
    top = int(np.where(apart.min(axis=0) > 5, before[:, 1], np.inf).argmin())
    corner = before[top]
    desk.drag((corner[0], corner[1]), (corner[0] - 4, corner[1] - 14))
    after = desk.corners(region_id)
    assert np.allclose(after[top], corner - (4, 14), atol=1.0)
    assert np.allclose(np.delete(after, top, axis=0), np.delete(before, top, axis=0))
    desk.page.locator(".lsf-label", has_text="truck").first.click()
    desk.page.wait_for_timeout(500)
    desk.page.keyboard.press("Escape")
    desk.page.wait_for_timeout(300)
    inside = cv2.erode((mask == ROAD).astype(np.uint8), np.ones((31, 31)))
    y, x = np.argwhere(inside[:320, 200:300])[-1] + (0, 200)  # well inside what is shown
    desk.page.locator(".lsf-tree__node", has_text="road").first.click()
    desk.page.wait_for_timeout(500)
    assert desk.chosen() == f"draft-{ROAD}"
    desk.tool("eraser")
    desk.drag((x, y), (x - 30, y), (x - 60, y - 4))
    desk.tool("move-tool")
    return np.asarray(car)


def a_street() -> tuple[bytes, NDArray[np.uint8]]:
    """A frame as JPEG and its classes: CamVid's where it lies beside us, else a drawn one."""
    folder = CAMVID / "day" / "eval"
    if folder.exists():
        mask = mask_from_png((folder / "train_ids" / f"{FRAME}.png").read_bytes(), FRAME)
        return (folder / "images" / f"{FRAME}.jpg").read_bytes(), mask
    scene = draw_scene(2, "clear", 360, 480)
    return jpeg_from_image(scene.image), scene.mask


def off_by_class(
    shown: NDArray[np.float64], bare: NDArray[np.float64], truck: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """How far each pixel's colour is from what it would be with each class on top.

    A brush region covers the picture with six tenths of its colour. The polygon may lie on bare
    picture or on any brush region; how it mixes is fitted deep inside of it, at `truck`.

    Returns:
        (256, H, W), levels of 255; infinite for classes that are not asked about.
    """
    under = [bare, *(0.4 * bare + 0.6 * LABEL_MAP.palette[c] for c in range(len(LABEL_MAP)))]
    ones = np.ones(int(truck.sum()))
    mixed = np.stack(
        [
            np.linalg.lstsq(np.stack([bare[truck][:, c], ones], 1), shown[truck][:, c])[0]
            for c in range(3)
        ]
    )
    off = np.full((256, *shown.shape[:2]), np.inf)
    for class_id, seen in zip([255, *range(len(LABEL_MAP))], under, strict=True):
        off[class_id] = np.abs(shown - seen).max(axis=2)
    for seen in under:
        covered = mixed[:, 0] * seen + mixed[:, 1]
        off[TRUCK] = np.minimum(off[TRUCK], np.abs(shown - covered).max(axis=2))
    return off


def compare(
    shown: NDArray[np.float64],
    bare: NDArray[np.float64],
    pulled: NDArray[np.uint8],
    draft: NDArray[np.uint8],
    car: NDArray[np.bool_],
) -> None:
    """The colours are those of the pulled classes; where they were corrected, not of the draft's.

    Left out: what the editor does not show (it is zoomed a little), other things (polygons too),
    and pixels at a border, where the screen mixes colours and draws lines.
    """
    visible = ~np.isnan(shown).any(axis=2)
    seen = cv2.erode(np.asarray(visible, dtype=np.uint8), np.ones((5, 5))).astype(bool)
    covered = np.asarray(car & (pulled == TRUCK), dtype=np.uint8)
    deep = cv2.erode(covered, np.ones((9, 9))).astype(bool)
    off = off_by_class(shown, bare, deep & seen)
    kernel = np.ones((5, 5), np.uint8)
    plain = cv2.erode(pulled, kernel) == cv2.dilate(pulled, kernel)
    plain &= cv2.erode(draft, kernel) == cv2.dilate(draft, kernel)  # it shines through
    others = [LABEL_MAP.id_of(name) for name in LABEL_MAP.things if name != "truck"]
    sure = seen & plain & ~np.isin(pulled, others)
    rows, columns = np.nonzero(sure)
    of_pulled = off[pulled[sure], rows, columns]
    assert sure.mean() > 0.75
    assert (of_pulled <= 4).all(), np.count_nonzero(of_pulled > 4)
    corrected = sure & (pulled != draft)
    rows, columns = np.nonzero(corrected)
    assert np.count_nonzero(corrected & (pulled == 255)) > 40  # erased
    assert np.count_nonzero(corrected & (pulled == TRUCK) & ~car) > 40  # dragged over others
    assert np.count_nonzero(corrected & (pulled == TRUCK)) > 1000
    told_apart = off[draft[corrected], rows, columns] > 4
    assert told_apart.mean() > 0.99
