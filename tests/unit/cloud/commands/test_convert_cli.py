"""`cornerloop convert` and `cornerloop export`, from outside (UX-02, CNV-01, CNV-14 … CNV-16)."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from typer.testing import CliRunner, Result

from annotation.exports import manifest as export_manifest
from annotation.exports.image_names import stem_of
from annotation.exports.picture_items import Item
from annotation.exports.picture_sources import KINDS, Reading, guess_kind, label_map_in, open_source
from annotation.formats.export_formats import FORMATS
from annotation.formats.label_studio_json import task_of_entries
from annotation.studio_tasks import StudioTask
from cloud.cli import app
from cloud.commands.conversion_options import FORMAT_NAMES
from cloud.converting.conversions import Wish, export_project
from lifelong.config import Config
from lifelong.errors import ConfigError, LifelongError, RecordError
from lifelong.records.label_map import CITYSCAPES, LabelMap
from lifelong.records.pixels import jpeg_from_image
from tests.builders import SMALL_MAP, a_mask, an_image
from tests.unit.annotation.tiny_writers import content_of, export_task, write_export

NUMBER = 12

jsonschema = pytest.importorskip("jsonschema")  # comes with Label Studio's SDK
SCHEMA = json.loads(Path(export_manifest.__file__).with_name("manifest.schema.json").read_text())


def run(*arguments: object, **environment: str) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments], env=environment)


def succeeded(result: Result) -> str:
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def label_map_file(tmp_path: Path) -> Path:
    path = tmp_path / "classes.json"
    path.write_text(json.dumps({"id2label": dict(enumerate(SMALL_MAP.names))}))
    return path


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    """An export of pictures of six scenes, and their images below `root`."""
    made = []
    for n in range(NUMBER):
        mask = a_mask(n)
        mask[:, :5] = 255
        name = f"scene {n % 6}/a-b_{n:04d}.jpg"
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg_from_image(an_image(n)))
        made.append(export_task(n + 1, f"/data/local-files/?d={name.replace(' ', '%20')}", mask))
    return write_export(tmp_path / "export.json", *made)


def convert(tasks: Path, out: Path, label_map_file: Path, *more: object) -> Result:
    return run(
        "convert", tasks, out, "--label-map", label_map_file,
        "--images-root", tasks.parent / "root", *more,
    )  # fmt: skip


def test_the_names_of_formats_are_those_that_exist() -> None:
    assert set(FORMAT_NAMES) == set(FORMATS)


@pytest.mark.parametrize("format_name", [f for f in FORMATS if f != "cityscapes"])
def test_cnv_16_every_format_is_written_with_a_whole_manifest(
    tmp_path: Path, tasks: Path, label_map_file: Path, format_name: str
) -> None:
    out = tmp_path / "out"
    told = succeeded(
        convert(tasks, out, label_map_file, "--to", format_name, "--split", "0.5/0.25/0.25")
    )
    assert "taken for label-studio" in told
    assert f"{NUMBER} pictures" in told
    assert "0 missing, 0 changed, 0 unknown" in succeeded(run("export", "verify", out))
    manifest = json.loads((out / "manifest.json").read_text())
    assert set(manifest["splits"]) == {"train", "val", "test"}
    jsonschema.validate(manifest, SCHEMA)
    assert manifest["format"] == format_name
    assert manifest["annotators"] and manifest["model_versions"] and manifest["code"]["version"]


@pytest.mark.parametrize(
    "format_name",
    ["coco", "coco-rle", "yolo-segment", "png", "png16", "numpy", "train-ids", "label-studio"],
)
def test_what_is_written_is_read_back_on_every_pixel(
    tmp_path: Path, tasks: Path, label_map_file: Path, format_name: str
) -> None:
    out = tmp_path / "out"
    succeeded(convert(tasks, out, label_map_file, "--to", format_name))
    kind = guess_kind(out)
    known = label_map_in(out, kind)
    assert known is not None
    assert known.names == SMALL_MAP.names
    before = masks_in(tasks, "label-studio", SMALL_MAP)
    after = masks_in(out, kind, known)
    assert sorted(map(stem_of, after)) == sorted(map(stem_of, before))
    by_stem = {stem_of(name): mask for name, mask in after.items()}
    for name, mask in before.items():
        assert np.array_equal(by_stem[stem_of(name)], mask), name


def masks_in(path: Path, kind: str, label_map: LabelMap) -> dict[str, Any]:
    source = open_source(path, kind, Reading(label_map=label_map))
    return {i.name: source.read(i).mask() for i in source.items() if isinstance(i, Item)}


def test_cityscapes_comes_back_by_the_names_of_its_classes(tmp_path: Path, tasks: Path) -> None:
    out = tmp_path / "out"
    succeeded(run("convert", tasks, out, "--to", "cityscapes", "--images", "none"))
    before = masks_in(tasks, "label-studio", CITYSCAPES)
    after = masks_in(out, guess_kind(out), CITYSCAPES)
    assert len(after) == len(before) == NUMBER
    for (_, one), (_, other) in zip(sorted(before.items()), sorted(after.items()), strict=True):
        assert np.array_equal(one, other)


def test_cnv_14_no_scene_is_on_two_sides_of_a_real_export(
    tmp_path: Path, tasks: Path, label_map_file: Path
) -> None:
    out = tmp_path / "out"
    told = succeeded(convert(tasks, out, label_map_file, "--to", "png", "--split", "0.5/0.25/0.25"))
    sides: dict[str, set[str]] = {}
    for path in (out / "masks").rglob("*.png"):
        side, scene, _ = path.relative_to(out / "masks").parts
        sides.setdefault(scene, set()).add(side)
    assert len(sides) == 6
    assert all(len(found) == 1 for found in sides.values())
    every = {side for found in sides.values() for side in found}
    assert every == {"train", "val", "test"}
    for side in every:  # UX-01: told, since whole scenes may be far from the shares asked for
        scenes = sum(found == {side} for found in sides.values())
        assert f"{side}: {2 * scenes} of {scenes} scene" in told


def test_cnv_14_one_scene_is_said_loudly(tmp_path: Path, label_map_file: Path) -> None:
    task = [export_task(n, f"s3://b/0016E5_{n:05d}.jpg", a_mask(n)) for n in range(4)]
    path = write_export(tmp_path / "e.json", *task)
    out = tmp_path / "out"
    flags = ["--to", "png", "--images", "none", "--split", "0.8/0.2"]
    told = succeeded(run("convert", path, out, *flags, "--label-map", label_map_file))
    assert "WARNING: all pictures are of one scene ('0016E5')" in told
    assert "one scene" in json.loads((out / "manifest.json").read_text())["warnings"][0]


def test_a_zip_archive_is_converted_like_what_is_in_it(
    tmp_path: Path, tasks: Path, label_map_file: Path
) -> None:
    archive = tmp_path / "export.zip"
    with zipfile.ZipFile(archive, "w") as content:
        content.write(tasks, "export.json")
    out, plain = tmp_path / "out", tmp_path / "plain"
    flags = ["--to", "png", "--images", "none", "--label-map", label_map_file]
    for source, folder in ((archive, out), (tasks, plain)):
        succeeded(run("convert", source, folder, *flags))
    skip = {"manifest.json"}  # it names the file
    assert {k: v for k, v in content_of(out).items() if k not in skip} == {
        k: v for k, v in content_of(plain).items() if k not in skip
    }
    assert not (out / ".cornerloop" / "archive").exists()


def test_sec_03_an_archive_that_would_write_elsewhere_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "evil.zip"
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr("../../evil.json", "[]")
    with pytest.raises(RecordError, match=r"evil\.zip"):
        succeeded(run("convert", archive, tmp_path / "a" / "out", "--to", "png"))
    assert not list(tmp_path.rglob("evil.json"))


def test_cnv_15_stats_and_diff_in_words_and_json(
    tmp_path: Path, tasks: Path, label_map_file: Path
) -> None:
    before = tmp_path / "before"
    succeeded(convert(tasks, before, label_map_file, "--to", "coco-rle"))
    told = json.loads(succeeded(run("export", "stats", before, "--json")))
    assert told["pictures"] == NUMBER
    labelled = sum(one["pixels"] for one in told["classes"].values())
    assert labelled + told["unlabelled"] == told["pixels"] == NUMBER * 48 * 64
    assert told["unlabelled"] == NUMBER * 48 * 5
    assert "person" in succeeded(run("export", "stats", before))

    content = json.loads(tasks.read_text())
    moved = content[3]["annotations"][0]["result"]
    moved[0]["value"]["brushlabels"], moved[1]["value"]["brushlabels"] = (
        moved[1]["value"]["brushlabels"],
        moved[0]["value"]["brushlabels"],
    )
    del content[5]
    changed = write_export(tmp_path / "changed.json", *content)
    after = tmp_path / "after"
    succeeded(convert(changed, after, label_map_file, "--to", "png"))
    found = json.loads(succeeded(run("export", "diff", before, after, "--json")))
    assert (found["same"], found["changed_pictures"], found["removed_pictures"]) == (10, 1, 1)
    assert found["removed"] == ["scene 5/a-b_0005.jpg"]
    gained = sum(one["gained"] for one in found["classes"].values())
    assert gained == sum(one["lost"] for one in found["classes"].values()) > 0
    assert "10 pictures the same, 1 changed" in succeeded(run("export", "diff", before, after))


def test_cnv_16_verify_ends_with_1_when_something_changed(
    tmp_path: Path, tasks: Path, label_map_file: Path
) -> None:
    out = tmp_path / "out"
    succeeded(convert(tasks, out, label_map_file, "--to", "png"))
    next((out / "masks").rglob("*.png")).write_bytes(b"x")
    result = run("export", "verify", out, "--json")
    assert result.exit_code == 1
    assert len(json.loads(result.output)["changed"]) == 1


def test_another_wish_for_the_same_folder_is_refused_and_a_failure_can_go_on(
    tmp_path: Path, tasks: Path, label_map_file: Path
) -> None:
    out = tmp_path / "out"
    (tasks.parent / "root" / "scene 1" / "a-b_0001.jpg").unlink()
    with pytest.raises(LifelongError, match=r"task 2: its image"):
        succeeded(convert(tasks, out, label_map_file, "--to", "png"))
    with pytest.raises(ConfigError, match="holds another export"):
        succeeded(convert(tasks, out, label_map_file, "--to", "png16"))
    told = succeeded(convert(tasks, out, label_map_file, "--to", "png", "--skip"))
    assert "1 could not be converted" in told
    assert f"{NUMBER - 1} pictures (1 were done before)" in told


@pytest.mark.parametrize(
    "arguments",
    [
        ("--to", "nonsense"),
        ("--to", "png", "--from", "nonsense"),
        ("--to", "train-ids", "--bits", "12"),
        ("--to", "png", "--split", "0.5"),
        ("--to", "png", "--scene-pattern", "("),
    ],
)
def test_what_cannot_be_meant_is_said_in_one_line(
    tmp_path: Path, tasks: Path, label_map_file: Path, arguments: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError) as error:
        succeeded(convert(tasks, tmp_path / "out", label_map_file, *arguments))
    assert "expected" in str(error.value) or "--scene-pattern" in str(error.value)


def test_a_folder_that_is_called_like_a_command_is_named_with_a_dot(
    tmp_path: Path, tasks: Path, label_map_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    succeeded(convert(tasks, Path("./dataset"), label_map_file, "--to", "png"))
    assert (tmp_path / "dataset" / "manifest.json").exists()


def test_an_export_into_its_own_source_is_refused(tmp_path: Path, tasks: Path) -> None:
    with pytest.raises(ConfigError, match="outside it"):
        succeeded(run("convert", tmp_path, tmp_path / "out", "--to", "png", "--from", "ssa"))
    assert not (tmp_path / "out").exists()


# seed 002


def seed_coco(tasks: Path, out: Path, *more: object) -> Result:
    return run(
        "convert", "ls-to-coco", "--json_file_path", tasks, "--out_dir", out, *more,
        HOME=str(tasks.parent / "home"),
    )  # fmt: skip


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    """An export of uploaded pictures, in Label Studio's media folder."""
    media = tmp_path / "home" / ".local" / "share" / "label-studio" / "media" / "upload" / "3"
    media.mkdir(parents=True)
    made = []
    for n in range(3):
        name = f"0a1b2c3{n}-my-cat {n}.jpg"
        (media / name).write_bytes(jpeg_from_image(an_image(n)))
        mask = a_mask(n)
        made.append(export_task(n + 1, f"/data/upload/3/{name.replace(' ', '%20')}", mask))
    made.append(export_task(7, "/data/upload/3/0a1b2c39-x.jpg"))
    return write_export(tmp_path / "ls.json", *made)


def test_ux_02_seed_002s_command_gives_its_layout(tmp_path: Path, uploads: Path) -> None:
    """UX-02: `annotations/ann.json`, `images/`, the list of classes, the configuration."""
    out = tmp_path / "my_set"
    told = succeeded(seed_coco(uploads, out, "--out_config", "mask-rcnn_r50_fpn"))
    assert "['road', 'car', 'person']" in told
    assert {p.relative_to(out).as_posix() for p in out.iterdir()} >= {
        "annotations",
        "images",
        "mask-rcnn_r50_fpn.py",
    }
    assert [p.name for p in (out / "annotations").iterdir()] == ["ann.json"]
    names = sorted(path.name for path in (out / "images").iterdir())
    assert names == [f"my-cat {n}.jpg" for n in range(3)]
    text = (out / "mask-rcnn_r50_fpn.py").read_text()
    assert "annotations/ann.json" in text
    assert "images/train" not in text
    compile(text, "config", "exec")


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_flaw_b1_area_of_the_box_images_once_a_picture(tmp_path: Path, uploads: Path) -> None:
    """The area was width x height of the box, and the image was listed once an annotation."""
    out = tmp_path / "my_set"
    succeeded(seed_coco(uploads, out))
    coco = COCO(str(out / "annotations" / "ann.json"))
    assert len(coco.imgs) == len({image["file_name"] for image in coco.imgs.values()}) == 3
    for number, image_id in enumerate(sorted(coco.imgs)):
        mask = np.full((48, 64), 255, dtype=np.uint8)
        for annotation in coco.imgToAnns[image_id]:
            painted = coco.annToMask(annotation).astype(bool)
            assert annotation["area"] == painted.sum()
            mask[painted] = SMALL_MAP.id_of(coco.cats[annotation["category_id"]]["name"])
        assert np.array_equal(mask, a_mask(number))


@pytest.mark.parametrize("classes", [["person,car, road"], ["person", "car", "road"]])
def test_flaw_b1_classes_iterated_per_character(
    tmp_path: Path, uploads: Path, classes: list[str]
) -> None:
    """`--classes cat` made the classes c, a and t."""
    out = tmp_path / "my_set"
    flags = [flag for name in classes for flag in ("--classes", name)]
    succeeded(seed_coco(uploads, out, *flags))
    categories = json.loads((out / "annotations" / "ann.json").read_text())["categories"]
    assert [category["name"] for category in categories] == ["person", "car", "road"]


def test_flaw_b1_polygons_and_boxes_are_exported_too(tmp_path: Path, uploads: Path) -> None:
    """Only brush regions were; the others were left out without a word."""
    content = json.loads(uploads.read_text())[:1]
    sizes = {"original_width": 64, "original_height": 48}
    content[0]["annotations"][0]["result"] = [
        {
            "id": "a", "type": "rectanglelabels", "from_name": "r", **sizes,
            "value": {"x": 0, "y": 0, "width": 50, "height": 50, "rectanglelabels": ["cat"]},
        },
        {
            "id": "b", "type": "polygonlabels", "from_name": "p", **sizes,
            "value": {"points": [[60, 60], [90, 60], [90, 90]], "polygonlabels": ["dog"]},
        },
    ]  # fmt: skip
    path = write_export(tmp_path / "shapes.json", *content)
    out = tmp_path / "my_set"
    assert "['cat', 'dog']" in succeeded(seed_coco(path, out, "--images", "none"))
    coco = COCO(str(out / "annotations" / "ann.json"))
    areas = sorted(annotation["area"] for annotation in coco.anns.values())
    assert areas[-1] == 32 * 24
    assert len(areas) == 2


def test_flaw_b1_annotations_after_the_first_count(tmp_path: Path, uploads: Path) -> None:
    """Only the first was looked at: a skip before an annotation lost the picture."""
    content = json.loads(uploads.read_text())[:1]
    skip = content[0]["annotations"][0] | {"id": 1, "was_cancelled": True, "result": []}
    content[0]["annotations"].insert(0, skip)
    path = write_export(tmp_path / "skipped.json", *content)
    out = tmp_path / "my_set"
    succeeded(seed_coco(path, out))
    assert [path.name for path in (out / "images").iterdir()] == ["my-cat 0.jpg"]


def test_flaw_b1_images_are_found_where_the_operator_says(tmp_path: Path, uploads: Path) -> None:
    """The media folder was fixed by the system, and an error on macOS."""
    moved = tmp_path / "elsewhere"
    (tmp_path / "home" / ".local" / "share" / "label-studio" / "media").rename(moved)
    with pytest.raises(LifelongError, match=r"task 1.*--images-root"):
        succeeded(seed_coco(uploads, tmp_path / "my_set"))
    succeeded(seed_coco(uploads, tmp_path / "my_set", "--images-root", moved))
    assert len(list((tmp_path / "my_set" / "images").iterdir())) == 3


def test_flaw_b1_an_export_without_annotations_is_an_error_in_words(tmp_path: Path) -> None:
    path = write_export(tmp_path / "ls.json", export_task(1, "/data/upload/1/0a1b2c3d-x.jpg"))
    with pytest.raises(ConfigError, match="nobody submitted"):
        succeeded(seed_coco(path, tmp_path / "out"))


# the running project


class Studio:
    def __init__(self, tasks: list[StudioTask]) -> None:
        self.tasks, self.asked = tasks, 0

    def submitted_after(self, project_id: int, task_id: int) -> list[StudioTask]:
        self.asked += 1
        return [task for task in self.tasks if task.task_id > task_id and task.submitted]

    def label_config(self, project_id: int) -> str:
        return ""


def test_ann_10_a_project_is_exported_as_it_was_when_it_was_looked_at(tmp_path: Path) -> None:
    """ANN-10: a part is enough; what people do meanwhile waits for the next export."""
    tasks = [
        task_of_entries((export_task(n, f"s3://bucket/frames/{n}.jpg", *masks),), "x")
        for n, masks in enumerate([(a_mask(1),), (), (None,), (a_mask(2), a_mask(3))], start=1)
    ]
    studio = Studio(tasks)
    images = {f"s3://bucket/frames/{n}.jpg": jpeg_from_image(an_image(n)) for n in (1, 4)}
    out = tmp_path / "out"

    def export() -> int:
        report = export_project(
            studio, 7, out, Wish(format="png"), config=Config(), label_map=SMALL_MAP,
            fetch=images.get,
        )  # fmt: skip
        return report.exported + report.kept

    assert export() == 2
    assert (out / "images" / "train" / "frames" / "4.jpg").read_bytes() == images[
        "s3://bucket/frames/4.jpg"
    ]
    before, asked = content_of(out), studio.asked
    studio.tasks = tasks[:1]
    assert export() == 2
    assert (content_of(out), studio.asked) == (before, asked)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["source"]["project"] == 7
    assert manifest["annotators"] == {"p0@example.com": 1, "p1@example.com": 1}


def test_every_kind_of_source_is_documented_where_it_is_asked_for() -> None:
    told = succeeded(run("convert", "dataset", "--help", COLUMNS="300"))
    assert "--from" in told
    with pytest.raises(ConfigError) as error:
        guess_kind(Path("nowhere"))
    assert all(kind in str(error.value) for kind in KINDS)


def test_cnv_04_a_mask_is_never_an_image_of_the_wrong_size(
    tmp_path: Path, tasks: Path, label_map_file: Path
) -> None:
    Image.new("RGB", (9, 9)).save(tasks.parent / "root" / "scene 0" / "a-b_0000.jpg")
    with pytest.raises(LifelongError, match=r"task 1.*64x48.*9x9"):
        succeeded(convert(tasks, tmp_path / "out", label_map_file, "--to", "coco"))
