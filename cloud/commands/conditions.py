"""`cornerloop conditions`: new conditions that the data show, and what becomes of them."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cloud.conditions.rulings import (
    Standing,
    condition_called,
    dismiss_condition,
    merge_tasks,
    name_condition,
    standing,
)
from lifelong.errors import ConditionError, ObjectNotFoundError, RecordError
from lifelong.links.durable_files import write_whole
from lifelong.links.journal import utc_now
from lifelong.records.conditions import Condition
from lifelong.records.keys import image_key
from lifelong.records.pixels import image_from_bytes
from lifelong.records.wire import to_plain

if TYPE_CHECKING:
    from cloud.assembly import Cloud
    from cloud.conditions.grouping import Conditions
    from lifelong.knowledge_base import KnowledgeBase

conditions_app = typer.Typer(
    help="Conditions found in what arrives: list, show, name, merge.", no_args_is_help=True
)
ConfigOption = Annotated[
    Path,
    typer.Option("--config", "-c", envvar="CORNERLOOP_CONFIG", help="Configuration file."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
ConditionArgument = Annotated[
    str, typer.Argument(metavar="ID", help="Id, its beginning, or the provisional name.")
]
_MOST_SHOWN = 24  # pictures on a sheet


@conditions_app.command("list")
def list_conditions(config: ConfigOption, as_json: JsonOption = False) -> None:
    """Every condition that was found, how far it has come, and where waiting pictures belong."""
    cloud, conditions = _opened(config)
    known = conditions.known_tasks
    found = [standing(cloud.kb, c, known) for c in cloud.kb.of(Condition).values()]
    gathered = dict(sorted(conditions.gathered().items()))
    if as_json:
        rows = [_plain(one) for one in found]
        told = {"known_tasks": known, "conditions": rows, "pictures": gathered}
        typer.echo(json.dumps(told, indent=1, ensure_ascii=False))
        return
    typer.echo(f"the newest model knows: {', '.join(known) or 'it does not say'}")
    for one in found:
        typer.echo(_line(one, gathered.get(one.condition.condition_id, 0)))
    alone = gathered.get("", 0)
    typer.echo(f"{len(found)} conditions; {alone} unseen pictures are like no others")


@conditions_app.command()
def show(
    config: ConfigOption,
    condition: ConditionArgument,
    sheet: Annotated[
        Path | None, typer.Option(help="PNG to write; the id and .png here without it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """One condition in full, and its pictures on one sheet."""
    from cloud.conditions.sheets import Captioned, contact_sheet

    cloud, conditions = _opened(config)
    one = condition_called(cloud.kb, condition)
    keys = conditions.pictures_of(one.condition_id)
    pictures: list[Captioned] = []
    for key in keys:
        if len(pictures) == _MOST_SHOWN:
            break
        try:
            data = cloud.storage.get(image_key(key))
            pictures.append(Captioned(image_from_bytes(data, key), key))
        except (ObjectNotFoundError, RecordError):
            continue  # forgotten since, or damaged: the others are shown
    path = sheet or Path(f"{one.condition_id}.png")
    if pictures:
        write_whole(path, contact_sheet(pictures))
    now = standing(cloud.kb, one, conditions.known_tasks)
    told = _plain(now) | {
        "pictures": keys,
        "sheet": str(path) if pictures else None,
        "history": _history(cloud.kb, now.task),
    }
    if as_json:
        typer.echo(json.dumps(told, indent=1, ensure_ascii=False))
        return
    typer.echo(_line(now, len(keys)))
    for entry in told["history"]:
        typer.echo(f"    round {entry['round']}: {entry['task']} {100 * entry['miou']:.1f} mIoU")
    typer.echo(f"    {len(pictures)} of {len(keys)} pictures: {path}" if pictures else "    none")


@conditions_app.command()
def name(
    config: ConfigOption,
    condition: ConditionArgument,
    task: Annotated[str, typer.Argument(metavar="NAME", help="A new learning task, or one there.")],
    as_json: JsonOption = False,
) -> None:
    """Make a condition a learning task: from now on its pictures are samples of it."""
    cloud, conditions = _opened(config)
    one = condition_called(cloud.kb, condition)
    pictures = conditions.pictures_of(one.condition_id)
    ruling = name_condition(cloud.kb, one.condition_id, task, pictures, _who(), utc_now)
    text = f"{one.condition_id} is {ruling.name}; {len(pictures)} pictures show it so far"
    _tell(to_plain(ruling), text, as_json=as_json)


@conditions_app.command()
def dismiss(
    config: ConfigOption, condition: ConditionArgument, as_json: JsonOption = False
) -> None:
    """Decide that a condition is none; what resembles it is not proposed again."""
    cloud, _ = _opened(config)
    one = condition_called(cloud.kb, condition)
    ruling = dismiss_condition(cloud.kb, one.condition_id, _who(), utc_now)
    _tell(to_plain(ruling), f"{one.condition_id} is dismissed", as_json=as_json)


@conditions_app.command()
def compare(
    config: ConfigOption,
    tasks: Annotated[
        list[str] | None, typer.Argument(help="Two learning tasks; all that look alike without.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Can the deployed model tell two learning tasks apart? Numbers, and what they say."""
    from cloud.conditions.likeness import alike, compared

    cloud, conditions = _opened(config)
    embeddings = conditions.embeddings()
    if embeddings is None:
        raise ConditionError("there is no model yet, so nothing can be compared")
    if tasks and len(tasks) != 2:
        raise ConditionError(f"compare takes two learning tasks, got {len(tasks)}")
    if tasks:
        first, second = (cloud.kb.task_names.now(task) for task in tasks)
        found = compared(cloud.kb, embeddings, first, second)
        if found is None:
            raise ConditionError(f"{first}, {second}: one has no sample to look at")
        pairs = [(first, second, found)]
    else:
        pairs = alike(cloud.kb, embeddings)
    rows = [
        {"tasks": [a, b], "alike": one.cannot_be_told_apart, **asdict(one)} for a, b, one in pairs
    ]
    lines = [
        f"{a}, {b}: {'cannot be told apart' if one.cannot_be_told_apart else 'differ'} ({one})"
        for a, b, one in pairs
    ]
    _tell(rows, "\n".join(lines) or "all learning tasks differ", as_json=as_json)


@conditions_app.command()
def merge(
    config: ConfigOption,
    tasks: Annotated[list[str], typer.Argument(help="Learning tasks, or ids of named conditions.")],
    into: Annotated[str, typer.Option(help="What they are called from now on.")],
    as_json: JsonOption = False,
) -> None:
    """Make learning tasks one, samples and hold-outs with them; with a single one: rename it."""
    from cloud.conditions.likeness import compared

    cloud, conditions = _opened(config)
    embeddings = conditions.embeddings()
    found = None
    if len(tasks) == 2 and embeddings is not None:
        first, second = (cloud.kb.task_names.now(task) for task in tasks)
        found = compared(cloud.kb, embeddings, first, second)
    merged = merge_tasks(
        cloud.kb,
        tasks,
        into,
        known=conditions.known_tasks,
        by=_who(),
        now=utc_now,
        why=str(found or ""),
        figures={"energy": found.energy, "p_value": found.p_value} if found else None,
    )
    text = f"{', '.join(merged.tasks)} are {merged.into} from now on"
    _tell(to_plain(merged), f"{text} ({found})" if found else text, as_json=as_json)


def _opened(config: Path) -> "tuple[Cloud, Conditions]":
    """The cloud, and its conditions with everything that was admitted judged."""
    from cloud.assembly import make_conditions, open_cloud
    from cloud.knowledge.example_queries import admitted_examples
    from lifelong.config import load_config

    cloud = open_cloud(load_config(config))
    conditions = make_conditions(cloud)
    conditions.judge(admitted_examples(cloud.storage))
    return cloud, conditions


def _history(kb: "KnowledgeBase", task: str) -> list[dict[str, Any]]:
    """What each candidate reached on a learning task, also when it was called otherwise."""
    return [
        {"round": e.round_number, "version": version, "task": old, "miou": result.miou}
        for version, e in kb.examinations.items()
        for old, result in e.candidate.tasks.items()
        if task and kb.task_names.now(old) == task
    ]


def _plain(one: Standing) -> dict[str, Any]:
    plain: dict[str, Any] = to_plain(one.condition)
    return plain | {
        "state": one.state,
        "task": one.task,
        "train": one.train,
        "held_out": one.held_out,
        "versions": list(one.versions),
    }


def _line(one: Standing, pictures: int) -> str:
    condition = one.condition
    samples = f", samples {one.train}+{one.held_out}" if one.train or one.held_out else ""
    task = f" as {one.task}" if one.task and one.task != condition.name else ""
    return (
        f"{condition.condition_id} {one.state:>9} {condition.name}{task}: {pictures} pictures"
        f"{samples}, novelty {condition.novelty:.2f}; {condition.about}"
    )


def _who() -> str:
    return os.environ.get("USER", "operator")


def _tell(value: Any, text: str, *, as_json: bool) -> None:
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False) if as_json else text)
