"""`cornerloop review`: how tasks stand, accept, send back, look; audits; what corrections cost."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from annotation.review.desk import ReviewDesk, ReviewRow
    from cloud.assembly import Cloud
    from lifelong.records.samples import AnnotationTask

review_app = typer.Typer(
    help="Look after people's work: states, decisions, audits, cost.", no_args_is_help=True
)

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", envvar="CORNERLOOP_CONFIG", help="Configuration file.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
RoundOption = Annotated[
    int | None, typer.Option("--round", help="Which round. Default: the one people work on.")
]
TaskArgument = Annotated[str, typer.Argument(help="Label Studio's task number, or the sample id.")]
AnnotationOption = Annotated[
    int | None, typer.Option("--annotation", help="Only this annotation of the task.")
]
ReviewerOption = Annotated[
    str | None, typer.Option("--reviewer", help="Who decides. Default: your user name here.")
]


@review_app.command("list")
def list_tasks(
    config: ConfigOption,
    state: Annotated[
        str | None, typer.Option(help="Only these: open, draft, submitted, adjudicate …")
    ] = None,
    number: RoundOption = None,
    as_json: JsonOption = False,
) -> None:
    """How each task of a round stands, and how far its annotators agree."""
    from annotation.review.standing import TaskState
    from lifelong.errors import ReviewError

    if state is not None and state not in set(TaskState):
        raise ReviewError(f"--state {state!r}: use one of {', '.join(TaskState)}")
    cloud = _open(config)
    rows = [_plain(row) for row in _desk(cloud).rows(_tasks(cloud, number))]
    rows = [row for row in rows if state in {None, row["state"]}]
    _tell(rows, _table(rows) or "no such task", as_json=as_json)


@review_app.command()
def accept(
    config: ConfigOption,
    task: Annotated[
        str | None, typer.Argument(help="Label Studio's task number, or the sample id.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every submitted task whose annotators agree.")
    ] = False,
    annotation: AnnotationOption = None,
    reviewer: ReviewerOption = None,
    number: RoundOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that submitted work counts."""
    if everything == (task is not None):
        raise typer.BadParameter("name one task, or say --all")
    cloud = _open(config)
    desk, tasks = _desk(cloud, reviewer), _tasks(cloud, number)
    made = desk.accept_all(tasks) if task is None else desk.accept(_named(tasks, task), annotation)
    _tell_decisions(made, as_json=as_json)


@review_app.command()
def reject(
    config: ConfigOption,
    task: TaskArgument,
    reason: Annotated[str, typer.Option(help="The annotator reads it above the picture.")],
    annotation: AnnotationOption = None,
    reviewer: ReviewerOption = None,
    number: RoundOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send submitted work back to the queue; it opens there as it was left."""
    cloud = _open(config)
    made = _desk(cloud, reviewer).reject(_named(_tasks(cloud, number), task), reason, annotation)
    _tell_decisions(made, as_json=as_json)


@review_app.command()
def show(
    config: ConfigOption,
    task: TaskArgument,
    annotation: AnnotationOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the picture goes. Default: review-TASK.png.")
    ] = None,
    number: RoundOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a picture of one task: image, draft, submitted, difference."""
    from annotation.review.picture import review_picture
    from lifelong.errors import ReviewError
    from lifelong.links.durable_files import write_whole
    from lifelong.records.pixels import image_from_bytes

    cloud = _open(config)
    found = _named(_tasks(cloud, number), task)
    _, stands, readings = _desk(cloud).look(found)
    wanted = [a for a in stands.live if annotation in {None, a.annotation_id}]
    if annotation is not None and not wanted:
        raise ReviewError(f"task {found.task_id} has no annotation {annotation}")
    key = _image_key(cloud, found)
    picture = review_picture(
        image_from_bytes(cloud.storage.get(key), key),
        readings.draft,
        readings.of(wanted[-1]).mask if wanted else None,
        cloud.label_map,
    )
    path = out or Path(f"review-{found.task_id}.png")
    write_whole(path, picture)
    _tell({"picture": str(path), "state": str(stands.state)}, f"{path}", as_json=as_json)


@review_app.command("audits")
def audits(config: ConfigOption, as_json: JsonOption = False) -> None:
    """How well annotators, and the drafts alone, did on pictures with known answers."""
    from annotation.review.audits import Audits, summary

    cloud = _open(config)
    found = Audits(
        storage=cloud.storage,
        label_map=cloud.label_map,
        rules=cloud.config.review,
        journal=cloud.journal,
    ).results()
    told: dict[str, Any] = summary(found)
    rows = [*told["annotators"], told["drafts"] | {"annotator": "drafts alone"}]
    lines = [
        f"{'annotator':<32} {'audits':>6} {'mIoU':>6} {'bound.':>6} {'found':>6} {'missed':>6}"
    ]
    for row in rows:
        errors = [str(row.get(f"errors_{kind}", "–")) for kind in ("found", "missed")]
        numbers = " ".join(f"{text:>6}" for text in [_share(row["miou"]), _share(row["boundary"])])
        lines.append(
            f"{row['annotator']:<32} {row['audits']:>6} {numbers} {errors[0]:>6} {errors[1]:>6}"
        )
        worst = sorted(row["iou"].items(), key=lambda item: item[1])[:5]
        if worst:
            lines.append("    IoU " + ", ".join(f"{name} {_share(v)}" for name, v in worst))
    _tell(told, "\n".join(lines) if found else "no audit was submitted yet", as_json=as_json)


@review_app.command("auto")
def auto(config: ConfigOption, as_json: JsonOption = False) -> None:
    """Drafts that counted without a person: by which rule, and what audits found wrong in them."""
    from cloud.annotators.auto_accept_records import AutoAcceptRecords, told, told_lines

    opened = _open(config)
    found = told(AutoAcceptRecords(opened.storage))
    lines = told_lines(found, is_on=opened.config.labels.auto_accept)
    _tell(found, "\n".join(lines), as_json=as_json)


@review_app.command("cost")
def cost(config: ConfigOption, as_json: JsonOption = False) -> None:
    """What corrections took, by class and by the models behind the draft; what drafts save."""
    from annotation.review.correction_cost import costs_from_events, summed
    from lifelong.config import load_config
    from lifelong.links.journal import read_events

    told = summed(costs_from_events(read_events(load_config(config).journal_path)))
    lines = [
        f"{'class':<20} {'drafted by':<28} {'tasks':>5} {'+pixels':>9} {'-pixels':>9} "
        f"{'touched':>7} {'added':>6} {'deleted':>7} {'seconds':>8}"
    ]
    for row in told["classes"]:
        by = row["drafted_by"] if row["with_draft"] else f"without ({row['drafted_by']})"
        lines.append(
            f"{row['class']:<20} {by:<28} {row['annotations']:>5} {row['pixels_added']:>9} "
            f"{row['pixels_removed']:>9} {row['regions_touched']:>7} {row['regions_added']:>6} "
            f"{row['regions_deleted']:>7} {_seconds(row['seconds']):>8}"
        )
    for name in ("with_draft", "without_draft"):
        part = told["seconds"][name]
        told_mean = (
            f"{part['mean']:.1f} s a picture" if part["mean"] is not None else "not measured"
        )
        lines.append(f"{name.replace('_', ' ')}: {told_mean} ({part['annotations']} annotations)")
    saved = told["seconds"]["saved_share"]
    lines.append(
        f"drafts save: {_share(saved)} % of the time{_between(told['seconds']['saved_interval'])}"
        if saved is not None
        else "drafts save: not measured; set review.blank_share"
    )
    _tell(told, "\n".join(lines), as_json=as_json)


def _open(config: Path) -> "Cloud":
    from cloud.assembly import open_cloud
    from lifelong.config import load_config

    return open_cloud(load_config(config), node="review")


def _desk(cloud: "Cloud", reviewer: str | None = None) -> "ReviewDesk":
    from annotation.review.desk import ReviewDesk
    from cloud.assembly import open_label_studio
    from lifelong.errors import ReviewError
    from lifelong.links.journal import utc_now

    if cloud.config.annotation_folder is not None:
        raise ReviewError("review needs Label Studio, but annotation_folder says to use files")
    return ReviewDesk(
        storage=cloud.storage,
        studio=open_label_studio(cloud.config),
        label_map=cloud.label_map,
        rules=cloud.config.review,
        journal=cloud.journal,
        now=utc_now,
        reviewer=reviewer or os.environ.get("USER", "operator"),
    )


def _tasks(cloud: "Cloud", number: int | None) -> list["AnnotationTask"]:
    """The tasks of a round; without a number, of the newest round that has any."""
    from lifelong.errors import ReviewError

    numbered = [r for r in cloud.rounds.all() if number in {None, r.number}]
    rounds = [tasks for r in numbered if (tasks := [t for t in r.tasks if not t.asks_nobody])]
    if not rounds:
        which = f"round {number} has no tasks" if number is not None else "no round has tasks yet"
        raise ReviewError(f"{which}; `cornerloop rounds` shows how they stand")
    return rounds[-1]


def _named(tasks: Iterable["AnnotationTask"], name: str) -> "AnnotationTask":
    from lifelong.errors import ReviewError

    for task in tasks:
        if name in {str(task.task_id), task.sample_id}:
            return task
    raise ReviewError(
        f"no task {name!r} in this round; `cornerloop review list` shows its tasks, --round "
        "names another"
    )


def _image_key(cloud: "Cloud", task: "AnnotationTask") -> str:
    drafts = cloud.rounds.get(task.round_number).drafts
    return next(draft.image_key for draft in drafts if draft.sample_id == task.sample_id)


def _plain(row: "ReviewRow") -> dict[str, Any]:
    people, draft = row.people or (None, None), row.draft or (None, None)
    return {
        "task": row.task.task_id,
        "sample": row.task.sample_id,
        "round": row.task.round_number,
        "state": str(row.state),
        "annotations": [
            {
                "id": one.annotation_id,
                "annotator": one.annotator,
                "at": one.at.isoformat() if one.at else None,
                "seconds": one.seconds,
            }
            for one in row.annotations
        ],
        "people_miou": people[0],
        "people_boundary": people[1],
        "draft_miou": draft[0],
        "draft_boundary": draft[1],
        "reason": row.reason,
        "reviewer": row.reviewer,
    }


def _table(rows: Iterable[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        people = ", ".join(f"{a['id']} {a['annotator']}" for a in row["annotations"])
        numbers = [
            f"{name} {_share(row[f'{name}_miou'])}/{_share(row[f'{name}_boundary'])}"
            for name in ("people", "draft")
            if row[f"{name}_miou"] is not None
        ]
        told = "  ".join(part for part in [people, *numbers, row["reason"]] if part)
        lines.append(f"{row['task']:>6}  {row['sample']}  {row['state']:<10}  {told}".rstrip())
    return "\n".join(lines)


def _tell_decisions(decisions: Iterable[Any], *, as_json: bool) -> None:
    from lifelong.records.wire import to_plain

    made = list(decisions)
    lines = [f"{d.sample_id}: annotation {d.about.annotation_id} {d.verdict}" for d in made]
    _tell([to_plain(d) for d in made], "\n".join(lines) or "nothing to decide", as_json=as_json)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _between(interval: list[float] | None) -> str:
    if interval is None:
        return ""
    return f" ({_share(interval[0])} to {_share(interval[1])} with 95 % confidence)"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _tell(value: Any, text: str, *, as_json: bool) -> None:
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False) if as_json else text)
