"""`cornerloop`: the door to everything that runs in the data centre, and to the demo.

Exit codes: 0 done, 1 an error of ours (one line on stderr), 2 usage, 3 refused, 130 Ctrl-C; see
docs/commands.md.
"""

import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cloud.commands.assist import assist
from cloud.commands.audit import audit_app
from cloud.commands.backup import backup, restore
from cloud.commands.classes import classes_app
from cloud.commands.conditions import conditions_app
from cloud.commands.convert import convert_app
from cloud.commands.edges import edges, rollout_app
from cloud.commands.embed import embed
from cloud.commands.examples import budget, examples
from cloud.commands.export import export_app
from cloud.commands.init import init
from cloud.commands.kb import kb_app
from cloud.commands.keys import keys_app
from cloud.commands.label_studio import label_studio
from cloud.commands.leaks import leaks
from cloud.commands.learn import learn
from cloud.commands.models import models_app
from cloud.commands.preannotate import preannotate
from cloud.commands.push import push
from cloud.commands.review import review_app
from cloud.commands.tokens import tokens_app
from cloud.commands.trace import trace
from cloud.commands.track import track
from cloud.doctor.doctor_cli import doctor
from cloud.job.job_cli import job_app
from cloud.learning.training_flags import TRAINING
from lifelong.errors import LifelongError, RoundError
from lifelong.given_settings import Given
from lifelong.links.logs import FORMAT_VARIABLE, LogFormat, set_up
from lifelong.links.redaction import cleaned
from lifelong.setting_flags import Setting, with_settings

app = typer.Typer(
    name="cornerloop",
    help="Edge-cloud lifelong learning for image segmentation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(job_app, name="job")
app.add_typer(models_app, name="models")
app.add_typer(keys_app, name="keys")
app.add_typer(tokens_app, name="tokens")
app.add_typer(audit_app, name="audit")
app.add_typer(classes_app, name="classes")
app.add_typer(kb_app, name="kb")
app.add_typer(export_app, name="export")
app.add_typer(convert_app, name="convert")
app.add_typer(review_app, name="review")
app.add_typer(rollout_app, name="rollout")
app.add_typer(conditions_app, name="conditions")
app.command()(init)
app.command("label-studio")(label_studio)
app.command()(assist)
app.command()(embed)
app.command()(preannotate)
app.command()(learn)
app.command()(push)
app.command()(trace)
app.command()(track)
app.command()(edges)
app.command()(budget)
app.command()(examples)
app.command()(leaks)
app.command()(doctor)
app.command()(backup)
app.command()(restore)

CONFIG_VARIABLE = "CORNERLOOP_CONFIG"
ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", envvar=CONFIG_VARIABLE, help="Configuration file.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


class Annotator(StrEnum):
    """Who corrects the demo's drafts."""

    SCRIPTED = "scripted"
    HUMAN = "human"


@app.callback()
def settings(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Tracebacks and detail.")
    ] = False,
    log_format: Annotated[
        LogFormat, typer.Option(envvar=FORMAT_VARIABLE, help="How lines of the log look.")
    ] = LogFormat.TEXT,
) -> None:
    """Set up logging; the only place that does."""
    os.environ["CORNERLOOP_VERBOSE"] = "1" if verbose else ""
    # Workers that are started from here log in the same way.
    os.environ[FORMAT_VARIABLE] = log_format
    set_up(level=logging.DEBUG if verbose else logging.INFO, form=log_format, node="cloud")


@app.command()
def demo(
    frames: Annotated[
        Path | None,
        typer.Option(help="Real frames: DIR/{condition}/{train,eval}/{images,train_ids}."),
    ] = None,
    annotator: Annotated[
        Annotator, typer.Option(help="Who corrects the drafts.")
    ] = Annotator.SCRIPTED,
    show_refusal: Annotated[
        bool, typer.Option(help="Add a round whose candidate forgets and is refused.")
    ] = False,
    fresh: Annotated[bool, typer.Option(help="Start clean instead of going on.")] = False,
    stay: Annotated[
        bool | None,
        typer.Option("--stay/--no-stay", help="Keep servers open at the end, until Ctrl-C."),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--run-dir", help="Where the run keeps everything.")
    ] = None,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write report.json there too.")
    ] = None,
    label_studio: Annotated[Path, typer.Option(help="Label Studio's executable.")] = Path(
        ".venv-label-studio/bin/label-studio"
    ),
) -> None:
    """The whole loop on this machine: edge, storage, drafts, Label Studio, training, gate, swap."""
    run_dir = folder or Path("runs") / ("demo-frames" if frames else "demo")
    typer.echo(f"getting ready; what the demo makes lies in {run_dir}")  # imports take seconds
    from cloud.demo.assembly import make_demo

    if not os.environ.get("CORNERLOOP_VERBOSE"):
        logging.getLogger().setLevel(logging.WARNING)  # the demo tells its own story
    show = make_demo(
        run_dir=run_dir,
        frames=frames,
        people=annotator is Annotator.HUMAN,
        show_refusal=show_refusal,
        fresh=fresh,
        label_studio=label_studio,
    )
    # Told to end as services are, it ends as with Ctrl-C: its servers end before it does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        report = show.run(stay=sys.stdout.isatty() if stay is None else stay)
    except KeyboardInterrupt:
        typer.echo("ended; the same command goes on where it stood")
        raise
    if json_path is not None:
        json_path.write_text(json.dumps(report, indent=1), encoding="utf-8")


@app.command()
@with_settings(
    Setting(flag="--host", key="web.host", note="Address to listen at"),
    Setting(flag="--port", key="web.port", note="0: a free one"),
    Setting(flag="--storage", key="storage", note="Folder, s3://bucket/prefix …"),
    Setting(
        flag="--budget",
        key="rounds.annotation_budget",
        note="Pictures of a round that people are asked about",
    ),
    Setting(
        flag="--min-examples",
        key="rounds.min_examples",
        note="Hard examples that a round waits for",
    ),
)
def serve(*, config: ConfigOption, given: Sequence[Given]) -> None:
    """Advance rounds, and answer on a page how they stand."""
    from cloud.serving import serve as run_server
    from lifelong.config import load_config

    run_server(load_config(config, given))


@app.command()
def rounds(
    config: ConfigOption,
    number: Annotated[int | None, typer.Argument(help="Only this round.")] = None,
    start: Annotated[
        bool, typer.Option("--start", help="Begin a round with whatever waits, at any hour.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """How the rounds stand, and what is deployed; or begin one without waiting for its trigger."""
    from cloud.assembly import open_cloud
    from cloud.operator_actions import terminal_user
    from cloud.operator_assembly import make_actions
    from cloud.reports import rounds_overview
    from lifelong.config import load_config

    cloud = open_cloud(load_config(config))
    if start:
        asked = make_actions(cloud).start_round(terminal_user())
        told = f"round {asked} begins as soon as the service looks and an example waits"
        _tell({"asked_for": asked}, told, as_json=as_json)
        return
    overview = rounds_overview(cloud.rounds.all(), cloud.kb, cloud.releases.history())
    if number is not None:
        overview["rounds"] = [r for r in overview["rounds"] if r["number"] == number]
        if not overview["rounds"]:
            there = [round_.number for round_ in cloud.rounds.all()]
            said = f"there are {there[0]} to {there[-1]}" if there else "none has begun yet"
            raise RoundError(f"no round {number}; {said}")
    _tell(overview, _rounds_text(overview), as_json=as_json)


@app.command()
def rollback(
    config: ConfigOption,
    version: Annotated[str, typer.Argument(help="A version that was released before.")],
    as_json: JsonOption = False,
) -> None:
    """Release an earlier version again; edges take it at their next look."""
    from cloud.assembly import open_cloud
    from cloud.operator_actions import terminal_user
    from cloud.operator_assembly import make_actions
    from lifelong.config import load_config
    from lifelong.records.ids import VersionId

    cloud = open_cloud(load_config(config))
    release = make_actions(cloud).roll_back(VersionId(version), terminal_user())
    told = {"release": release.number, "version": release.version_id, "why": release.why}
    text = f"release {release.number}: edges are told to run {release.version_id}"
    _tell(told, text, as_json=as_json)


@app.command()
@with_settings(*TRAINING, pairs_within="training")
def begin(
    *,
    config: ConfigOption,
    data: Annotated[Path, typer.Option(help="Labelled pictures: images/ and train_ids/.")],
    task: Annotated[str, typer.Option(help="Name of their condition.")] = "general",
    holdout: Annotated[
        Path | None, typer.Option(help="Others, laid out alike, that examine every candidate.")
    ] = None,
    given: Sequence[Given],
    as_json: JsonOption = False,
) -> None:
    """Train and release the first model from labelled pictures of your own."""
    from cloud.assembly import open_cloud
    from cloud.first_model import (
        begin_with_pictures,
        keep_holdout,
        read_pictures,
        refuse_shared,
    )
    from lifelong.config import load_config
    from lifelong.training.initialisation import Taken

    cloud = open_cloud(load_config(config, given))
    if holdout is not None:
        refuse_shared(data, holdout)
        keep_holdout(cloud.config.holdouts, task, holdout)
    taken: list[Taken] = []
    version = begin_with_pictures(
        cloud, read_pictures(data), task, on_progress=_progress_bar(), on_taken=taken.append
    )
    told = {"version_id": version, "begun_from": taken[0].told() if taken else None}
    _tell(told, "\n".join([*map(str, taken), f"released {version}"]), as_json=as_json)


@app.command()
def evaluate(
    bundle: Annotated[Path, typer.Argument(help="A model bundle.")],
    data: Annotated[Path, typer.Option(help="Folder with images/ and train_ids/.")],
    as_json: JsonOption = False,
) -> None:
    """Measure a bundle on labelled pictures."""
    from cloud.sedna_eval import evaluate_folder

    result = evaluate_folder(bundle, data)
    lines = [f"{name:>15} {100 * value:6.1f}" for name, value in result["iou"].items()]
    lines.append(f"{'mIoU':>15} {100 * result['miou']:6.1f}   over {result['images']} pictures")
    _tell(result, "\n".join(lines), as_json=as_json)


@app.command("sedna-train")
def sedna_train(config: ConfigOption) -> None:
    """Train worker of a LifelongLearningJob; started by Sedna or by `cornerloop job run`."""
    from cloud.workers import run_train_worker

    run_train_worker(config)


@app.command("sedna-eval")
def sedna_eval(config: ConfigOption) -> None:
    """Evaluation worker of a LifelongLearningJob."""
    from cloud.workers import run_eval_worker

    run_eval_worker(config)


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def instead(
    words: Annotated[list[str], typer.Argument(help="A command of the documents we replace.")],
) -> None:
    """What stands for a command of Semantic Segment Anything, label_anything and their like."""
    from cloud.commands.replaced import replacement

    typer.echo(replacement(words))


def main() -> None:
    """Run the command line; errors of ours become one line and exit code 1."""
    try:
        app()
    except LifelongError as error:
        if os.environ.get("CORNERLOOP_VERBOSE"):
            logging.getLogger(__name__).exception("failed")
        print(f"cornerloop: {cleaned(str(error))}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:  # a disk says no somewhere: full, read-only, of somebody else
        if os.environ.get("CORNERLOOP_VERBOSE"):
            logging.getLogger(__name__).exception("failed")
        place = f"{error.filename}: " if error.filename else ""
        print(
            f"cornerloop: {place}{error.strerror or cleaned(str(error))}; may it be read and "
            "written there, and has the disk room? `cornerloop --verbose` tells where it happened",
            file=sys.stderr,
        )
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)  # as the shell counts it; what ran has been stopped by its own hand


def _tell(value: Any, text: str, *, as_json: bool) -> None:
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False) if as_json else text)


def _rounds_text(overview: dict[str, Any]) -> str:
    deployed = overview["deployed"]
    lines = [f"deployed: {deployed['version']} ({deployed['why']})" if deployed else "deployed: –"]
    for r in overview["rounds"]:
        gains = ", ".join(
            f"{c} {100 * r['miou_before'].get(c, 0):.1f} → {100 * v:.1f}"
            for c, v in r["miou_after"].items()
        )
        lines.append(f"round {r['number']}: {r['state']} {r['condition']} {gains}".rstrip())
        lines += [f"    {line}" for line in (*r["reasons"], *r["notes"], *r["leaks"])]
    return "\n".join(lines)


def _progress_bar() -> Any:
    from rich.console import Console
    from rich.progress import Progress

    progress = Progress(console=Console(stderr=True))  # JSON goes to the other stream
    bar = progress.add_task("training", total=None)
    progress.start()

    def tell(step: int, steps: int, loss: float) -> None:
        progress.update(bar, completed=step, total=steps, description=f"training, loss {loss:.3f}")
        if step >= steps:
            progress.stop()

    return tell
