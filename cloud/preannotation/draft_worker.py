"""A process that drafts pictures for `cornerloop preannotate`: JSON lines in, JSON lines out.

The first line says how to draft, every further one names a picture. Answers are one line each:
`{"ready": true}`, `{"record": …}`, `{"failed": "why"}`, or `{"fatal": "why"}` when no picture can
be drafted at all.
"""

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any, TextIO

import cv2
import torch
from huggingface_hub.utils.tqdm import enable_progress_bars
from transformers.utils.logging import disable_progress_bar

from cloud.drafting.raw_pictures import RawPicture
from cloud.preannotation.assembly import drafter_from
from cloud.preannotation.draft_writer import DraftWriter
from lifelong.errors import LifelongError
from lifelong.links.logs import set_up
from lifelong.records.label_map import LabelMap
from lifelong.records.wire import to_plain
from lifelong.sections.drafting import PreannotationSection

logger = logging.getLogger(__name__)


def main() -> None:
    """Draft until standard input ends."""
    # Whatever a library prints must not end up between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    set_up(level=logging.WARNING, node="draft worker")
    # It tells each of its tries; the error that ends them says what to do.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    # A bar for every model that is loaded, of every worker; of downloads they are welcome.
    disable_progress_bar()
    enable_progress_bars()
    try:
        writer = _writer(json.loads(sys.stdin.readline()))
    except LifelongError as error:
        _answer(answers, {"fatal": str(error)})
        return
    _answer(answers, {"ready": True})
    for line in sys.stdin:
        _answer(answers, _drafted(writer, json.loads(line)))


def _writer(told: dict[str, Any]) -> DraftWriter:
    if told["threads"]:
        torch.set_num_threads(told["threads"])
        cv2.setNumThreads(told["threads"])
    section = on_own_device(PreannotationSection.model_validate(told["section"]), told["place"])
    label_map = LabelMap(
        names=tuple(told["names"]), colours=tuple((r, g, b) for r, g, b in told["colours"])
    )
    return DraftWriter(
        drafter_from(section, label_map),
        label_map,
        Path(told["dataset"]),
        settings=told["settings"],
        free_names=section.method != "closed_set",
        with_png=told["with_png"],
    )


def on_own_device(section: PreannotationSection, place: int) -> PreannotationSection:
    """With several GPUs and none named, workers take them in turn."""
    gpus = torch.cuda.device_count()
    if section.device != "auto" or gpus < 2:
        return section
    return section.model_copy(update={"device": f"cuda:{place % gpus}"})


def _drafted(writer: DraftWriter, told: dict[str, str]) -> dict[str, Any]:
    picture = RawPicture(path=Path(told["path"]), name=told["name"], draft=told["draft"])
    try:
        return {"record": to_plain(writer.write(picture))}
    except (LifelongError, OSError) as error:
        return {"failed": str(error)}
    except Exception as error:
        # Foreign networks fail at a picture of one row, or without memory, in every way there is;
        # it costs this picture, and starting a worker anew would cost more.
        if os.environ.get("CORNERLOOP_VERBOSE"):
            logger.exception("%s", picture.name)
        said = " ".join(str(error).split())
        return {"failed": f"{picture.name}: {type(error).__name__}: {said}"}


def _answer(answers: TextIO, value: dict[str, Any]) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
