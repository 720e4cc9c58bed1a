"""Masks by a program of somebody else's: what it answers, and all it may do wrong."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from cloud.preannotation.mask_proposals import proposer_from
from cloud.preannotation.program_masks import ProgramProposer
from lifelong.errors import ConfigError, ModelLoadError, ModelOutputError
from lifelong.sections.drafting import MasksSection

PICTURE = np.zeros((4, 6, 3), np.uint8)
HALF = '{"masks": [{"size": [4, 6], "counts": [12, 12]}], "scores": [0.25]}'


def program(tmp_path: Path, body: str) -> ProgramProposer:
    path = tmp_path / "proposer.py"
    path.write_text(f"import json, os, sys, time\nfor line in sys.stdin:\n    {body}\n")
    return ProgramProposer(path, seconds=20.0)


def says(text: str) -> str:
    return f"print({text!r}, flush=True)"


def test_its_masks_are_ours_with_scores(tmp_path: Path) -> None:
    path = tmp_path / "proposer.py"
    path.write_text(f"import sys\nfor line in sys.stdin:\n    {says(HALF)}\n")
    proposer = proposer_from(MasksSection(type="program", program=path))
    for _ in range(2):
        found = proposer.propose(PICTURE)
        assert found.areas.tolist() == [12]
        assert found.boxes.tolist() == [[3, 0, 5, 3]]
        assert found.predicted_iou.tolist() == [0.25]
    assert proposer.name == "program:proposer.py"


def test_it_is_started_once_and_gets_the_picture(tmp_path: Path) -> None:
    body = (
        "from PIL import Image; s = Image.open(json.loads(line)['image']).size; "
        "print(json.dumps({'error': f'{s} {os.getpid()}'}), flush=True)"
    )
    proposer, told = program(tmp_path, body), []
    for _ in range(2):
        with pytest.raises(ModelOutputError, match=r"\(6, 4\) \d+") as error:
            proposer.propose(PICTURE)
        told.append(str(error.value))
    assert told[0] == told[1], "the same process answers both"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("nonsense", "expected one JSON line"),
        ("[]", "no list of masks"),
        ('{"masks": [{"size": [6, 4], "counts": [12, 12]}]}', r"a mask of \[6, 4\]"),
        ('{"masks": [{"size": [4, 6], "counts": [0, 25]}]}', "more than there are pixels"),
        ('{"masks": [{"size": [4, 6], "counts": [-1, 2]}]}', "negative"),
        ('{"masks": [{"size": [4, 6], "counts": [24]}]}', "empty"),
        ('{"masks": [], "scores": [1]}', "1 scores of 0 masks"),
        ('{"error": "too dark"}', "too dark"),
    ],
)
def test_a_wrong_answer_fails_the_picture_in_words(tmp_path: Path, answer: str, told: str) -> None:
    with pytest.raises(ModelOutputError, match=told):
        program(tmp_path, says(answer)).propose(PICTURE)


def test_one_that_ends_is_started_again_for_the_next_picture(tmp_path: Path) -> None:
    mark = tmp_path / "was here"
    body = (
        f"(print({HALF!r}, flush=True) if os.path.exists({str(mark)!r}) else "
        f"(open({str(mark)!r}, 'w').close(), sys.exit(7)))"
    )
    proposer = program(tmp_path, body)
    with pytest.raises(ModelOutputError, match="ended with code 7"):
        proposer.propose(PICTURE)
    assert len(proposer.propose(PICTURE)) == 1


def test_one_that_says_nothing_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "proposer.py"
    path.write_text("import time\ntime.sleep(600)\n")
    with pytest.raises(ModelOutputError, match=r"no answer within 0.2 s"):
        ProgramProposer(path, seconds=0.2).propose(PICTURE)


def test_sec_it_learns_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORNERLOOP_SIGNING_PASSWORD", "correct horse")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "battery staple")
    body = "print(json.dumps({'error': ' '.join(map(str, os.environ.items()))}), flush=True)"
    with pytest.raises(ModelOutputError) as error:
        program(tmp_path, body).propose(PICTURE)
    assert "PATH" in str(error.value)
    assert "correct" not in str(error.value)
    assert "battery" not in str(error.value)


def test_what_cannot_be_run_is_said(tmp_path: Path) -> None:
    for missing in (None, tmp_path / "absent"):
        with pytest.raises(ConfigError, match=r"preannotation\.masks\.program"):
            ProgramProposer(missing, seconds=1.0)
    plain = tmp_path / "plain"
    plain.write_text("no program")
    if sys.platform != "win32" and os.access(plain, os.X_OK) is False:
        with pytest.raises(ModelLoadError, match="make it executable"):
            ProgramProposer(plain, seconds=1.0).propose(PICTURE)
