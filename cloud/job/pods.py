"""What the Global Manager makes of pod templates: commands and environments of the workers."""

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from cloud.job.conditions import named, newest_models
from cloud.job.files import DEPLOYED, JobFiles
from cloud.job.manifest import Container, Manifest
from cloud.job.states import JobState
from cloud.worker_process import WorkerProcess
from lifelong.errors import SednaError

_NAMES = {"Train": "train-worker-", "Eval": "eval-worker-", "Deploy": "inferworker-"}


class Worker(Protocol):
    """A pod's main container."""

    number: int
    started: str

    def exit_code(self) -> int | None:
        """None while it runs."""

    def end(self) -> None:
        """Ask it to stop, then make it stop."""

    def kill(self) -> None:
        """Stop it at once, as a crash would."""


class Kubelet(Protocol):
    """Who runs workers."""

    def start(self, command: Sequence[str], *, environment: Mapping[str, str], log: Path) -> Worker:
        """Start one."""

    def found(self, number: int, started: str) -> Worker | None:
        """One that an earlier life of the job has started, if it is still alive."""


class Processes:
    """Runs workers as processes of this machine."""

    def start(self, command: Sequence[str], *, environment: Mapping[str, str], log: Path) -> Worker:
        """Start one.

        Raises:
            SednaError: there is no such command here.
        """
        return WorkerProcess.start(command, environment=environment, log=log)

    def found(self, number: int, started: str) -> Worker | None:
        """One of an earlier life."""
        return WorkerProcess.found(number, started)


class Pods:
    """Starts workers with the environment that Sedna's pods get."""

    def __init__(
        self,
        manifest: Manifest,
        files: JobFiles,
        logs: Path,
        *,
        kubelet: Kubelet,
        config_path: Path | None,
        random_source: random.Random,
    ) -> None:
        """Args:
        config_path: what workers get as CORNERLOOP_CONFIG, instead of the template's value.
        """
        self._manifest = manifest
        self._files = files
        self._logs = logs
        self._kubelet = kubelet
        self._config_path = config_path
        self._random = random_source

    def new_name(self, stage: str) -> str:
        """A worker's name: random, and no relation to a pod's."""
        return _NAMES[stage] + "".join(self._random.choices("bcdfghjklmnpqrstvwxz", k=5))

    def start(self, stage: str, name: str, state: JobState, lc_server: str) -> Worker:
        """Start the train, eval or inference worker."""
        container = self.container(stage)
        environment = {entry.name: entry.value for entry in container.env}
        if self._config_path is not None:
            environment["CORNERLOOP_CONFIG"] = str(self._config_path.absolute())
        # After the template's own, which they overrule.
        environment |= self.environment(stage, name, state, lc_server)
        round_part = "" if stage == "Deploy" else f"-{state.round_number}"
        return self._kubelet.start(
            (*container.command, *container.args),
            environment=environment,
            log=self._logs / f"{stage.lower()}{round_part}.log",
        )

    def found(self, number: int, started: str) -> Worker | None:
        """A worker that an earlier life of this job started and that is still at work."""
        return self._kubelet.found(number, started) if number else None

    def container(self, stage: str) -> Container:
        """What a stage's template starts.

        Raises:
            SednaError: it names no command.
        """
        spec = self._manifest.job.spec
        template = {"Train": spec.train, "Eval": spec.eval, "Deploy": spec.deploy}[stage].template
        container = template.spec.containers[0]
        if not container.command:
            raise SednaError(
                f"spec.{stage.lower()}Spec.template.spec.containers.0.command: is missing; "
                "without an image to run it from, the local job cannot know one. Name it, or "
                "start with --our-workers"
            )
        return container

    def environment(self, stage: str, name: str, state: JobState, lc_server: str) -> dict[str, str]:
        """The variables that Sedna sets in a pod of a stage."""
        prefix = self._files.prefix
        common = {
            "NAMESPACE": self._manifest.job.metadata.namespace,
            "JOB_NAME": self._manifest.job.metadata.name,
            "WORKER_NAME": name,
            "LC_SERVER": lc_server,
            "DATA_PATH_PREFIX": prefix,
        }
        if stage == "Deploy":
            return common | {
                "OUTPUT_URL": self._manifest.job.spec.output_dir,  # neither translated nor mounted
                "MODEL_URLS": prefix + self._files.output(DEPLOYED),
            }
        asked = named(state.conditions, f"{stage}/Ready")[-1].part("input")
        common |= {
            "KB_SERVER": "http://127.0.0.1:9",  # Sedna sets it; nothing of ours asks it
            "OUTPUT_URL": f"{prefix}{asked['outputDir']}",
            "ORIGINAL_DATASET_URL": prefix + self._manifest.dataset.spec.url,
        }
        if stage == "Eval":
            urls = [f"{prefix}{model['url']}" for model in asked["models"]]
            return common | {
                "TEST_DATASET_URL": f"{prefix}{asked['dataURL']}",
                "MODEL_URLS": ";".join(urls),
            }
        has_trained = bool(named(state.conditions, "Train/Completed"))
        common |= {
            "TRAIN_DATASET_URL": f"{prefix}{asked['dataURL']}",
            "HAS_COMPLETED_INITIAL_TRAINING": "true" if has_trained else "false",
        }
        earlier = newest_models(state.conditions, "Train")
        # A host path, without the prefix.
        return common | ({"CLOUD_KB_INDEX": str(earlier[0]["url"])} if earlier else {})


class Lingering:
    """Workers that have reported and are about to end; ended when they do not."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Args:
        clock: seconds.
        """
        self._clock = clock
        self._workers: list[tuple[Worker, float]] = []

    def add(self, worker: Worker | None, patience_s: float = 60.0) -> None:
        """One more, or none."""
        if worker is not None:
            self._workers.append((worker, self._clock() + patience_s))

    def look(self) -> None:
        """Forget those that have ended, end those that overstay."""
        running = [(w, until) for w, until in self._workers if w.exit_code() is None]
        for worker, until in running:
            if self._clock() >= until:
                worker.end()
        self._workers = [(w, until) for w, until in running if self._clock() < until]

    def end(self) -> None:
        """End all."""
        for worker, _ in self._workers:
            worker.end()
        self._workers = []
