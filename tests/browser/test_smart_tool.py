"""A person clicks in a real Label Studio, and `cornerloop assist` answers as a real process."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from annotation.brush_rle import mask_from_rle
from annotation.label_studio import LabelStudio
from annotation.label_studio_server import LabelStudioServer
from cloud.demo.scenes import draw_scene
from lifelong.records.label_map import CITYSCAPES
from tests.assist_room import CAR_BOX, CAR_CENTRE, HEIGHT, SEED, WIDTH, a_project, assist_process
from tests.chromium import CHROMIUM
from tests.smart_tool import smart_tool

pytestmark = [
    pytest.mark.integration,
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no {CHROMIUM}; `make test` installs it"),
]


def truth() -> NDArray[np.bool_]:
    """The car that is clicked on."""
    x0, y0, x1, y1 = CAR_BOX
    mask = draw_scene(SEED, "clear", HEIGHT, WIDTH).mask == CITYSCAPES.names.index("car")
    mask[:, :x0] = mask[:, x1:] = mask[:y0] = mask[y1:] = False
    return np.asarray(mask)


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())


def masks(regions: list[dict[str, Any]], label: str = "car") -> list[NDArray[np.bool_]]:
    return [
        mask_from_rle(region["value"]["rle"], HEIGHT, WIDTH, "the editor")
        for region in regions
        if region["type"] == "brushlabels" and region["value"]["brushlabels"] == [label]
    ]


def test_int_02_click_negative_click_box_and_words_in_a_real_browser(
    label_studio_server: LabelStudioServer, tmp_path: Path
) -> None:
    """INT-02, INT-03, INT-06, INT-19, INT-25: each way to prompt, accepted and submitted.

    Pictures and seconds lie in pytest's folder of this test, and come from there into the docs.
    """
    label_studio_server.start()
    x, y = CAR_CENTRE[0] / WIDTH, CAR_CENTRE[1] / HEIGHT
    x0, y0, x1, y1 = (
        CAR_BOX[0] / WIDTH, CAR_BOX[1] / HEIGHT, CAR_BOX[2] / WIDTH, CAR_BOX[3] / HEIGHT,
    )  # fmt: skip
    seconds: dict[str, float] = {}
    with closing(LabelStudio(label_studio_server.url, label_studio_server.token, 60.0)) as studio:
        project, (task,) = a_project(label_studio_server, studio, tmp_path)
        with (
            assist_process(tmp_path, label_studio_server, project),
            smart_tool(label_studio_server) as tool,
        ):
            tool.open(project, task)

            # The editor lets go of the label after each click.
            tool.choose("click", "car")
            seconds["first click"] = tool.click(x, y)
            tool.choose("click", "car")
            seconds["second click"] = tool.click(x - 0.02, y + 0.01)
            tool.page.screenshot(path=tmp_path / "click.png")
            beside = (x1 + 0.02, (y0 + y1) / 2)
            tool.choose("click", "car")
            seconds["negative click"] = tool.click(*beside, negative=True)
            tool.page.screenshot(path=tmp_path / "negative.png")
            tool.accept()
            clicked = masks(tool.regions())
            assert len(clicked) == 1 and overlap(clicked[0], truth()) > 0.6
            assert not clicked[0][int(beside[1] * HEIGHT), int(beside[0] * WIDTH)]

            tool.choose("frame", "car", shape="rectangle-tool")
            seconds["box"] = tool.drag(x0, y0, x1, y1)
            tool.page.screenshot(path=tmp_path / "box.png")
            tool.accept()
            boxed = masks(tool.regions())
            assert len(boxed) == 2 and overlap(boxed[1], truth()) > 0.6

            tool.wait_until_saved()
            tool.choose("frame", "Eraser", shape="rectangle-tool")
            seconds["eraser"] = tool.drag(x, y0, x1, y1)
            tool.page.screenshot(path=tmp_path / "eraser.png")
            tool.accept()
            erased = masks(tool.regions())
            assert len(erased) == 2 and sum(m.sum() for m in erased) < sum(m.sum() for m in boxed)

            seconds["words"] = tool.type("cars")
            tool.page.screenshot(path=tmp_path / "words.png")
            tool.accept()
            found = masks(tool.regions())
            assert len(found) > 2 and max(overlap(mask, truth()) for mask in found[2:]) > 0.6
            tool.submit()
        (submitted,) = studio.full_tasks(project, [task])[0].annotations
    (tmp_path / "seconds.json").write_text(json.dumps(seconds, indent=1))
    kept = masks([dict(region) for region in submitted.regions])
    assert len(kept) == len(found)
    assert max(overlap(mask, truth()) for mask in kept) > 0.6
