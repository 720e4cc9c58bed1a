"""UX-01: own pictures to a first round, typed from the quickstart, with real processes."""

from pathlib import Path

import pytest
import yaml
from PIL import Image

from cloud.demo.scenes import draw_scene
from cloud.rounds import Rounds
from lifelong.config import load_config
from lifelong.links.storage import open_storage
from lifelong.records.rounds import RoundState
from tests.documented_commands import ROOT
from tests.integration_fixtures import EXECUTABLE, TEMPLATE
from tests.typed_pages import Reader, a_clone, submitted_as_drafted

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.skipif(
        not EXECUTABLE.exists(), reason="no .venv-label-studio: run `make setup` first"
    ),
]


def pictures(folder: Path, condition: str, seeds: range) -> None:
    for seed in seeds:
        Image.fromarray(draw_scene(seed, condition, 96, 144).image).save(folder / f"{seed}.png")


def with_fewer_steps(path: Path) -> None:
    """What is tried here is the way, not what is learned on it."""
    told = yaml.safe_load(path.read_text())
    told["training"] = {"steps": 12, "first_steps_factor": 2, "height": 80, "width": 120}
    told["rounds"] |= {"min_examples": 4, "step_seconds": 0.3}
    told["gate"] = {"max_forgetting": 1.0, "max_class_drop": 1.0, "min_gain": -1.0}
    path.write_text(yaml.safe_dump(told))


def test_ux_01_from_own_pictures_to_a_first_round_by_the_page_alone(tmp_path: Path) -> None:
    clone = a_clone(tmp_path / "clone")
    (clone / "runs").mkdir()
    if TEMPLATE.exists():  # else a first start makes it, as for any new user
        (clone / "runs" / "label-studio-template").symlink_to(TEMPLATE)
    with Reader(ROOT / "docs" / "quickstart.md", clone) as reader:
        reader.type_next()  # init
        loop = clone / "my-loop"
        path = loop / "config.yaml"
        with_fewer_steps(path)
        config = load_config(path)
        pictures(loop / "pictures", "clear", range(10))
        pictures(loop / "camera", "night", range(50, 58))
        reader.type_next()  # label-studio
        reader.wait(lambda: "password" in reader.log(0), "Label Studio prints its login")
        reader.type_next()  # its token
        assert "10 pictures are offered" in reader.type_next()
        url, title = config.label_studio.url, config.label_studio.project
        token = (loop / "label-studio" / "cornerloop-secrets.json").read_text()
        token = yaml.safe_load(token)["token"]
        assert submitted_as_drafted(url, token, title) == 10
        assert "released" in reader.type_next()  # the first model
        for _ in range(3):
            reader.type_next()  # serve, job, edge
        reader.wait(lambda: "enter as operator" in reader.log(1), "serve prints a link")
        reader.type_next()  # frames
        rounds = Rounds(open_storage(config.storage))

        def state() -> RoundState | None:
            found = [one for one in rounds.all() if one.number == 1]
            return found[0].state if found else None

        reader.wait(lambda: state() is RoundState.ANNOTATING, "round 1 asks people")
        told = reader.type_next()  # edges, rounds
        assert "round 1: annotating" in told
        reader.wait(lambda: submitted_as_drafted(url, token, title) > 0, "tasks to submit")
        reader.wait(lambda: state() is RoundState.RELEASED, "round 1 is released")
        assert not reader.left
        (done,) = (one for one in rounds.all() if one.number == 1)
        assert done.candidate is not None
    examined = {path.parent.parent.name for path in (loop / "holdouts").glob("*/eval/images")}
    assert examined == {"day"}
