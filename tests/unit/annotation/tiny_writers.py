"""A small format and generated sources for tests of the export engine."""

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from annotation.draft_regions import BRUSH_DRAFTS, regions_from_mask
from annotation.exports.image_names import stem_of
from annotation.exports.picture_items import Item, LeftOut, Refused
from annotation.formats.writing import Entry, Stream
from annotation.labelled_pictures import LabelledPicture, Provenance, picture_from_mask
from lifelong.errors import ImageError
from lifelong.records.label_map import LabelMap
from lifelong.records.pixels import png_from_mask
from tests.builders import SMALL_MAP, a_mask


@dataclass(frozen=True, slots=True)
class TinyWriter:
    """A mask a picture, and a list of all."""

    fails_on: str = ""
    slow_s: float = 0.0

    def entry(self, picture: LabelledPicture, split: str) -> Entry:
        if picture.name == self.fails_on:
            raise ValueError("a writer's own mistake")
        time.sleep(self.slow_s)
        mask = picture.mask()
        return Entry(
            files={f"masks/{split}/{stem_of(picture.name)}.png": png_from_mask(mask)},
            image_path=f"images/{split}/{picture.name}",
            record={"pixels": int((mask != 255).sum())},
        )

    def index(self, pictures: Stream) -> Iterable[tuple[str, Iterator[bytes]]]:
        def lines() -> Iterator[bytes]:
            for one in pictures():
                yield json.dumps([one.name, one.split, dict(one.record)]).encode() + b"\n"

        yield "list.jsonl", lines()


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """Pictures out of their numbers."""

    number: int
    label_map: LabelMap = SMALL_MAP
    kind: str = "generated"
    scenes: int = 5
    broken: tuple[int, ...] = ()
    height: int = 12
    width: int = 16

    def items(self) -> Iterator[Item | Refused | LeftOut]:
        for n in range(self.number):
            yield Item(where=f"task {n}", name=f"s{n % self.scenes}/{n:06d}.jpg", payload=n)

    def read(self, item: Item) -> LabelledPicture:
        number = item.payload
        assert isinstance(number, int)
        if number in self.broken:
            raise ImageError(f"{item.where}: broken on purpose")
        mask = a_mask(number, self.height, self.width)
        mask[np.random.default_rng(number).random(mask.shape) < 0.1] = 255
        return picture_from_mask(
            item.name, mask, self.label_map, provenance=Provenance(annotator=f"p{number % 2}@x")
        )

    def digest(self) -> str:
        return f"{self.number:064x}"


def export_task(task_id: int, image: str, *masks: Any, **more: Any) -> dict[str, Any]:
    """A task as Label Studio's JSON export has it, one annotation a mask (None: a skip)."""
    return {
        "id": task_id,
        "data": {"image": image},
        "meta": {},
        "annotations": [
            {
                "id": 10 * task_id + place,
                "completed_by": {"id": 1, "email": f"p{place}@example.com"},
                "was_cancelled": mask is None,
                "updated_at": f"2026-03-01T12:0{place}:00Z",
                "result": []
                if mask is None
                else regions_from_mask(mask, SMALL_MAP, shapes=BRUSH_DRAFTS),
            }
            for place, mask in enumerate(masks)
        ],
        "predictions": [{"id": 5, "model_version": "round-1"}],
    } | more


def write_export(path: Path, *tasks: dict[str, Any]) -> Path:
    path.write_text(json.dumps(list(tasks)), encoding="utf-8")
    return path


def content_of(folder: Path) -> dict[str, bytes]:
    """Every file of an export but its state, by path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).parts[0] != ".cornerloop"
    }
