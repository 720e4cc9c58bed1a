"""The bench of lifelong learning ends with one JSON object of the promised shape."""

import json
import subprocess
import sys

import pytest
from PIL import Image

from bench.lifelong import summary
from tests.unit.lifelong.training.lessons import DARK, LIGHT, scenes


def test_seeds_are_told_as_their_mean_with_each_beside_it():
    runs = [
        {"matrix": [[0.4, 0.1], [None, None]], "start": {"day": 0.4}, "bwt": None, "acc": value}
        for value in (0.2, 0.4)
    ]
    told = summary(runs)
    assert told["acc"] == pytest.approx(0.3)
    assert told["matrix"] == [[0.4, 0.1], [None, None]] and told["bwt"] is None
    assert told["start"] == {"day": 0.4}
    assert told["seeds"] == runs
    assert summary(runs[:1]) == runs[0]


@pytest.mark.slow
def test_lll_03_every_strategy_is_told_with_its_matrix(tmp_path):
    for number, (name, colours) in enumerate((("light", LIGHT), ("dark", DARK))):
        for split, count in (("train", 5), ("eval", 2)):
            pairs = scenes(count, colours, first=1000 * number + 10 * (split == "eval"))
            for place, (image, mask) in enumerate(pairs):
                for kind, pixels in (("images", image), ("train_ids", mask)):
                    path = tmp_path / name / split / kind / f"{place}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(pixels).save(path)
    command = [sys.executable, "-m", "bench.lifelong", "--data", str(tmp_path)]
    command += ["--domains", "light,dark", "--strategies", "ours,joint,adapters"]
    command += ["--json", "--out", str(tmp_path / "out")]
    command += ["--set", "steps=2", "first_steps_factor=2", "height=32", "width=48"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(ended.stdout.splitlines()[-1])["strategies"]
    assert set(told) == {"ours", "joint", "adapters"}
    for figures in told.values():
        assert {"matrix", "start", "final", "acc", "bwt", "fwt", "seconds", "labels"} <= set(
            figures
        )
        assert set(figures["start"]) == set(figures["final"]) == {"light", "dark"}
    firsts = [figures["start"] for figures in told.values()]
    assert all(first == firsts[0] for first in firsts), "all begin with the same first model"
    # Nothing that the first condition uses is ever changed.
    assert told["adapters"]["final"]["light"] == told["adapters"]["start"]["light"]
    assert set(told["adapters"]["shipped"]) == {"bundle", "to_fetch"}
