"""Seed 003's converters: its flags, folders and names, and what it got wrong (CNV-01, CNV-02)."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from annotation.draft_regions import BRUSH_DRAFTS, regions_from_mask
from annotation.exports import manifest as export_manifest
from annotation.exports.picture_items import sha256_of
from annotation.exports.verifying import verify
from annotation.formats.ssa import ssa_from_mask
from annotation.formats.train_ids import read_train_ids
from cloud.cli import app
from cloud.converting.seed_conversions import label_studio_to_train_ids, ssa_to_label_studio
from lifelong.errors import ConfigError, LifelongError, RecordError
from lifelong.records.label_map import CITYSCAPES, LabelMap
from tests.builders import a_mask
from tests.camvid import camvid_masks
from tests.unit.annotation.maps import label_maps

jsonschema = pytest.importorskip("jsonschema")  # comes with Label Studio's SDK

ROOT = Path(__file__).parents[4]
VARIABLE = "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"

# As in the tutorial of seed 003.
INTERFACE = """<View>
  <Image name="image" value="$image" zoom="true" zoomControl="true" rotateControl="false"/>
  <PolygonLabels name="labels" toName="image" Opacity="0.5" strokeWidth="3">
    <Label value="road" background="#ADC6FF"/>
    <Label value="sidewalk" background="#9254DE"/>
  </PolygonLabels>
</View>"""


def a_dataset(folder: Path, masks: dict[str, NDArray[np.uint8]]) -> Path:
    """`raw_data` and `ssa_output` with these pictures; image content does not matter."""
    for name, mask in masks.items():
        raw = folder / "raw_data" / name
        draft = folder / "ssa_output" / Path(name).with_suffix("").parent
        raw.parent.mkdir(parents=True, exist_ok=True)
        draft.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (mask.shape[1], mask.shape[0])).save(raw)
        (draft / f"{Path(name).stem}_semantic.json").write_bytes(ssa_from_mask(mask))
    ids = {"id2label": {str(i): name for i, name in enumerate(CITYSCAPES.names)}}
    (folder / "id2label.json").write_text(json.dumps(ids))
    return folder


def submitted(tasks: list[dict[str, Any]], kind: str = "JSON-MIN") -> bytes:
    """What Label Studio exports when every prediction is submitted untouched."""
    entries = []
    for number, task in enumerate(tasks, start=1):
        regions = task["predictions"][0]["result"]
        if kind == "JSON":
            entry = {
                "id": number,
                "data": task["data"],
                "annotations": [{"id": number, "completed_by": 1, "result": regions}],
            }
        else:
            sizes = ("original_width", "original_height")
            shapes = [r["value"] | {size: r[size] for size in sizes} for r in regions]
            entry = task["data"] | {
                "id": number,
                "labels": shapes,
                "annotator": 1,
                "annotation_id": number,
            }
        entries.append(entry)
    return json.dumps(entries).encode()


def mode_of(path: Path) -> str:
    with Image.open(path) as picture:
        return picture.mode


def there(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def round_trip(
    dataset: Path, label_map: LabelMap = CITYSCAPES, kind: str = "JSON-MIN"
) -> list[dict[str, Any]]:
    """SSA -> tasks -> an untouched export -> train ids; returns the tasks."""
    environment = {VARIABLE: str(dataset.parent)}
    ssa_to_label_studio(dataset, label_map, environment)
    tasks: list[dict[str, Any]] = json.loads((dataset / "ls_data" / "tasks.json").read_text())
    (dataset / "ls_data" / "ls_export.json").write_bytes(submitted(tasks, kind))
    label_studio_to_train_ids(dataset, "ls_export.json", label_map, environment)
    return tasks


def test_cnv_01_the_seeds_example_gives_the_seeds_files(tmp_path: Path) -> None:
    """CNV-01: its flags and its layout, folders kept, any suffix; tasks.json comes on top."""
    names = ["0001.png", "b-c d.jpg", "front/0002.JPG", "front/0003.bmp"]
    dataset = a_dataset(tmp_path / "dataset", {n: a_mask(i) for i, n in enumerate(names)})
    before = there(dataset)
    flags = ["--dataset_dir", str(dataset), "--config_path", str(dataset / "id2label.json")]
    environment = {VARIABLE: str(tmp_path)}
    first = CliRunner().invoke(app, ["convert", "ssa-to-ls", *flags], env=environment)
    assert first.exit_code == 0, first.output
    stems = ["0001", "b-c d", "front/0002", "front/0003"]
    assert there(dataset) - before == {
        "ls_data.manifest.json",  # CNV-16: beside the folder, not in it
        "ls_data/tasks.json",
        *(f"ls_data/{stem}_semantic_poly_ls.json" for stem in stems),
    }
    tasks = json.loads((dataset / "ls_data" / "tasks.json").read_text())
    (dataset / "ls_data" / "ls_export.json").write_bytes(submitted(tasks))
    second = CliRunner().invoke(
        app, ["convert", "ls-to-train-ids", *flags, "--ls_json_name", "ls_export.json"]
    )
    assert second.exit_code == 0, second.output
    masks = {path for path in there(dataset) if path.startswith("train_ids/")}
    assert masks == {f"train_ids/{stem}_TrainIds.png" for stem in stems}
    for number, stem in enumerate(stems):
        path = dataset / "train_ids" / f"{stem}_TrainIds.png"
        assert mode_of(path) == "I;16"
        assert np.array_equal(read_train_ids(path), a_mask(number))


def test_cnv_16_both_converters_leave_a_manifest_beside_their_folder(tmp_path: Path) -> None:
    names = ["0001.png", "front/0002.JPG"]
    dataset = a_dataset(tmp_path / "dataset", {n: a_mask(i) for i, n in enumerate(names)})
    round_trip(dataset)
    tasks, masks = (
        json.loads((dataset / f"{name}.manifest.json").read_text())
        for name in ("ls_data", "train_ids")
    )
    schema = Path(export_manifest.__file__).with_name("manifest.schema.json")
    for one in (tasks, masks):
        jsonschema.validate(one, json.loads(schema.read_text()))
        assert one["pictures"] == 2
        assert one["label_map"]["digest"] == CITYSCAPES.digest
        assert str(tmp_path) not in json.dumps(one)
    assert (tasks["annotators"], tasks["model_versions"]) == ({}, {"ssa": 2})
    assert masks["annotators"] == {"user 1": 2}
    export = dataset / "ls_data" / "ls_export.json"
    assert masks["source"] == {
        "kind": "label-studio", "name": "ls_export.json", "sha256": sha256_of(export),
    }  # fmt: skip
    assert {file["path"] for file in tasks["files"]} == {
        "ls_data/tasks.json", "ls_data/0001_semantic_poly_ls.json",
        "ls_data/front/0002_semantic_poly_ls.json",
    }  # fmt: skip
    assert verify(dataset).is_whole and verify(dataset).files == 5
    (dataset / "train_ids" / "0001_TrainIds.png").write_bytes(b"")
    assert verify(dataset / "train_ids").changed == ("train_ids/0001_TrainIds.png",)
    assert verify(dataset / "ls_data").is_whole


def test_cnv_16_what_was_left_out_and_what_failed_is_counted(tmp_path: Path) -> None:
    dataset = a_dataset(tmp_path / "dataset", {"x.png": a_mask(1), "y.png": a_mask(2)})
    (dataset / "ssa_output" / "y_semantic.json").unlink()
    ssa_to_label_studio(dataset, CITYSCAPES, {VARIABLE: str(tmp_path)}, skip=True)
    told = json.loads((dataset / "ls_data.manifest.json").read_text())
    assert (told["pictures"], told["failed"]) == (1, 1)
    (dataset / "ls_data.manifest.json").unlink()
    with pytest.raises(RecordError):
        ssa_to_label_studio(dataset, CITYSCAPES, {VARIABLE: str(tmp_path)})
    assert not (dataset / "ls_data.manifest.json").exists()  # it is not whole
    mark = {"id": 1, "was_cancelled": True, "result": []}
    skipped = {"id": 1, "data": {"image": "x.png"}, "annotations": [mark]}
    (dataset / "ls_data" / "e.json").write_text(json.dumps([skipped]))
    label_studio_to_train_ids(dataset, "e.json", CITYSCAPES, {})
    told = json.loads((dataset / "train_ids.manifest.json").read_text())
    assert (told["pictures"], told["left_out"]) == (0, {"skipped": 1})


def test_cnv_01_a_task_is_what_seed_003_makes(tmp_path: Path) -> None:
    """Keys, address and tool as `convert_ssa_to_ls.py` writes them, so it fits its project."""
    dataset = a_dataset(tmp_path / "park" / "dataset", {"0001.png": a_mask(1, classes=2)})
    ssa_to_label_studio(dataset, CITYSCAPES, {VARIABLE: str(tmp_path)})
    task = json.loads((dataset / "ls_data" / "0001_semantic_poly_ls.json").read_text())
    assert task["data"] == {"image": "/data/local-files/?d=park/dataset/raw_data/0001.png"}
    (prediction,) = task["predictions"]
    assert {"model_version", "result", "ground_truth"} == prediction.keys()
    labels = ElementTree.fromstring(INTERFACE).find("PolygonLabels")
    assert labels is not None
    known = {label.get("value") for label in labels}
    for region in prediction["result"]:
        assert (region["from_name"], region["to_name"], region["type"]) == (
            labels.get("name"),
            labels.get("toName"),
            "polygonlabels",
        )
        assert (region["original_width"], region["original_height"]) == (64, 48)
        assert set(region["value"]["polygonlabels"]) <= known
        assert all(0 <= v <= 100 for point in region["value"]["points"] for v in point)
    ids = [region["id"] for region in prediction["result"]]
    assert len(set(ids)) == len(ids), "the seed gave all regions of a class one id"


@pytest.mark.parametrize(
    ("script", "flags"),
    [
        ("convert_ssa_to_ls.py", {"--dataset_dir", "--config_path"}),
        ("convert_ls_to_trainid.py", {"--dataset_dir", "--ls_json_name", "--config_path"}),
        (
            "convert_to_rle_mask_coco.py",
            {"--json_file_path", "--out_dir", "--classes", "--out_config"},
        ),
    ],
)
def test_cnv_01_old_command_lines_work(script: str, flags: set[str]) -> None:
    command = [sys.executable, str(ROOT / "tools" / script), "--help"]
    told = subprocess.run(
        command, capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(ROOT), "COLUMNS": "200", "PATH": ""},
    ).stdout  # fmt: skip
    assert all(flag in told for flag in flags), told


@pytest.mark.parametrize(("kind", "most"), [("JSON-MIN", 1000), ("JSON", 3)])
def test_cnv_02_untouched_camvid_comes_back_on_every_pixel(
    tmp_path: Path, kind: str, most: int
) -> None:
    """SSA -> Label Studio -> export -> train ids; seed 003's own chain kept 22.4 %."""
    masks = {f"{name}.png": mask for name, mask in camvid_masks()[:most]}
    dataset = a_dataset(tmp_path / "camvid", masks)
    round_trip(dataset, kind=kind)
    for name, mask in masks.items():
        path = dataset / "train_ids" / f"{Path(name).stem}_TrainIds.png"
        assert np.array_equal(read_train_ids(path), mask), name


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(label_maps())
def test_cnv_02_drawn_maps_come_back_on_every_pixel(
    tmp_path: Path, mask: NDArray[np.uint8]
) -> None:
    if (mask == 255).all():
        mask[0, 0] = 1
    dataset = a_dataset(tmp_path / "drawn", {"x.png": mask})
    round_trip(dataset)
    assert np.array_equal(read_train_ids(dataset / "train_ids" / "x_TrainIds.png"), mask)


def test_cnv_05_eight_bits_on_request_and_ids_by_key(tmp_path: Path) -> None:
    mask = a_mask(3)
    dataset = a_dataset(tmp_path / "dataset", {"x.png": mask})
    round_trip(dataset)
    turned = dict(reversed({str(i): n for i, n in enumerate(CITYSCAPES.names)}.items()))
    (dataset / "id2label.json").write_text(json.dumps({"id2label": turned}))
    flags = ["--dataset_dir", str(dataset), "--config_path", str(dataset / "id2label.json")]
    result = CliRunner().invoke(
        app,
        ["convert", "ls-to-train-ids", *flags, "--ls_json_name", "ls_export.json", "--bits", "8"],
    )
    assert result.exit_code == 0, result.output
    path = dataset / "train_ids" / "x_TrainIds.png"
    assert mode_of(path) == "L"
    assert np.array_equal(read_train_ids(path), mask)


def test_flaw_b3_class_id_by_position(tmp_path: Path) -> None:
    """The class id was the position in the file; a permuted file moved every class."""
    dataset = a_dataset(tmp_path / "dataset", {"x.png": a_mask(3)})
    round_trip(dataset)
    ids = {"id2label": {"2": "building", "1": "sidewalk", "0": "road"}}
    path = dataset / "id2label.json"
    path.write_text(json.dumps(ids))
    flags = ["--dataset_dir", str(dataset), "--config_path", str(path)]
    result = CliRunner().invoke(
        app, ["convert", "ls-to-train-ids", *flags, "--ls_json_name", "ls_export.json"]
    )
    assert result.exit_code == 0, result.output
    found = read_train_ids(dataset / "train_ids" / "x_TrainIds.png")
    assert np.array_equal(found, a_mask(3))


def test_flaw_b3_int_truncation(tmp_path: Path) -> None:
    """int() moved 7.3 % of the seed's own vertices, x / width percent, by a pixel."""
    corners = [(x, y) for x in range(0, 480, 7) for y in (3, 351)]
    shapes = []
    for number, (x, y) in enumerate(corners):
        points = [[px / 480 * 100, py / 360 * 100] for px, py in [(x, y), (x + 2, y), (x, y + 2)]]
        shapes.append(
            {
                "points": points,
                "polygonlabels": [CITYSCAPES.names[number % 19]],
                "original_width": 480,
                "original_height": 360,
            }
        )
    dataset = a_dataset(tmp_path / "dataset", {"x.png": np.zeros((360, 480), np.uint8)})
    entry = {"image": "x.png", "id": 1, "annotation_id": 1, "labels": shapes}
    (dataset / "ls_data").mkdir()
    (dataset / "ls_data" / "e.json").write_text(json.dumps([entry]))
    label_studio_to_train_ids(dataset, "e.json", CITYSCAPES, {})
    found = read_train_ids(dataset / "train_ids" / "x_TrainIds.png")
    for number, (x, y) in enumerate(corners):
        for px, py in [(x, y), (x + 2, y), (x, y + 2)]:
            if px < 480 and py < 360:
                assert found[py, px] == number % 19, (px, py)


def test_flaw_b3_jpg_names(tmp_path: Path) -> None:
    """Names were made by replacing ".png" only, so drafts of a .jpg were never found."""
    names = ["a.jpg", "b.JPG", "c.jpeg", "d.PNG", "e.bmp", "x.png.jpg"]
    dataset = a_dataset(tmp_path / "dataset", {n: a_mask(i) for i, n in enumerate(names)})
    round_trip(dataset)
    assert len(list((dataset / "train_ids").iterdir())) == len(names)


def test_flaw_b3_one_contour_a_class(tmp_path: Path) -> None:
    """One contour of each class was kept; all pieces and holes are (CNV-03)."""
    mask = np.full((40, 60), 0, dtype=np.uint8)
    mask[5:15, 5:15] = mask[20:30, 30:50] = 13
    mask[8:12, 8:12] = 0
    mask[22:26, 35:40] = 255
    dataset = a_dataset(tmp_path / "dataset", {"x.png": mask})
    round_trip(dataset)
    assert np.array_equal(read_train_ids(dataset / "train_ids" / "x_TrainIds.png"), mask)


def test_flaw_b3_a_document_root_that_is_not_set_is_an_error(tmp_path: Path) -> None:
    """The address was relative to wherever the script was started, and no image was found."""
    dataset = a_dataset(tmp_path / "dataset", {"x.png": a_mask(1)})
    with pytest.raises(ConfigError, match=f"{VARIABLE} is not set.*export {VARIABLE}="):
        ssa_to_label_studio(dataset, CITYSCAPES, {})
    with pytest.raises(ConfigError, match="not below"):
        ssa_to_label_studio(dataset, CITYSCAPES, {VARIABLE: str(tmp_path / "elsewhere")})
    assert not (dataset / "ls_data").exists()


def test_flaw_b3_a_missing_draft_names_its_picture(tmp_path: Path) -> None:
    dataset = a_dataset(tmp_path / "dataset", {"x.png": a_mask(1), "y.png": a_mask(2)})
    (dataset / "ssa_output" / "x_semantic.json").unlink()
    environment = {VARIABLE: str(tmp_path)}
    with pytest.raises(LifelongError, match=r"x\.png: no draft"):
        ssa_to_label_studio(dataset, CITYSCAPES, environment)
    report = ssa_to_label_studio(dataset, CITYSCAPES, environment, skip=True)
    assert (report.done, len(report.failures)) == (1, 1)
    assert len(json.loads((dataset / "ls_data" / "tasks.json").read_text())) == 1


def test_flaw_b3_results_of_the_open_vocabulary_can_be_imported(tmp_path: Path) -> None:
    """`main_ssa_engine.py` writes names and no semantic_mask: the seed's script was a KeyError."""
    mask = a_mask(5, classes=2)
    dataset = a_dataset(tmp_path / "dataset", {"x.png": mask})
    path = dataset / "ssa_output" / "x_semantic.json"
    runs = json.loads(path.read_text())["semantic_mask"]
    named = [("the road", runs["0"]), ("sidewalk", runs["1"])]
    told = [{"class_name": name, "segmentation": segmentation} for name, segmentation in named]
    path.write_text(json.dumps({"annotations": told}))
    flags = ["--dataset_dir", str(dataset), "--config_path", str(dataset / "id2label.json")]
    environment = {VARIABLE: str(tmp_path)}
    result = CliRunner().invoke(app, ["convert", "ssa-to-ls", *flags], env=environment)
    assert result.exit_code == 0, result.output
    tasks = json.loads((dataset / "ls_data" / "tasks.json").read_text())
    (dataset / "ls_data" / "e.json").write_bytes(submitted(tasks))
    label_studio_to_train_ids(dataset, "e.json", CITYSCAPES, {})
    assert np.array_equal(read_train_ids(dataset / "train_ids" / "x_TrainIds.png"), mask)


def test_flaw_b3_regions_that_are_no_polygons_are_read(tmp_path: Path) -> None:
    """A brush stroke was a KeyError, a picture without regions too."""
    mask = a_mask(4)
    dataset = a_dataset(tmp_path / "dataset", {"x.png": mask})
    regions = regions_from_mask(mask, CITYSCAPES, shapes=BRUSH_DRAFTS)
    task = {"data": {"image": "x.png"}, "predictions": [{"result": regions}]}
    (dataset / "ls_data").mkdir()
    (dataset / "ls_data" / "e.json").write_bytes(submitted([task]))
    label_studio_to_train_ids(dataset, "e.json", CITYSCAPES, {})
    assert np.array_equal(read_train_ids(dataset / "train_ids" / "x_TrainIds.png"), mask)
    empty = {"image": "x.png", "id": 7, "annotation_id": 1}
    (dataset / "ls_data" / "e.json").write_text(json.dumps([empty]))
    with pytest.raises(LifelongError, match="task 7"):
        label_studio_to_train_ids(dataset, "e.json", CITYSCAPES, {})


def test_flaw_b3_unknown_label_is_road(tmp_path: Path) -> None:
    """An unknown label was painted as class 0; now the task is named and no mask is written."""
    dataset = a_dataset(tmp_path / "dataset", {"x.png": a_mask(1), "y.png": a_mask(2)})
    tasks = round_trip(dataset)
    tasks[0]["predictions"][0]["result"][0]["value"]["polygonlabels"] = ["unicorn"]
    (dataset / "ls_data" / "ls_export.json").write_bytes(submitted(tasks))
    for path in (dataset / "train_ids").iterdir():
        path.unlink()
    with pytest.raises(RecordError, match=r"task 1.*unicorn"):
        label_studio_to_train_ids(dataset, "ls_export.json", CITYSCAPES, {})
    report = label_studio_to_train_ids(dataset, "ls_export.json", CITYSCAPES, {}, skip=True)
    assert (report.done, len(report.failures)) == (1, 1)
    assert there(dataset / "train_ids") == {"y_TrainIds.png"}
    told = json.loads((dataset / "ls_data" / "ls_export_report.json").read_text())
    assert "task 1" in told["failures"][0]


def test_flaw_b3_the_order_of_the_export_paints_nothing_over(tmp_path: Path) -> None:
    """Regions were painted in the order they came: a road that came last hid its cars."""
    mask = np.zeros((40, 60), dtype=np.uint8)
    mask[10:20, 10:30] = 13
    mask[12:15, 12:15] = 11
    dataset = a_dataset(tmp_path / "dataset", {"x.png": mask})
    tasks = round_trip(dataset)
    result = tasks[0]["predictions"][0]["result"]
    for order in (sorted, reversed):
        tasks[0]["predictions"][0]["result"] = [
            result[place] for place in order(range(len(result)))
        ]
        (dataset / "ls_data" / "e.json").write_bytes(submitted(tasks))
        label_studio_to_train_ids(dataset, "e.json", CITYSCAPES, {})
        found = read_train_ids(dataset / "train_ids" / "x_TrainIds.png")
        assert np.array_equal(found, mask)


def test_flaw_b3_split_on_hyphen(tmp_path: Path) -> None:
    """a-1.png and b-1.png were both written as 1_TrainIds.png."""
    masks = {"a-1.png": a_mask(1), "b-1.png": a_mask(2)}
    dataset = a_dataset(tmp_path / "dataset", masks)
    round_trip(dataset)
    for name, mask in masks.items():
        path = dataset / "train_ids" / f"{Path(name).stem}_TrainIds.png"
        assert np.array_equal(read_train_ids(path), mask)


def test_cnv_06_two_tasks_of_one_file_are_refused_with_both_names(tmp_path: Path) -> None:
    dataset = a_dataset(tmp_path / "dataset", {"x.png": a_mask(1)})
    tasks = round_trip(dataset)
    (dataset / "ls_data" / "e.json").write_bytes(submitted(tasks * 2))
    with pytest.raises(RecordError, match=r"task 2.*x_TrainIds.*task 1"):
        label_studio_to_train_ids(dataset, "e.json", CITYSCAPES, {})


def test_cnv_04_another_size_than_the_picture_names_the_task(tmp_path: Path) -> None:
    dataset = a_dataset(tmp_path / "dataset", {"x.png": a_mask(1)})
    round_trip(dataset)
    Image.new("RGB", (10, 10)).save(dataset / "raw_data" / "x.png")
    with pytest.raises(LifelongError, match=r"task 1.*64x48.*10x10"):
        label_studio_to_train_ids(dataset, "ls_export.json", CITYSCAPES, {})


@pytest.mark.parametrize("place", ["/srv/data/raw_data/front/x.png", "front/x.png"])
def test_masks_lie_where_the_pictures_do_without_the_variable_too(
    tmp_path: Path, place: str
) -> None:
    dataset = a_dataset(tmp_path / "dataset", {"front/x.png": a_mask(1)})
    tasks = round_trip(dataset)
    tasks[0]["data"]["image"] = place
    (dataset / "ls_data" / "e.json").write_bytes(submitted(tasks))
    (dataset / "train_ids" / "front" / "x_TrainIds.png").unlink()
    label_studio_to_train_ids(dataset, "e.json", CITYSCAPES, {})
    assert there(dataset / "train_ids") == {"front/x_TrainIds.png"}
