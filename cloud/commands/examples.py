"""`cornerloop examples` and `cornerloop budget`: what came from the edge, and how much may come."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cloud.fleet.budgets import Budgets
from cloud.knowledge.example_queries import (
    ExampleQuery,
    admitted_examples,
    attributes_of,
    moment_of,
)
from lifelong.config import Config, load_config
from lifelong.errors import ConfigError
from lifelong.links.journal import Journal
from lifelong.links.storage import open_storage
from lifelong.records.deliveries import UploadBudget
from lifelong.records.ids import EdgeId, edge_id
from lifelong.records.samples import HardExample
from lifelong.records.wire import to_plain

if TYPE_CHECKING:
    from cloud.operator_actions import OperatorActions

ConfigOption = Annotated[
    Path,
    typer.Option("--config", "-c", envvar="CORNERLOOP_CONFIG", help="Configuration file."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


class Order(StrEnum):
    """What comes first."""

    PRIORITY = "priority"
    SCORE = "score"
    NOVELTY = "novelty"
    SEQUENCE = "sequence"
    TIME = "time"


def examples(
    config: ConfigOption,
    edge: Annotated[str, typer.Option(help="Only of this node.")] = "",
    version: Annotated[str, typer.Option(help="Only by this model; a beginning will do.")] = "",
    since: Annotated[str, typer.Option(help="Only captured since, by the device's clock.")] = "",
    min_score: Annotated[float | None, typer.Option(help="Only as hard as this.")] = None,
    attribute: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE, may be given again.")
    ] = None,
    order: Annotated[Order, typer.Option(help="What comes first.")] = Order.PRIORITY,
    as_json: JsonOption = False,
) -> None:
    """Admitted hard examples with all that travelled with them."""
    query = ExampleQuery(
        edge=edge,
        version=version,
        since=moment_of(since) if since else None,
        min_score=min_score,
        attributes=attributes_of(attribute or ()),
        order=str(order),
    )
    found = query.answer(admitted_examples(open_storage(load_config(config).storage)))
    if as_json:
        rows = [to_plain(example) for example in found]
        typer.echo(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    for example in found:
        typer.echo(_line(example))
    typer.echo(f"{len(found)} examples")


def budget(
    config: ConfigOption,
    edge: Annotated[str, typer.Argument(help="Id of the node.")],
    mib_per_day: Annotated[
        float | None, typer.Option(min=0.0, help="Bytes in any 24 hours, MiB.")
    ] = None,
    samples_per_hour: Annotated[
        int | None, typer.Option(min=0, help="Samples in any hour.")
    ] = None,
    withdraw: Annotated[bool, typer.Option(help="Take back what was said.")] = False,
    as_json: JsonOption = False,
) -> None:
    """How much a node may send, beside its own limits; with options: tell it."""
    from cloud.operator_actions import terminal_user

    node = _checked(edge)
    budgets = _budgets(load_config(config))
    said = mib_per_day is not None or samples_per_hour is not None
    if withdraw and said:
        raise ConfigError("budget: --withdraw and a new budget at once; choose one")
    if withdraw:
        _actions(config).withdraw_budget(node, terminal_user())
    if said:
        _actions(config).set_budget(
            node,
            terminal_user(),
            max_mib_per_day=mib_per_day,
            max_samples_per_hour=samples_per_hour,
        )
    now = budgets.of(node)
    if as_json:
        typer.echo(json.dumps(to_plain(now) if now else None, indent=1))
    else:
        typer.echo(_told(node, now))


def _checked(edge: str) -> EdgeId:
    try:
        return edge_id(edge)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _budgets(config: Config) -> Budgets:
    return Budgets(open_storage(config.storage), Journal(config.journal_path, "operator"))


def _actions(config: Path) -> "OperatorActions":
    # Late: the rest of this file answers without opening the knowledge base.
    from cloud.assembly import open_cloud
    from cloud.operator_assembly import make_actions

    return make_actions(open_cloud(load_config(config)))


def _told(node: EdgeId, now: UploadBudget | None) -> str:
    if now is None:
        return f"{node}: no budget from the cloud; its own settings hold"
    limits: list[Any] = []
    if now.max_mib_per_day is not None:
        limits.append(f"{now.max_mib_per_day:g} MiB in any 24 hours")
    if now.max_samples_per_hour is not None:
        limits.append(f"{now.max_samples_per_hour} samples in any hour")
    text = ", ".join(limits) or "no limit from the cloud"
    return f"{node}: {text} (set by {now.set_by}, {now.set_at:%Y-%m-%d %H:%M} UTC)"


def _line(example: HardExample) -> str:
    novelty = "     –" if example.novelty is None else f"{example.novelty:6.3f}"
    attributes = " ".join(f"{name}={value}" for name, value in sorted(example.attributes.items()))
    return (
        f"{example.sample_id} {example.edge_id} #{example.sequence} "
        f"{example.captured_at:%Y-%m-%d %H:%M:%S} priority {example.priority:.3f} "
        f"score {example.score:.3f} novelty {novelty} model {example.version_id} {attributes}"
    ).rstrip()
