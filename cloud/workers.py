"""The doors of the two Sedna workers: environment and configuration in, exit code out."""

import os
from pathlib import Path

from cloud.sedna_eval import eval_worker
from lifelong.config import Config, load_config
from lifelong.links.sedna import LcReporter, WorkerEnvironment, WorkerKind, read_environment
from lifelong.links.storage import open_storage


def run_train_worker(config_path: Path) -> None:
    """Train once and report; an unexpected end is answered by a new start in place."""
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
    return LcReporter(
        environment,
        kind,
        not_before_s=config.job.report_not_before_seconds,
        linger_s=config.job.linger_seconds,
    )
