"""docs/benchmarks.md from the results that are kept in bench/results.

python -m bench.table             write the page anew
python -m bench.table --take      first take over what `python -m bench` left in runs/bench
"""

import argparse
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.plan import PLAN, ROOT, Planned

RESULTS = ROOT / "bench" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
_MOST_ROWS = 24  # of one bench; its JSON file has all
_OURS = ("ours", "cornerloop")
_HEAD = "\n".join(
    (
        "# Benchmarks",
        "",
        "Written by `python -m bench.table` from `bench/results/*.json`; do not edit.",
        "",
        "`make bench` runs every bench in full, which takes hours; `python -m bench --quick` takes "
        "a minute or so for each.",
        "Each leaves `runs/bench/NAME.json` with its figures, its command, and the machine; "
        "`python -m bench.table --take` makes them those of this page.",
        "The figures here say what one machine did on one day, beside other work, most of them "
        "with small sizes.",
        "Pages that quote figures name the command and the size they were measured with; where "
        "the two differ, the page has the larger measurement.",
        "A ratio is the peer's figure over ours, where both stand side by side in a bench.",
        "",
    )
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Take over results if asked to, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m bench.table", description=__doc__)
    parser.add_argument("--take", action="store_true", help="copy runs/bench/*.json first")
    parser.add_argument("--from", dest="source", type=Path, default=ROOT / "runs" / "bench")
    given = parser.parse_args(arguments)
    if given.take:
        RESULTS.mkdir(exist_ok=True)
        known = {planned.name for planned in PLAN}
        for path in sorted(given.source.glob("*.json")):
            if path.stem in known and "machine" in json.loads(path.read_text(encoding="utf-8")):
                shutil.copyfile(path, RESULTS / path.name)
    PAGE.write_text(page(kept_results()), encoding="utf-8")


def kept_results() -> dict[str, dict[str, Any]]:
    """The kept results by the bench's name."""
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(RESULTS.glob("*.json"))
    }


def page(results: Mapping[str, dict[str, Any]]) -> str:
    """The whole page, in the order of the plan."""
    parts = [_HEAD, _machines(results), _overview(results)]
    parts += [_chapter(one, results[one.name]) for one in PLAN if one.name in results]
    return "\n".join(parts)


def figures_of(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any, Any]]:
    """Rows of what, ours, peer: numbers that stand beside one called `ours` become one row."""
    if isinstance(value, Mapping):
        ours = next((name for name in _OURS if _is_number(value.get(name))), None)
        rest = dict(value)
        if ours is not None:
            for name, other in value.items():
                if name != ours and _is_number(other):
                    yield " ".join((*path, f"(beside {name})")).strip(), value[ours], other
                    rest.pop(name)
            if len(rest) < len(value):
                rest.pop(ours)
        for name in [name for name in rest if name.startswith("our_") and _is_number(rest[name])]:
            quantity = name.removeprefix("our_")
            peers = [k for k in rest if k != name and k.endswith(f"_{quantity}")]
            for other in [k for k in peers if _is_number(rest[k])]:
                beside = other.removesuffix(f"_{quantity}")
                yield " ".join((*path, quantity, f"(beside {beside})")), rest[name], rest.pop(other)
            if peers:
                rest.pop(name)
        for name, inner in rest.items():
            yield from figures_of(inner, (*path, str(name)))
    elif isinstance(value, list):
        if value and all(isinstance(one, Mapping) for one in value):
            for number, one in enumerate(value, 1):
                yield from figures_of(one, (*path, str(number)))
    elif _is_number(value) or isinstance(value, bool):
        yield " ".join(path), value, None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _machines(results: Mapping[str, dict[str, Any]]) -> str:
    rows: dict[str, list[str]] = {}
    for name, result in results.items():
        found = result["machine"]
        packages = ", ".join(f"{key} {value}" for key, value in found["packages"].items())
        told = (
            f"| {found['processor']} | {found['cores']} | {found['memory_gib']} GiB | "
            f"{found['system']} | {found['python']} | {packages} |"
        )
        rows.setdefault(told, []).append(name)
    lines = [
        "## Machines",
        "",
        "| processor | cores | memory | system | Python | packages | benches |",
    ]
    lines.append("|---|--:|--:|---|---|---|---|")
    lines += [f"{told} {', '.join(names)} |" for told, names in rows.items()]
    return "\n".join([*lines, ""])


def _overview(results: Mapping[str, dict[str, Any]]) -> str:
    lines = ["## What stands behind which page", ""]
    lines.append("| bench | what it asks | in full | needs | quoted in | here |")
    lines.append("|---|---|---|---|---|---|")
    for one in PLAN:
        pages = ", ".join(f"[{_title(path)}]({_from_docs(path)})" for path in one.pages) or "–"
        needs = "; ".join(how for _, how in one.needs) or "–"
        here = f"[below](#{one.name})" if one.name in results else "not run for this page"
        command = f"`python -m {' '.join(one.words(quick=False))}`"
        lines.append(f"| `{one.name}` | {one.what} | {command} | {needs} | {pages} | {here} |")
    return "\n".join([*lines, ""])


def _chapter(planned: Planned, result: Mapping[str, Any]) -> str:
    rows = list(figures_of(result["figures"]))
    told = rows[:_MOST_ROWS]
    lines = [f"## {planned.name}", "", f"{planned.what[0].upper()}{planned.what[1:]}."]
    kind = "Small sizes" if result["quick"] else "In full"
    lines.append(
        f"{kind}: `{result['command']}`, {result['at'][:10]}, commit {result['commit']}, "
        f"{result['seconds']:.0f} s, load {result['machine']['load_before']} before it."
    )
    lines += ["", "| what | ours | peer | ratio |", "|---|--:|--:|--:|"]
    lines += [
        f"| {_safe(what)} | {_number(a)} | {_number(b)} | {_ratio(a, b)} |" for what, a, b in told
    ]
    if len(rows) > len(told):
        lines += ["", f"{len(rows) - len(told)} more stand in `bench/results/{planned.name}.json`."]
    return "\n".join([*lines, ""])


def _safe(text: str) -> str:
    return text.replace("|", "/").replace("_", " ")


def _number(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) and abs(value) < 1e4 else f"{value:,.0f}"


def _ratio(ours: Any, peer: Any) -> str:
    return f"{peer / ours:.3g}" if peer is not None and ours else ""


def _title(path: str) -> str:
    return Path(path).stem


def _from_docs(path: str) -> str:
    return path.removeprefix("docs/") if path.startswith("docs/") else f"../{path}"


if __name__ == "__main__":
    main()
