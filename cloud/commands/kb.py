"""`cornerloop kb`: what the knowledge base holds, where it comes from, and what it must forget."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cloud.commands import kb_tables
from cloud.knowledge.example_queries import ExampleQuery, attributes_of, moment_of
from cloud.knowledge.sample_queries import SampleQuery, as_row, range_of
from lifelong.config import load_config
from lifelong.errors import ConfigError, LifelongError
from lifelong.knowledge.checks import verify as verify_log
from lifelong.links.storage import open_storage
from lifelong.records.forget_requests import ForgetRequest, Scope
from lifelong.records.ids import SampleId, VersionId
from lifelong.records.samples import Split

if TYPE_CHECKING:
    from cloud.assembly import Cloud
    from cloud.knowledge.forget_requests import Done
    from cloud.knowledge.lineage import Records
    from cloud.selecting.present_counts import Counted

kb_app = typer.Typer(
    help="The knowledge base: show, query, lineage, verify, forget.", no_args_is_help=True
)

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", envvar="CORNERLOOP_CONFIG", help="Configuration file.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
WAIT_S = 60.0  # for the running service to carry out a request


@kb_app.command("show")
def show(
    config: ConfigOption,
    id_: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="A model, sample, learning task or data set."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Everything in figures, or one model, sample, learning task or data set."""
    from cloud.knowledge.lineage import model_lineage, named, sample_lineage
    from cloud.knowledge.overview import dataset_overview, overview, task_overview

    cloud = _opened(config)
    if id_ is None:
        found = overview(cloud.kb, cloud.storage, cloud.label_map, _counted(cloud))
        return _tell(found, as_json, kb_tables.overview)
    what, key = named(id_, cloud.kb)
    match what:
        case "model":
            found = model_lineage(VersionId(key), _records(cloud))
        case "sample":
            found = sample_lineage(SampleId(key), _records(cloud))
        case "dataset":
            found = dataset_overview(key, cloud.kb)
        case _:
            found = task_overview(key, cloud.kb, cloud.label_map, _counted(cloud))
    return _tell(found, as_json, kb_tables.facts)


@kb_app.command("lineage")
def lineage(
    config: ConfigOption,
    id_: Annotated[str, typer.Argument(metavar="MODEL|SAMPLE", help="A beginning will do.")],
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Print a flow chart.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Where a model or a sample comes from, and where it went."""
    from cloud.knowledge.lineage import mermaid as chart
    from cloud.knowledge.lineage import model_lineage, named, sample_lineage

    cloud = _opened(config)
    what, key = named(id_, cloud.kb)
    if what == "model":
        found = model_lineage(VersionId(key), _records(cloud))
    elif what == "sample":
        found = sample_lineage(SampleId(key), _records(cloud))
    else:
        raise ConfigError(f"{id_!r} is a {what}: lineage is of models and samples")
    if mermaid:
        typer.echo(chart(found, cloud.kb))
    else:
        _tell(found, as_json, kb_tables.facts)


@kb_app.command("query")
def query(
    config: ConfigOption,
    class_: Annotated[str, typer.Option("--class", help="Shows this class.")] = "",
    min_pixels: Annotated[int, typer.Option(min=1, help="At least so much of it.")] = 1,
    device: Annotated[str, typer.Option(help="Came from this edge node.")] = "",
    since: Annotated[str, typer.Option(help="Captured since, by the device's clock.")] = "",
    until: Annotated[str, typer.Option(help="Captured until.")] = "",
    confidence: Annotated[str, typer.Option(help="LOW..HIGH, 1 - score, of the edge.")] = "",
    novelty: Annotated[str, typer.Option(help="LOW..HIGH, as the edge saw it.")] = "",
    model: Annotated[str, typer.Option(help="This model was unsure.")] = "",
    trained: Annotated[str, typer.Option(help="This model learned or replayed it.")] = "",
    task: Annotated[str, typer.Option(help="Of this learning task.")] = "",
    split: Annotated[Split | None, typer.Option(help="train or eval.")] = None,
    annotator: Annotated[str, typer.Option(help="Made by, or with, this person.")] = "",
    attribute: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE, may be given again.")
    ] = None,
    text: Annotated[str, typer.Option(help="In attributes, reasons or notes.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="At most so many; 0: all.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Samples by what they show and how they came."""
    cloud = _opened(config)
    low, high = range_of(confidence, "--confidence")
    least, most = range_of(novelty, "--novelty")
    asked = SampleQuery(
        example=ExampleQuery(
            version=model,
            since=moment_of(since) if since else None,
            until=moment_of(until, "--until") if until else None,
            min_score=None if high is None else 1.0 - high,
            max_score=None if low is None else 1.0 - low,
            min_novelty=least,
            max_novelty=most,
            attributes=attributes_of(attribute or ()),
        ),
        class_id=cloud.label_map.names.index(_class(class_, cloud)) if class_ else None,
        min_pixels=min_pixels,
        task=task,
        split=split,
        device=device,
        annotator=annotator,
        trained=trained,
        text=text,
        limit=limit,
    )
    names = dict(enumerate(cloud.label_map.names))
    answers = asked.answer(cloud.kb, cloud.storage, _counted(cloud))
    rows = [as_row(found, names) for found in answers]
    _tell(rows, as_json, kb_tables.samples)


@kb_app.command("verify")
def verify(config: ConfigOption, as_json: JsonOption = False) -> None:
    """Is the log still what was written? Exit code 1 when it is not."""
    from lifelong.records.wire import to_plain

    found = verify_log(open_storage(load_config(config).storage))
    _tell(to_plain(found), as_json, kb_tables.check)
    if found.findings:
        raise typer.Exit(1)


@kb_app.command("forget")
def forget(
    config: ConfigOption,
    device: Annotated[str, typer.Option(help="Everything that this edge node sent.")] = "",
    annotator: Annotated[str, typer.Option(help="Everything that this person made.")] = "",
    sample: Annotated[str, typer.Option(help="One picture, by its id.")] = "",
    attribute: Annotated[str, typer.Option(help="Everything with NAME=VALUE.")] = "",
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Finish what was cut off; ask nothing new.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove samples everywhere, and list the models that learned them."""
    from cloud.assembly import make_forgetting

    cloud = _opened(config)
    forgetting = make_forgetting(cloud)
    if unfinished:
        plan = None
    else:
        scope, name, value = _scope(device, annotator, sample, attribute)
        plan = forgetting.plan(scope, name, value)
    if dry_run:
        return _tell(_report(plan, (), cloud, "dry run"), as_json, kb_tables.forgotten)
    if plan is not None:
        forgetting.ask(plan)
    done, state = _carried_out(cloud)
    return _tell(_report(plan, done, cloud, state), as_json, kb_tables.forgotten)


def _carried_out(cloud: "Cloud") -> "tuple[list[Done], str]":
    """Under the lease: by us, or by the service that has it."""
    from cloud.assembly import make_forgetting
    from cloud.lease import Lease
    from lifelong.links.journal import utc_now

    forgetting = make_forgetting(cloud)
    lease = Lease(cloud.storage, cloud.config.rounds.lease_seconds, utc_now)
    end = time.monotonic() + WAIT_S
    while forgetting.open_requests():
        if lease.hold():
            try:
                done = forgetting.finish()
            finally:
                lease.release()
            return done, "done" if all(one.is_finished for one in done) else "open"
        if time.monotonic() > end:
            return [], "open"
        time.sleep(0.5)
    return [], "done by the service"


def _report(plan: ForgetRequest | None, done: "Any", cloud: "Cloud", state: str) -> dict[str, Any]:
    from annotation.task_removal import tasks_left
    from cloud.fleet.affected_models import advice, affected_models

    records = _records(cloud)
    samples = {s for one in done for s in one.samples} | set(plan.samples if plan else ())
    removed: dict[str, int] = {}
    for one in done:
        for what, count in one.removed.items():
            removed[what] = removed.get(what, 0) + count
    models = affected_models(samples, cloud.kb, records.releases, records.edges)
    return {
        "state": state,
        "samples": sorted(samples),
        "removed": removed,
        "tasks": tasks_left(plan.tasks) if plan and not done else [],
        "tasks_left": [task for one in done for task in tasks_left(one.tasks_left)],
        "notes": [one.note for one in done if one.note],
        "affected_models": [
            {
                "model": model.version_id,
                "trained_on": len(model.trained_on),
                "replayed": len(model.replayed),
                "ancestors": list(model.ancestors),
                "releases": list(model.releases),
                "is_current": model.is_current,
                "runs_on": list(model.edges),
                "what_to_do": advice(model),
            }
            for model in models
        ],
    }


def _scope(device: str, annotator: str, sample: str, attribute: str) -> tuple[Scope, str, str]:
    asked: dict[Scope, str] = {
        "device": device,
        "annotator": annotator,
        "sample": sample,
        "attribute": attribute,
    }
    given = [(scope, value) for scope, value in asked.items() if value]
    if len(given) != 1:
        raise ConfigError(
            "kb forget: name one of --device, --annotator, --sample, --attribute; or --unfinished"
        )
    scope, value = given[0]
    if scope == "attribute":
        ((name, wanted),) = attributes_of([value]).items()
        return scope, name, wanted
    if scope == "sample" and (len(value) != 16 or set(value) - set("0123456789abcdef")):
        raise ConfigError(f"--sample {value!r}: the id of a sample is 16 hex digits")
    return scope, value, ""


def _class(name: str, cloud: "Cloud") -> str:
    if name not in cloud.label_map.names:
        raise ConfigError(f"--class {name!r}: there are {', '.join(cloud.label_map.names)}")
    return name


def _counted(cloud: "Cloud") -> "Counted":
    """Reads the classes of samples as those of today."""
    from cloud.selecting.present_counts import present_counts

    return present_counts(cloud.storage, cloud.label_map, cloud.kb).sample


def _opened(config: Path) -> "Cloud":
    from cloud.assembly import open_cloud

    return open_cloud(load_config(config), "operator")


def _records(cloud: "Cloud") -> "Records":
    from cloud.fleet.edges import Edges
    from cloud.knowledge.lineage import Records
    from lifelong.links.journal import utc_now

    try:
        seen = Edges(cloud.storage, utc_now).look()
    except LifelongError:
        seen = []  # what nodes run is one line of many
    return Records(
        kb=cloud.kb,
        storage=cloud.storage,
        rounds=cloud.rounds.all(),
        releases=cloud.releases.history(),
        edges=seen,
    )


def _tell(found: Any, as_json: bool, table: Any) -> None:
    if as_json:
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        table(found)
