"""Courses through domains: figures, resuming, the upper bound, chosen labels, the command."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cloud.cli import app
from cloud.learning.course import Course
from cloud.learning.course_figures import figures_of
from cloud.learning.course_picture import draw_course
from cloud.learning.domains import read_domains, samples_of
from cloud.learning.label_choice import LabelChoice
from lifelong.config import TrainingSection
from lifelong.errors import ConfigError, LabelMapError, TrainingError
from lifelong.records.label_map import label_map_of
from tests.unit.lifelong.training.lessons import DARK, LIGHT, scenes

CLASSES = label_map_of([("ground", (0, 0, 0)), ("disc", (9, 9, 9)), ("bar", (99, 9, 9))])


def a_section(**changes):
    settings = {
        "height": 32,
        "width": 48,
        "steps": 6,
        "first_steps_factor": 2,
        "batch_size": 4,
        "learning_rate": 1e-3,
        "threads": 1,
        "device": "cpu",
        "checkpoint_every": 2,
    }
    return TrainingSection.model_validate(settings | changes)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two domains in files: light, then dark."""
    folder = tmp_path_factory.mktemp("domains")
    for number, (name, colours) in enumerate((("light", LIGHT), ("dark", DARK))):
        for split, first, count in (("train", 0, 8), ("eval", 500, 3)):
            for place, (image, mask) in enumerate(
                scenes(count, colours, first=first + 1000 * number)
            ):
                for kind, pixels in (("images", image), ("train_ids", mask)):
                    path = folder / name / split / kind / f"{place:03}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(pixels).save(path)
    return folder


def a_course(data, folder, **settings):
    domains = read_domains(data, ["light", "dark"])
    keywords = {key: settings.pop(key) for key in ("choice", "begin") if key in settings}
    return Course(domains, a_section(**settings), CLASSES, folder, **keywords)


@pytest.fixture(scope="module")
def learned(data, tmp_path_factory):
    course = a_course(data, tmp_path_factory.mktemp("course"))
    return course, course.run()


def test_domains_are_read_in_the_order_named_and_by_name_otherwise(data):
    assert [domain.name for domain in read_domains(data, ["light", "dark"])] == ["light", "dark"]
    found = read_domains(data)
    assert [domain.name for domain in found] == ["dark", "light"]
    assert len(list(found[0].train)) == len(found[0].sizes) == 8
    samples = samples_of(found[0], CLASSES)
    assert len({sample.sample_id for sample in samples}) == 8
    assert all(sum(sample.class_pixels.values()) == 32 * 48 for sample in samples)


def test_a_folder_without_domains_or_without_the_one_asked_for_is_told(data, tmp_path):
    with pytest.raises(ConfigError, match="no domains; expected"):
        read_domains(tmp_path)
    with pytest.raises(ConfigError, match="no fog in it; there are dark, light"):
        read_domains(data, ["light", "fog"])


def test_lll_04_figures_of_a_course_are_those_of_its_matrix(learned):
    course, stages = learned
    figures = figures_of(stages, course.untrained())
    matrix = np.array(figures["matrix"])
    assert matrix.shape == (2, 2)
    assert figures["acc"] == pytest.approx(matrix[1].mean(), abs=1e-5)
    assert figures["bwt"] == pytest.approx(matrix[1, 0] - matrix[0, 0], abs=2e-5)
    untrained = figures["untrained"]["dark"]
    assert figures["fwt"] == pytest.approx(matrix[0, 1] - untrained, abs=2e-5)
    assert figures["start"] == dict(zip(["light", "dark"], matrix[0].tolist(), strict=True))
    assert figures["final"]["dark"] == matrix[1, 1]
    low, high = figures["intervals"]["bwt"]
    assert low <= figures["bwt"] <= high
    assert figures["labels"] == {"light": 8, "dark": 8}
    assert figures["ianvs_compatible"]["bwt"] != figures["bwt"]
    json.dumps(figures, allow_nan=False)


def test_lll_08_the_same_course_gives_the_same_weights(data, learned, tmp_path):
    _, stages = learned
    again = a_course(data, tmp_path).run()
    assert [s.weights_sha256 for s in again] == [s.weights_sha256 for s in stages]


@pytest.mark.parametrize("stopped_in", ["light", "dark"])
def test_lll_09_a_course_that_was_stopped_goes_on_to_the_same_weights(
    data, learned, tmp_path, stopped_in
):
    class StoppedError(Exception):
        pass

    def stop(domain, step, _steps, _loss):
        if domain == stopped_in and step == 5:
            raise StoppedError

    with pytest.raises(StoppedError):
        a_course(data, tmp_path).run(stop)
    seen = []
    stages = a_course(data, tmp_path).run(lambda *told: seen.append(told[:2]))
    assert stages[-1].weights_sha256 == learned[1][-1].weights_sha256
    assert seen[0] == (stopped_in, 5), "it goes on after the checkpoint at step 4"


def test_stages_of_an_earlier_run_are_read_and_not_learned_again(learned):
    course, stages = learned

    def refuse(*_told):
        raise AssertionError("learned again")

    assert course.run(refuse) == stages


def test_a_folder_with_another_course_is_refused(data, learned):
    course, _ = learned
    with pytest.raises(TrainingError, match="another section"):
        a_course(data, course.folder, steps=7).run()


def test_lll_02_the_upper_bound_learns_all_domains_at_once(data, tmp_path):
    stage = a_course(data, tmp_path, strategy="joint").upper_bound(10, None)
    assert stage.steps == 10
    assert set(stage.report.tasks) == {"light", "dark"}
    again = a_course(data, tmp_path, strategy="joint").upper_bound(10, None)
    assert again == stage


def test_lll_05_the_memory_of_a_course_is_bounded_in_bytes(data, tmp_path):
    course = a_course(data, tmp_path, strategy="replay")
    kept = course.run()[-1]
    assert kept.memory == 8
    assert kept.memory_bytes == sum(course.domains[0].sizes) <= 256 * 2**20


def test_chosen_labels_are_learned_and_no_others(data, tmp_path):
    choice = LabelChoice(share=0.25, strategy="ours")
    stages = a_course(data, tmp_path, choice=choice).run()
    assert [len(stage.chosen) for stage in stages] == [8, 2]
    # Their masks have no say: with every mask of the other pictures spoiled nothing changes.
    changed = a_course(data, tmp_path / "spoiled", choice=choice)
    dark = changed._of(changed.domains[1])
    others = [place for place in range(8) if place not in stages[1].chosen]
    dark.masks[others] = 2
    assert changed.run()[-1].weights_sha256 == stages[-1].weights_sha256


def test_labels_of_a_class_that_nobody_knows_are_refused(data, tmp_path):
    two = label_map_of([("ground", (0, 0, 0)), ("disc", (9, 9, 9))])
    course = Course(read_domains(data, ["light", "dark"]), a_section(), two, tmp_path)
    with pytest.raises(LabelMapError):
        course.run()


def test_a_course_is_drawn(learned, tmp_path):
    draw_course(learned[1], tmp_path / "course.png")
    picture = np.asarray(Image.open(tmp_path / "course.png").convert("RGB"))
    assert picture.shape[0] > 300
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20


def test_cornerloop_learn_writes_figures_picture_and_bundle(data, tmp_path):
    ids = {"id2label": {"0": "ground", "1": "disc", "2": "bar"}}
    (tmp_path / "classes.json").write_text(json.dumps(ids))
    (tmp_path / "config.yaml").write_text("label_map: classes.json\n")
    settings = ["steps=3", "first_steps_factor=1", "height=32", "width=48", "threads=1"]
    arguments = ["learn", "--data", str(data), "--domains", "light,dark", "--seed", "3"]
    arguments += ["--config", str(tmp_path / "config.yaml"), "--out", str(tmp_path / "out")]
    arguments += [part for text in settings for part in ("--set", text)]
    told = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert told.exit_code == 0, told.output
    figures = json.loads(told.stdout.splitlines()[-1])
    assert figures["seed"] == 3
    assert set(figures["final"]) == {"light", "dark"}
    assert {"report.json", "learning.png", "model.bundle"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }
    table = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "after dark" in table.stdout
    assert "bwt" in table.stdout


def test_settings_that_do_not_exist_are_told_by_their_key(data, tmp_path):
    arguments = ["learn", "--data", str(data), "--out", str(tmp_path), "--set", "stepz=3"]
    with pytest.raises(ConfigError, match=r"training\.stepz"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        CliRunner().invoke(app, [*arguments[:-1], "steps"], catch_exceptions=False)
