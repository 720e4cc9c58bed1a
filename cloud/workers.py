"""The doors of the two Sedna workers: environment and configuration in, exit code out."""

import os
import signal
import sys
from pathlib import Path

from cloud.sedna_eval import eval_worker
from lifelong.config import Config, load_config
from lifelong.links.sedna import LcReporter, WorkerEnvironment, WorkerKind, read_environment
from lifelong.links.storage import open_storage


def run_train_worker(config_path: Path) -> None:
    """Train once and report; an unexpected end is answered by a new start in place.

    A local controller that cannot be reached is one: the next start finds the candidate.
    """
    from cloud.sedna_train import train_worker  # brings torch

    config = load_config(config_path)
    environment = read_environment(WorkerKind.TRAIN, os.environ)
    work_dir = config.journal_path.parent / "training"
    reporter = _reporter(environment, WorkerKind.TRAIN, config)
    train_worker(environment, config, open_storage(config.storage), work_dir, reporter)


def run_eval_worker(config_path: Path) -> None:
    """Judge once and report."""
    config = load_config(config_path)
    environment = read_environment(WorkerKind.EVAL, os.environ)
    reporter = _reporter(environment, WorkerKind.EVAL, config)
    eval_worker(environment, config, open_storage(config.storage), reporter)


def _reporter(environment: WorkerEnvironment, kind: WorkerKind, config: Config) -> LcReporter:
    reporter = LcReporter(
        environment,
        kind,
        not_before_s=config.job.report_not_before_seconds,
        linger_s=config.job.linger_seconds,
    )
    _end_when_asked(reporter)
    return reporter


def _end_when_asked(reporter: LcReporter) -> None:
    """SIGTERM ends a worker at once: with 0 when it has reported and only lingers.

    Without a handler the first process of a container would not even get the signal.
    """

    def end(number: int, _frame: object) -> None:
        sys.exit(0 if reporter.has_reported else 128 + number)

    signal.signal(signal.SIGTERM, end)
