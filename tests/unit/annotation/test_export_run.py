"""The engine of exports: whole, resumable, in parallel, and nothing lost in silence (CNV-13)."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from annotation.exports.image_names import ImageNames
from annotation.exports.images import ImageShelf
from annotation.exports.manifest import ExportIdentity
from annotation.exports.run import ExportPlan, ExportReport, ExportRun
from annotation.exports.scene_splits import plan_from
from annotation.exports.task_source import TaskSource
from annotation.formats.writing import Entry
from annotation.labelled_pictures import LabelledPicture
from bench.measuring import in_child
from lifelong.errors import ConfigError, LifelongError, RecordError
from lifelong.records.pixels import jpeg_from_image, mask_from_png
from tests.builders import SMALL_MAP, a_mask, an_image
from tests.unit.annotation.tiny_writers import (
    Generated,
    TinyWriter,
    content_of,
    export_task,
    write_export,
)

ROOT = Path(__file__).parents[3]
SPLIT = plan_from("0.6/0.2/0.2")


def identity(**options: Any) -> ExportIdentity:
    source = {"kind": "generated", "name": "generated", "sha256": "0" * 64}
    return ExportIdentity(source=source, format="tiny", options=options)


def a_plan(**changes: Any) -> ExportPlan:
    return replace(ExportPlan(identity=identity(), label_map=SMALL_MAP, split=SPLIT), **changes)


def export(out: Path, source: Any, writer: Any = None, **changes: Any) -> ExportReport:
    return ExportRun(source, writer or TinyWriter(), out, a_plan(**changes)).run()


def test_an_export_has_every_picture_its_index_and_a_manifest(tmp_path: Path) -> None:
    report = export(tmp_path / "out", Generated(number=40))
    assert (report.exported, report.kept, report.failed) == (40, 0, 0)
    found = content_of(tmp_path / "out")
    assert len([path for path in found if path.startswith("masks/")]) == 40
    lines = [json.loads(line) for line in found["list.jsonl"].splitlines()]
    assert [line[0] for line in lines] == sorted(f"s{n % 5}/{n:06d}.jpg" for n in range(40))
    assert {"manifest.json", "report.json"} <= found.keys()


def test_cnv_13_processes_and_one_process_write_the_same_bytes(tmp_path: Path) -> None:
    export(tmp_path / "one", Generated(number=60))
    export(tmp_path / "two", Generated(number=60), workers=2)
    assert content_of(tmp_path / "one") == content_of(tmp_path / "two")


_PROGRAM = """
import sys
from pathlib import Path
from tests.unit.annotation.test_export_run import export
from tests.unit.annotation.tiny_writers import Generated, TinyWriter
if __name__ == "__main__":
    export(Path(sys.argv[1]), Generated(number=120), TinyWriter(slow_s=0.01),
           workers=int(sys.argv[2]))
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_cnv_13_a_killed_export_goes_on_and_gives_the_same_bytes(
    tmp_path: Path, workers: int
) -> None:
    """SIGKILL for real, and what it leaves behind is worked on from there."""
    program = tmp_path / "program.py"
    program.write_text(_PROGRAM, encoding="utf-8")
    out = tmp_path / "out"
    command = [sys.executable, str(program), str(out), str(workers)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    deadline = time.monotonic() + 240
    while len(list(out.glob("masks/*/*/*.png"))) < 75 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert _is_gone(process.pid), "its workers outlive it"
    assert not (out / "manifest.json").exists()
    done = content_of(out)
    assert 75 <= len(done) < 120
    a_file = min(path for path in done)
    (out / a_file).write_bytes(b"half a file")  # as a power cut may leave it
    report = export(out, Generated(number=120))
    assert report.kept + report.exported == 120
    assert report.kept >= 32
    export(tmp_path / "whole", Generated(number=120))
    assert content_of(out) == content_of(tmp_path / "whole")


def _is_gone(group: int) -> bool:
    """Does every process of the group end within seconds?"""
    for _ in range(1000):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


def test_the_same_export_again_does_nothing_and_changes_nothing(tmp_path: Path) -> None:
    export(tmp_path / "out", Generated(number=20))
    before = content_of(tmp_path / "out")
    report = export(tmp_path / "out", Generated(number=20))
    assert (report.exported, report.kept) == (0, 20)
    assert content_of(tmp_path / "out") == before


def test_another_export_is_refused_with_the_difference(tmp_path: Path) -> None:
    export(tmp_path / "out", Generated(number=3))
    with pytest.raises(ConfigError, match=r"options tolerance.*another folder"):
        export(tmp_path / "out", Generated(number=3), identity=identity(tolerance=1))


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not empty"):
        export(tmp_path, Generated(number=3))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_two_exports_into_one_folder_wait_for_each_other(tmp_path: Path) -> None:
    from annotation.exports.lock import locked

    with (
        locked(tmp_path / "out" / ".cornerloop"),
        pytest.raises(ConfigError, match="another export is at work"),
    ):
        export(tmp_path / "out", Generated(number=3))


def test_cnv_04_a_bad_picture_stops_the_export_and_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"task 7: broken on purpose.*--skip"):
        export(tmp_path / "out", Generated(number=20, broken=(7,)))
    report = export(tmp_path / "out", Generated(number=20))  # corrected, and on it goes
    assert report.exported + report.kept == 20


@pytest.mark.parametrize("workers", [1, 2])
def test_cnv_04_with_skip_it_is_a_line_in_the_report(tmp_path: Path, workers: int) -> None:
    report = export(
        tmp_path / "out",
        Generated(number=20, broken=(7,)),
        TinyWriter(fails_on="s3/000003.jpg"),
        skip=True,
        workers=workers,
    )
    assert (report.exported, report.failed) == (18, 2)
    told = json.loads((tmp_path / "out" / "report.json").read_text())
    assert told["pictures"] == 18
    assert [failure["source"] for failure in told["failures"]] == ["task 3", "task 7"]
    assert "ValueError: a writer's own mistake" in told["failures"][0]["error"]
    assert not list((tmp_path / "out").rglob("*000007*"))


class Dying:
    """A writer whose process is killed by one picture, as for want of memory."""

    def entry(self, picture: LabelledPicture, split: str) -> Entry:
        if picture.name.endswith("000005.jpg"):
            os.kill(os.getpid(), signal.SIGKILL)
        return TinyWriter().entry(picture, split)

    def index(self, pictures: Any) -> Any:
        return TinyWriter().index(pictures)


def test_a_process_that_dies_costs_the_picture_it_was_at(tmp_path: Path) -> None:
    report = export(tmp_path / "out", Generated(number=30), Dying(), workers=2, skip=True)
    assert (report.exported, report.failed) == (29, 1)
    told = json.loads((tmp_path / "out" / "report.json").read_text())
    assert "task 5: the process that converted it died" in told["failures"][0]["error"]


class OneFile:
    """A format that forgets which picture it writes."""

    def __init__(self, path: str) -> None:
        self.path = path

    def entry(self, picture: LabelledPicture, split: str) -> Entry:
        return Entry(files={self.path: b"x"})

    def index(self, pictures: Any) -> Any:
        return ()


def test_cnv_06_two_pictures_in_one_file_are_refused_with_both_names(tmp_path: Path) -> None:
    """a.jpg and a.png both become a_TrainIds.png in seed 003's layout."""
    with pytest.raises(RecordError, match=r"s1/000001\.jpg.*s0/000000\.jpg.*'same\.png'"):
        export(tmp_path / "out", Generated(number=2), OneFile("same.png"))


@pytest.mark.parametrize(
    "path", ["../x", "/etc/x", "a/../../x", "manifest.json", ".cornerloop/x", "a//b", "./a"]
)
def test_sec_03_a_format_writes_nothing_outside_or_over_ours(tmp_path: Path, path: str) -> None:
    with pytest.raises(RecordError, match="task 0"):
        export(tmp_path / "out", Generated(number=1), OneFile(path))
    assert {p.name for p in tmp_path.iterdir()} == {"out"}
    assert set(content_of(tmp_path / "out")) == set()


def test_sec_03_a_link_in_the_folder_leads_nobody_out(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    out = tmp_path / "out"
    (out / ".cornerloop").mkdir(parents=True)
    (out / "masks").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RecordError, match="by a link"):
        export(out, Generated(number=1))
    assert not [path for path in (tmp_path / "elsewhere").rglob("*") if path.is_file()]


# Label Studio's tasks


def tasks_in(tmp_path: Path, *tasks: dict[str, Any], **settings: Any) -> TaskSource:
    path = write_export(tmp_path / "export.json", *tasks)
    return TaskSource(path=path, label_map=SMALL_MAP, **settings)


def mask_of(out: Path, stem: str) -> Any:
    (path,) = out.glob(f"masks/*/{stem}.png")
    return mask_from_png(path.read_bytes(), stem)


def test_cnv_06_two_tasks_of_one_name_are_refused_with_both_names(tmp_path: Path) -> None:
    twins = [
        export_task(3, "/data/upload/1/0a1b2c3d-a.jpg", a_mask(1)),
        export_task(9, "/data/upload/1/deadbeef-a.jpg", a_mask(2)),
    ]
    with pytest.raises(RecordError, match=r"task 9.*'a\.jpg'.*task 3"):
        export(tmp_path / "out", tasks_in(tmp_path, *twins))
    report = export(tmp_path / "out", tasks_in(tmp_path, *twins), skip=True)
    assert (report.kept + report.exported, report.failed) == (1, 1)
    apart = tasks_in(tmp_path, *twins, names=ImageNames(keep_upload_prefix=True))
    assert export(tmp_path / "apart", apart).exported == 2


def test_cnv_07_latest_all_and_consensus(tmp_path: Path) -> None:
    one, two, three = a_mask(1), a_mask(2), a_mask(2)
    task = export_task(4, "s3://b/x/1.jpg", one, two, three, None)
    latest = tasks_in(tmp_path, task)
    assert export(tmp_path / "latest", latest).exported == 1
    assert (mask_of(tmp_path / "latest", "x/1") == three).all()
    every = tasks_in(tmp_path, task, annotations="all")
    assert export(tmp_path / "all", every).exported == 3
    assert (mask_of(tmp_path / "all", "x/1-annotation-40") == one).all()
    assert (mask_of(tmp_path / "all", "x/1-annotation-41") == two).all()
    agreed = tasks_in(tmp_path, task, annotations="consensus")
    assert export(tmp_path / "agreed", agreed).exported == 1
    assert (mask_of(tmp_path / "agreed", "x/1") == two).all()


def test_cnv_07_all_annotations_of_a_picture_stay_on_one_side(tmp_path: Path) -> None:
    tasks = [export_task(n, f"s3://b/s{n}/1.jpg", a_mask(n), a_mask(n + 1)) for n in range(1, 9)]
    export(tmp_path / "out", tasks_in(tmp_path, *tasks, annotations="all"))
    sides: dict[str, set[str]] = {}
    for line in (tmp_path / "out" / "list.jsonl").read_text().splitlines():
        name, side, _ = json.loads(line)
        sides.setdefault(name.split("-")[0], set()).add(side)
    assert len(sides) == 8
    assert all(len(found) == 1 for found in sides.values())
    assert set.union(*sides.values()) == {"train", "val", "test"}


def test_ann_10_a_partly_annotated_project_exports_what_there_is(tmp_path: Path) -> None:
    """ANN-10: cancelled never, drafts and predictions never, untouched tasks are counted."""
    tasks = tasks_in(
        tmp_path,
        export_task(1, "s3://b/1.jpg", a_mask(1)),
        export_task(2, "s3://b/2.jpg", None),
        export_task(3, "s3://b/3.jpg"),
        export_task(4, "s3://b/4.jpg", drafts=[{"id": 1, "result": []}]),
    )
    report = export(tmp_path / "out", tasks)
    assert report.exported == 1
    assert report.left_out == {"not annotated": 2, "skipped": 1}


def test_flaw_b1_unannotated_task_was_an_index_error(tmp_path: Path) -> None:
    tasks = tasks_in(tmp_path, export_task(1, "s3://b/1.jpg"))
    assert export(tmp_path / "out", tasks).left_out == {"not annotated": 1}


def test_cnv_04_a_submission_without_a_region_is_named(tmp_path: Path) -> None:
    task = export_task(12, "s3://b/1.jpg", a_mask(1))
    task["annotations"][0]["result"] = []
    with pytest.raises(RecordError, match="task 12"):
        export(tmp_path / "out", tasks_in(tmp_path, task))


def test_flaw_b3_unknown_label_is_road_no_more(tmp_path: Path) -> None:
    """An unknown label was painted as class 0; now it is an error with the task's id (CNV-04)."""
    task = export_task(12, "s3://b/1.jpg", a_mask(1))
    task["annotations"][0]["result"][0]["value"]["brushlabels"] = ["unicorn"]
    with pytest.raises(RecordError, match=r"task 12.*unicorn"):
        export(tmp_path / "out", tasks_in(tmp_path, task))
    good = export_task(13, "s3://b/2.jpg", a_mask(2))
    report = export(tmp_path / "skipped", tasks_in(tmp_path, task, good), skip=True)
    assert (report.exported, report.failed) == (1, 1)
    assert not list((tmp_path / "skipped").glob("masks/*/1.png"))


def test_sec_03_a_task_that_claims_a_giant_picture_is_refused(tmp_path: Path) -> None:
    task = export_task(5, "s3://b/1.jpg", a_mask(1))
    task["annotations"][0]["result"] = [
        {
            "id": "a",
            "type": "rectanglelabels",
            "original_width": 200_000,
            "original_height": 200_000,
            "value": {"x": 0, "y": 0, "width": 1, "height": 1, "rectanglelabels": ["car"]},
        }
    ]
    with pytest.raises(RecordError, match="task 5: drawn on 200000x200000 pixels"):
        export(tmp_path / "out", tasks_in(tmp_path, task))


# images


def test_images_are_copied_linked_or_left(tmp_path: Path) -> None:
    images = tmp_path / "root" / "park"
    images.mkdir(parents=True)
    image = jpeg_from_image(an_image(1))
    (images / "a b-1.jpg").write_bytes(image)
    tasks = tasks_in(tmp_path, export_task(1, "/data/local-files/?d=park/a%20b-1.jpg", a_mask(1)))
    for mode in ("copy", "link", "none"):
        shelf = ImageShelf(mode=mode, roots=(tmp_path / "root",))  # type: ignore[arg-type]
        out = tmp_path / mode
        export(out, tasks, images=shelf)
        there = out / "images" / "train" / "park" / "a b-1.jpg"
        assert there.exists() == (mode != "none")
        if mode != "none":
            assert there.read_bytes() == image
            assert there.samefile(images / "a b-1.jpg") == (mode == "link")


def test_cnv_04_a_missing_image_names_its_task(tmp_path: Path) -> None:
    tasks = tasks_in(tmp_path, export_task(31, "/data/local-files/?d=park/1.jpg", a_mask(1)))
    shelf = ImageShelf(mode="copy", roots=(tmp_path,))
    with pytest.raises(RecordError, match=r"task 31.*not found.*--images-root"):
        export(tmp_path / "out", tasks, images=shelf)
    report = export(tmp_path / "out", tasks, images=shelf, skip=True)
    assert (report.exported, report.failed) == (0, 1)
    assert not list((tmp_path / "out").rglob("*.png"))


def test_cnv_04_another_size_than_the_image_names_its_task(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(jpeg_from_image(an_image(1, 20, 30)))
    tasks = tasks_in(tmp_path, export_task(32, "s3://b/1.jpg", a_mask(1)))
    shelf = ImageShelf(mode="copy", roots=(tmp_path,))
    with pytest.raises(RecordError, match=r"task 32.*64x48.*30x20"):
        export(tmp_path / "out", tasks, images=shelf)


@pytest.mark.parametrize("reference", ["/etc/passwd", "file:///etc/passwd", "http://127.0.0.1/x"])
def test_sec_03_a_task_cannot_fetch_files_of_this_machine(tmp_path: Path, reference: str) -> None:
    """Its image is looked for below the operator's folders, and never asked for by address."""
    tasks = tasks_in(tmp_path, export_task(1, reference, a_mask(1)))
    shelf = ImageShelf(mode="copy", roots=(tmp_path / "root",))
    with pytest.raises(LifelongError, match=r"task 1.*not found"):
        export(tmp_path / "out", tasks, images=shelf)


def test_an_absolute_path_below_a_root_is_found(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "1.jpg").write_bytes(jpeg_from_image(an_image(1)))
    tasks = tasks_in(tmp_path, export_task(1, f"{tmp_path}/root/1.jpg", a_mask(1)))
    shelf = ImageShelf(mode="copy", roots=(tmp_path / "root",))
    assert export(tmp_path / "out", tasks, images=shelf).exported == 1


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_cnv_13_memory_does_not_grow_with_the_number_of_pictures(
    tmp_path: Path, workers: int
) -> None:
    """Ten times as many pictures in the same memory; `bench.exports` goes to 100,000."""
    _, _, few = in_child(export_generated, tmp_path / "few", 1000, workers)
    _, _, many = in_child(export_generated, tmp_path / "many", 10_000, workers)
    # Names alone would be some 2 MB, records and masks much more.
    assert many - few < 6  # MiB


def export_generated(out: Path, number: int, workers: int) -> int:
    """In a process of its own."""
    return export(out, Generated(number=number), workers=workers).exported
