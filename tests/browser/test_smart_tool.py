"""A person clicks in a real Label Studio, and `cornerloop assist` answers as a real process."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from PIL import Image

from annotation.brush_rle import mask_from_rle
from annotation.label_studio import LabelStudio
from annotation.label_studio_server import LabelStudioServer
from cloud.demo.scenes import draw_scene
from lifelong.records.label_map import CITYSCAPES
from tests.smart_tool import CHROMIUM, smart_tool

pytestmark = [
    pytest.mark.integration,
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no {CHROMIUM}; `make test` installs it"),
]

SEED, HEIGHT, WIDTH = 507, 320, 480
CAR_BOX = (239, 143, 299, 198)  # of the car that is clicked on
CAR_CENTRE = (274, 168)
CONFIG = """<View>
  <Image name="photo" value="$photo"/>
  <TextArea name="words" toName="photo" editable="true" rows="1" maxSubmissions="1"/>
  <BrushLabels name="paint" toName="photo" smart="false">
    <Label value="car" background="#0000ff"/><Label value="road" background="#804080"/>
  </BrushLabels>
  <KeyPointLabels name="click" toName="photo" smart="true" smartOnly="true">
    <Label value="car"/><Label value="road"/>
  </KeyPointLabels>
  <RectangleLabels name="frame" toName="photo" smart="true" smartOnly="true">
    <Label value="car"/><Label value="road"/><Label value="Eraser"/>
  </RectangleLabels>
</View>"""


@contextmanager
def assist_process(folder: Path, server: LabelStudioServer, project: int) -> Iterator[str]:
    """`cornerloop assist`, connected to a project; yields its address."""
    (folder / "config.yaml").write_text(
        yaml.safe_dump({"label_studio": {"url": server.url}, "assist": {"port": 0}})
    )
    log = (folder / "assist.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "cloud", "assist", "-c", str(folder / "config.yaml"),
         "--connect", str(project)],
        env={**os.environ, "CORNERLOOP_LABEL_STUDIO_TOKEN": server.token},
        stdout=log, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        told = (folder / "assist.log").read_text
        deadline = time.monotonic() + 120
        while f"project {project} is connected" not in told():
            assert process.poll() is None and time.monotonic() < deadline, told()
            time.sleep(0.2)
        address = told().split("interactive annotation at ")[1].split(",")[0]
        while httpx.get(f"{address}/ready").status_code != 200:
            assert process.poll() is None and time.monotonic() < deadline, told()
            time.sleep(0.2)
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        log.close()


def a_project(server: LabelStudioServer, studio: LabelStudio, folder: Path) -> tuple[int, int]:
    """A project by hand with one street in it: its id and its task's."""
    pictures = server.documents_root / folder.name
    pictures.mkdir(parents=True, exist_ok=True)
    scene = draw_scene(SEED, "clear", HEIGHT, WIDTH)
    Image.fromarray(scene.image).save(pictures / "street.png")
    project = studio.create_project(f"Clicks {folder.name}"[:50], CONFIG, "")
    studio.add_local_folder(project, pictures)
    address = f"/data/local-files/?d={folder.name}/street.png"
    studio.import_tasks(project, [{"data": {"photo": address}}])
    ((task, _),) = studio.tasks_to_come(project, after=0, count=1)
    return project, task


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
        project, task = a_project(label_studio_server, studio, tmp_path)
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
