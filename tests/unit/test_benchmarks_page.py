"""OPS-08: every figure has a bench, every bench a command, and the page is what they find."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import figures_in, main
from bench.plan import PLAN, Planned
from bench.table import PAGE, RESULTS, figures_of, kept_results, page
from tests.documented_commands import PAGES, ROOT, wrong_words

# Parts of others, or started by them.
_PARTS = {"avalanche_replay", "edge_process", "demo_cloud"}


def test_ops_08_the_page_is_what_the_writer_makes_of_the_kept_results() -> None:
    """OPS-08: nobody writes a figure of that page by hand."""
    assert PAGE.read_text(encoding="utf-8") == page(kept_results())


@pytest.mark.parametrize("planned", PLAN, ids=lambda planned: planned.name)
def test_ops_08_every_planned_command_exists_with_its_options(planned: Planned) -> None:
    for quick in (True, False):
        assert not wrong_words(["python", "-m", *planned.words(quick=quick)])


def test_ops_08_every_bench_is_planned_or_a_part_of_one() -> None:
    """OPS-08: `make bench` leaves none out."""
    programs = {
        path.stem
        for path in (ROOT / "bench").glob("*.py")
        if "argparse" in path.read_text("utf-8")
        and '__name__ == "__main__"' in path.read_text("utf-8")
    } - {"__main__", "table"}
    assert programs - _PARTS == {planned.name for planned in PLAN}


def test_ops_08_every_page_that_quotes_a_bench_stands_in_the_plan() -> None:
    """OPS-08: the table tells for each figure's page which bench is behind it."""
    quoted = {planned.name: set(planned.pages) for planned in PLAN}
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        for name in set(re.findall(r"python -m bench\.([a-z_]+)", text)) - {"table"} - _PARTS:
            where = path.relative_to(ROOT).as_posix()
            if where not in {"docs/benchmarks.md", "README.md"}:
                assert where in quoted[name], f"{where} quotes bench.{name}"


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_ops_08_a_kept_result_says_what_it_ran_on_and_names_no_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    result = json.loads(text)
    assert set(result["machine"]) >= {"processor", "cores", "memory_gib", "system", "python"}
    assert result["commit"]
    assert result["figures"]
    assert not re.search(r'"/(root|home|tmp|work|Users)', text), "a path of that machine"


@pytest.mark.parametrize(
    ("figures", "rows"),
    [
        ({"encode": {"sdk": 3.0, "ours": 1.5}}, [("encode (beside sdk)", 1.5, 3.0)]),
        (
            {"our_seconds": 1.0, "peer_seconds": 4.0, "equal": True},
            [("seconds (beside peer)", 1.0, 4.0), ("equal", True, None)],
        ),
        ({"a": {"b": 1}, "name": "x", "sizes": [1, 2]}, [("a b", 1, None)]),
        ({"runs": [{"n": 1}, {"n": 2}]}, [("runs 1 n", 1, None), ("runs 2 n", 2, None)]),
    ],
)
def test_ops_08_figures_that_stand_side_by_side_share_a_row(
    figures: dict[str, Any], rows: list[tuple[str, Any, Any]]
) -> None:
    assert list(figures_of(figures)) == rows


def test_ops_08_a_benchs_object_is_found_whatever_it_says_before() -> None:
    assert figures_in('working …\n{"a": 1}\n') == {"a": 1}
    assert figures_in('{\n "a": {"b": 2}\n}\n') == {"a": {"b": 2}}
    assert figures_in("nothing\n") is None


def test_ops_08_what_cannot_run_is_left_out_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = Planned(
        name="vote", what="x", full=(), quick=("--json",), pages=(),
        needs=((tmp_path / "absent", "bring the pictures"),),
    )  # fmt: skip
    slow = Planned(name="rle", what="x", full=(), quick=None, pages=())
    monkeypatch.setattr("bench.__main__.PLAN", (absent, slow))
    assert main(["--quick", "--out", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "vote: left out: bring the pictures" in told
    assert "rle: left out: has no quick form" in told


def test_ops_08_a_result_is_written_and_not_measured_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert main(["--quick", "--only", "rle", "--out", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert told.count("-> rle.json") == 1
    assert "rle.json has it for this commit" in told
    assert json.loads((tmp_path / "rle.json").read_text())["figures"]["ragged"]["equal"] is True
