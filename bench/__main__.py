"""Run the benches that stand behind the figures of the pages; one JSON file each.

python -m bench                           everything in full: hours
python -m bench --quick                   small sizes, a minute or so each; leaves out what has none
python -m bench --only vote rle --quick

Results lie in `runs/bench/NAME.json` with the machine they were found on. A second call goes on
with what has no result for this commit yet; `--again` measures anew. `python -m bench.table --take`
makes the results those of docs/benchmarks.md.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.machine import commit, machine
from bench.plan import PLAN, ROOT, Planned

OUT = ROOT / "runs" / "bench"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; answers how many failed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=[one.name for one in PLAN], metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--again", action="store_true", help="also what has a result already")
    parser.add_argument("--minutes", type=float, default=600.0, help="patience with one bench")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    failed = 0
    for planned in PLAN:
        if given.only and planned.name not in given.only:
            continue
        why = planned.lacking(quick=given.quick) or (
            "has no quick form" if given.quick and planned.quick is None else ""
        )
        path = given.out / f"{planned.name}.json"
        if not why and not given.again and _is_known(path, planned, quick=given.quick):
            why = f"{path.name} has it for this commit"
        if why:
            print(f"{planned.name}: left out: {why}", flush=True)
            continue
        failed += not _measured(planned, path, quick=given.quick, minutes=given.minutes)
    return failed


def _is_known(path: Path, planned: Planned, *, quick: bool) -> bool:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    same = found.get("command") == _told(planned, quick=quick)
    return bool(same and found.get("commit") == commit())


def _told(planned: Planned, *, quick: bool) -> str:
    return " ".join(("python", "-m", *planned.words(quick=quick)))


def _measured(planned: Planned, path: Path, *, quick: bool, minutes: float) -> bool:
    told = _told(planned, quick=quick)
    print(f"{planned.name}: {told}", flush=True)
    before, began, at = machine(), time.monotonic(), datetime.now(UTC)
    words = [sys.executable, "-m", *planned.words(quick=quick)]
    try:
        done = subprocess.run(
            words, cwd=ROOT, stdout=subprocess.PIPE, timeout=60 * minutes, check=False,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        print(f"{planned.name}: FAILED: not done after {minutes:g} minutes", flush=True)
        return False
    figures = figures_in(done.stdout.decode(errors="replace"))
    if figures is not None and "skipped" in figures:
        print(f"{planned.name}: left out: {figures['skipped']}", flush=True)
        return True
    if done.returncode or figures is None:
        print(f"{planned.name}: FAILED with code {done.returncode}", flush=True)
        return False
    result = {
        "name": planned.name,
        "command": told,
        "quick": planned.is_small(quick=quick),
        "commit": commit(),
        "at": at.isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - began, 1),
        "machine": before,
        "figures": figures,
    }
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    unfinished.replace(path)
    print(f"{planned.name}: {result['seconds']} s -> {path.name}", flush=True)
    return True


def figures_in(text: str) -> dict[str, Any] | None:
    """The bench's JSON object: the last line that is one, or all of what it printed."""
    for candidate in (*reversed(text.strip().splitlines()), text):
        try:
            found = json.loads(candidate)
        except ValueError:
            continue
        if isinstance(found, dict):
            return found
    return None


if __name__ == "__main__":
    sys.exit(min(main(), 1))
