"""`cornerloop-edge`: run a node, replay recorded frames, check an installation, answer a probe.

Exit codes: 0 done, 1 an error of ours (one line on stderr, a traceback with --verbose), 2 usage.
"""

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from edge.assembly import build_node, edge_section
from edge.check import Finding, findings
from edge.health import age_s
from edge.node_flags import (
    FRAMES,
    ID,
    NODE,
    ONCE,
    SOURCE,
    STATE,
    STORAGE,
    node_config,
    source_named,
)  # fmt: skip
from edge.stop import Stop
from lifelong.config import Config, load_config
from lifelong.errors import ConfigError, LifelongError
from lifelong.given_settings import Given
from lifelong.links.logs import FORMAT_VARIABLE, LogFormat, set_up
from lifelong.links.redaction import cleaned
from lifelong.sections.edge import FolderSource
from lifelong.setting_flags import with_settings

logger = logging.getLogger(__name__)

app = typer.Typer(
    name="cornerloop-edge",
    help="One edge node: segment frames, keep the hard ones, upload them, run the released model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The YAML file of this node; a flag stands before it."),
]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", help="More log lines, tracebacks with errors.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write the outcome as JSON to stdout.")]


@app.command()
@with_settings(SOURCE, ONCE, *NODE, *FRAMES)
def run(
    *, config: ConfigOption = None, given: Sequence[Given], verbose: VerboseOption = False
) -> None:
    """Process frames until SIGTERM, SIGINT or the end of the source."""
    _log(verbose=verbose)
    stop = _stop_on_signals()
    build_node(node_config(config, given, (ID, SOURCE, STORAGE)), stop).run()


@app.command("sedna-infer")
def sedna_infer(
    config: Annotated[
        Path,
        typer.Option(
            "--config", "-c", envvar="CORNERLOOP_CONFIG", help="The YAML file of this node."
        ),
    ],
    verbose: VerboseOption = False,
) -> None:
    """Inference worker of a LifelongLearningJob: the node, with the model that Sedna deployed."""
    from edge.sedna_inference import run_inference  # an ordinary node needs nothing of it

    _log(verbose=verbose)
    run_inference(load_config(config), os.environ, _stop_on_signals())


@app.command()
@with_settings(*NODE, *FRAMES)
def replay(
    *,
    folder: Annotated[Path, typer.Argument(help="Folder with recorded frames.")],
    config: ConfigOption = None,
    given: Sequence[Given],
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Process a folder once with the released model, deliver, and print what came of it."""
    _log(verbose=verbose)
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; name one with recorded frames")
    if config is None:
        value = source_named(str(folder))
        given = [*given, Given(flag="FOLDER", key=("edge", "source"), value=value)]
    settings = _replaying(node_config(config, given, (ID, STORAGE)), folder)
    node = build_node(settings, _stop_on_signals(), replay=True, inline=True)
    began = time.perf_counter()
    node.slot.start()
    node.slot.refresh()
    if node.slot.version_id is None:
        why = node.slot.last_error or "release one in the cloud first"
        raise ConfigError(f"no model to replay with: {why}")
    node.run()
    vitals = node.health.vitals
    outcome = {
        "frames": vitals.frames,
        "hard_examples": vitals.hard_examples,
        "uploaded": vitals.uploaded,
        "left_in_outbox": vitals.outbox_examples,
        "failed": vitals.frames_failed,
        "unreadable": vitals.frames_unreadable,
        "version": vitals.version,
        "p50_ms": round(node.health.quantile_ms(0.5), 3),
        "seconds": round(time.perf_counter() - began, 3),
    }
    typer.echo(
        json.dumps(outcome) if as_json else "\n".join(f"{k}: {v}" for k, v in outcome.items())
    )


@app.command()
@with_settings(SOURCE, ONCE, *NODE, *FRAMES)
def check(
    *,
    config: ConfigOption = None,
    given: Sequence[Given],
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Look at configuration, storage and model; one line per finding."""
    _log(verbose=verbose, level=logging.WARNING)
    found: list[Finding] = []
    try:
        found.extend(findings(node_config(config, given, (ID, SOURCE, STORAGE))))
    except ConfigError as error:
        if verbose:
            raise
        typer.echo("\n".join(f"bad  config: {line}" for line in str(error).splitlines()))
        raise typer.Exit(1) from error
    if as_json:
        typer.echo(json.dumps([{"good": f.is_good, f.subject: f.text} for f in found]))
    else:
        for finding in found:
            mark = "good" if finding.is_good else "bad "
            typer.echo(f"{mark} {finding.subject}: {finding.text}")
    if not all(finding.is_good for finding in found):
        raise typer.Exit(1)


@app.command()
@with_settings(STATE, pairs_within=None)
def health(
    *,
    config: ConfigOption = None,
    given: Sequence[Given],
    older_than: Annotated[
        float, typer.Option(help="Seconds after which silence means that the node hangs.")
    ] = 60.0,
) -> None:
    """For probes: 0 when the node that runs here has given a sign of life lately, 1 otherwise."""
    path = _state_of(config, given) / "health.json"
    age = age_s(path)
    if age is None:
        typer.echo(f"{path} does not exist: no node has run with this state")
    else:
        typer.echo(f"the last sign of life is {age:.1f} s old")
    if age is None or age > older_than:
        raise typer.Exit(1)


def main() -> None:
    """The door: turns errors into one line and exit code 1."""
    try:
        app()
    except LifelongError as error:
        _told(error)
    except Exception as error:  # a bug of ours; the operator gets a line, --verbose the traceback
        _told(error)


def _told(error: Exception) -> None:
    if logging.getLogger().isEnabledFor(logging.DEBUG):
        logger.error("stopped", exc_info=error)
    is_ours = isinstance(error, LifelongError)
    text = str(error) if is_ours else f"{type(error).__name__}: {error}; --verbose tells where"
    print(f"error: {cleaned(text)}", file=sys.stderr)
    sys.exit(1)


@app.callback()
def settings(
    log_format: Annotated[
        LogFormat, typer.Option(envvar=FORMAT_VARIABLE, help="How lines of the log look.")
    ] = LogFormat.TEXT,
) -> None:
    """What holds for every command; each sets up its log when it knows how much to tell."""
    os.environ[FORMAT_VARIABLE] = log_format


def _state_of(config: Path | None, given: Sequence[Given]) -> Path:
    for one in given if config is None else ():
        return Path(str(one.value))  # all that a probe of a node without a file has to know
    return edge_section(node_config(config, given, (STATE,))).state_path


def _log(*, verbose: bool, level: int = logging.INFO) -> None:
    set_up(level=logging.DEBUG if verbose else level, node="edge")


def _stop_on_signals() -> Stop:
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.request())
    return stop


def _replaying(config: Config, folder: Path) -> Config:
    edge = edge_section(config)
    named = edge.source.attribute_from_folder if isinstance(edge.source, FolderSource) else None
    source = FolderSource(type="folder", path=folder.absolute(), stop_when_empty=True)
    if named is not None:
        source = source.model_copy(update={"attribute_from_folder": named})
    return config.model_copy(update={"edge": edge.model_copy(update={"source": source})})
