"""The cloud's half of a turn at DEBUG, in a process of its own: argv is a configuration file.

Everything that would like to say what it must not: an S3 client, a Label Studio that refuses the
token, the smart tool with its password and a picture at an address with credentials, a camera's
address in an error, arrays and bytes in messages. Prints how many examples it admitted.
"""

import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI
from fastapi.testclient import TestClient

from annotation.assist.segmenter import Candidates, ModelState, Picture, Readiness, Wish, WorkItem
from annotation.assist.web import assist_router
from cloud.assembly import make_watch, open_cloud, open_label_studio
from cloud.assist_service.serving import make_backend
from cloud.inbox import Inbox
from cloud.web.request_log import RequestLog
from lifelong.config import load_config
from lifelong.errors import LifelongError
from lifelong.links.logs import set_up

SCREEN = """<View><Image name="image" value="$image"/><KeyPointLabels name="k" toName="image"
smart="true"><Label value="car"/></KeyPointLabels><BrushLabels name="b" toName="image">
<Label value="car"/></BrushLabels></View>"""


class Looks:
    """A segmenter that wants the picture, and finds nothing in it."""

    def states(self) -> Sequence[ModelState]:
        return [ModelState(name="looks", version="looks-1", readiness=Readiness.READY, words="",
                           since=0.0, is_default=True)]  # fmt: skip

    def size(self, picture: Picture, *, model: str = "") -> tuple[int, int]:
        height, width = picture.pixels().shape[:2]
        return height, width

    def segment(self, picture: Picture, wish: Wish, *, model: str = "") -> Candidates:
        raise AssertionError

    def find(self, *_: Any, **__: Any) -> list[Any]:
        return []

    find_like = find

    def prefetch(self, *_: Any, **__: Any) -> str:
        return ""

    def work(self) -> Sequence[WorkItem]:
        return []

    def cancel(self, work_id: str) -> bool:
        return False


def main(path: Path) -> None:
    set_up(level=logging.DEBUG, node="cloud")
    for name in ("httpx", "httpcore", "urllib3"):  # as loud as they can be
        logging.getLogger(name).setLevel(logging.DEBUG)
    config = load_config(path)
    cloud = open_cloud(config)
    admitted = Inbox(cloud.storage, cloud.journal).collect()
    for example in admitted:
        picture = cloud.storage.get(example.image_key)
        pixels = np.frombuffer(picture, dtype=np.uint8)
        logging.getLogger("picture").debug("got %s as %s and %r", pixels, picture, list(pixels))
    make_watch(cloud).refresh()
    studio = open_label_studio(config)
    for act in (studio.whoami, lambda: studio.projects_titled("x")):
        try:
            act()
        except LifelongError as error:
            logging.getLogger("studio").exception("Label Studio: %s", error)
            cloud.journal.event("round.stalled", reason=str(error))
    _click(config)
    camera = "rtsp://camera:planted-camera-word@127.0.0.1:9/stream"
    cloud.journal.event("source.away", reason=f"{camera} does not answer")
    logging.getLogger("camera").warning("%s does not answer", camera)
    print(json.dumps({"admitted": len(admitted)}))


def _click(config: Any) -> None:
    """A click on a picture behind an address with a signature; its failure is told in words."""
    from annotation.assist.credentials import configured_credentials

    credentials = configured_credentials(config.assist, config.journal_path.parent)
    app = FastAPI()
    app.include_router(assist_router(make_backend(config, Looks()), credentials, title="x"))
    app.add_middleware(RequestLog)
    client = TestClient(app)
    login = (credentials.user, "planted-assist-password")
    client.post("/setup", auth=login, json={
        "project": "7.1", "schema": SCREEN, "hostname": config.label_studio.url,
        "access_token": "planted-access-token-0123456789",
    })  # fmt: skip
    clicked = {"type": "keypointlabels", "from_name": "k", "to_name": "image", "is_positive": True,
               "value": {"x": 10, "y": 10, "width": 1, "keypointlabels": ["car"]},
               "original_width": 64, "original_height": 48}  # fmt: skip
    answer = client.post("/predict", auth=login, headers={"X-Request-ID": "click-0001"}, json={
        "tasks": [{"id": 3, "data": {
            "image": "http://u:planted-user-word@127.0.0.1:9/a.jpg?X-Amz-Signature=planted-sign"}}],
        "project": "7.1", "label_config": SCREEN,
        "params": {"context": {"result": [clicked]}},
    })  # fmt: skip
    (told,) = answer.json()["results"]
    logging.getLogger("click").warning("the answer says %s", told["error"]["id"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
