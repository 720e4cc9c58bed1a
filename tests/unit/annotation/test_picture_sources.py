"""Every kind of source as a stream of pictures, and which kind a path is (CNV-07)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from annotation.exports.image_names import ImageNames
from annotation.exports.picture_items import Item, LeftOut, Refused, Source, files_below
from annotation.exports.picture_sources import Reading, guess_kind, open_source
from annotation.exports.task_source import TaskSource, snapshot
from annotation.formats.label_studio_json import entries_of_export, task_of_entries
from annotation.formats.ssa import ssa_from_mask
from annotation.formats.train_ids import train_ids_png
from annotation.studio_tasks import StudioTask
from lifelong.errors import ConfigError, CorruptRecordError, LifelongError
from tests.builders import SMALL_MAP, a_mask
from tests.unit.annotation.tiny_writers import export_task, write_export

READING = Reading(label_map=SMALL_MAP)


def masks_of(source: Source) -> dict[str, Any]:
    return {i.name: source.read(i).mask() for i in source.items() if isinstance(i, Item)}


def min_entry(task_id: int, annotation_id: int, mask: Any, image: str) -> dict[str, Any]:
    task = export_task(task_id, image, mask)
    sizes = ("original_width", "original_height")
    shapes = [r["value"] | {s: r[s] for s in sizes} for r in task["annotations"][0]["result"]]
    stamp = f"2026-03-01T12:00:{annotation_id:02d}Z"
    told = {"id": task_id, "annotation_id": annotation_id, "annotator": 1, "updated_at": stamp}
    return {"image": image, "brush": shapes} | told


def test_cnv_07_entries_of_json_min_that_lie_apart_come_together(tmp_path: Path) -> None:
    """One entry an annotation: a task's entries may lie anywhere in the file."""
    entries = [
        min_entry(2, 21, a_mask(1), "s3://b/2.jpg"),
        min_entry(1, 11, a_mask(2), "s3://b/1.jpg"),
        min_entry(2, 22, a_mask(3), "s3://b/2.jpg"),
        min_entry(2, 20, a_mask(4), "s3://b/2.jpg"),
    ]
    path = write_export(tmp_path / "min.json", *entries)
    latest = masks_of(TaskSource(path=path, label_map=SMALL_MAP))
    assert np.array_equal(latest["1.jpg"], a_mask(2))
    assert np.array_equal(latest["2.jpg"], a_mask(3))
    every = masks_of(TaskSource(path=path, label_map=SMALL_MAP, annotations="all"))
    assert sorted(every) == [
        "1-annotation-11.jpg",
        "2-annotation-20.jpg",
        "2-annotation-21.jpg",
        "2-annotation-22.jpg",
    ]


def test_streamed_tasks_are_those_that_are_read_at_once(tmp_path: Path) -> None:
    from annotation.formats.label_studio_json import tasks_from_export

    tasks = [export_task(n, f"s3://b/{n}.jpg", a_mask(n), None) for n in (3, 1, 2)]
    path = write_export(tmp_path / "export.json", *tasks)
    streamed = [task_of_entries(entries, "x") for entries in entries_of_export(path)]
    at_once = tasks_from_export(path.read_bytes(), "x")
    assert sorted(streamed, key=lambda task: task.task_id) == at_once


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b'{"item": [1]}', b"[1]", b"[{}]", b'[{"annotations": []}', b"[\xff]", b"no"],
)
def test_cnv_04_what_is_no_export_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "export.json"
    path.write_bytes(content)
    with pytest.raises(CorruptRecordError, match=r"export\.json"):
        list(entries_of_export(path))


def test_an_empty_export_is_an_export(tmp_path: Path) -> None:
    (tmp_path / "export.json").write_text("[]")
    assert not list(entries_of_export(tmp_path / "export.json"))


def test_a_task_that_cannot_be_read_does_not_hide_the_others(tmp_path: Path) -> None:
    tasks = [
        export_task(1, "../../etc/passwd", a_mask(1)),
        {"annotations": "nonsense", "id": "x"},
        export_task(3, "s3://b/3.jpg", a_mask(3)),
        {**export_task(4, "", a_mask(3)), "data": {"text": "hello", "n": 1}},
    ]
    source = TaskSource(path=write_export(tmp_path / "e.json", *tasks), label_map=SMALL_MAP)
    found = list(source.items())
    assert [type(one) for one in found] == [Refused, Refused, Item, Refused]
    assert "task 4" in str(found[3])


def test_names_and_scenes_come_from_the_task(tmp_path: Path) -> None:
    task = export_task(1, "/data/local-files/?d=park/raw_data/a.jpg", a_mask(1))
    task["meta"] = {"site": "north gate"}
    path = write_export(tmp_path / "e.json", task)
    names = ImageNames(below="park/raw_data")
    (item,) = TaskSource(path=path, label_map=SMALL_MAP, names=names).items()
    assert isinstance(item, Item)
    assert (item.name, item.scene) == ("a.jpg", "north gate")
    picture = TaskSource(path=path, label_map=SMALL_MAP).read(item)
    assert picture.provenance.annotator == "p0@example.com"
    assert picture.provenance.model_version == "round-1"


class Studio:
    """A Label Studio whose pages are two tasks long."""

    def __init__(self, tasks: list[StudioTask]) -> None:
        self.tasks = tasks

    def submitted_after(self, project_id: int, task_id: int) -> list[StudioTask]:
        later = [task for task in self.tasks if task.task_id > task_id and task.submitted]
        return sorted(later, key=lambda task: task.task_id)[:2]


def test_ann_10_a_project_is_looked_at_once_page_by_page(tmp_path: Path) -> None:
    tasks = [
        task_of_entries((export_task(n, f"s3://b/{n}.jpg", *given),), "x")
        for n, given in enumerate([(a_mask(1),), (None,), (a_mask(2), None), (), (a_mask(4),)], 1)
    ]
    path = tmp_path / "project.json"
    assert snapshot(Studio(tasks), 7, path) == 3
    source = TaskSource(path=path, label_map=SMALL_MAP)
    found = masks_of(source)
    assert sorted(found) == ["1.jpg", "3.jpg", "5.jpg"]
    assert np.array_equal(found["3.jpg"], a_mask(2))
    again = [task_of_entries(entries, "x") for entries in entries_of_export(path)]
    assert [task.annotations for task in again] == [
        task.annotations for task in tasks if task.submitted
    ]
    snapshot(Studio([]), 7, tmp_path / "empty.json")
    assert json.loads((tmp_path / "empty.json").read_text()) == []


# folders


def a_picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 48)).save(path)


def test_an_ssa_folder_pairs_drafts_with_pictures(tmp_path: Path) -> None:
    for name in ("a.jpg", "sub/b c.PNG", "none.jpg"):
        a_picture(tmp_path / "raw_data" / name)
    (tmp_path / "ssa_output" / "sub").mkdir(parents=True)
    (tmp_path / "ssa_output" / "a_semantic.json").write_bytes(ssa_from_mask(a_mask(1)))
    (tmp_path / "ssa_output" / "sub" / "b c_semantic.json").write_bytes(ssa_from_mask(a_mask(2)))
    assert guess_kind(tmp_path) == "ssa"
    source = open_source(tmp_path, "ssa", READING)
    found = masks_of(source)
    assert sorted(found) == ["a.jpg", "sub/b c.PNG"]
    assert np.array_equal(found["sub/b c.PNG"], a_mask(2))
    assert [one.where for one in source.items() if isinstance(one, LeftOut)] == ["none.jpg"]


def test_a_draft_that_two_pictures_may_claim_is_refused(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png"):
        a_picture(tmp_path / "raw_data" / name)
    (tmp_path / "ssa_output").mkdir()
    (tmp_path / "ssa_output" / "a_semantic.json").write_bytes(ssa_from_mask(a_mask(1)))
    source = open_source(tmp_path, "ssa", READING)
    assert all(isinstance(one, Refused) for one in source.items())
    (tmp_path / "ssa_output" / "a.png_semantic.json").write_bytes(ssa_from_mask(a_mask(2)))
    assert sorted(masks_of(source)) == ["a.jpg", "a.png"]


@pytest.mark.parametrize("ending", ["_TrainIds.png", ".png"])
@pytest.mark.parametrize("bits", [8, 16])
def test_masks_of_train_ids_beside_pictures_or_alone(
    tmp_path: Path, ending: str, bits: Any
) -> None:
    (tmp_path / "train_ids" / "sub").mkdir(parents=True)
    path = tmp_path / "train_ids" / "sub" / f"a{ending}"
    path.write_bytes(train_ids_png(a_mask(1), bits=bits))
    assert guess_kind(tmp_path) == "train-ids"
    assert sorted(masks_of(open_source(tmp_path, "train-ids", READING))) == ["sub/a.png"]
    a_picture(tmp_path / "images" / "sub" / "a.jpg")
    found = masks_of(open_source(tmp_path, "train-ids", READING))
    assert np.array_equal(found["sub/a.jpg"], a_mask(1))


def test_cnv_04_a_class_that_nobody_knows_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "train_ids").mkdir()
    mask = a_mask(1)
    mask[0, 0] = 77
    (tmp_path / "train_ids" / "a.png").write_bytes(train_ids_png(mask))
    with pytest.raises(LifelongError, match=r"a\.png.*77"):
        masks_of(open_source(tmp_path, "train-ids", READING))


def test_links_that_lead_in_circles_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "1.png").touch()
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path / "a")
    (tmp_path / "beside").symlink_to(tmp_path / "a" / "b")
    assert list(files_below(tmp_path)) == ["a/b/1.png", "beside/1.png"]


def test_what_nobody_can_guess_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("x")
    for path in (tmp_path, tmp_path / "x.txt"):
        with pytest.raises(ConfigError, match="--from"):
            guess_kind(path)
        with pytest.raises(ConfigError, match="--from"):
            guess_kind(path, or_bare=True)  # no picture in it either
    with pytest.raises(ConfigError, match="expected one of"):
        open_source(tmp_path, "nonsense", READING)
    with pytest.raises(ConfigError, match="no such file"):
        open_source(tmp_path / "nowhere", "coco", READING)
