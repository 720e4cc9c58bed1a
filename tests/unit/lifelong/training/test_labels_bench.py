"""`python -m bench.labels` on a folder of drawn pictures: rounds, resuming, the table."""

import json
import sys
from pathlib import Path

import pytest

from bench import labels
from lifelong.records.pixels import jpeg_from_image, png_from_mask
from tests.builders import a_mask, an_image


def a_sequence(folder: Path) -> Path:
    """Two domains, laid out as CamVid is."""
    for domain, first in (("day", 0), ("dusk", 100)):
        for part, count in (("train", 5), ("eval", 2)):
            for number in range(count):
                seed = first + number + (50 if part == "eval" else 0)
                place = folder / domain / part
                for name, data in (
                    (f"images/{seed:03d}.jpg", jpeg_from_image(an_image(seed))),
                    (f"train_ids/{seed:03d}.png", png_from_mask(a_mask(seed))),
                ):
                    (place / name).parent.mkdir(parents=True, exist_ok=True)
                    (place / name).write_bytes(data)
    return folder


@pytest.mark.slow
def test_the_bench_of_labels_tells_every_round_and_does_none_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["--data", str(a_sequence(tmp_path / "data")), "--seeds", "1", "--steps", "1"]
    arguments += ["--shares", "0.4", "--strategies", "ours,random,ours+unlabelled"]
    monkeypatch.setattr(sys, "argv", ["labels", *arguments, "--json", "--out", "found.jsonl"])
    labels.main()
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"all 1.0", "ours 0.4", "random 0.4", "ours+unlabelled 0.4"}
    assert told["all 1.0"]["of_full"] == 1.0
    rows = dict(json.loads(line) for line in Path("found.jsonl").read_text().splitlines())
    assert rows["ours 0.4 seed 0"]["labels"] == 2
    assert rows["ours 0.4 seed 0"]["chosen"] == rows["ours+unlabelled 0.4 seed 0"]["chosen"]
    monkeypatch.setattr(labels, "a_round", lambda begun, plan: pytest.fail("it was done before"))
    labels.main()
    assert json.loads(capsys.readouterr().out) == told
