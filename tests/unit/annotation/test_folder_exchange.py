"""ANN-03: people work on files in a folder, and nothing that cannot be read becomes class 0."""

import io
import json
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from annotation.folder_exchange import FolderExchange, corrected_mask, palette_png
from lifelong.errors import LabelMapError
from lifelong.links.journal import Journal, read_events
from lifelong.links.storage import Storage, open_storage
from lifelong.records.label_map import label_map_of
from lifelong.records.pixels import mask_from_png, png_from_mask
from lifelong.records.samples import AnnotationTask, PreAnnotation
from tests.builders import SMALL_MAP, a_jpeg, a_mask, a_pre_annotation


class Desk:
    """A folder that people work in, and an exchange over it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "people"
        self.journal_folder = folder / "journal"
        self.storage: Storage = open_storage("memory://")
        self.ahead = timedelta()
        self.exchange = self.again()

    def again(self) -> FolderExchange:
        return FolderExchange(
            storage=self.storage,
            folder=self.folder,
            label_map=SMALL_MAP,
            journal=Journal(self.journal_folder, "cloud"),
            now=lambda: datetime.now(UTC) + self.ahead,
        )

    def drafts(self, count: int) -> list[PreAnnotation]:
        made = []
        for seed in range(count):
            draft = a_pre_annotation(seed)
            self.storage.put(draft.image_key, a_jpeg(seed))
            self.storage.put(draft.mask_key, png_from_mask(a_mask(seed)))
            made.append(draft)
        return made

    def place(self, task: AnnotationTask) -> Path:
        return self.folder / "tasks" / str(task.round_number) / task.sample_id

    def correct(self, task: AnnotationTask, data: bytes) -> None:
        (self.place(task) / "corrected.png").write_bytes(data)

    def events(self, name: str) -> list[dict[str, object]]:
        return [event for event in read_events(self.journal_folder) if event["event"] == name]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_ann_03_a_push_lays_out_image_draft_and_task(desk: Desk) -> None:
    tasks = desk.exchange.push(desk.drafts(2))
    for seed, task in enumerate(tasks):
        place = desk.place(task)
        assert (place / "image.jpg").read_bytes() == a_jpeg(seed)
        data = (place / "draft.png").read_bytes()
        assert np.array_equal(mask_from_png(data, "draft"), a_mask(seed))
        with Image.open(io.BytesIO(data)) as picture:  # it shows the classes' colours
            shown = np.asarray(picture.convert("RGB"))
        assert np.array_equal(shown, SMALL_MAP.paint(a_mask(seed)))
        told = json.loads((place / "task.json").read_text())
        assert [one["name"] for one in told["classes"]] == list(SMALL_MAP.names)
        assert told["attributes"] == {"condition": "day"}
    assert len(desk.events("task.pushed")) == 2


def test_ann_03_pushing_again_leaves_work_alone_and_completes_what_was_cut_off(desk: Desk) -> None:
    drafts = desk.drafts(3)
    first = desk.exchange.push(drafts[:2])
    (desk.place(first[0]) / "draft.png").write_bytes(b"somebody painted here")
    (desk.place(first[1]) / "task.json").unlink()  # the push died before its last file
    (desk.place(first[1]) / "draft.png").unlink()
    tasks = desk.again().push(drafts)
    assert tasks[:2] == first
    assert len({task.task_id for task in tasks}) == 3
    assert (desk.place(first[0]) / "draft.png").read_bytes() == b"somebody painted here"
    assert (desk.place(first[1]) / "draft.png").exists()


def test_ann_03_pull_brings_what_is_finished_and_leaves_the_rest(desk: Desk) -> None:
    tasks = desk.exchange.push(desk.drafts(4))
    truth = a_mask(0)
    truth[10:20, 10:20] = 2
    truth[0] = 255
    desk.correct(tasks[0], palette_png(truth, SMALL_MAP))
    desk.correct(tasks[1], png_from_mask(a_mask(1)))
    (desk.place(tasks[2]) / "skip.txt").write_text("too dark\n")
    pulled = desk.exchange.pull(tasks)
    painted, kept = pulled.annotations
    assert np.array_equal(
        mask_from_png(desk.storage.get(painted.mask_key, sha256=painted.mask_sha256), "m"), truth
    )
    assert painted.changed_pixels == np.count_nonzero(truth != a_mask(0))
    assert 0 < painted.agreement < 1
    assert painted.costs[0].classes["person"].pixels_added > 0
    assert painted.seconds is None
    assert (kept.agreement, kept.changed_pixels) == (1.0, 0)
    assert [skip.reason for skip in pulled.skips] == ["skipped: too dark"]
    assert desk.exchange.pull(tasks) == desk.again().pull(tasks) == pulled
    assert len(desk.events("annotation.pulled")) == 2


def test_ann_03_a_correction_that_changes_is_another_and_one_that_goes_is_none(
    desk: Desk,
) -> None:
    tasks = desk.exchange.push(desk.drafts(1))
    desk.correct(tasks[0], png_from_mask(a_mask(5)))
    (before,) = desk.exchange.pull(tasks).annotations
    desk.correct(tasks[0], png_from_mask(a_mask(6)))
    (after,) = desk.exchange.pull(tasks).annotations
    assert before.mask_key != after.mask_key
    assert desk.storage.get(before.mask_key, sha256=before.mask_sha256)
    (desk.place(tasks[0]) / "corrected.png").unlink()
    assert desk.exchange.pull(tasks).annotations == ()
    assert desk.exchange.pull(tasks).skips == ()


def rgb(mask: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(SMALL_MAP.paint(mask)).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (png_from_mask(np.full((48, 64), 7, np.uint8)), r"class ids \[7\] are not in the label"),
        (png_from_mask(a_mask(0, 30, 40)), "40x30 pixels, the picture has 64x48"),
        (png_from_mask(np.full((48, 64), 255, np.uint8)), "no pixel has a class"),
        (rgb(a_mask(0)), "this one is RGB"),
        (png_from_mask(a_mask(0))[:-40], "not a readable PNG"),
        (b"", "not a readable PNG"),
        (a_jpeg(0), "a mask is a PNG"),
    ],
)
def test_ann_03_a_bad_file_is_a_skip_that_names_it_and_never_class_0(
    desk: Desk, data: bytes, told: str
) -> None:
    tasks = desk.exchange.push(desk.drafts(1))
    desk.correct(tasks[0], data)
    desk.ahead = timedelta(seconds=30)
    pulled = desk.exchange.pull(tasks)
    assert pulled.annotations == ()
    (skip,) = pulled.skips
    assert "corrected.png" in skip.reason
    assert re.search(told, skip.reason), skip.reason
    assert list(desk.storage.keys("masks")) == []


def test_ann_03_a_file_that_is_being_written_is_waited_for(desk: Desk) -> None:
    tasks = desk.exchange.push(desk.drafts(1))
    whole = png_from_mask(a_mask(5))
    desk.correct(tasks[0], whole[: len(whole) // 2])
    pulled = desk.exchange.pull(tasks)
    assert (pulled.annotations, pulled.skips) == ((), ())
    desk.correct(tasks[0], whole)
    assert len(desk.exchange.pull(tasks).annotations) == 1
    desk.correct(tasks[0], whole[:-40])
    path = desk.place(tasks[0]) / "corrected.png"
    long_ago = datetime.now(UTC).timestamp() - 60
    os.utime(path, (long_ago, long_ago))
    assert len(desk.exchange.pull(tasks).skips) == 1


def test_ann_03_a_deleted_task_is_a_skip(desk: Desk) -> None:
    tasks = desk.exchange.push(desk.drafts(1))
    (desk.place(tasks[0]) / "task.json").unlink()
    assert desk.exchange.pull(tasks).skips[0].reason.endswith("was deleted")


def test_ann_03_the_order_stands_in_a_file(desk: Desk) -> None:
    tasks = desk.exchange.push(desk.drafts(3))
    order = [tasks[2].sample_id, tasks[0].sample_id]
    desk.exchange.sort(tasks, order)
    assert (desk.folder / "tasks/1/queue.txt").read_text().split() == order


def renumbered(change: Callable[[list[int]], None]) -> bytes:
    """a_mask(0) as GIMP saves it: colours are the same, numbers are others."""
    order = [2, 0, 1]  # new index -> class id
    table = np.zeros(256, np.uint8)
    for index, class_id in enumerate(order):
        table[class_id] = index
    palette = [part for class_id in order for part in SMALL_MAP.colours[class_id]]
    change(palette)
    numbers = table[a_mask(0)]
    picture = Image.frombytes("P", (64, 48), numbers.tobytes())
    picture.putpalette(palette)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def test_ann_03_a_palette_in_another_order_is_read_by_its_colours() -> None:
    data = renumbered(lambda palette: None)
    assert not np.array_equal(mask_from_png(data, "raw"), a_mask(0))
    assert np.array_equal(corrected_mask(data, SMALL_MAP, "x"), a_mask(0))


def test_ann_03_a_colour_that_is_no_class_is_refused() -> None:
    def smooth(palette: list[int]) -> None:
        palette[:3] = [1, 2, 3]

    with pytest.raises(LabelMapError, match="#010203"):
        corrected_mask(renumbered(smooth), SMALL_MAP, "x")


def test_ann_03_black_that_is_a_class_and_unlabelled_is_refused_where_numbers_moved() -> None:
    black = label_map_of([("void", (0, 0, 0)), ("car", (0, 0, 142)), ("person", (220, 20, 60))])

    def darken(palette: list[int]) -> None:
        palette[3:6] = [0, 0, 0]

    with pytest.raises(LabelMapError, match="#000000"):
        corrected_mask(renumbered(darken), black, "x")
