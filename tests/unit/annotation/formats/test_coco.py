"""COCO as pycocotools reads it, and back: the same pixels, the right areas, an image once."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray
from pycocotools.coco import COCO

from annotation.formats.coco import CocoInstances
from annotation.formats.coco_masks import patch_from_segmentation, rle_of, runs_of
from annotation.formats.coco_reading import images_of_coco, label_map_from_coco, pictures_from_coco
from annotation.formats.label_studio_json import tasks_from_export
from annotation.formats.studio_writer import StudioTasks
from annotation.labelled_pictures import LabelledPicture, picture_from_annotation
from annotation.polygons import patch_of
from annotation.studio_tasks import latest_submitted
from lifelong.errors import CorruptRecordError, LabelMapError, ShapeError
from lifelong.records.label_map import CITYSCAPES, label_map_of
from tests.builders import SMALL_MAP
from tests.unit.annotation.formats.pictures import (
    THINGS,
    camvid_pictures,
    drawn_picture,
    lay_out,
    random_picture,
    run_writer,
    seen_masks,
)
from tests.unit.annotation.maps import label_maps

# pycocotools 2.0.11 decodes in a way that numpy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def coco_of(writer: CocoInstances, picture: LabelledPicture) -> dict[str, Any]:
    files, _ = run_writer(writer, {"train": [picture]})
    return json.loads(files["annotations/instances_train.json"])


def loaded(content: dict[str, Any]) -> COCO:
    coco = COCO()
    coco.dataset = content
    coco.createIndex()
    return coco


def instances(content: dict[str, Any]) -> list[tuple[int, NDArray[np.bool_], dict[str, Any]]]:
    """(class id, mask as pycocotools paints it, annotation), in the order of the file."""
    coco = loaded(content)
    return [
        (one["category_id"] - 1, coco.annToMask(one).astype(np.bool_), one)
        for one in content["annotations"]
    ]


@pytest.mark.parametrize("kind", ["auto", "rle", "polygon"])
def test_cnv_08_every_instance_has_its_pixels_area_and_box(kind: Any) -> None:
    picture = drawn_picture()
    found = instances(coco_of(CocoInstances(label_map=THINGS, segmentation=kind), picture))
    expected = seen_masks(picture)
    assert len(found) == len(expected) == 5
    for (class_id, painted, one), (its_class, its_pixels) in zip(found, expected, strict=True):
        assert class_id == its_class
        assert np.array_equal(painted, its_pixels)
        assert one["area"] == np.count_nonzero(its_pixels)
        y, x = np.nonzero(its_pixels)
        box = [x.min(), y.min(), x.max() - x.min() + 1, y.max() - y.min() + 1]
        assert one["bbox"] == box


@pytest.mark.parametrize("kind", ["auto", "rle", "polygon"])
@settings(deadline=None, max_examples=100)
@given(mask=label_maps(3))
def test_cnv_03_cnv_08_any_regions_are_the_same_pixels_for_pycocotools(
    kind: Any, mask: NDArray[np.uint8]
) -> None:
    """CNV-03, CNV-08: polygons along pixel edges rasterise to exactly the pixels."""
    picture = random_picture(mask)
    found = instances(coco_of(CocoInstances(label_map=THINGS, segmentation=kind), picture))
    expected = seen_masks(picture)
    assert [class_id for class_id, _, _ in found] == [class_id for class_id, _ in expected]
    for (_, painted, one), (_, its_pixels) in zip(found, expected, strict=True):
        assert np.array_equal(painted, its_pixels)
        assert one["area"] == np.count_nonzero(its_pixels)


def test_cnv_08_real_masks_are_the_same_pixels_for_pycocotools() -> None:
    for picture in camvid_pictures(CITYSCAPES, 4):
        for kind in ("auto", "polygon"):
            writer = CocoInstances(label_map=CITYSCAPES, segmentation=kind)  # type: ignore[arg-type]
            found = instances(coco_of(writer, picture))
            for (_, painted, one), (_, its_pixels) in zip(found, seen_masks(picture), strict=True):
                assert np.array_equal(painted, its_pixels)
                assert one["area"] == np.count_nonzero(its_pixels)


def test_flaw_b1_area_is_the_masks_not_the_boxes() -> None:
    found = instances(coco_of(CocoInstances(label_map=THINGS), drawn_picture()))
    ring = found[2][2]
    assert ring["area"] < ring["bbox"][2] * ring["bbox"][3]


def test_flaw_b1_image_entry_once() -> None:
    pictures = {"train": [drawn_picture("a.jpg"), drawn_picture("c.jpg")],
                "val": [drawn_picture("b.jpg")]}  # fmt: skip
    files, _ = run_writer(CocoInstances(label_map=THINGS), pictures)
    both = [json.loads(files[f"annotations/instances_{split}.json"]) for split in pictures]
    names = [image["file_name"] for content in both for image in content["images"]]
    assert sorted(names) == ["a.jpg", "b.jpg", "c.jpg"]
    image_ids = [image["id"] for content in both for image in content["images"]]
    ids = [one["id"] for content in both for one in content["annotations"]]
    assert len(set(image_ids)) == 3 and len(set(ids)) == 15


def test_flaw_b1_val_is_not_train() -> None:
    files, images = run_writer(
        CocoInstances(label_map=THINGS),
        {"train": [drawn_picture("a.jpg")], "val": [drawn_picture("b.jpg")]},
    )
    train = json.loads(files["annotations/instances_train.json"])["images"]
    val = json.loads(files["annotations/instances_val.json"])["images"]
    assert [one["file_name"] for one in train] == ["a.jpg"]
    assert [one["file_name"] for one in val] == ["b.jpg"]
    assert "annotations/instances_test.json" not in files
    assert images == {"images/train/a.jpg": "a.jpg", "images/val/b.jpg": "b.jpg"}


def test_flaw_b1_components_are_not_glued() -> None:
    """B1: two pieces are two polygons of one instance, not one that crosses itself."""
    content = coco_of(CocoInstances(label_map=THINGS), drawn_picture())
    person = content["annotations"][-1]
    assert person["category_id"] == 3 and len(person["segmentation"]) == 2


def test_flaw_b1_holes_are_kept_as_runs_and_crowds_too() -> None:
    by_kind = {
        (one["iscrowd"], isinstance(one["segmentation"], dict))
        for one in coco_of(CocoInstances(label_map=THINGS), drawn_picture())["annotations"]
    }
    assert by_kind == {(0, True), (0, False), (1, True)}
    polygons = CocoInstances(label_map=THINGS, segmentation="polygon")
    crowds = [o for o in coco_of(polygons, drawn_picture())["annotations"] if o["iscrowd"]]
    assert [isinstance(one["segmentation"], dict) for one in crowds] == [True]


def test_flaw_b1_class_names_are_whole_and_polygons_are_not_ignored() -> None:
    """B1: `--classes` went through its one string letter by letter; only brushes were exported."""
    content = coco_of(CocoInstances(label_map=THINGS), drawn_picture())
    assert [one["name"] for one in content["categories"]] == ["road", "car", "person"]
    assert any(isinstance(one["segmentation"], list) for one in content["annotations"])


def test_flaw_b1_a_picture_without_regions_or_with_a_plain_name_is_no_crash() -> None:
    """B1: an unannotated task or a file name without "-" was an IndexError."""
    empty = LabelledPicture(name="plain.jpg", height=4, width=6, regions=())
    content = coco_of(CocoInstances(label_map=THINGS), empty)
    assert content["annotations"] == [] and content["images"][0]["file_name"] == "plain.jpg"


def test_cnv_05_category_ids_come_from_the_label_map_whatever_occurs() -> None:
    picture = drawn_picture()
    person = [one for one in picture.regions if one.class_id == 2]
    only = LabelledPicture(name="a.jpg", height=40, width=61, regions=tuple(person))
    content = coco_of(CocoInstances(label_map=THINGS), only)
    assert {one["category_id"] for one in content["annotations"]} == {3}
    assert [(one["id"], one["name"]) for one in content["categories"]] == [
        (1, "road"), (2, "car"), (3, "person")]  # fmt: skip
    assert content["info"]["class_ids"] == {"road": 0, "car": 1, "person": 2}


def test_int_24_a_tolerance_gives_fewer_corners_and_nearly_the_same_pixels() -> None:
    exact = coco_of(CocoInstances(label_map=THINGS, segmentation="polygon"), drawn_picture())
    loose_writer = CocoInstances(label_map=THINGS, segmentation="polygon", tolerance_px=1.0)
    loose = coco_of(loose_writer, drawn_picture())
    for (_, before, one), (_, after, other) in zip(instances(exact), instances(loose), strict=True):
        assert one["area"] == other["area"]  # of the pixels, whatever the polygon
        if one["iscrowd"] or np.count_nonzero(before) < 60:
            continue
        assert len(str(other["segmentation"])) < len(str(one["segmentation"]))
        overlap = np.count_nonzero(before & after) / np.count_nonzero(before | after)
        assert overlap > 0.75


@settings(deadline=None, max_examples=200)
@given(mask=label_maps(2))
def test_runs_are_read_as_pycocotools_writes_them(mask: NDArray[np.uint8]) -> None:
    painted = mask == 1
    patch = patch_of(painted)
    height, width = mask.shape
    for runs in (
        rle_of(patch, height, width),
        {"size": [height, width], "counts": runs_of(patch, height, width)},
    ):
        again = patch_from_segmentation(runs, height, width, "here")
        frame = np.zeros(mask.shape, dtype=np.uint8)
        again.paint(frame, 1)
        assert np.array_equal(frame == 1, painted)


def test_cnv_08_written_and_read_again_nothing_has_changed(tmp_path: Path) -> None:
    first = drawn_picture()
    folder = lay_out(tmp_path, CocoInstances(label_map=THINGS), {"train": [first]})
    path = folder / "annotations" / "instances_train.json"
    (again,) = pictures_from_coco(path, THINGS, images=str(folder / "images" / "train"))
    assert Path(again.image).is_file() and again.name == first.name
    assert np.array_equal(again.mask(), first.mask())
    assert [one.is_crowd for one in again.regions].count(True) == 1
    told = {(class_id, painted.tobytes()) for class_id, painted in seen_masks(first)}
    assert {(class_id, painted.tobytes()) for class_id, painted in seen_masks(again)} == told


@pytest.mark.parametrize("kind", ["annotations", "predictions"])
def test_cnv_11_coco_to_label_studio_to_coco_gives_the_same_masks(
    tmp_path: Path, kind: Any
) -> None:
    """CNV-11: boxes, polygons and runs, through the JSON that Label Studio takes and exports."""
    content = coco_of(CocoInstances(label_map=THINGS), drawn_picture())
    box = {"id": 900, "image_id": 1, "category_id": 2, "bbox": [2, 30, 9, 7], "iscrowd": 0}
    content["annotations"].append(box)
    (tmp_path / "coco.json").write_text(json.dumps(content))
    (before,) = pictures_from_coco(tmp_path / "coco.json", THINGS)
    files, _ = run_writer(StudioTasks(label_map=THINGS, kind=kind), {"train": [before]})
    config = files["labeling_config.xml"].decode()
    assert "PolygonLabels" in config
    (task,) = json.loads(files["tasks_train.json"])
    assert set(re.findall(r"\$(\w+)", config)) <= set(task["data"])  # else it is refused
    (answer,) = task[kind]
    assert {"polygonlabels", "brushlabels"} == {one["type"] for one in answer["result"]}
    exported = {"id": 7, "data": task["data"], "meta": task["meta"],
                "annotations": [{"id": 8, "result": answer["result"]}]}  # fmt: skip
    (studio,) = tasks_from_export(json.dumps([exported]).encode(), "export")
    annotation = latest_submitted(studio)
    assert annotation is not None
    after = picture_from_annotation(before.name, studio, annotation, THINGS)
    assert np.array_equal(after.mask(), before.mask())
    first = instances(coco_of(CocoInstances(label_map=THINGS), before))
    second = instances(coco_of(CocoInstances(label_map=THINGS), after))
    assert len(first) == len(second) == 6
    for (class_id, painted, one), (its_class, its_pixels, other) in zip(first, second, strict=True):
        assert (class_id, one["iscrowd"]) == (its_class, other["iscrowd"])
        assert np.array_equal(painted, its_pixels)


def test_flaw_b1_coco_to_label_studio_keeps_masks_and_classes_not_only_boxes(
    tmp_path: Path,
) -> None:
    content = coco_of(CocoInstances(label_map=THINGS), drawn_picture())
    (tmp_path / "coco.json").write_text(json.dumps(content))
    (picture,) = pictures_from_coco(tmp_path / "coco.json", THINGS)
    result: Any = StudioTasks(label_map=THINGS).task(picture, "train")
    labels = [one["value"][one["type"]] for one in result["annotations"][0]["result"]]
    assert sorted(labels) == [["car"], ["car"], ["person"], ["person"], ["road"]]


def test_a_label_map_is_made_from_the_categories_in_id_order(tmp_path: Path) -> None:
    categories = [{"id": 7, "name": "tree", "isthing": 0}, {"id": 2, "name": "van"}]
    path = tmp_path / "coco.json"
    path.write_text(json.dumps({"categories": categories, "images": [], "annotations": []}))
    found = label_map_from_coco(path)
    assert found.names == ("van", "tree") and found.things == ("van",)
    assert label_map_from_coco(path, SMALL_MAP.colours).colours == SMALL_MAP.colours[:2]
    with pytest.raises(LabelMapError, match="2 categories, 1 colours"):
        label_map_from_coco(path, SMALL_MAP.colours[:1])
    path.write_text(json.dumps({"categories": [{"id": i, "name": str(i)} for i in range(256)]}))
    with pytest.raises(LabelMapError, match="255"):
        label_map_from_coco(path)
    path.write_text("{}")
    with pytest.raises(CorruptRecordError, match="no categories"):
        label_map_from_coco(path)


def test_tasks_say_where_the_exported_image_lies() -> None:
    writer = StudioTasks(label_map=THINGS, image_prefix="/data/local-files/?d=x/images/")
    task: Any = writer.task(drawn_picture("a b/50%&c.jpg"), "val")
    assert task["data"]["image"] == "/data/local-files/?d=x/images/val/a%20b/50%25%26c.jpg"
    own = LabelledPicture(name="a.jpg", height=2, width=2, regions=(), image="s3://b/a.jpg")
    kept: Any = StudioTasks(label_map=THINGS).task(own, "val")
    assert kept["data"]["image"] == "s3://b/a.jpg"


def a_file(**changes: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 3, "width": 4}],
        "categories": [{"id": 5, "name": "car"}],
        "annotations": [
            {
                "id": 17,
                "image_id": 1,
                "category_id": 5,
                "segmentation": {"size": [3, 4], "counts": [0, 5, 7]},
            }
        ],
    } | changes


def an_annotation(**changes: Any) -> dict[str, Any]:
    return {"annotations": [a_file()["annotations"][0] | changes]}


AN_IMAGE = a_file()["images"][0]


@pytest.mark.parametrize(
    ("changes", "error", "told"),
    [
        (an_annotation(category_id=6), CorruptRecordError, "annotation 17: category 6"),
        (an_annotation(image_id=2), CorruptRecordError, "annotation 17: its image 2"),
        (an_annotation(image_id=None), CorruptRecordError, "annotation 17"),
        (an_annotation(segmentation={"size": [4, 3], "counts": [12]}), ShapeError, "annotation 17"),
        (an_annotation(segmentation={"size": [3, 4], "counts": [5, 6]}), CorruptRecordError,
         "annotation 17: runs do not add up"),
        (an_annotation(segmentation={"size": [3, 4], "counts": [20, -8]}), CorruptRecordError,
         "annotation 17: runs do not add up"),
        (an_annotation(segmentation={"size": [3, 4], "counts": "oooooo"}), CorruptRecordError,
         "annotation 17: runs"),
        (an_annotation(segmentation={"size": [3, 4], "counts": "é"}), CorruptRecordError,
         "annotation 17: runs"),
        (an_annotation(segmentation={"size": [3, 4], "counts": ""}), CorruptRecordError,
         "annotation 17: runs"),
        (an_annotation(segmentation={"size": [3, 4]}), CorruptRecordError, "annotation 17: runs"),
        (an_annotation(segmentation=[[1, 2, 3, 4]]), CorruptRecordError, "annotation 17"),
        (an_annotation(segmentation=[[1, 2, 3, 4, 5, None]]), CorruptRecordError, "annotation 17"),
        (an_annotation(segmentation="x"), CorruptRecordError, "annotation 17"),
        (an_annotation(segmentation=[], bbox=[1, 2, -3, 4]), CorruptRecordError, "annotation 17"),
        (an_annotation(segmentation=[]), CorruptRecordError, "annotation 17"),
        ({"categories": [{"id": 5, "name": "unicorn"}]}, LabelMapError, "annotation 17.*unicorn"),
        ({"categories": [{"id": 5}]}, CorruptRecordError, "needs id and name"),
        ({"images": [AN_IMAGE, AN_IMAGE]}, CorruptRecordError, "id 1 or .* there twice"),
        ({"images": [AN_IMAGE, AN_IMAGE | {"id": 2}]}, CorruptRecordError, "'a.jpg' is there"),
        ({"images": [AN_IMAGE | {"height": 0}]}, CorruptRecordError, "image 1 needs"),
        ({"images": ["x"]}, CorruptRecordError, "expected objects"),
    ],
)  # fmt: skip
def test_what_does_not_add_up_names_the_annotation(
    changes: dict[str, Any], error: type[Exception], told: str, tmp_path: Path
) -> None:
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(a_file(**changes)))
    with pytest.raises(error, match=told):
        list(pictures_from_coco(path, SMALL_MAP))


@pytest.mark.parametrize("content", [b"{", b'{"images": [', b"\xff\xfe", b'{"categories": [nul'])
def test_what_is_no_coco_file_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(CorruptRecordError, match=r"broken\.json"):
        list(pictures_from_coco(path, SMALL_MAP))
    with pytest.raises(CorruptRecordError, match=r"gone\.json"):
        list(pictures_from_coco(tmp_path / "gone.json", SMALL_MAP))


def test_cnv_04_an_image_that_cannot_be_read_leaves_the_others(tmp_path: Path) -> None:
    """CNV-04: who skips can go on after an error."""
    content = a_file(
        images=[AN_IMAGE, AN_IMAGE | {"id": 2, "file_name": "b.jpg"}],
        **an_annotation(image_id=1, category_id=9),
    )
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(content))
    first, second = images_of_coco(path)
    with pytest.raises(CorruptRecordError, match=r"coco\.json, annotation 17: category 9"):
        first.picture(SMALL_MAP)
    assert second.picture(SMALL_MAP, images="/data/").image == "/data/b.jpg"


def test_polygons_of_other_tools_and_boxes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "coco.json"
    content = a_file()
    content["annotations"] = [
        {"id": 1, "image_id": 1, "category_id": 5, "segmentation": [[0, 0, 2, 0, 2, 1, 0, 1]],
         "score": 0.5, "iscrowd": 0},
        {"id": 2, "image_id": 1, "category_id": 5, "segmentation": [], "bbox": [2.0, 1, 2, 2]},
        {"id": 3, "image_id": 1, "category_id": 5, "bbox": [0, 0, 0, 0]},
    ]  # fmt: skip
    path.write_text(json.dumps(content))
    label_map = label_map_of([("bus", (1, 1, 1)), ("car", (2, 2, 2))])
    (picture,) = pictures_from_coco(path, label_map)
    assert [(one.shape, one.score) for one in picture.regions] == [
        ("polygon", 0.5), ("rectangle", None)]  # fmt: skip
    assert picture.mask().tolist() == [[1, 1, 255, 255], [255, 255, 1, 1], [255, 255, 1, 1]]
