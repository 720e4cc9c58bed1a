"""EDGE-08, TR-01, TR-02, TR-03, SEC-02: fault trials of `bench.faults`, a few of each kind.

`python -m bench.faults --trials 1000` runs as many as one has patience for.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.fault_room import Room, judged
from bench.faults import COUNTS, run, totals, trial
from lifelong.records.ids import SampleId
from lifelong.records.keys import example_record_key
from lifelong.records.pixels import png_from_mask
from tests.builders import a_mask

pytestmark = [pytest.mark.integration, pytest.mark.slow]

# Other seeds than the first thousand, which `bench.faults` takes.
FIRST = 20_000


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("kill", 15),  # TR-01, EDGE-08: kill -9 at a random moment
        ("cut", 25),  # TR-02: the beginning of an object stays behind
        ("cut_tcp", 8),  # TR-02: a real connection to a real server
        ("flip", 25),  # TR-03, SEC-02: a damaged byte is found out, whatever file it is in
        ("disk", 25),  # EDGE-08: no room
        ("clock", 20),  # TR-06, EDGE-08: budgets and ages by a clock that jumps
        ("deliveries", 20),  # TR-01: twice, in any order, late, two services at once
    ],
)
@pytest.mark.filterwarnings("ignore")  # of a server and sockets that are cut
def test_edge_08_tr_01_tr_02_tr_03_no_fault_loses_doubles_or_halves_anything(
    kind: str, count: int, tmp_path: Path
) -> None:
    lines = [trial(kind, seed) for seed in range(FIRST, FIRST + count)]
    found = totals(lines)
    bad = [line for line in lines if line["seed"] in found["bad_seeds"]]
    assert not bad, json.dumps(bad, indent=1)
    assert found["struck"] >= count / 2, "faults that never happen prove nothing"


@pytest.fixture
def room(tmp_path: Path) -> Room:
    """A node that has delivered everything, and a cloud that has admitted it."""
    made = Room(tmp_path, FIRST)
    made.run_to_the_end()
    return made


def test_the_judge_finds_nothing_where_nothing_happened(room: Room) -> None:
    outcome = judged(room)
    assert outcome.is_clean, outcome.notes
    assert outcome.told == 0


def an_example(room: Room) -> SampleId:
    return next(iter(room.frames()))


def lose(room: Room) -> None:
    room.storage().delete(example_record_key(an_example(room)))
    for key in list(room.storage().keys("admissions")):
        room.storage().delete(key)
    room.restart_cloud()


def spoil(room: Room) -> None:
    key = f"images/{an_example(room)}.jpg"
    room.storage().put(key, room.storage().get(key)[:-1])


def answer_with_a_strange_model(room: Room) -> None:
    answers = next(iter(room.answers.values()))
    answers[an_example(room)] = a_mask(7)


def leave_half_an_entry(room: Room) -> None:
    folder = room.folder / "outbox" / an_example(room)
    folder.mkdir(parents=True)
    (folder / "mask.png").write_bytes(png_from_mask(a_mask())[:20])


@pytest.mark.parametrize(
    ("harm", "count"),
    [
        (lose, "lost"),
        (spoil, "half"),
        (answer_with_a_strange_model, "unverified"),
        (leave_half_an_entry, "half"),
    ],
)
def test_the_judge_sees_what_was_harmed(
    room: Room, harm: Callable[[Room], None], count: str
) -> None:
    harm(room)
    found = judged(room)
    assert getattr(found, count) >= 1, found
    assert not found.is_clean


def test_trials_go_on_where_they_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[int] = []

    def counted(kind: str, seed: int) -> dict[str, Any]:
        ran.append(seed)
        return {"kind": kind, "seed": seed, "seconds": 0.0, **dict.fromkeys(COUNTS, 0)}

    monkeypatch.setattr("bench.faults.trial", counted)
    path = tmp_path / "kill.jsonl"
    run("kill", range(3), path)
    with path.open("a") as file:
        file.write('{"kind": "kill", "seed": 3, "lo')  # cut off by a power cut
    assert [line["seed"] for line in run("kill", range(5), path)] == [0, 1, 2, 3, 4]
    assert ran == [0, 1, 2, 3, 4]
    assert len(run("kill", range(5), path)) == 5
    assert ran == [0, 1, 2, 3, 4]
