"""`cornerloop job`: a LifelongLearningJob on this machine, how it stands, and Sedna's faults."""

import json
import logging
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from cloud.learning.training_flags import TRAINING
from lifelong.given_settings import Given
from lifelong.setting_flags import with_settings

job_app = typer.Typer(help="A LifelongLearningJob on this machine.", no_args_is_help=True)
logger = logging.getLogger(__name__)

StateOption = Annotated[Path, typer.Option(help="Where the job keeps its state.")]


@job_app.command("run")
@with_settings(*TRAINING, pairs_within="training")
def job_run(
    *,
    manifest: Annotated[
        Path, typer.Argument(help="YAML file, a folder of them, or a kustomize folder.")
    ],
    config: Annotated[
        Path, typer.Option("--config", "-c", envvar="CORNERLOOP_CONFIG", help="Configuration file.")
    ],
    root: Annotated[Path, typer.Option(help="Stands for the host's root folder.")],
    state: StateOption,
    given: Sequence[Given],
    tick_seconds: Annotated[float, typer.Option(help="Pause between two looks.")] = 1.0,
    edge: Annotated[bool, typer.Option("--edge", help="Run deploySpec's worker here too.")] = False,
    our_workers: Annotated[
        bool,
        typer.Option("--our-workers", help="Run ours where a container names no command."),
    ] = False,
    faults: Annotated[
        str,
        typer.Option(help="Faults of the real Sedna: NAME, NAME@ROUND, NAME/PERIOD, all; commas."),
    ] = "",
    fault_seed: Annotated[int, typer.Option(help="Shifts the rounds in which they happen.")] = 0,
    repair: Annotated[
        bool, typer.Option("--repair", help="Free the job when it is stuck, and say how.")
    ] = False,
) -> None:
    """Run a LifelongLearningJob here: Sedna's trigger, states and workers without a cluster."""
    from cloud.job.faults import FaultPlan
    from cloud.job.local_job import JobOptions, LocalJob
    from cloud.job.manifest import load_manifest, notices
    from cloud.job.repair import Repairer, patience_for

    if given:
        config = _with_given(config, given, state)
    found = load_manifest(manifest, our_workers=our_workers)
    for notice in notices(found):
        logger.warning("%s: %s", manifest, notice)
    plan = FaultPlan.parse(faults, fault_seed)
    job = LocalJob(
        found,
        root=root,
        state_dir=state,
        config_path=config,
        options=JobOptions(tick_seconds=tick_seconds, faults=plan, runs_edge=edge),
    )
    repairer = Repairer(
        found,
        job.files,
        job.book,
        append_report=job.append_report,
        awaits_training=_awaits_training(config),
        patience=patience_for(tick_seconds),
    )
    job.run(stop_event(), repairer.look if repair else lambda: None)


@job_app.command("status")
def job_status(
    state: StateOption,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", envvar="CORNERLOOP_CONFIG", help="Configuration file."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="The object as an API server would print it.")
    ] = False,
) -> None:
    """Where the job is, what it waits for, and why it is stuck if it is."""
    from cloud.job.recovery import diagnose
    from cloud.job.states import read_object, read_state
    from cloud.job.status import job_object, status_text
    from lifelong.links.journal import utc_now

    found = read_state(state)
    plain = job_object(read_object(state), found)
    if as_json:
        typer.echo(json.dumps(plain, indent=1, ensure_ascii=False))
        return
    awaits = _awaits_training(config)() if config is not None and config.exists() else False
    now = utc_now()
    diagnosis = diagnose(plain, now, awaits_training=awaits, pod_is_gone=found.pod_is_gone)
    name = f"{plain['metadata'].get('namespace')}/{plain['metadata'].get('name', '?')}"
    typer.echo(status_text(name, found, diagnosis, now))


@job_app.command("faults")
def job_faults() -> None:
    """The faults of the real Sedna that `job run --faults` can commit."""
    from cloud.job.faults import FAULTS

    for name, fault in FAULTS.items():
        often = "every round" if fault.every == 1 else "every second round"
        typer.echo(f"{name:>22}  {fault.told} ({often})")


def stop_event() -> threading.Event:
    """An event that SIGTERM and Ctrl-C set."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _with_given(config: Path, given: Sequence[Given], state: Path) -> Path:
    """A file of its own with what was given: workers are processes, and read files."""
    import yaml

    from lifelong.config import load_config
    from lifelong.links.durable_files import write_whole

    settled = load_config(config, given).model_dump(mode="json", exclude_defaults=True)
    state.mkdir(parents=True, exist_ok=True)
    path = state / "config.yaml"
    write_whole(path, yaml.safe_dump(settled, sort_keys=False, allow_unicode=True).encode())
    logger.info("workers are given %s, with what the command line says", path)
    return path


def _awaits_training(config: Path) -> Callable[[], bool]:
    """Whether a round of the service is in training or waits for its verdict."""
    from cloud.rounds import Rounds
    from lifelong.config import load_config
    from lifelong.errors import LifelongError
    from lifelong.links.storage import open_storage
    from lifelong.records.rounds import RoundState

    rounds = Rounds(open_storage(load_config(config).storage))

    def asked() -> bool:
        try:
            return any(r.state in {RoundState.TRAINING, RoundState.GATING} for r in rounds.all())
        except LifelongError:
            return False  # storage does not answer: the job waits on, and asks again

    return asked
