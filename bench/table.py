"""docs/benchmarks.md from the results that are kept in bench/results, and figures that pages quote.

python -m bench.table             write the page anew, and every marked figure of the other pages
python -m bench.table --take      first take over what `python -m bench` left in runs/bench
python -m bench.table --names     what pages may quote, with its value; nothing is written
"""

import argparse
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.chapters import CHAPTERS
from bench.figures import Chapter, Shown, declared, quotable, shown, sizes_of
from bench.marks import Quoted, pages, quoted_in, rewritten
from bench.plan import ELSEWHERE, PLAN, ROOT, Planned

RESULTS = ROOT / "bench" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
_HEAD = """# Benchmarks

Written by `python -m bench.table` from [bench/results](../bench/results); do not edit.

`make bench` runs every bench in full, which takes hours; `python -m bench --quick` takes a few minutes for each.
Each leaves `runs/bench/NAME.json` with its figures, its command, and the machine; `python -m bench.table --take` makes them those of this page and of every page that quotes them.

The figures say what one machine did on one day, beside other work, most of them with small sizes, so believe ratios more than seconds.
A ratio says how many times as good ours is: the peer's time over ours, the peer's memory over ours.
A page quotes a figure by a mark that does not show; such figures are those of this page, to the digit (`bench/marks.py` says how).
Other figures were [measured in full](#measured-in-full-elsewhere).
"""  # noqa: E501


def main(arguments: Sequence[str] | None = None) -> None:
    """Take over results if asked to, and write the pages."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.table",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--take", action="store_true", help="copy runs/bench/*.json first")
    parser.add_argument("--from", dest="source", type=Path, default=ROOT / "runs" / "bench")
    parser.add_argument("--names", action="store_true", help="list what pages may quote")
    given = parser.parse_args(arguments)
    if given.take:
        _take(given.source)
    results = kept_results()
    values = quotable(CHAPTERS, results)
    if given.names:
        print("\n".join(f"{name:40} {value}" for name, value in values.items()))
        return
    for path in pages():
        text = path.read_text(encoding="utf-8")
        if path == PAGE:
            now = page(results)
        else:
            where = path.relative_to(ROOT).as_posix()
            now = rewritten(text, values, where, stays=declared(CHAPTERS))
            _tell_what_stays(quoted_in(text, where), values, where)
        if now != text:
            path.write_text(now, encoding="utf-8")


def kept_results() -> dict[str, dict[str, Any]]:
    """The kept results by the bench's name."""
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(RESULTS.glob("*.json"))
    }


def page(results: Mapping[str, dict[str, Any]]) -> str:
    """The whole page, in the order of the plan."""
    parts = [_HEAD, _overview(results)]
    parts += [chapter(one, CHAPTERS[one.name], results[one.name]) for one in _told(results)]
    return "\n".join([*parts, _elsewhere(), _machines(results)])


def chapter(planned: Planned, told: Chapter, result: Mapping[str, Any]) -> str:
    """One bench: its question, its figures in words, and how they came about."""
    figures = [one for one in shown(told, result["figures"]) if one.figure.tabled]
    lines = [f"## {planned.name}", "", f"{_begun(planned.what)}.", ""]
    if any(one.ratio for one in figures):
        lines += [f"| | Cornerloop | {told.peer} | ratio |", "|---|--:|--:|--:|"]
        lines += [_row(one, one.peer, ratio=one.ratio) for one in figures]
    elif any(one.peer for one in figures):
        lines += [f"| | Cornerloop | {told.peer} |", "|---|--:|--:|"]
        lines += [_row(one, one.peer) for one in figures]
    else:
        lines += ["| | |", "|---|--:|"]
        lines += [_row(one) for one in figures]
    return "\n".join([*lines, "", *_origin(planned, told, result), ""])


def _take(source: Path) -> None:
    RESULTS.mkdir(exist_ok=True)
    known = {planned.name for planned in PLAN}
    for path in sorted(source.glob("*.json")):
        if path.stem in known and "machine" in json.loads(path.read_text(encoding="utf-8")):
            shutil.copyfile(path, RESULTS / path.name)


def _tell_what_stays(quoted: Iterable[Quoted], values: Mapping[str, str], where: str) -> None:
    old = sorted({one.name for one in quoted if one.name not in values})
    if old:
        print(f"{where}: no result of that size for {', '.join(old)}: left as it was")


def _told(results: Mapping[str, dict[str, Any]]) -> list[Planned]:
    return [one for one in PLAN if one.name in results]


def _overview(results: Mapping[str, dict[str, Any]]) -> str:
    lines = ["## What stands behind which page", ""]
    lines += ["| bench | what it asks | quoted in | needs |", "|---|---|---|---|"]
    for one in PLAN:
        quoted = ", ".join(f"[{Path(path).stem}]({_from_docs(path)})" for path in one.pages)
        needs = "; ".join(how for _, how in one.needs) or "–"
        name = f"[`{one.name}`](#{one.name})" if one.name in results else f"`{one.name}`"
        lines.append(f"| {name} | {one.what} | {quoted} | {needs} |")
    absent = [one for one in PLAN if one.name not in results]
    if absent:
        lines += ["", "No result is kept of these; their commands in full:", ""]
        lines += [f"* {_command(one, quick=False)}" for one in absent]
    return "\n".join([*lines, ""])


def _row(one: Shown, *cells: str, ratio: str | None = None) -> str:
    values = [one.with_unit(value) for value in (one.ours, *cells)]
    if ratio is not None:
        values.append(ratio)
    return f"| {one.figure.says} | {' | '.join(values)} |"


def _origin(planned: Planned, told: Chapter, result: Mapping[str, Any]) -> list[str]:
    sizes = sizes_of(told, result["figures"])
    machine, small = result["machine"], planned.is_small(quick=result["quick"])
    return [
        *([f"{_begun(sizes)}."] if sizes else []),
        f"{'Small sizes' if small else 'In full'}: `{result['command']}`, "
        f"{result['at'][:10]}, {result['seconds']:.0f} seconds, {machine['processor']} "
        f"with a load of {machine['load_before']} before it.",
        *([f"In full: {_command(planned, quick=False)}."] if small else []),
        f"Everything it found: [{planned.name}.json](../bench/results/{planned.name}.json).",
    ]


def _elsewhere() -> str:
    lines = ["## Measured in full elsewhere", ""]
    lines.append("These figures of the pages come from runs of which no result is kept here.")
    lines.append("Their pages name the sizes; the command measures them again.")
    lines += ["", "| page | what | command |", "|---|---|---|"]
    lines += [
        f"| [{Path(one.page).stem}]({_from_docs(one.page)}) | {one.what} | `{one.command}` |"
        for one in ELSEWHERE
    ]
    return "\n".join([*lines, ""])


def _machines(results: Mapping[str, dict[str, Any]]) -> str:
    rows: dict[str, list[str]] = {}
    for one in _told(results):
        found = results[one.name]["machine"]
        packages = ", ".join(f"{key} {value}" for key, value in found["packages"].items())
        told = (
            f"| {found['processor']} | {found['cores']} | {found['memory_gib']} GiB | "
            f"{found['system']} | {found['python']} | {packages} |"
        )
        rows.setdefault(told, []).append(one.name)
    lines = ["## Machines", ""]
    lines.append("| processor | cores | memory | system | Python | packages | benches |")
    lines.append("|---|--:|--:|---|---|---|---|")
    lines += [f"{told} {', '.join(names)} |" for told, names in rows.items()]
    return "\n".join([*lines, ""])


def _command(planned: Planned, *, quick: bool) -> str:
    return f"`python -m {' '.join(planned.words(quick=quick))}`"


def _begun(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"


def _from_docs(path: str) -> str:
    return path.removeprefix("docs/") if path.startswith("docs/") else f"../{path}"


if __name__ == "__main__":
    main()
