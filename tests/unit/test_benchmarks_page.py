"""OPS-08: every figure has a bench, every bench a command, and the page is what they find."""

import json
import re
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import figures_in, main
from bench.chapters import CHAPTERS
from bench.figures import Chapter, Figure, NoFigureError, Shown, declared, quotable, shown, sizes_of
from bench.marks import pages, quoted_in, rewritten
from bench.plan import ELSEWHERE, PLAN, Elsewhere, Planned
from bench.table import PAGE, RESULTS, chapter, kept_results, page
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
    assert not re.search(r"/(root|home|tmp|work|Users|dev)\b", text), "a path of that machine"
    assert socket.gethostname() not in text


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.stem)
def test_ops_08_a_quoted_figure_is_the_one_that_was_measured(path: Path) -> None:
    """OPS-08: `python -m bench.table` writes them; nobody types them."""
    text = path.read_text(encoding="utf-8")
    assert rewritten(text, quotable(CHAPTERS, kept_results()), path.name) == text


def test_ops_08_a_quoted_figure_that_was_changed_by_hand_is_found() -> None:
    text = "| the vote | <!--figure vote.seconds.ratio-->70<!--/--> times |"
    right = "| the vote | <!--figure vote.seconds.ratio-->40<!--/--> times |"
    assert rewritten(text, {"vote.seconds.ratio": "40"}, "README.md") == right
    assert rewritten(right, {"vote.seconds.ratio": "40"}, "README.md") == right


def test_ops_08_a_figure_of_another_size_stays_and_one_that_nobody_declared_does_not() -> None:
    text = "<!--figure classes.ours_200.road-->95.3<!--/-->"
    assert rewritten(text, {}, "classes.md", stays=declared(CHAPTERS)) == text
    with pytest.raises(NoFigureError, match="no figure"):
        rewritten(text, {}, "classes.md")
    other = text.replace("road", "rood")
    with pytest.raises(NoFigureError, match="no figure"):
        rewritten(other, {}, "classes.md", stays=declared(CHAPTERS))


@pytest.mark.parametrize(
    "text",
    [
        "<!--figure vote.nothing-->40<!--/-->",
        "<!--figure vote.seconds-->40",
        "<!-- figure vote.seconds-->40<!--/-->",
        "<!--figure vote.seconds-->40\n<!--/-->",
        "<!--figure vote-->40<!--/-->",
        "40<!--/-->",
    ],
)
def test_ops_08_a_mark_that_names_nothing_or_is_broken_is_refused(text: str) -> None:
    with pytest.raises(NoFigureError, match=r"README.md: .*(figure|mark)"):
        rewritten(text, {"vote.seconds": "1"}, "README.md")


@pytest.mark.parametrize("planned", PLAN, ids=lambda planned: planned.name)
def test_ops_08_a_page_of_a_bench_names_its_command_or_has_its_figure(planned: Planned) -> None:
    """OPS-08: the plan says of no page that it quotes what it does not."""
    for name in planned.pages:
        text = (ROOT / name).read_text(encoding="utf-8")
        quotes = any(one.name.startswith(f"{planned.name}.") for one in quoted_in(text, name))
        assert quotes or re.search(rf"bench\.{planned.name}\b", text), name


def test_ops_08_a_page_with_a_benchs_figure_stands_in_its_plan() -> None:
    planned = {one.name: set(one.pages) for one in PLAN}
    for path in pages():
        for quoted in quoted_in(path.read_text(encoding="utf-8"), path.name):
            bench = quoted.name.partition(".")[0]
            assert path.relative_to(ROOT).as_posix() in planned[bench], quoted


@pytest.mark.parametrize("one", ELSEWHERE, ids=lambda one: f"{one.page}: {one.what}")
def test_ops_08_what_was_measured_elsewhere_can_be_measured_again(one: Elsewhere) -> None:
    """OPS-08: the page names the bench, and the command takes these options."""
    words = one.command.split()
    assert not wrong_words(words)
    name = words[2].removeprefix("bench.")
    assert f"bench.{name}" in (ROOT / one.page).read_text(encoding="utf-8")
    assert one.page in next(planned.pages for planned in PLAN if planned.name == name)


def test_ops_08_every_bench_has_figures_in_words_each_with_a_name_of_its_own() -> None:
    assert set(CHAPTERS) == {planned.name for planned in PLAN}
    for bench, told in CHAPTERS.items():
        assert told.figures
        assert [n for n, count in Counter(f.name for f in told.figures).items() if count > 1] == []
        assert all(f.says and re.fullmatch(r"[a-z0-9_.]+", f.name) for f in told.figures), bench


@pytest.mark.parametrize("name", sorted(kept_results()))
def test_ops_08_a_kept_result_has_the_figures_that_its_chapter_tells(name: str) -> None:
    result = kept_results()[name]
    told = CHAPTERS[name]
    assert shown(told, result["figures"])
    assert sizes_of(told, result["figures"]) or not told.sizes


_SPEED = Figure(name="a", says="an act", at="act:ours", beside="act:sdk", unit="s", digits=1)


@pytest.mark.parametrize(
    ("figure", "figures", "row"),
    [
        (_SPEED, {"act": {"ours": 1.5, "sdk": 3.0}}, ("1.5", "3.0", "2.0")),
        (_SPEED, {"act": {"ours": 0.5, "sdk": 35.0}}, ("0.5", "35.0", "70")),
        (_SPEED, {"act": {"ours": 4.0, "sdk": 3.0}}, ("4.0", "3.0", "0.75")),
        (_SPEED, {"act": {"ours": 4.0}}, ("4.0", "", "")),
        (Figure(name="a", says="", at="same"), {"same": True}, ("yes", "", "")),
        (
            Figure(name="a", says="", at="share", times=100, unit="%", digits=1),
            {"share": 0.0712},
            ("7.1", "", ""),
        ),
        (
            Figure(name="a", says="", at="rate", beside="of_peer", better="more"),
            {"rate": 4000, "of_peer": 1000},
            ("4,000", "1,000", "4.0"),
        ),
        (Figure(name="a", says="", at="runs:1:n"), {"runs": [{"n": 1}, {"n": 2}]}, ("2", "", "")),
        (
            Figure(name="a", says="", at="runs:x:n"),
            {"runs": [{"name": "x", "n": 1}]},
            ("1", "", ""),
        ),
    ],
)
def test_ops_08_a_figure_is_shown_beside_the_peers_with_their_ratio(
    figure: Figure, figures: dict[str, Any], row: tuple[str, str, str]
) -> None:
    (one,) = shown(Chapter(figures=(figure,)), figures)
    assert (one.ours, one.peer, one.ratio) == row


def test_ops_08_a_figure_that_a_result_lacks_is_not_told() -> None:
    assert shown(Chapter(figures=(_SPEED,)), {"other": 1}) == []
    sized = Figure(name="a", says="", at="n", given=("steps", 200))
    assert shown(Chapter(figures=(sized,)), {"n": 1, "steps": 800}) == []
    assert shown(Chapter(figures=(sized,)), {"n": 1, "steps": 200}) != []
    with pytest.raises(NoFigureError, match="masks"):
        sizes_of(Chapter(figures=(), sizes="{masks} masks"), {"other": 1})
    with pytest.raises(NoFigureError, match="no number"):
        shown(Chapter(figures=(_SPEED,)), {"act": {"ours": "fast"}})


def test_ops_08_units_stand_in_the_table_and_not_in_what_is_quoted() -> None:
    one = Shown(figure=_SPEED, ours="1.5", peer="3.0", ratio="2.0")
    assert one.with_unit(one.ours) == "1.5 s"
    assert dict(one.quotable("rle")) == {
        "rle.a": "1.5",
        "rle.a.peer": "3.0",
        "rle.a.ratio": "2.0",
    }


def test_ops_08_a_chapter_tells_words_sizes_command_machine_and_load() -> None:
    planned = Planned(name="vote", what="the vote", full=("--json",), quick=("-x",), pages=())
    told = Chapter(figures=(_SPEED,), peer="the SDK", sizes="{masks} masks")
    text = chapter(planned, told, {
        "figures": {"act": {"ours": 1.5, "sdk": 3.0}, "masks": 7, "left": {"out": 1}},
        "quick": True, "command": "python -m bench.vote -x", "at": "2026-11-22T10:00:00+00:00",
        "seconds": 3.2, "machine": {"processor": "some processor", "load_before": 1.5},
    })  # fmt: skip
    assert "| | Cornerloop | the SDK | ratio |" in text
    assert "| an act | 1.5 s | 3.0 s | 2.0 |" in text
    assert "7 masks.\nSmall sizes: `python -m bench.vote -x`, 2026-11-22, 3 seconds" in text
    assert "some processor with a load of 1.5 before it" in text
    assert "In full: `python -m bench.vote --json`." in text
    assert "left" not in text


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


def test_ops_08_small_sizes_need_only_what_they_name(tmp_path: Path) -> None:
    absent = ((tmp_path / "absent", "bring the pictures"),)
    planned = Planned(
        name="x", what="x", full=(), quick=("--scenes",), pages=(), needs=absent, quick_needs=()
    )
    assert planned.lacking(quick=False) == "bring the pictures"
    assert planned.lacking(quick=True) == ""


def test_ops_08_a_result_is_written_and_not_measured_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert main(["--quick", "--only", "rle", "--out", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert told.count("-> rle.json") == 1
    assert "rle.json has it for this commit" in told
    assert json.loads((tmp_path / "rle.json").read_text())["figures"]["ragged"]["equal"] is True
