"""One whole turn with every real part: edge, Label Studio, job, workers; killed at every step."""

import io
import json
import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from cloud.demo.assembly import make_demo
from cloud.demo.demo import Demo
from cloud.demo.plan import DemoPlan
from cloud.demo.told import Told
from cloud.job.states import read_state
from cloud.rounds import Rounds
from lifelong.links.storage import open_storage
from lifelong.records.rounds import RoundState

ROOT = Path(__file__).parents[2]
LABEL_STUDIO = ROOT / ".venv-label-studio" / "bin" / "label-studio"
pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.skipif(
        not LABEL_STUDIO.exists(), reason="no .venv-label-studio: run `make setup` first"
    ),
]

# Small on purpose: what is tried here is the way, not what is learned on it.
SMALL = DemoPlan(
    conditions=("fog",),
    measured=("clear", "fog"),
    first_samples=8,
    known_frames=4,
    frames_at_once=12,
    examples=5,
    holdout_images=3,
    train_first=True,
    overrides={
        "training": {"steps": 12, "batch_size": 2, "height": 80, "width": 120},
        "edge": {
            "id": "edge-1",
            "source": {"type": "folder", "path": "frames", "poll_seconds": 0.2},
            "outbox": {"path": "outbox"},
            "state_path": "edge-state",
            "release_poll_seconds": 0.5,
            "threads": 1,
            "hard_examples": {"quantile": "0.50"},
        },
        "gate": {"max_forgetting": 1.0, "max_class_drop": 1.0, "min_gain": -1.0},
        "preannotation": {"masks": {"type": "superpixels"}},
    },
    patience_s=900,
)


# The shipped first model, and one round that is made to forget it.
REFUSAL = replace(
    SMALL,
    conditions=(),
    measured=("clear", "dusk"),
    first_samples=16,
    holdout_images=8,
    train_first=False,
    show_refusal=True,
    overrides={"preannotation": {"masks": {"type": "none"}}},
)


def a_demo(folder: Path, plan: DemoPlan = SMALL) -> tuple[Demo, io.StringIO]:
    lines = io.StringIO()
    demo = make_demo(
        run_dir=folder / "run",
        frames=None,
        people=False,
        show_refusal=False,
        fresh=False,
        label_studio=LABEL_STUDIO,
        plan=plan,
        told=Told(Console(file=lines, width=200)),
    )
    return demo, lines


class Killer(threading.Thread):
    """Kills for real, once for each state of the round and each process."""

    def __init__(self, demo: Demo, folder: Path) -> None:
        super().__init__(daemon=True)
        self.demo = demo
        self.folder = folder
        self.rounds = Rounds(open_storage(str(folder / "run" / "storage")))
        self.kills: list[str] = []
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.002):
            for round_ in [r for r in self.rounds.all() if r.examples or r.number == 1]:
                self.strike(round_.state)

    def strike(self, state: RoundState) -> None:
        for name in ("cloud", "edge", "job", "worker", "label-studio"):
            mark = f"{name} at {state}"
            if mark not in self.kills and self.kill(name, state):
                self.kills.append(mark)

    def kill(self, name: str, state: RoundState) -> bool:
        if name == "worker":
            if state not in {RoundState.TRAINING, RoundState.GATING}:
                return False
            number = read_state(self.folder / "run" / "job").worker_process
            return bool(number) and self.sent(number)
        if name == "label-studio":
            if state is not RoundState.ANNOTATING:
                return False
            self.demo.studio.kill()
            return True
        if name == "job" and state is not RoundState.TRAINING:
            return False
        try:
            return self.sent(self.demo.children.process_id(name))
        except KeyError:
            return False

    @staticmethod
    def sent(number: int) -> bool:
        try:
            os.kill(number, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True


def test_ux06_a_turn_killed_at_every_state_comes_to_the_same_end(tmp_path: Path) -> None:
    """UX-06, EDGE-08, TR-01, ANN-02, KB-04: nothing lost, nothing twice, no twin tasks."""
    demo, lines = a_demo(tmp_path)
    killer = Killer(demo, tmp_path)
    killer.start()
    try:
        report = demo.run(stay=False)
    finally:
        killer.over.set()
        killer.join()
    (round_,) = report["rounds"]
    assert round_["state"] == "released", lines.getvalue()
    assert (report["lost"], report["duplicated"]) == (0, 0)
    assert round_["annotated"] == round_["hard_examples"] == 5
    states = {mark.removeprefix("cloud at ") for mark in killer.kills if mark.startswith("cloud")}
    assert {"preannotating", "annotating", "training"} <= states, killer.kills
    assert "label-studio at annotating" in killer.kills
    assert any(mark.startswith("worker at") for mark in killer.kills), killer.kills
    # A run that has finished is told again, without a second round of anything.
    again, _ = a_demo(tmp_path)
    assert again.run(stay=False)["rounds"] == report["rounds"]
    for name in ("report.json", "report.html"):
        assert (tmp_path / "run" / name).stat().st_size > 1000
    written = json.loads((tmp_path / "run" / "report.json").read_text(encoding="utf-8"))
    assert set(written) >= {"rounds", "accuracy_matrix", "conditions", "edge", "lost", "duplicated"}


def test_lll07_a_candidate_that_forgets_is_refused_in_words(tmp_path: Path) -> None:
    """LLL-07: trained naively on a new condition, it gains there and loses what it knew."""
    demo, lines = a_demo(tmp_path, REFUSAL)
    before = demo.run(stay=False)
    (round_,) = before["rounds"]
    assert round_["state"] == "refused", lines.getvalue()
    assert round_["accepted"] is False
    assert any(reason.startswith("clear: forgot") for reason in round_["reasons"])
    assert round_["miou_after"]["clear"] < round_["miou_before"]["clear"] - 0.01
    assert before["deployed"] == round_["incumbent"], "edges keep what they run"
    assert before["edge"]["swaps"] == 0
    told = lines.getvalue()  # who is no longer there has no address
    assert "end with this run" in told and "lets one person in" not in told
