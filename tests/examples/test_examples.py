"""UX-01, UX-02: the examples, typed from their own pages."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from annotation.label_studio_server import LabelStudioServer
from cloud.demo.scenes import draw_scene
from lifelong.config import load_config
from lifelong.records.label_map import CITYSCAPES
from tests.documented_commands import ROOT
from tests.typed_pages import Reader, an_example, submitted_as_drafted

pytestmark = [pytest.mark.integration, pytest.mark.slow]
EXAMPLES = sorted(path.name for path in (ROOT / "examples").iterdir() if path.is_dir())


def drawn(folder: Path, condition: str, count: int, first: int = 0, *, labelled: bool) -> None:
    """Small pictures of streets, and their labels."""
    images = folder / "images" if labelled else folder
    images.mkdir(parents=True)
    if labelled:
        (folder / "train_ids").mkdir()
    for number in range(first, first + count):
        scene = draw_scene(number, condition, 96, 144)
        Image.fromarray(scene.image).save(images / f"{number:03d}.png")
        if labelled:
            Image.fromarray(scene.mask).save(folder / "train_ids" / f"{number:03d}.png")


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_examples_page_is_one_screen_and_its_configuration_is_one(name: str) -> None:
    page = (ROOT / "examples" / name / "README.md").read_text(encoding="utf-8")
    assert page.startswith("# ")
    assert len(page.splitlines()) <= 60
    for path in (ROOT / "examples" / name).glob("config.yaml"):
        load_config(path)


def test_recorded_frames_fill_an_outbox_and_then_leave_it(tmp_path: Path) -> None:
    folder = an_example("02-edge-replay", tmp_path)
    drawn(folder / "first", "clear", 8, labelled=True)
    drawn(folder / "frames" / "night", "night", 10, 50, labelled=False)
    with Reader(folder / "README.md", folder) as reader:
        told = reader.type_next()
        kept = int(re.findall(r"left_in_outbox: (\d+)", told)[0])
        assert kept > 0
        assert "uploaded: 0" in told
        assert len(list((folder / "outbox").rglob("example.json"))) == kept
        lines = reader.type_next().splitlines()
        (outcome,) = (json.loads(line) for line in lines if line.startswith("{"))
        assert outcome["frames"] == 10, "a replay looks at every frame again"
        assert outcome["uploaded"] >= kept
        assert outcome["left_in_outbox"] == 0
        assert not reader.left
    assert len(list((folder / "storage" / "inbox").rglob("example.json"))) == kept


def test_drafts_go_into_label_studio_and_corrections_come_out(
    tmp_path: Path, label_studio_server: LabelStudioServer
) -> None:
    label_studio_server.start()
    folder = an_example("03-label-studio", tmp_path)
    drawn(folder / "pictures", "clear", 3, labelled=False)
    path, root = folder / "config.yaml", label_studio_server.documents_root
    told = yaml.safe_load(path.read_text())
    told["storage"] = str(root / "example-03")
    told["label_studio"] |= {"url": label_studio_server.url, "local_files_root": str(root)}
    path.write_text(yaml.safe_dump(told))
    token = label_studio_server.token
    with Reader(folder / "README.md", folder, CORNERLOOP_LABEL_STUDIO_TOKEN=token) as reader:
        assert "3 pictures are offered" in reader.type_next()
        assert submitted_as_drafted(label_studio_server.url, token, "Corrections", 2) == 2
        assert "2 pictures" in reader.type_next()
        assert not reader.left
    assert json.loads((folder / "out" / "manifest.json").read_text())["pictures"] == 2


def test_a_sedna_job_waits_for_its_first_lines(tmp_path: Path) -> None:
    folder = an_example("04-sedna", tmp_path)
    with Reader(folder / "README.md", folder) as reader:
        reader.type_next()
        reader.wait(lambda: "Train/Waiting" in reader.log(0), "the job waits")
        told = reader.type_next()
        assert "default/streets" in told
        assert "Waiting" in told
        assert "lost-report" in reader.type_next()
        assert not reader.left


def test_own_classes_begin_and_are_examined(tmp_path: Path) -> None:
    """UX-01: classes of one's own, from nothing to an edge that may run the model."""
    folder = an_example("05-own-cameras-and-classes", tmp_path)
    names = ("road", "sky", "person", "car")
    into = np.full(256, 255, np.uint8)
    for own, name in enumerate(names):
        into[CITYSCAPES.names.index(name)] = own
    for place, first in (("first", 0), ("val", 100)):
        drawn(folder / place, "clear", 6, first, labelled=True)
        for mask in (folder / place / "train_ids").glob("*.png"):
            Image.fromarray(into[np.asarray(Image.open(mask))]).save(mask)
    with Reader(folder / "README.md", folder) as reader:
        assert "ids from 0: ground, bin, person, sky" in reader.type_next()
        config = folder / "my-loop" / "config.yaml"
        quick = "training: {steps: 10, first_steps_factor: 1, height: 80, width: 120}\n"
        config.write_text(config.read_text() + quick)
        told = reader.type_next()
        assert "0 of 6 training pictures leak" in told
        assert "released" in told
        told = reader.type_next()
        assert "bad " not in told
        assert "over 6 pictures" in told
        assert not reader.left
    assert (folder / "my-loop" / "holdouts" / "yard" / "eval" / "images").is_dir()


def test_a_proposer_of_ones_own_drafts(tmp_path: Path) -> None:
    folder = an_example("06-own-proposer", tmp_path)
    assert len((folder / "proposer.py").read_text().splitlines()) <= 40
    drawn(folder / "pictures", "clear", 3, labelled=False)
    with Reader(folder / "README.md", folder) as reader:
        assert "3 drafted, 0 were done, 0 failed" in reader.type_next()
        assert not reader.left
    drafts = sorted((folder / "dataset" / "ssa_output").glob("*_semantic.json"))
    assert len(drafts) == 3
