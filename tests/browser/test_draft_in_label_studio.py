"""A person opens a task: the draft lies on the image in colour, and comes back as submitted."""

import io
from contextlib import closing
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import sync_playwright

from annotation.exchange import Exchange
from annotation.label_studio import LabelStudio
from annotation.label_studio_server import LabelStudioServer
from lifelong.links.journal import Journal, utc_now
from lifelong.links.storage import open_storage
from lifelong.records.pixels import jpeg_from_image, png_from_mask
from lifelong.sections.annotation import LabelStudioSection
from tests.builders import SMALL_MAP, a_mask, a_pre_annotation
from tests.chromium import ARGUMENTS, CHROMIUM, log_in

pytestmark = [
    pytest.mark.integration,
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no {CHROMIUM}; `make test` installs it"),
]

DRAWN = "() => window.Htx && Htx.annotationStore.selected?.regions.length > 0"


@pytest.mark.parametrize("mode", ["auto", "brush", "polygons"])
def test_the_draft_is_visible_and_comes_back_as_submitted(
    label_studio_server: LabelStudioServer,
    tmp_path: Path,
    mode: Literal["auto", "brush", "polygons"],
) -> None:
    label_studio_server.start()
    root = label_studio_server.documents_root
    storage = open_storage(str(root / tmp_path.name))
    draft = a_pre_annotation(1, height=240, width=320)
    mask = a_mask(1, 240, 320)
    grey = np.full((240, 320, 3), 128, dtype=np.uint8)  # every colour on it is the draft's
    storage.put(draft.image_key, jpeg_from_image(grey))
    storage.put(draft.mask_key, png_from_mask(mask))
    with closing(LabelStudio(label_studio_server.url, label_studio_server.token, 60.0)) as studio:
        exchange = Exchange(
            storage=storage,
            studio=studio,
            label_map=SMALL_MAP,
            section=LabelStudioSection(project=f"Seen {mode}", local_files_root=root, draft=mode),
            journal=Journal(tmp_path / "journal", "cloud"),
            now=utc_now,
        )
        (task,) = exchange.push([draft])
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
            page = browser.new_page(viewport={"width": 1400, "height": 900})
            log_in(page, label_studio_server)
            page.goto(
                f"{label_studio_server.url}/projects/{task.project_id}/data?task={task.task_id}"
            )
            page.wait_for_selector("canvas", timeout=240_000)
            page.wait_for_function(DRAWN, timeout=240_000)
            page.wait_for_timeout(2000)
            shot = page.locator(".konvajs-content").first.screenshot()
            (tmp_path / f"{mode}.png").write_bytes(shot)
            page.get_by_label("Submit current annotation").click()
            for _ in range(60):
                if studio.round_tasks(task.project_id, 1)[0].submitted:
                    break
                page.wait_for_timeout(500)
            browser.close()
        colours = colours_by_class(shot, mask)
        pulled = exchange.pull([task])
    assert colours[1][2] - colours[1][0] > 30  # car is dark blue
    assert colours[2][0] - colours[2][2] > 30  # person is red
    assert colours[0][0] - colours[0][1] > 10  # road is purple
    (annotation,) = pulled.annotations
    assert (annotation.agreement, annotation.changed_pixels) == (1.0, 0)
    assert annotation.annotator == label_studio_server.email
    assert annotation.seconds is not None


def colours_by_class(shot: bytes, mask: np.ndarray) -> dict[int, np.ndarray]:
    """Median colour of each class where the picture is shown; the canvas holds only the image."""
    picture = Image.open(io.BytesIO(shot)).convert("RGB").resize((320, 240))
    pixels = np.asarray(picture, dtype=np.int64)
    return {c: np.median(pixels[mask == c], axis=0) for c in np.unique(mask).tolist()}
