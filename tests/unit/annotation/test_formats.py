"""SSA, Label Studio's exports and train ids: nothing is lost on the way (CNV-02, CNV-04)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from annotation.draft_regions import DraftShapes, regions_from_mask
from annotation.formats.label_studio_json import mask_of_task, tasks_from_export
from annotation.formats.ssa import mask_from_ssa, ssa_from_mask
from annotation.formats.train_ids import read_train_ids, train_ids_png, write_train_ids
from lifelong.errors import CorruptRecordError, ImageError, LabelMapError, ShapeError
from lifelong.records.label_map import CITYSCAPES
from tests.builders import SMALL_MAP, a_mask
from tests.camvid import camvid_masks
from tests.unit.annotation.maps import label_maps


def json_min(task_id: int, mask: NDArray[np.uint8], mode: Any, **more: Any) -> dict[str, Any]:
    """An entry as Label Studio 1.23 writes it: regions by tool, without ids and types."""
    entry: dict[str, Any] = {
        "image": f"/data/local-files/?d=a-{task_id}.jpg",
        "id": task_id,
        "annotator": 1,
        "annotation_id": 100 + task_id,
        "created_at": "2026-03-01T12:00:00.000000Z",
        "updated_at": "2026-03-01T12:00:00.000000Z",
        "lead_time": 3.5,
    }
    for region in regions_from_mask(mask, CITYSCAPES, shapes=DraftShapes(mode=mode)):
        sizes = {key: region[key] for key in ("original_width", "original_height")}  # type: ignore[literal-required]
        entry.setdefault(region["from_name"], []).append(region["value"] | sizes)
    return entry | more


@pytest.mark.parametrize("mode", ["brush", "polygons"])
def test_cnv_02_ssa_to_label_studio_to_json_min_to_train_ids(mode: Any, tmp_path: Path) -> None:
    """The chain of seed 003's tutorial, which kept 22.4 % of the pixels; here it keeps all."""
    masks = camvid_masks()
    drafts = [mask_from_ssa(ssa_from_mask(mask), CITYSCAPES, name) for name, mask in masks]
    export = json.dumps([json_min(i, draft, mode) for i, draft in enumerate(drafts)]).encode()
    for task, (name, mask) in zip(tasks_from_export(export, "export"), masks, strict=True):
        painted = mask_of_task(task, CITYSCAPES)
        assert painted is not None
        write_train_ids(tmp_path / f"{name}.png", painted)
        assert np.array_equal(read_train_ids(tmp_path / f"{name}.png"), mask), name


@settings(max_examples=100, deadline=None)
@given(label_maps())
def test_ssa_files_are_read_as_pycocotools_wrote_them(mask: NDArray[np.uint8]) -> None:
    if (mask == 255).all():
        mask[0, 0] = 1
    assert np.array_equal(mask_from_ssa(ssa_from_mask(mask), CITYSCAPES, "x"), mask)


def test_ssa_ids_come_from_the_keys_not_from_their_order() -> None:
    mask = a_mask(3)
    content = json.loads(ssa_from_mask(mask))
    content["semantic_mask"] = dict(reversed(content["semantic_mask"].items()))
    assert np.array_equal(mask_from_ssa(json.dumps(content).encode(), SMALL_MAP, "x"), mask)


def test_uncompressed_runs_are_read_too() -> None:
    content = {"semantic_mask": {"1": {"size": [2, 3], "counts": [1, 2, 3]}}}
    mask = mask_from_ssa(json.dumps(content).encode(), SMALL_MAP, "x")
    assert mask.tolist() == [[255, 1, 255], [1, 255, 255]]


def runs(height: int, width: int) -> dict[str, Any]:
    coded = coco_mask.encode(np.asfortranarray(np.ones((height, width), dtype=np.uint8)))
    return {"size": coded["size"], "counts": coded["counts"].decode()}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"annotations": []}, "closed set"),
        ({"semantic_mask": {}}, "closed set"),
        ({"semantic_mask": {"road": runs(2, 2)}}, "'road'"),
        ({"semantic_mask": {"0": runs(2, 2), "1": runs(2, 2)}}, "overlaps"),
        ({"semantic_mask": {"0": runs(2, 2), "1": runs(3, 2)}}, "others have"),
        ({"semantic_mask": {"0": {**runs(2, 2), "size": [500, 2]}}}, "add up"),
        ({"semantic_mask": {"0": {"size": [2, 2], "counts": [9, -5]}}}, "add up"),
        ({"semantic_mask": {"0": {"size": [2, 2], "counts": "ä"}}}, "COCO runs"),
        ({"semantic_mask": {"0": {"size": [2], "counts": "1"}}}, "size"),
        ({"semantic_mask": {"0": "1"}}, "counts"),
    ],
)
def test_cnv_04_a_broken_ssa_file_is_refused_by_name(content: dict[str, Any], told: str) -> None:
    with pytest.raises(CorruptRecordError, match=told) as caught:
        mask_from_ssa(json.dumps(content).encode(), SMALL_MAP, "street-1_semantic.json")
    assert "street-1_semantic.json" in str(caught.value)


def test_cnv_04_an_ssa_class_that_the_label_map_lacks_is_refused() -> None:
    with pytest.raises(LabelMapError, match=r"\[7\]"):
        mask_from_ssa(ssa_from_mask(np.array([[7]], dtype=np.uint8)), SMALL_MAP, "x")


def test_json_keeps_skips_several_annotations_and_people() -> None:
    result = regions_from_mask(a_mask(1), SMALL_MAP, shapes=DraftShapes(mode="brush"))
    entry = {
        "id": 4,
        "data": {"image": "x"},
        "annotations": [
            {"id": 1, "result": [], "was_cancelled": True, "completed_by": 2, "lead_time": None},
            {
                "id": 2,
                "result": result,
                "was_cancelled": False,
                "completed_by": {"id": 1, "email": "anna@example.com"},
                "updated_at": "2026-03-01T12:00:00Z",
                "lead_time": 9,
            },
        ],
    }
    (task,) = tasks_from_export(json.dumps([entry]).encode(), "export")
    assert (task.submitted, task.skipped) == (1, 1)
    assert [one.annotator for one in task.annotations] == ["user 2", "anna@example.com"]
    assert np.array_equal(mask_of_task(task, SMALL_MAP), a_mask(1))  # type: ignore[arg-type]


def test_json_min_entries_of_one_task_are_brought_together_and_the_latest_counts() -> None:
    old = json_min(3, a_mask(1), "brush", annotation_id=8)
    new = json_min(3, a_mask(2), "brush", annotation_id=9, updated_at="2026-03-02T12:00:00Z")
    (task,) = tasks_from_export(json.dumps([new, old]).encode(), "export")
    assert task.submitted == 2
    assert np.array_equal(mask_of_task(task, CITYSCAPES), a_mask(2))  # type: ignore[arg-type]


def test_ann_10_a_partly_annotated_project_is_read() -> None:
    entries = [{"id": 1, "data": {}, "annotations": []}, json_min(2, a_mask(1), "brush")]
    first, second = tasks_from_export(json.dumps(entries).encode(), "export")
    assert mask_of_task(first, CITYSCAPES) is None
    assert mask_of_task(second, CITYSCAPES) is not None


def test_cnv_04_an_unknown_label_in_an_export_names_the_task() -> None:
    entry = json_min(12, a_mask(1), "brush")
    entry["brush"][0]["brushlabels"] = ["unicorn"]
    (task,) = tasks_from_export(json.dumps([entry]).encode(), "export")
    with pytest.raises(LabelMapError, match="task 12"):
        mask_of_task(task, CITYSCAPES)


def test_cnv_04_an_annotation_without_regions_names_the_task() -> None:
    entry = {key: value for key, value in json_min(12, a_mask(1), "brush").items()}
    del entry["brush"]
    (task,) = tasks_from_export(json.dumps([entry]).encode(), "export")
    with pytest.raises(ShapeError, match="task 12"):
        mask_of_task(task, CITYSCAPES)


@pytest.mark.parametrize("data", [b"{}", b"[1]", b"\xff", b"[", b'[{"id": "x"}]', b'[{"id": 1}]'])
def test_what_is_no_export_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptRecordError, match="export"):
        tasks_from_export(data, "export")


@pytest.mark.parametrize(("bits", "mode"), [(8, "L"), (16, "I;16")])
def test_train_ids_are_16_bit_by_default_and_8_on_request(
    bits: Any, mode: str, tmp_path: Path
) -> None:
    path = tmp_path / "sub folder" / "a-b%20c.png"
    write_train_ids(path, a_mask(1), bits=bits)
    with Image.open(path) as picture:
        assert picture.mode == mode
    assert np.array_equal(read_train_ids(path), a_mask(1))
    assert train_ids_png(a_mask(1)) == train_ids_png(a_mask(1), bits=16)


def test_train_ids_that_cannot_be_read_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.png"):
        read_train_ids(tmp_path / "gone.png")
    with pytest.raises(ImageError, match="cannot be written"):
        (tmp_path / "file").write_bytes(b"")
        write_train_ids(tmp_path / "file" / "a.png", a_mask(1))


def test_pre_07_a_draft_without_any_class_comes_back_as_one() -> None:
    """PRE-07, PRE-12: nothing was found, and that is no broken file."""
    mask = np.full((3, 5), 255, dtype=np.uint8)
    data = ssa_from_mask(mask, about={"image": "a.jpg"})
    assert np.array_equal(mask, mask_from_ssa(data, SMALL_MAP, "a"))
    with pytest.raises(CorruptRecordError, match="no semantic_mask"):
        mask_from_ssa(b'{"annotations": [], "semantic_mask": {}}', SMALL_MAP, "ssa's own")
