"""ANN-06: a rejected task opens as it was left, with the reason in sight, in a real browser."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import sync_playwright

from annotation.label_studio_server import LabelStudioServer
from annotation.regions import mask_from_regions
from tests.browser.test_draft_in_label_studio import DRAWN
from tests.builders import SMALL_MAP, a_mask
from tests.chromium import ARGUMENTS, CHROMIUM, log_in
from tests.desks import RealDesk, Setting

pytestmark = [
    pytest.mark.integration,
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no {CHROMIUM}; `make test` installs it"),
]

REASON = "the kerb at the left is missing"
# The queue, as "Label All Tasks" opens it, and one task, opened from the list.
PLACES = ("labeling=1", "task={task}")


@pytest.mark.parametrize("place", PLACES)
def test_ann_06_a_rejected_task_shows_the_work_and_the_reason(
    label_studio_server: LabelStudioServer, tmp_path: Path, place: str
) -> None:
    label_studio_server.start()
    desk = RealDesk(label_studio_server, tmp_path.name)
    with closing(desk.studio), sync_playwright() as playwright:
        setting = Setting(desk, tmp_path)
        exchange = setting.ruled(required=True)
        (task,) = exchange.push(setting.drafts(1))
        setting.truth(a_mask(5), task.task_id)
        setting.reviewer().reject(task, REASON)
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        log_in(page, label_studio_server)
        where = place.format(task=task.task_id)
        page.goto(f"{label_studio_server.url}/projects/{task.project_id}/data?{where}")
        page.wait_for_selector("canvas", timeout=240_000)
        page.wait_for_function(DRAWN, timeout=240_000)
        page.wait_for_timeout(2000)
        (tmp_path / "rejected.png").write_bytes(page.screenshot())
        assert page.get_by_text(REASON).first.is_visible()
        regions = page.evaluate("() => Htx.annotationStore.selected.serializeAnnotation()")
        left = mask_from_regions(regions, SMALL_MAP, size=(48, 64), where="on the screen")
        assert np.array_equal(left, a_mask(5))
        if place == "labeling=1":  # the queue begins with the project's instructions
            page.locator(".lsf-modal-ls button").first.click()
        page.get_by_label("Submit current annotation").click()
        for _ in range(60):
            if desk.studio.round_tasks(task.project_id, 1)[0].submitted:
                break
            page.wait_for_timeout(500)
        browser.close()
        assert exchange.pull([task]).annotations == ()  # nobody accepted it yet
        setting.reviewer().accept(task)
        (annotation,) = exchange.pull([task]).annotations
        assert annotation.changed_pixels == np.count_nonzero(a_mask(5) != a_mask(0))
        cost = annotation.costs[0]
        assert cost.seconds is not None
        assert cost.seconds > 12.5  # the first attempt, and this one
