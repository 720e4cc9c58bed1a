"""Answers of `cornerloop kb` for people: tables of rows, lines of facts."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

_MOST_ROWS = 20  # of one list inside of an answer; --json has all


def overview(found: dict[str, Any]) -> None:
    """Everything in figures."""
    console = Console()
    console.print(
        f"{found['samples']} samples ({found['train']} train, {found['eval']} examine), "
        f"{len(found['versions'])} versions, {found['datasets']} data sets; "
        f"{found['forgotten']} forgotten"
    )
    console.print(
        f"log: {found['changes']} changes, {_mib(found['log_bytes'])}, checkpoints "
        f"{_mib(found['checkpoint_bytes'])}; head {found['head'][:16]}…"
    )
    tasks = _table("learning task", "train", "examine", "most pixels")
    for task in found["tasks"]:
        most = sorted(task["pixels"].items(), key=lambda item: -item[1])[:4]
        text = ", ".join(f"{name} {count}" for name, count in most)
        tasks.add_row(escape(task["task"]), str(task["train"]), str(task["eval"]), escape(text))
    versions = _table(
        "version", "parent", "round", "strategy", "new", "replayed", "memory", "verdict", "mIoU"
    )
    for one in found["versions"]:
        miou = " ".join(f"{task} {100 * value:.1f}" for task, value in one["miou"].items())
        verdict = {None: "–", True: "accepted", False: "refused"}[one["accepted"]]
        if one["learned_forgotten"]:
            verdict += f", learned {one['learned_forgotten']} forgotten"
        versions.add_row(
            one["version"],
            one["parent"] or "–",
            str(one["round"]),
            one["strategy"],
            str(one["trained_on"]),
            str(one["replayed"]),
            _mib(one["exemplar_bytes"]),
            verdict,
            escape(miou),
        )
    console.print(tasks)
    console.print(versions)


def facts(found: dict[str, Any]) -> None:
    """One thing with all that is known of it."""
    console = Console(soft_wrap=True)
    for name, value in found.items():
        told = name.replace("_", " ")
        if isinstance(value, list) and value and isinstance(value[0], dict):
            console.print(f"{told}: {len(value)}", markup=False)
            for row in value[:_MOST_ROWS]:
                console.print("    " + _line(row), markup=False)
            if len(value) > _MOST_ROWS:
                console.print(f"    … {len(value) - _MOST_ROWS} more, see --json", markup=False)
        else:
            console.print(f"{told}: {_text(value)}", markup=False)


def samples(rows: Sequence[dict[str, Any]]) -> None:
    """Samples that were asked for."""
    console = Console()
    table = _table("sample", "task", "split", "device", "annotator", "captured", "sure", "novel")
    for row in rows:
        table.add_row(
            row["sample"],
            escape(row["task"]),
            row["split"],
            escape(row["device"]),
            escape(row["annotator"]) or "–",
            (row["captured_at"] or "–")[:16],
            _number(row["confidence"]),
            _number(row["novelty"]),
        )
    if rows:
        console.print(table)
    console.print(f"{len(rows)} samples")


def check(found: dict[str, Any]) -> None:
    """What became of a walk through the log."""
    console = Console(soft_wrap=True)
    console.print(
        f"{found['changes']} changes, {found['records']} records, {found['forgotten']} emptied on "
        f"request; head {found['head']}",
        markup=False,
    )
    for finding in found["findings"]:
        console.print(f"BAD {finding}", markup=False)
    if not found["findings"]:
        console.print("the chain holds")


def forgotten(found: dict[str, Any]) -> None:
    """What went, what is left to do, and for which models."""
    console = Console(soft_wrap=True)
    console.print(f"{found['state']}: {len(found['samples'])} samples", markup=False)
    for what, count in found["removed"].items():
        console.print(f"    {what}: {count}", markup=False)
    for note in found["notes"]:
        console.print(note, markup=False)
    for title, name in (("would go", "tasks"), ("left to delete", "tasks_left")):
        for task in found[name]:
            console.print(
                f"Label Studio task {task['task']} of project {task['project']}: {title}",
                markup=False,
            )
    for model in found["affected_models"]:
        released = ", ".join(str(n) for n in model["releases"]) or "never"
        console.print(
            f"model {model['model']}: trained on {model['trained_on']}, replayed "
            f"{model['replayed']}, {len(model['ancestors'])} such ancestors; released: {released}; "
            f"{model['what_to_do']}",
            markup=False,
        )


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _line(row: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_text(value)}" for name, value in row.items())


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_text(one)}" for name, one in value.items()) or "–"
    if isinstance(value, list):
        return ", ".join(_text(one) for one in value) or "–"
    return "–" if value is None or value == "" else str(value)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _mib(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"
