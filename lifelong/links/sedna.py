"""Sedna's contract with a worker: environment in, one report out; no `sedna` package needed.

Read from Sedna's sources and from a running control plane: the worker is told everything by
environment variables and answers with one POST to the local controller on its own node. What we
do with each variable, and why a report is sent as it is, stands in docs/sedna.md.
"""

import json
import math
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from lifelong.errors import ReportRefusedError, SednaError
from lifelong.links.retry import delays
from lifelong.links.storage import S3Account

OWNER_KIND = "lifelonglearningjob"  # lower case: any other spelling is answered 200 and dropped
TRIES = 5  # of one report, while nobody answers


class WorkerKind(StrEnum):
    """The stages; train and eval report, the inference worker must stay silent."""

    TRAIN = "train"
    EVAL = "eval"
    INFER = "infer"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerEnvironment:
    """What Sedna told this worker; no other module reads the environment."""

    namespace: str
    job_name: str
    worker_name: str
    lc_server: str  # http://host:port; "" for inference, which must not speak to it
    # Folder for this round's outputs, in this container or s3://; "" for inference, whose
    # OUTPUT_URL names a folder that is not mounted.
    output_url: str
    dataset_url: str  # this round's index: train or eval lines; "" when Sedna named none
    original_dataset_url: str  # paths in the index are relative to its folder; may be ""
    model_urls: tuple[str, ...] = ()  # eval: the bundle to judge; inference: the deployed one
    data_path_prefix: str = ""  # /home/data when host folders are mounted, "" with s3:// only
    previous_index: str = ""  # CLOUD_KB_INDEX, with the prefix where one belongs
    has_trained_before: bool = False
    s3: S3Account | None = field(default=None, repr=False)  # for Sedna's s3:// URLs

    def host_url(self, url: str) -> str:
        """`url` as Sedna's controllers name it: a host path, or s3:// unchanged."""
        if self.data_path_prefix and url.startswith(self.data_path_prefix + "/"):
            return url[len(self.data_path_prefix) :]
        return url


def read_environment(kind: WorkerKind, environ: Mapping[str, str]) -> WorkerEnvironment:
    """Read the variables of one worker.

    Only what a worker cannot do without must be there. Sedna's lines are not among it: after a
    restart of the local controller it hands over an empty evaluation set, or none.

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

    silent = kind is WorkerKind.INFER
    models = () if kind is WorkerKind.TRAIN else environ.get("MODEL_URLS", "").split(";")
    if silent:
        models = needed("MODEL_URLS").split(";")
    lines = {WorkerKind.TRAIN: "TRAIN_DATASET_URL", WorkerKind.EVAL: "TEST_DATASET_URL"}.get(kind)
    prefix = environ.get("DATA_PATH_PREFIX", "").rstrip("/")
    previous = environ.get("CLOUD_KB_INDEX", "")
    return WorkerEnvironment(
        namespace=environ.get("NAMESPACE") or "default",
        job_name=needed("JOB_NAME"),
        worker_name=needed("WORKER_NAME"),
        lc_server="" if silent else needed("LC_SERVER").rstrip("/"),
        output_url="" if silent else needed("OUTPUT_URL").rstrip("/"),
        dataset_url=environ.get(lines, "") if lines else "",
        original_dataset_url="" if silent else environ.get("ORIGINAL_DATASET_URL", ""),
        model_urls=tuple(filter(None, (url.strip() for url in models))),
        data_path_prefix=prefix,
        # A host path, unlike all the others; it is visible under the prefix.
        previous_index=prefix + previous if previous.startswith("/") else previous,
        has_trained_before=environ.get("HAS_COMPLETED_INITIAL_TRAINING", "").lower() == "true",
        s3=sednas_account(environ),
    )


def sednas_account(environ: Mapping[str, str]) -> S3Account | None:
    """Whose buckets Sedna's s3:// URLs mean; None: Sedna named none."""
    endpoint = environ.get("S3_ENDPOINT_URL", "")
    if not endpoint and not environ.get("ACCESS_KEY_ID"):
        return None
    return S3Account(
        endpoint=endpoint,
        access_key_id=environ.get("ACCESS_KEY_ID", ""),
        secret_access_key=environ.get("SECRET_ACCESS_KEY", ""),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedModel:
    """The one model of a report; numbers may be numpy's, they are told as plain ones."""

    url: str  # where this worker wrote it; the reporter turns it into a host path
    metrics: Mapping[str, float]
    current_metric: Mapping[str, Mapping[str, float]]  # by learning task
    classes: Sequence[str]
    samples: int = 0  # that this round learned; shown as status.knowledgeBase.samples


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

        Raises:
            SednaError: for an inference worker: its report would rewind the job.
        """
        if kind is WorkerKind.INFER:
            raise SednaError("an inference worker never reports: it would rewind the job")
        self._environment = environment
        self._kind = kind
        self._not_before_s = not_before_s
        self._linger_s = linger_s
        self._clock = clock
        self._sleep = sleep
        self._born = clock()
        self.has_reported = False  # what is left is lingering, and may be cut short

    def completed(self, model: ReportedModel | None) -> None:
        """Report success; for an eval worker, no model is the regular way to refuse one.

        Raises:
            ReportRefusedError: the controller answered 4xx.
            SednaError: it could not be reached, or something was reported before.
        """
        if model is None and self._kind is WorkerKind.TRAIN:
            # An empty train report leaves the job in Eval/Waiting for ever.
            raise SednaError("a train worker reports one model or `failed`")
        self._report("completed", [self._result(model)] if model else [])

    def failed(self) -> None:
        """Report failure; the process must then exit 0, or its pod becomes a crash loop."""
        self._report("failed", [])

    def _result(self, model: ReportedModel) -> dict[str, Any]:
        tasks = {str(task): _numbers(values) for task, values in model.current_metric.items()}
        result: dict[str, Any] = {
            "format": "pkl",  # the only name Sedna's samples use; our file is no pickle
            "url": self._environment.host_url(model.url),
            "metrics": _numbers(model.metrics) or None,
            # A task without any number would be shown as a model of precision 0.
            "current_metric": {task: values for task, values in tasks.items() if values},
            "classes": [str(name) for name in model.classes],
        }
        if model.samples:
            result["number_of_labeled_unseen_sample"] = int(model.samples)
        return result

    def _report(self, status: str, results: list[dict[str, Any]]) -> None:
        if self.has_reported:  # a second one after the job moved on rewinds it
            raise SednaError(f"this worker has reported already; {status!r} is not sent")
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
        check_report(body)
        early = self._not_before_s - (self._clock() - self._born)
        if early > 0:
            self._sleep(early)
        _post(f"{where.lc_server}/sedna/workers/{where.worker_name}/info", body, self._sleep)
        self.has_reported = True
        if self._linger_s > 0:
            self._sleep(self._linger_s)


def check_report(body: Mapping[str, Any]) -> None:
    """Is this a report that the Global Manager takes? One wrong type and it drops all of it.

    Raises:
        SednaError: names the key, and what would be right.
    """
    for key in ("name", "namespace", "ownerName"):
        _want(isinstance(body.get(key), str) and body[key], key, "a text")
    _want(body.get("ownerKind") == OWNER_KIND, "ownerKind", OWNER_KIND)
    _want(body.get("kind") in {"train", "eval"}, "kind", "train or eval")
    _want(body.get("status") in {"completed", "failed"}, "status", "completed or failed")
    results = body.get("results")
    _want(isinstance(results, list) and len(results) <= 1, "results", "at most one model")
    is_trained = body["kind"] == "train" and body["status"] == "completed"
    _want(bool(results) or not is_trained, "results", "one model after a training")
    for model in results or ():
        _check_model(model)


def _check_model(model: Mapping[str, Any]) -> None:
    for key in ("format", "url"):
        _want(isinstance(model.get(key), str) and model[key], key, "a text")
    metrics, current = model.get("metrics"), model.get("current_metric", {})
    _want(metrics is None or _are_numbers(metrics), "metrics", "an object of numbers, or null")
    is_nested = isinstance(current, dict) and all(map(_are_numbers, current.values()))
    _want(is_nested, "current_metric", "{name: {metric: number}}")
    classes = model.get("classes", [])
    is_texts = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    _want(is_texts, "classes", "a list of texts")
    samples = model.get("number_of_labeled_unseen_sample", 0)
    _want(type(samples) is int, "number_of_labeled_unseen_sample", "a whole number")


def _want(is_right: object, key: str, wanted: str) -> None:
    if not is_right:
        raise SednaError(f"report: {key} must be {wanted}; Sedna would drop the whole report")


def _are_numbers(values: object) -> bool:
    """Plain finite numbers by name: NaN is no JSON, a numpy scalar no number to `json`."""
    return isinstance(values, dict) and all(
        isinstance(name, str) and type(value) in {int, float} and math.isfinite(value)
        for name, value in values.items()
    )


def _numbers(values: Mapping[str, float]) -> dict[str, float]:
    """Plain floats; what was not measured (NaN) or never ends is left out."""
    plain = {str(name): float(value) for name, value in values.items()}
    return {name: value for name, value in plain.items() if math.isfinite(value)}


def _post(url: str, body: Mapping[str, Any], sleep: Callable[[float], None]) -> None:
    """Send one report; again while nobody answers, or the controller itself is in trouble."""
    data = json.dumps(body, allow_nan=False).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method="POST")
    pauses = delays()
    for left in range(TRIES - 1, -1, -1):
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                answer.read()
                return
        except urllib.error.HTTPError as error:
            detail = error.read(500).decode(errors="replace")
            if error.code < 500 or not left:
                raise ReportRefusedError(f"{url}: HTTP {error.code} {detail}") from error
        except OSError as error:
            if not left:
                raise SednaError(
                    f"{url}: local controller not reached ({error}); the work is kept, and "
                    "reported when this worker is started again"
                ) from error
        sleep(next(pauses))
