"""Runs of drafts that need no worker: stopped before they begin, and what they count and tell."""

import shutil
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from cloud.drafting.run import DraftingRun, RunReport, exit_code_of, warnings_of
from lifelong.records.label_map import CITYSCAPES
from lifelong.sections.drafting import PreannotationSection, TextPromptsSection
from tests.builders import an_image


@pytest.fixture
def pictures(tmp_path):
    (tmp_path / "pictures").mkdir()
    for seed in range(2):
        Image.fromarray(an_image(seed)).save(tmp_path / "pictures" / f"{seed}.png")
    return tmp_path / "pictures"


def stopped_at_once(folder, dataset):
    run = DraftingRun(folder, dataset, PreannotationSection(), CITYSCAPES)
    run.stop()
    return run.run()


def test_pre_11_a_stop_that_comes_early_starts_no_worker_and_is_no_success(pictures, tmp_path):
    report = stopped_at_once(pictures, tmp_path / "d")

    assert (report.pictures, report.done) == (2, 0)
    assert exit_code_of(report, 1.0) == 1


def test_pre_03_a_data_set_among_its_pictures_is_not_drafted_itself(pictures, monkeypatch):
    """PRE-03: whatever way the two folders are written; seed 003's raw_data stays readable."""
    dataset = pictures / "drafts"
    (dataset / "raw_data").mkdir(parents=True)
    for name in ("0.png", "1.png"):
        shutil.copy(pictures / name, dataset / "raw_data")
    monkeypatch.chdir(pictures)

    for folder, out in ((pictures, dataset), (Path(), dataset), (pictures, Path("drafts"))):
        assert stopped_at_once(folder, out).pictures == 2
    assert stopped_at_once(dataset / "raw_data", dataset).pictures == 2


def test_pre_12_words_of_several_prompts_are_no_question_of_the_ontology():
    """PRE-12: with prompts the table says what a word means; the threshold parts them."""
    report = RunReport(
        pictures=2, settings="", drafted=2, empty=2, failures=[], erased_classes=Counter(),
        unknown_names=Counter({"car man": 2}), warnings=[],
    )  # fmt: skip
    section = PreannotationSection(
        method="text_prompts", text_prompts=TextPromptsSection(text_threshold=0.1)
    )
    (warning,) = warnings_of(report, section, 0.2)

    assert "'car man'" in warning
    assert "preannotation.text_prompts.text_threshold (0.1)" in warning
    assert "ontology" not in warning
