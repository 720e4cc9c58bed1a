"""INT-09: `cornerloop embed` makes every first click of a project find its embedding."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from annotation.assist.segmenter import Wish
from annotation.studio_tasks import StudioProject
from cloud.assist_service.project_embedding import embed_tasks, open_tasks
from cloud.cli import app
from lifelong.errors import ConfigError, ModelLoadError, PictureAccessError
from lifelong.records.prompts import Point, Prompt
from tests.unit.cloud.assist.engine_stubs import StubLoader, StubModel, StubPicture, segmenters

CLICK = Wish(prompt=Prompt(points=(Point(1, 1),)))
CONFIG = (
    '<View><Image name="image" value="$picture"/>'
    '<BrushLabels name="brush" toName="image"><Label value="Car"/></BrushLabels></View>'
)


class Studio:
    """Lists tasks in pages, as Label Studio does; remembers what was asked."""

    def __init__(self, tasks):
        self.tasks, self.asked, self.closed = tasks, [], False

    def tasks_to_come(self, project_id, *, after, count):
        self.asked.append((project_id, after))
        return [task for task in self.tasks if task[0] > after][:count]

    def label_config(self, project_id):
        return CONFIG

    def projects_titled(self, title):
        ids = {"Streets": [4], "Twice": [4, 5]}.get(title, [])
        return [StudioProject(project_id=i, title=title, label_config=CONFIG) for i in ids]

    def close(self):
        self.closed = True


def embed(tasks, service, **more):
    ended = []
    report = embed_tasks(
        tasks,
        more.pop("picture_of", lambda task: StubPicture(task[0])),
        service,
        model=more.pop("model", ""),
        workers=more.pop("workers", 1),
        ended=lambda: ended.append(1),
        clock=lambda: 100.0,
    )
    assert len(ended) == len(tasks)
    return report


def test_int_09_all_open_tasks_are_listed_page_by_page():
    studio = Studio([(3 * n + 1, {"picture": f"{n}.png"}) for n in range(250)])

    tasks = open_tasks(studio, 7)

    assert tasks == studio.tasks
    assert studio.asked == [(7, 0), (7, 298), (7, 598), (7, 748)]


@pytest.mark.parametrize("workers", [1, 3])
def test_int_09_every_first_click_after_it_finds_its_embedding(tmp_path, workers):
    """INT-09: hit ratio 1, in another process as well."""
    tasks = [(n, {}) for n in range(1, 31)]
    report = embed(
        tasks, segmenters(StubModel(), folder=tmp_path, workers=workers), workers=workers
    )

    assert (report.tasks, report.embedded, report.were_there) == (30, 30, 0)
    assert (report.not_kept, report.failures) == (0, ())
    model = StubModel()
    later = segmenters(model, folder=tmp_path)
    for number, _ in tasks:
        later.segment(StubPicture(number), CLICK)
    later.close()
    assert model.embedded == []


def test_int_09_a_second_run_goes_on_where_the_first_was_broken_off(tmp_path):
    embed([(n, {}) for n in range(1, 11)], segmenters(StubModel(), folder=tmp_path))
    model = StubModel()

    report = embed([(n, {}) for n in range(1, 15)], segmenters(model, folder=tmp_path))

    assert model.embedded == [11, 12, 13, 14]
    assert (report.embedded, report.were_there) == (4, 10)


def test_int_09_one_picture_that_cannot_be_had_is_told_by_its_task(tmp_path):
    def picture_of(task):
        if task[0] == 2:
            raise PictureAccessError("the task's data has no picture")
        return StubPicture(task[0], error=PictureAccessError("404") if task[0] == 3 else None)

    tasks = [(n, {}) for n in range(1, 5)]
    report = embed(tasks, segmenters(StubModel(), folder=tmp_path), picture_of=picture_of)

    assert report.embedded == 2
    assert [(f.task, f.why) for f in report.failures] == [
        (2, "the task's data has no picture"),
        (3, "404"),
    ]


def test_int_09_what_does_not_fit_on_the_disk_is_told(tmp_path):
    """Else somebody waits a night for nothing."""
    service = segmenters(StubModel(floats=1000), folder=tmp_path, disk=20_000)

    report = embed([(n, {}) for n in range(1, 11)], service)

    assert report.embedded == 10
    left = len(list(tmp_path.rglob("*.safetensors")))
    assert report.not_kept == 10 - left
    assert 3 <= left <= 4


def test_ops_03_without_a_model_nothing_is_tried_picture_by_picture(tmp_path):
    loader = StubLoader()
    loader.errors["stub"] = ModelLoadError("no weights; `cornerloop models pull` brings them")
    pictures = [StubPicture(n) for n in range(50)]

    with pytest.raises(ModelLoadError, match="models pull"):
        embed(
            [(n, {}) for n in range(50)],
            segmenters(StubModel(), folder=tmp_path, loader=loader),
            picture_of=lambda task: pictures[task[0]],
        )
    with pytest.raises(ConfigError, match="no model 'hq'"):
        embed([(1, {})], segmenters(StubModel(), folder=tmp_path), model="hq")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of three local pictures, one of which is not there, and a configuration."""
    shown = tmp_path / "shown"
    shown.mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(shown / f"{number}.png")
    tasks = [(n + 10, {"picture": f"/data/local-files/?d={n}.png"}) for n in range(3)]
    studio = Studio(tasks)
    monkeypatch.setattr("cloud.assembly.open_label_studio", lambda config: studio)
    config = tmp_path / "cloud.yaml"
    config.write_text(
        f"journal_path: {tmp_path / 'journal'}\n"
        f"label_studio: {{url: 'http://127.0.0.1:9', local_files_root: {shown}}}\n"
        "assist: {device: cpu, precision: float32}\n"
    )
    return config, studio


def run(*words):
    return CliRunner().invoke(app, ["embed", *words])


def test_int_09_the_command_embeds_skips_and_tells(project, tmp_path):
    config, studio = project

    first = run("--project", "4", "-c", str(config), "--json")

    assert first.exit_code == 1  # one picture is not there
    told = json.loads(first.stdout)
    assert (told["project"], told["tasks"], told["embedded"]) == (4, 3, 2)
    assert told["model"].startswith("tiny_sam-")
    assert [failure["task"] for failure in told["failures"]] == [12]
    assert "task 12" in first.stderr
    assert studio.closed
    assert len(list((tmp_path / "embeddings").rglob("*.safetensors"))) == 2

    studio.tasks = studio.tasks[:2]
    again = run("--project", "Streets", "-c", str(config))
    assert again.exit_code == 0
    assert "0 embedded" in again.stdout
    assert "2 were there, 0 failed" in again.stdout


@pytest.mark.parametrize(
    ("title", "words"), [("Nowhere", "none of that title"), ("Twice", "4, 5 of that title")]
)
def test_ops_03_a_project_is_named_by_id_or_by_its_only_title(project, title, words):
    told = run("--project", title, "-c", str(project[0]))

    assert isinstance(told.exception, ConfigError)
    assert words in str(told.exception)


def test_ops_03_without_a_disk_nothing_would_be_kept(project):
    config, _ = project
    config.write_text(config.read_text().replace("device: cpu", "device: cpu, disk_mib: 0"))

    told = run("--project", "4", "-c", str(config))

    assert isinstance(told.exception, ConfigError)
    assert "assist.disk_mib: 0" in str(told.exception)
