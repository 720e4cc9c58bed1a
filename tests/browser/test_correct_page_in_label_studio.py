"""UX-09: a task that was accepted on `/correct`, opened in a real Label Studio to go on with it."""

from contextlib import closing
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from playwright.sync_api import sync_playwright

from annotation.correcting.in_studio import StudioCorrections
from annotation.correcting.work import HandedIn, Outcome
from annotation.label_studio_server import LabelStudioServer
from annotation.page_marks import mark_of
from lifelong.records.pixels import mask_from_png
from tests.builders import SMALL_MAP, a_mask
from tests.chromium import ARGUMENTS, CHROMIUM, log_in
from tests.label_studio_room import Room

pytestmark = [
    pytest.mark.integration,
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no {CHROMIUM}; `make test` installs it"),
]


def test_ux_09_whoever_opens_it_in_label_studio_goes_on_from_it(
    label_studio_server: LabelStudioServer, tmp_path: Path
) -> None:
    label_studio_server.start()
    with closing(Room(label_studio_server, tmp_path)) as room, sync_playwright() as playwright:
        (task,) = room.exchange.push(room.drafts(1))
        work = StudioCorrections(
            storage=room.storage, studio=room.studio, label_map=SMALL_MAP,
            section=room.section, annotators=1,
        )  # fmt: skip
        mask = a_mask(0)
        mask[10:30, 10:40] = 2
        handed = HandedIn(by="tess", submission=str(uuid4()), seconds=6.0)
        assert work.accept(task, mask, handed) is Outcome.TAKEN

        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        log_in(page, label_studio_server)
        page.goto(f"{label_studio_server.url}/projects/{task.project_id}/data?task={task.task_id}")
        page.wait_for_selector("canvas", timeout=240_000)
        page.wait_for_function("() => window.Htx && Htx.annotationStore.selected")
        page.wait_for_timeout(2000)
        page.screenshot(path=tmp_path / "editor.png")
        shown = page.evaluate("() => Htx.annotationStore.selected.serializeAnnotation()")
        listed = room.api("GET", f"/api/tasks/{task.task_id}")["annotations"][0]["result"]
        assert {one["id"] for one in shown} == {one["id"] for one in listed}

        # Somebody takes one region away and updates: the name of who corrected it stays.
        page.evaluate(
            "() => { const a = Htx.annotationStore.selected;"
            " const id = one => one.cleanId || one.id;"
            " a.deleteRegion(a.regions.find(one => id(one) === 'draft-2')); }"
        )
        with page.expect_response(
            lambda answer: "/annotations" in answer.url and answer.request.method == "PATCH"
        ):
            page.get_by_role("button", name="submit").or_(
                page.get_by_label("Update current annotation")
            ).first.click()
        browser.close()
        (after,) = room.api("GET", f"/api/tasks/{task.task_id}")["annotations"]
        mark = mark_of(after["result"])
        assert mark is not None
        assert mark.by == "tess"
        (annotation,) = room.exchange.pull([task]).annotations
        assert annotation.annotator == "tess"
        read = mask_from_png(room.storage.get(annotation.mask_key), "mask")
        assert (read[mask == 2] == 255).all()
        assert np.array_equal(read[mask != 2], mask[mask != 2])
