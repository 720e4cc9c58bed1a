"""Fault trials of the edge node and of delivery: nothing lost, twice, half there or unverified.

python -m bench.faults --trials 1000 --json
python -m bench.faults --only kill --trials 50
python -m bench.faults --only flip --seed 123 --trials 1      one trial again, with what it found

Every trial is a line of `runs/faults/{kind}.jsonl`; a second call goes on where the first ended.
The kinds are told in `bench/fault_trials.py`.
"""

import argparse
import json
import logging
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.fault_room import let_go
from bench.fault_trials import TRIALS
from bench.measuring import report

COUNTS = ("lost", "twice", "half", "unverified", "told", "struck")


def main() -> None:
    """Run the trials that are missing, and print the totals of all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--only", nargs="+", choices=sorted(TRIALS), default=list(TRIALS))
    parser.add_argument("--seed", type=int, default=0, help="of the first trial")
    parser.add_argument("--out", type=Path, default=Path("runs/faults"))
    parser.add_argument("--again", action="store_true", help="forget earlier trials")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    logging.getLogger().addHandler(logging.NullHandler())
    warnings.simplefilter("ignore")
    figures: dict[str, object] = {}
    every: list[dict[str, Any]] = []
    for kind in given.only:
        path = given.out / f"{kind}.jsonl"
        if given.again:
            path.unlink(missing_ok=True)
        found = run(kind, range(given.seed, given.seed + given.trials), path)
        figures[kind] = totals(found)
        every += found
    report(figures | {"together": totals(every)}, as_json=given.json)


def run(kind: str, seeds: Sequence[int], path: Path) -> list[dict[str, Any]]:
    """The results of these trials: from the file where it has them, else run now."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done = {line["seed"]: line for line in _lines(path)}
    with path.open("a", encoding="utf-8") as out:
        if done and not path.read_bytes().endswith(b"\n"):
            out.write("\n")  # an earlier run was cut off in the middle of a line
        for seed in seeds:
            if seed not in done:
                done[seed] = trial(kind, seed)
                out.write(json.dumps(done[seed]) + "\n")
                out.flush()
    return [done[seed] for seed in seeds]


def trial(kind: str, seed: int) -> dict[str, Any]:
    """One trial in a folder of its own; an error of the harness or of ours is a finding, too."""
    began = time.perf_counter()
    root = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix=f"fault-{kind}-", dir=root) as folder:
        try:
            found = asdict(TRIALS[kind](seed, Path(folder)))
        except Exception as error:
            logging.getLogger().exception("trial %s %d", kind, seed)
            found = {name: 0 for name in COUNTS} | {"broke": f"{type(error).__name__}: {error}"}
        let_go(Path(folder))
    return {"kind": kind, "seed": seed, **found, "seconds": round(time.perf_counter() - began, 3)}


def totals(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Sums over trials, and the seeds of those in which a promise was broken."""
    bad = [line["seed"] for line in lines if line.get("broke") or any(line[n] for n in COUNTS[:4])]
    return {
        "trials": len(lines),
        **{name: sum(line[name] for line in lines) for name in COUNTS},
        "broke": sum(bool(line.get("broke")) for line in lines),
        "bad_seeds": bad[:20],
        "seconds": round(sum(line["seconds"] for line in lines), 1),
    }


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue  # cut off when an earlier run was stopped
    return found


if __name__ == "__main__":
    main()
