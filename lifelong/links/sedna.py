"""Sedna's contract with a worker: environment in, one report out; no `sedna` package needed.

Read from Sedna's sources and from a running control plane: the worker is told everything by
environment variables and answers with one POST to the local controller on its own node.
"""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from lifelong.errors import ReportRefusedError, SednaError
from lifelong.links.retry import delays

OWNER_KIND = "lifelonglearningjob"  # lower case: any other spelling is answered 200 and dropped


class WorkerKind(StrEnum):
    """The stages that report; the inference worker must stay silent."""

    TRAIN = "train"
    EVAL = "eval"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerEnvironment:
    """What Sedna told this worker; no other module reads the environment."""

    namespace: str
    job_name: str
    worker_name: str
    lc_server: str  # http://host:port
    output_url: str  # folder for this round's outputs: a path in this container, or s3://
    dataset_url: str  # this round's index: train or eval lines
    original_dataset_url: str  # paths in the index are relative to its folder
    model_urls: tuple[str, ...] = ()  # eval: the bundles to judge
    data_path_prefix: str = ""  # /home/data when host folders are mounted
    previous_index: str = ""  # CLOUD_KB_INDEX, with the prefix where one belongs
    has_trained_before: bool = False

    def host_url(self, url: str) -> str:
        """`url` as Sedna's controllers name it: a host path, or s3:// unchanged."""
        if self.data_path_prefix and url.startswith(self.data_path_prefix + "/"):
            return url[len(self.data_path_prefix) :]
        return url


def read_environment(kind: WorkerKind, environ: Mapping[str, str]) -> WorkerEnvironment:
    """Read the variables of one worker.

    Raises:
        SednaError: one that this kind of worker cannot do without is missing; names it.
    """

    def needed(name: str) -> str:
        if not environ.get(name):
            raise SednaError(
                f"environment variable {name} is missing; this command is started by Sedna "
                "or by `cornerloop job run`"
            )
        return environ[name]

    is_train = kind is WorkerKind.TRAIN
    prefix = environ.get("DATA_PATH_PREFIX", "").rstrip("/")
    previous = environ.get("CLOUD_KB_INDEX", "")
    return WorkerEnvironment(
        namespace=environ.get("NAMESPACE", "default"),
        job_name=needed("JOB_NAME"),
        worker_name=needed("WORKER_NAME"),
        lc_server=needed("LC_SERVER").rstrip("/"),
        output_url=needed("OUTPUT_URL").rstrip("/"),
        dataset_url=needed("TRAIN_DATASET_URL" if is_train else "TEST_DATASET_URL"),
        original_dataset_url=needed("ORIGINAL_DATASET_URL"),
        model_urls=() if is_train else tuple(filter(None, needed("MODEL_URLS").split(";"))),
        data_path_prefix=prefix,
        # A host path, unlike all the others; it is visible under the prefix.
        previous_index=prefix + previous if previous.startswith("/") else previous,
        has_trained_before=environ.get("HAS_COMPLETED_INITIAL_TRAINING", "").lower() == "true",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedModel:
    """The one model of a report, with the only types that the Global Manager takes."""

    url: str  # where this worker wrote it; the reporter turns it into a host path
    metrics: Mapping[str, float]
    current_metric: Mapping[str, Mapping[str, float]]
    classes: Sequence[str]


class JobReporter(Protocol):
    """Tells whoever started this worker how it ended; exactly once."""

    def completed(self, model: ReportedModel | None) -> None:
        """Done; no model means: keep the one that is deployed."""

    def failed(self) -> None:
        """Not done; nothing ships."""


class LcReporter:
    """Reports to Sedna's local controller, late enough to be heard, and lingers after."""

    def __init__(
        self,
        environment: WorkerEnvironment,
        kind: WorkerKind,
        *,
        not_before_s: float,
        linger_s: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Args:
        not_before_s: age of this process before which no report is sent; an early one is
            overwritten by the Global Manager's own status write.
        linger_s: how long to stay alive after it; a pod that ends at once wins the same race.
        """
        self._environment = environment
        self._kind = kind
        self._not_before_s = not_before_s
        self._linger_s = linger_s
        self._clock = clock
        self._sleep = sleep
        self._born = clock()

    def completed(self, model: ReportedModel | None) -> None:
        """Report success; for an eval worker, no model is the regular way to refuse one.

        Raises:
            ReportRefusedError: the controller answered 4xx.
            SednaError: it could not be reached.
        """
        if model is None and self._kind is WorkerKind.TRAIN:
            # An empty train report leaves the job in Eval/Waiting for ever.
            raise SednaError("a train worker reports one model or `failed`")
        self._report("completed", [self._result(model)] if model else [])

    def failed(self) -> None:
        """Report failure; the process must then exit 0, or its pod becomes a crash loop."""
        self._report("failed", [])

    def _result(self, model: ReportedModel) -> dict[str, Any]:
        return {
            "format": "pkl",  # the only name Sedna's samples use; our file is no pickle
            "url": self._environment.host_url(model.url),
            "metrics": {name: float(value) for name, value in model.metrics.items()},
            "current_metric": {
                task: {name: float(value) for name, value in values.items()}
                for task, values in model.current_metric.items()
            },
            "classes": list(model.classes),
        }

    def _report(self, status: str, results: list[dict[str, Any]]) -> None:
        early = self._not_before_s - (self._clock() - self._born)
        if early > 0:
            self._sleep(early)
        where = self._environment
        body = {
            "name": where.worker_name,
            "namespace": where.namespace,
            "ownerName": where.job_name,
            "ownerKind": OWNER_KIND,
            "kind": str(self._kind),
            "status": status,
            "results": results,
        }
        _post(f"{where.lc_server}/sedna/workers/{where.worker_name}/info", body, self._sleep)
        if self._linger_s > 0:
            self._sleep(self._linger_s)


def _post(url: str, body: Mapping[str, Any], sleep: Callable[[float], None]) -> None:
    """Send one report; only a connection error is tried again, five times in all."""
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    pauses = delays()
    for attempt in range(5):
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                answer.read()
                return
        except urllib.error.HTTPError as error:
            detail = error.read(500).decode(errors="replace")
            raise ReportRefusedError(f"{url}: HTTP {error.code} {detail}") from error
        except OSError as error:
            if attempt == 4:
                raise SednaError(f"{url}: local controller not reached ({error})") from error
            sleep(next(pauses))
