"""Answers in a folder: whole, bounded, the newest one named; a full disk stops nobody."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest

from edge.answers import Answers
from lifelong.records.ids import sha256_hex
from lifelong.records.pixels import mask_from_png
from lifelong.sections.edge import AnswersSection
from tests.builders import NOON, SMALL_MAP, a_frame, a_mask, a_prediction


def answers(folder: Path, kept: int = 100) -> Answers:
    section = AnswersSection(path=folder / "answers", kept=kept)
    return Answers(section, SMALL_MAP, now=lambda: NOON)


def put(to: Answers, sequence: int, by="edge", seed: int = 0) -> None:
    prediction = a_prediction(mask=a_mask(seed))
    to.put(a_frame(sequence), prediction, by=by, version=f"of {by}", seconds=0.25)


def latest(folder: Path) -> dict:
    return json.loads((folder / "answers/latest.json").read_text())


def names(folder: Path) -> set[str]:
    return {path.name for path in (folder / "answers").iterdir()}


def test_a_mask_lies_beside_what_it_says_of_itself(tmp_path):
    put(answers(tmp_path), 7, seed=3)
    about = latest(tmp_path)
    assert about == {
        "schema": 1,
        "sequence": 7,
        "edge_id": "edge-1",
        "captured_at": NOON.isoformat(),
        "answered_at": NOON.isoformat(),
        "by": "edge",
        "version": "of edge",
        "seconds": 0.25,
        "mask": "000000007.edge.png",
        "sha256": about["sha256"],
        "height": 48,
        "width": 64,
        "classes": ["road", "car", "person"],
    }
    png = (tmp_path / "answers" / about["mask"]).read_bytes()
    assert sha256_hex(png) == about["sha256"]
    assert np.array_equal(mask_from_png(png, "answer"), a_mask(3))
    assert (tmp_path / "answers/latest.png").read_bytes() == png
    assert json.loads((tmp_path / "answers/000000007.edge.json").read_text()) == about


def test_only_the_newest_frames_stay_with_both_their_answers(tmp_path):
    to = answers(tmp_path, kept=2)
    for sequence in range(5):
        put(to, sequence)
        put(to, sequence, by="cloud")
    assert names(tmp_path) == {"latest.png", "latest.json"} | {
        f"00000000{n}.{by}.{suffix}"
        for n in (3, 4)
        for by in ("edge", "cloud")
        for suffix in ("png", "json")
    }


def test_files_of_an_earlier_run_count_and_foreign_ones_are_left_alone(tmp_path):
    put(answers(tmp_path), 50)
    (tmp_path / "answers/notes.txt").write_text("mine")
    (tmp_path / "answers/.unfinished-000000051.edge.png").write_bytes(b"half")
    to = answers(tmp_path, kept=2)
    for sequence in (0, 1):  # a camera's count may begin anew
        put(to, sequence)
    assert names(tmp_path) == {
        "notes.txt",
        "latest.png",
        "latest.json",
        *(f"00000000{n}.edge.{suffix}" for n in (0, 1) for suffix in ("png", "json")),
    }


@pytest.mark.parametrize(
    ("puts", "newest"),
    [
        ([(3, "edge"), (3, "cloud")], (3, "cloud")),
        ([(3, "edge"), (4, "edge"), (3, "cloud")], (4, "edge")),
        ([(3, "edge"), (3, "cloud"), (4, "edge")], (4, "edge")),
    ],
)
def test_edge_13_a_cloud_answer_never_takes_the_place_of_a_later_frame(tmp_path, puts, newest):
    to = answers(tmp_path)
    for sequence, by in puts:
        put(to, sequence, by)
    about = latest(tmp_path)
    assert (about["sequence"], about["by"]) == newest
    assert about["version"] == f"of {newest[1]}"
    if (3, "cloud") in puts:
        assert "000000003.cloud.png" in names(tmp_path)


def test_a_full_disk_stops_nobody_and_is_told_once(tmp_path, monkeypatch, caplog):
    to = answers(tmp_path)
    put(to, 0)
    before = latest(tmp_path)

    def full(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        for sequence in range(1, 4):
            put(to, sequence)
    assert latest(tmp_path) == before
    assert len([r for r in caplog.records if "cannot be written" in r.message]) == 1
    put(to, 4)
    assert latest(tmp_path)["sequence"] == 4


def test_a_write_cut_short_leaves_no_half_answer(tmp_path, monkeypatch):
    to = answers(tmp_path)
    real = Path.write_bytes

    def half(self, data):
        real(self, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    put(to, 0)
    assert names(tmp_path) == set()


def test_a_folder_that_cannot_be_made_stops_nobody(tmp_path):
    (tmp_path / "answers").write_text("a file")
    put(answers(tmp_path), 0)
    assert (tmp_path / "answers").read_text() == "a file"
