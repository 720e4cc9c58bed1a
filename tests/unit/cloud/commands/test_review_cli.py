"""`cornerloop review` over a fake Label Studio: what it prints, writes and refuses."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import cloud.assembly
from annotation.exchange import Exchange
from annotation.folder_exchange import FolderExchange
from cloud.annotators.work import NotedWork
from cloud.assembly import Cloud, make_annotators, open_cloud
from cloud.cli import app
from lifelong.config import load_config
from lifelong.errors import ConfigError, ReviewError
from lifelong.records.ids import RoundNumber
from lifelong.records.pixels import png_from_mask
from lifelong.records.rounds import RoundState
from lifelong.records.samples import AnnotationTask, HardExample, PreAnnotation
from tests.builders import a_jpeg, a_mask, a_pre_annotation, a_round
from tests.desks import regions_of
from tests.fakes_label_studio import FakeStudio

CONFIG = """
storage: files/storage
label_map: classes.json
label_studio: {local_files_root: files}
review: {required: true, audit_path: audit, audit_share: 0.5}
"""
CLASSES = [("road", [128, 64, 128]), ("car", [0, 0, 142]), ("person", [220, 20, 60])]


class Scene:
    """A round of three tasks in the hands of people."""

    def __init__(self, folder: Path, studio: FakeStudio) -> None:
        self.config = folder / "config.yaml"
        self.config.write_text(CONFIG, encoding="utf-8")
        classes = [{"name": name, "colour": colour} for name, colour in CLASSES]
        (folder / "classes.json").write_text(json.dumps({"classes": classes}), encoding="utf-8")
        for kind, data in (
            ("images/a.jpg", a_jpeg(50)),
            ("train_ids/a.png", png_from_mask(a_mask(50))),
        ):
            (folder / "audit" / kind).parent.mkdir(parents=True, exist_ok=True)
            (folder / "audit" / kind).write_bytes(data)
        self.studio = studio
        self.cloud: Cloud = open_cloud(load_config(self.config))
        drafts = []
        for seed in range(3):
            draft = a_pre_annotation(seed)
            self.cloud.storage.put(draft.image_key, a_jpeg(seed))
            self.cloud.storage.put(draft.mask_key, png_from_mask(a_mask(seed)))
            drafts.append(draft)
        noted = make_annotators(self.cloud, Drafter(self.cloud)).present
        assert isinstance(noted, NotedWork)
        exchange = noted.people
        assert isinstance(exchange, Exchange)
        self.exchange = exchange
        self.tasks: list[AnnotationTask] = exchange.push(drafts)
        self.cloud.rounds.save(
            a_round(RoundState.ANNOTATING, drafts=tuple(drafts), tasks=tuple(self.tasks))
        )

    def submit(self, task: AnnotationTask, seed: int) -> int:
        return self.studio.create_annotation(
            task.task_id, regions_of(a_mask(seed)), seconds=9.0, parent_prediction=None
        )

    def run(self, *arguments: str) -> Any:
        result = self.say(*arguments, "--json")
        return json.loads(result)

    def say(self, *arguments: str) -> str:
        done = CliRunner().invoke(app, ["review", *arguments, "--config", str(self.config)])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.stdout


class Drafter:
    """A pre-annotator that is wrong in one place."""

    def __init__(self, cloud: Cloud) -> None:
        self._storage = cloud.storage

    def annotate(self, example: HardExample, round_number: RoundNumber) -> PreAnnotation:
        mask = a_mask(50)
        mask[:16, :16] = (mask[:16, :16] + 1) % 3
        draft = a_pre_annotation(50, sample_id=example.sample_id, round_number=round_number)
        self._storage.put(draft.mask_key, png_from_mask(mask))
        return draft


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    studio = FakeStudio()
    monkeypatch.setattr(cloud.assembly, "open_label_studio", lambda config: studio)
    yield Scene(tmp_path, studio)


def test_ann_06_list_accept_and_reject_from_the_command_line(scene: Scene) -> None:
    first, second, third = scene.tasks
    scene.submit(first, 0)
    scene.submit(second, 6)
    rows = {row["task"]: row for row in scene.run("list")}
    assert [rows[task.task_id]["state"] for task in scene.tasks] == [
        "submitted",
        "submitted",
        "open",
    ]
    assert rows[first.task_id]["draft_miou"] == rows[first.task_id]["draft_boundary"] == 1.0
    assert 0 < rows[second.task_id]["draft_miou"] < 1
    assert rows[first.task_id]["annotations"][0]["seconds"] == 9.0
    (rejected,) = scene.run(
        "reject", str(second.task_id), "--reason", "no kerb", "--reviewer", "ruth"
    )
    assert (rejected["verdict"], rejected["reviewer"]) == ("rejected", "ruth")
    accepted = scene.run("accept", "--all")
    assert [one["sample_id"] for one in accepted] == [first.sample_id]
    (row,) = scene.run("list", "--state", "rejected")
    assert (row["sample"], row["reason"]) == (second.sample_id, "no kerb")
    assert "no kerb" in scene.say("list")
    assert [one.sample_id for one in scene.exchange.pull(scene.tasks).annotations] == [
        first.sample_id
    ]
    scene.submit(third, 7)
    scene.run("accept", third.sample_id)  # by the sample's id
    assert len(scene.exchange.pull(scene.tasks).annotations) == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("accept", "99"), "no task '99' in this round"),
        (("accept", "1"), "is open: nothing is submitted"),
        (("reject", "1", "--reason", " "), "say why with --reason"),
        (("list", "--state", "done"), "--state 'done': use one of open, draft"),
        (("list", "--round", "7"), "round 7 has no tasks"),
    ],
)
def test_ann_06_what_cannot_be_decided_says_why(
    scene: Scene, arguments: tuple[str, ...], told: str
) -> None:
    named = tuple(str(scene.tasks[0].task_id) if one == "1" else one for one in arguments)
    with pytest.raises(ReviewError, match=told):
        scene.say(*named)


def test_ann_06_a_task_is_shown_as_four_pictures(scene: Scene, tmp_path: Path) -> None:
    scene.submit(scene.tasks[0], 5)
    out = tmp_path / "look.png"
    told = scene.run("show", str(scene.tasks[0].task_id), "--out", str(out))
    assert told == {"picture": str(out), "state": "submitted"}
    with Image.open(io.BytesIO(out.read_bytes())) as picture:
        shown = np.asarray(picture)
    assert shown.shape == (2 * (48 + 18), 2 * 64, 3)
    difference = shown[66 + 18 :, 64:]
    changed = a_mask(0) != a_mask(5)
    colours = np.array([colour for _, colour in CLASSES])[a_mask(5)]
    assert np.array_equal(difference[changed], colours[changed])
    assert (difference[~changed] <= 64).all()


def test_ann_08_the_audit_table_tells_people_and_drafts_apart(scene: Scene) -> None:
    assert "no audit was submitted yet" in scene.say("audits")
    listed = scene.studio.round_tasks(scene.tasks[0].project_id, 1)
    ours = {task.task_id for task in scene.tasks}
    audits = [task for task in listed if task.task_id not in ours]
    assert len(audits) == 1  # half of three is two, but the folder has one picture
    scene.studio.create_annotation(
        audits[0].task_id, regions_of(a_mask(50)), seconds=5.0, parent_prediction=None
    )
    scene.exchange.pull(scene.tasks)
    told = scene.run("audits")
    (person,) = told["annotators"]
    assert (person["miou"], person["errors_found"], person["errors_missed"]) == (1.0, 1, 0)
    assert told["drafts"]["miou"] < 1.0  # what auto-accept would have cost
    assert "drafts alone" in scene.say("audits")
    assert [row["task"] for row in scene.run("list")] == [task.task_id for task in scene.tasks]


def test_ann_09_cost_is_told_by_class_and_says_what_was_not_measured(scene: Scene) -> None:
    scene.submit(scene.tasks[0], 5)
    scene.run("accept", str(scene.tasks[0].task_id))
    scene.exchange.pull(scene.tasks)
    told = scene.run("cost")
    assert {row["class"] for row in told["classes"]} == {"road", "car", "person"}
    added = sum(row["pixels_added"] for row in told["classes"])
    assert added == np.count_nonzero(a_mask(0) != a_mask(5))
    assert told["seconds"]["with_draft"] == {"annotations": 1, "mean": 9.0}
    text = scene.say("cost")
    assert "without draft: not measured" in text
    assert "drafts save: not measured" in text
    assert "tiny+tiny_segformer" in text


def test_ann_03_a_folder_takes_label_studios_place(scene: Scene, tmp_path: Path) -> None:
    with scene.config.open("a", encoding="utf-8") as file:
        file.write("annotation_folder: people\n")
    opened = open_cloud(load_config(scene.config))
    present = make_annotators(opened, Drafter(opened)).present
    assert isinstance(present, NotedWork)
    assert isinstance(present.people, FolderExchange)
    with pytest.raises(ReviewError, match="annotation_folder"):
        scene.say("list")


def test_an_audit_folder_without_answers_is_named(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "audit" / "train_ids" / "a.png").unlink()
    draft = a_pre_annotation(4, round_number=2)
    scene.cloud.storage.put(draft.image_key, a_jpeg(4))
    scene.cloud.storage.put(draft.mask_key, png_from_mask(a_mask(4)))
    with pytest.raises(ConfigError, match=r"no labels, .*a\.png is missing"):
        scene.exchange.push([draft])
