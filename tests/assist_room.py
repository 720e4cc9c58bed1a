"""A project with streets in it, and `cornerloop assist` as a real process beside Label Studio."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import yaml
from PIL import Image

from annotation.label_studio import LabelStudio
from annotation.label_studio_server import LabelStudioServer
from cloud.demo.scenes import draw_scene

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
def assist_process(
    folder: Path, server: LabelStudioServer, project: int, *words: str, state: str = "ready"
) -> Iterator[str]:
    """`cornerloop assist`, connected to a project; yields its address when models are `state`.

    Args:
        words: KEY=VALUE of its command line.
    """
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(
        yaml.safe_dump({"label_studio": {"url": server.url}, "assist": {"port": 0}})
    )
    log = (folder / "assist.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "cloud", "assist", "-c", str(folder / "config.yaml"),
         "--connect", str(project), *words],
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
        while httpx.get(f"{address}/ready").json()["status"] != state:
            assert process.poll() is None and time.monotonic() < deadline, told()
            time.sleep(0.2)
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(120)
        log.close()


def a_project(
    server: LabelStudioServer, studio: LabelStudio, folder: Path, *, streets: int = 1
) -> tuple[int, list[int]]:
    """A project by hand with streets in it, the first always the same: its id and its tasks'."""
    pictures = server.documents_root / folder.name
    pictures.mkdir(parents=True, exist_ok=True)
    project = studio.create_project(f"Clicks {folder.name}"[:50], CONFIG, "")
    studio.add_local_folder(project, pictures)
    for number in range(streets):
        scene = draw_scene(SEED + number, "clear", HEIGHT, WIDTH)
        Image.fromarray(scene.image).save(pictures / f"street-{number}.png")
    addresses = [f"/data/local-files/?d={folder.name}/street-{n}.png" for n in range(streets)]
    studio.import_tasks(project, [{"data": {"photo": address}} for address in addresses])
    coming = studio.tasks_to_come(project, after=0, count=streets)
    return project, [task for task, _ in coming]
