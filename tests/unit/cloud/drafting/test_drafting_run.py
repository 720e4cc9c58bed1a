"""`cornerloop preannotate` on real files with the shipped models, in processes of its own."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from annotation.exports.verifying import verify
from annotation.formats.ssa import mask_from_ssa
from cloud.demo.scenes import draw_scene
from cloud.drafting.raw_pictures import RawPicture, Shard
from cloud.drafting.records import DraftRecord, Failure, read_record, report_path
from cloud.drafting.run import DraftingRun, RunReport, exit_code_of, warnings_of
from cloud.drafting.workers import DraftWorkers
from lifelong.errors import ConfigError, ModelLoadError
from lifelong.records.label_map import CITYSCAPES
from lifelong.sections.drafting import MasksSection, PreannotationSection, VoteSection

# Every worker process loads torch: seconds each.
pytestmark = pytest.mark.slow

SECTION = PreannotationSection()
NAMES = ["a b.png", "路口/图.v2.PNG", "night/0001.bmp"]


def scene(seed=3, height=64, width=96):
    return draw_scene(seed, "clear", height, width).image


@pytest.fixture(scope="module")
def drafted(tmp_path_factory):
    """Three good pictures and two bad ones, drafted once by two workers."""
    root = tmp_path_factory.mktemp("drafts")
    folder, dataset = root / "my pictures", root / "dataset"
    for seed, name in enumerate(NAMES):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene(seed)).save(path)
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.png").write_text("no picture")
    told = []
    run = DraftingRun(folder, dataset, SECTION, CITYSCAPES, workers=2)
    report = run.run(lambda report, workers: told.append(report.done))
    return folder, dataset, report, told


def test_pre_03_and_pre_04_drafts_lie_where_seed_003_looks_for_them(drafted):
    """PRE-03, PRE-04: raw_data and ssa_output, `<stem>_semantic.json` and `.png`."""
    folder, dataset, *_ = drafted

    for name in NAMES:
        stem = str(Path(name).with_suffix(""))
        assert (dataset / "raw_data" / name).read_bytes() == (folder / name).read_bytes()
        with Image.open(dataset / "ssa_output" / f"{stem}_semantic.png") as picture:
            assert picture.size == (96, 64)
        told = json.loads((dataset / "ssa_output" / f"{stem}_semantic.json").read_bytes())
        assert set(told) == {"annotations", "semantic_mask", "cornerloop"}
        areas = [one["area"] for one in told["annotations"]]
        assert areas == sorted(areas, reverse=True)
        assert set(told["annotations"][0]) == {
            "segmentation", "area", "bbox", "predicted_iou", "point_coords", "stability_score",
            "crop_box", "class_name", "class_proposals", "score",
        }  # fmt: skip
        assert told["annotations"][0]["class_proposals"] == told["annotations"][0]["class_name"]


def test_pre_04_a_draft_comes_back_as_the_same_mask(drafted):
    """PRE-04: through the reader of SSA's files."""
    _, dataset, *_ = drafted

    for name in NAMES:
        record = read_record(dataset, str(Path(name).with_suffix("")))
        assert record is not None
        path = dataset / "ssa_output" / f"{record.draft}_semantic.json"
        mask = mask_from_ssa(path.read_bytes(), CITYSCAPES, path.name)
        assert mask.shape == (64, 96)
        ids, counts = np.unique(mask, return_counts=True)
        pixels = {CITYSCAPES.names[i]: int(n) for i, n in zip(ids, counts, strict=True)}
        assert pixels == dict(record.class_pixels)


def test_pre_11_bad_pictures_are_reported_and_the_others_go_on(drafted):
    """PRE-11: an unreadable and an empty file cost themselves only."""
    _, dataset, report, told = drafted

    assert (report.drafted, report.skipped) == (3, 0)
    assert [f.image for f in sorted(report.failures, key=lambda f: f.image)] == [
        "empty.jpg",
        "text.png",
    ]
    assert all("not a readable image" in failure.error for failure in report.failures)
    assert sorted(told) == [1, 2, 3, 4, 5]
    assert exit_code_of(report) == 1
    kept = json.loads(report_path(dataset, Shard()).read_bytes())
    assert {one["image"] for one in kept["failures"]} == {"empty.jpg", "text.png"}


def test_cnv_16_a_run_leaves_a_manifest_that_damage_does_not_get_past(drafted, tmp_path):
    """CNV-16: also when a resumed run finds the damaged draft done."""
    source, before, *_ = drafted
    dataset = tmp_path / "d"
    shutil.copytree(before, dataset)
    told = json.loads((dataset / "ssa_output.manifest.json").read_bytes())
    assert (told["pictures"], told["failed"]) == (3, 2)
    assert list(told["model_versions"].values()) == [3]
    assert verify(dataset).is_whole and verify(dataset).files == 9
    path = dataset / "ssa_output" / "a b_semantic.json"
    path.write_bytes(path.read_bytes().replace(b"annotations", b"annotation5"))
    report = DraftingRun(source, dataset, SECTION, CITYSCAPES).run()
    assert report.skipped == 3
    assert verify(dataset).changed == ("ssa_output/a b_semantic.json",)


def test_pre_11_what_is_done_stays_done_and_a_changed_picture_is_drafted_anew(drafted, tmp_path):
    """PRE-11: by content, not by name or date; other settings draft anew too."""
    source, before, *_ = drafted
    folder, dataset = tmp_path / "p", tmp_path / "d"
    shutil.copytree(source, folder)
    shutil.copytree(before, dataset)
    for bad in ("empty.jpg", "text.png"):
        (folder / bad).unlink()
    os.utime(folder / NAMES[0])
    Image.fromarray(scene(9)).save(folder / NAMES[1])

    report = DraftingRun(folder, dataset, SECTION, CITYSCAPES).run()
    assert (report.skipped, report.drafted) == (2, 1)

    other = SECTION.model_copy(update={"vote": VoteSection(erased_classes="keep")})
    report = DraftingRun(folder, dataset, other, CITYSCAPES).run()
    assert (report.skipped, report.drafted) == (0, 3)
    assert exit_code_of(report) == 0


def test_pre_10_in_place_and_with_one_worker_the_drafts_are_the_same(drafted, tmp_path):
    """PRE-10: no GPU, one worker instead of two: equal files. Seed 003 begins with pictures in
    dataset/raw_data."""
    folder, before, *_ = drafted
    raw = tmp_path / "d" / "raw_data"
    shutil.copytree(folder, raw)

    report = DraftingRun(raw, tmp_path / "d", SECTION, CITYSCAPES, workers=1).run()

    assert report.drafted == len(NAMES)
    for name in NAMES:
        stem = str(Path(name).with_suffix(""))
        path = Path("ssa_output") / f"{stem}_semantic.json"
        one, other = (json.loads((at / path).read_bytes()) for at in (before, tmp_path / "d"))
        # Another number of threads adds floats in another order; scores have four digits.
        for first, second in zip(one["annotations"], other["annotations"], strict=True):
            assert first.pop("score") == pytest.approx(second.pop("score"), abs=2e-4)
        assert one["annotations"] == other["annotations"]
        assert one["semantic_mask"] == other["semantic_mask"]


def test_pre_19_shares_draft_everything_once(drafted, tmp_path):
    """PRE-19: two pods of an indexed job on one volume."""
    folder, *_ = drafted
    reports = [
        DraftingRun(
            folder, tmp_path / "d", SECTION, CITYSCAPES, shard=Shard(index=i, count=2),
            with_png=False,
        ).run()
        for i in range(2)
    ]  # fmt: skip

    assert [report.pictures for report in reports] == [3, 2]
    assert sum(report.drafted for report in reports) == 3
    assert report_path(tmp_path / "d", Shard(index=1, count=2)).is_file()
    found = verify(tmp_path / "d")  # CNV-16: a manifest a share
    assert found.is_whole and found.files == 6
    assert len(list((tmp_path / "d").glob("ssa_output-?-of-2.manifest.json"))) == 2
    assert not list((tmp_path / "d").rglob("*_semantic.png"))


def setup_for(dataset):
    def setup(place):
        return {
            "section": SECTION.model_dump(mode="json"), "names": list(CITYSCAPES.names),
            "colours": [list(colour) for colour in CITYSCAPES.colours], "threads": 1,
            "dataset": str(dataset), "settings": "s", "with_png": False, "place": place,
        }  # fmt: skip

    return setup


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pre_11_a_worker_that_dies_costs_one_picture(tmp_path):
    """PRE-11, kill -9: its picture is reported, another worker drafts the rest."""
    pictures = []
    for name in ("0.png", "1.png", "2.png"):
        Image.fromarray(scene()).save(tmp_path / name)
        pictures.append(RawPicture(path=tmp_path / name, name=name, draft=name[0]))
    (tmp_path / "1.png").unlink()
    os.mkfifo(tmp_path / "1.png")  # whoever opens it waits for ever
    finished, before = [], set(psutil.Process().children())

    def kill_at_the_second(one):
        finished.append(one)
        if len(finished) == 1:
            (worker,) = set(psutil.Process().children()) - before
            threading.Timer(0.5, worker.kill).start()

    with DraftWorkers(1, setup_for(tmp_path / "d")) as workers:
        workers.draft(pictures, kill_at_the_second)

    assert [type(one) for one in finished] == [DraftRecord, Failure, DraftRecord]
    assert finished[1].image == "1.png"
    assert "SIGKILL" in finished[1].error
    assert set(psutil.Process().children()) == before


def test_missing_weights_stop_the_run_before_the_first_picture(drafted, tmp_path):
    """OPS-03: which file, what was expected."""
    folder, *_ = drafted
    masks = MasksSection(type="sam", model="vit_b", checkpoint=tmp_path / "nowhere.pth")
    section = SECTION.model_copy(update={"masks": masks})

    with pytest.raises(ModelLoadError, match=r"(?s)nowhere\.pth.*vit_b"):
        DraftingRun(folder, tmp_path / "d", section, CITYSCAPES).run()


def test_a_run_that_is_stopped_keeps_what_it_has(drafted, tmp_path):
    folder, *_ = drafted
    run = DraftingRun(folder, tmp_path / "d", SECTION, CITYSCAPES)

    report = run.run(lambda report, workers: run.stop())

    assert report.done == 1
    assert exit_code_of(report) == 1


def test_drafts_of_another_folder_are_not_painted_over(drafted, tmp_path):
    _, dataset, *_ = drafted
    shutil.copytree(dataset, tmp_path / "d")
    (tmp_path / "p").mkdir()
    Image.fromarray(scene(8)).save(tmp_path / "p" / "a b.tif")

    with pytest.raises(ConfigError, match=r"draft a b is of a b\.png"):
        DraftingRun(tmp_path / "p", tmp_path / "d", SECTION, CITYSCAPES).run()


def a_report(**changes):
    report = RunReport(
        pictures=10, settings="", drafted=10, failures=[], erased_classes=Counter(),
        unknown_names=Counter(), warnings=[],
    )  # fmt: skip
    return replace(report, **changes)


def test_a_share_of_failures_may_be_accepted():
    """A pod whose pictures are broken would else be started for ever."""
    report = a_report(drafted=8, failures=[Failure(image=i, error="broken") for i in "ab"])

    assert exit_code_of(report) == 1
    assert exit_code_of(report, 0.1) == 1
    assert exit_code_of(report, 0.2) == 0
    assert exit_code_of(replace(report, drafted=7), 1.0) == 1  # stopped before the end


def test_pre_12_many_empty_drafts_are_a_loud_warning_that_names_the_cause():
    """PRE-12: words nobody mapped, prompts that found nothing, or classes that do not fit."""
    words = a_report(empty=3, unknown_names=Counter({"kiosk": 3, "drone": 1}))
    assert "3 of 10 drafts have no pixel of any class" in warnings_of(words, SECTION, 0.2)[0]
    assert "'kiosk', 'drone'" in warnings_of(words, SECTION, 0.2)[0]

    prompts = SECTION.model_copy(update={"method": "text_prompts"})
    assert "box_threshold (0.35)" in warnings_of(a_report(empty=10), prompts, 0.2)[0]
    naming = SECTION.model_copy(update={"method": "open_vocabulary"})
    assert "pred_iou_thresh (0.7)" in warnings_of(a_report(empty=10), naming, 0.2)[0]
    assert "semantic model's classes" in warnings_of(a_report(empty=10), SECTION, 0.2)[0]


def test_pre_12_a_few_empty_drafts_are_no_alarm():
    assert warnings_of(a_report(empty=2), SECTION, 0.2) == []


def test_pre_16_a_run_tells_which_classes_its_votes_erased():
    """PRE-16: and what to do about it."""
    (warning,) = warnings_of(a_report(erased_classes=Counter({"pole": 4})), SECTION, 0.2)

    assert "pole (4)" in warning
    assert "erased_classes: keep" in warning


def test_pre_11_a_killed_run_goes_on_where_it_was(tmp_path):
    """PRE-11: the whole program killed with -9 after some pictures; its workers end by
    themselves, and the second run does only the rest."""
    folder, dataset = tmp_path / "p", tmp_path / "d"
    folder.mkdir()
    for seed in range(8):
        Image.fromarray(scene(seed, 160, 240)).save(folder / f"{seed}.png")
    command = [sys.executable, "-m", "cloud", "preannotate", str(folder), "--out", str(dataset)]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    records = dataset / ".cornerloop" / "drafts"
    while len(list(records.glob("[0-9a-f]*.json"))) < 2:
        assert first.poll() is None
        time.sleep(0.02)
    workers = psutil.Process(first.pid).children(recursive=True)
    first.kill()
    first.wait()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert workers
    assert not alive
    done = len(list(records.glob("[0-9a-f]*.json")))  # `*` would count one that is half written

    second = subprocess.run(command, capture_output=True, text=True, check=False)

    assert second.returncode == 0, second.stderr
    assert f"{8 - done} drafted, {done} were done, 0 failed of 8" in second.stdout
