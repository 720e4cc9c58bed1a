"""K8S-04, K8S-02: every environment and message seen at a running Sedna, literally.

The dictionaries are those that its control plane put into pods and took from workers
(docs/sedna.md says what we do with each variable).
"""

import json
import math
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest

from lifelong.errors import ReportRefusedError, SednaError
from lifelong.links.sedna import (
    LcReporter,
    ReportedModel,
    WorkerEnvironment,
    WorkerKind,
    check_report,
    read_environment,
)
from lifelong.links.storage import S3Account

COMMON = {"NAMESPACE": "sedna", "JOB_NAME": "ll-demo", "LC_SERVER": "http://localhost:9100"}
LOCAL = {**COMMON, "DATA_PATH_PREFIX": "/home/data"}
S3 = {
    **COMMON,
    "S3_ENDPOINT_URL": "http://minio.storage:9000",
    "ACCESS_KEY_ID": "sedna",
    "SECRET_ACCESS_KEY": "of-sedna",
}
ACCOUNT = S3Account(
    endpoint="http://minio.storage:9000", access_key_id="sedna", secret_access_key="of-sedna"
)

TRAIN_LOCAL_1 = {
    **LOCAL,
    "WORKER_NAME": "train-worker-nsccq",
    "KB_SERVER": "http://localhost:9020",
    "OUTPUT_URL": "/home/data/output/train/1",
    "TRAIN_DATASET_URL": "/home/data/output/data/train/1/data.txt",
    "ORIGINAL_DATASET_URL": "/home/data/data/train.txt",
    "HAS_COMPLETED_INITIAL_TRAINING": "false",
}
TRAIN_LOCAL_2 = {
    **TRAIN_LOCAL_1,
    "OUTPUT_URL": "/home/data/output/train/2",
    "TRAIN_DATASET_URL": "/home/data/output/data/train/2/data.txt",
    "HAS_COMPLETED_INITIAL_TRAINING": "true",
    "CLOUD_KB_INDEX": "/output/train/1/index.pkl",
}
EVAL_LOCAL_1 = {
    **LOCAL,
    "WORKER_NAME": "eval-worker-kjdhw",
    "KB_SERVER": "http://localhost:9020",
    "OUTPUT_URL": "/home/data/output/eval/1",
    "TEST_DATASET_URL": "/home/data/output/data/eval/1/data.txt",
    "ORIGINAL_DATASET_URL": "/home/data/data/train.txt",
    "MODEL_URLS": "/home/data/output/train/1/index.pkl",
}
EVAL_LOCAL_2 = {
    name: value.replace("/1", "/2") if "output" in value else value
    for name, value in EVAL_LOCAL_1.items()
}
INFER_LOCAL = {
    **LOCAL,
    "WORKER_NAME": "inferworker-pzxht",
    "OUTPUT_URL": "/output",
    "MODEL_URLS": "/home/data/output/deploy/index.pkl",
}
TRAIN_S3_1 = {
    **S3,
    "WORKER_NAME": "train-worker-aaaaa",
    "KB_SERVER": "http://kb.sedna:9020",
    "OUTPUT_URL": "s3://out/j1/train/1",
    "TRAIN_DATASET_URL": "/downloads/out/j1/data/train/1/data.txt",
    "ORIGINAL_DATASET_URL": "/downloads/out/j1/data/train/1/dataIndex.txt",
    "HAS_COMPLETED_INITIAL_TRAINING": "false",
}
TRAIN_S3_2 = {
    **TRAIN_S3_1,
    "OUTPUT_URL": "s3://out/j1/train/2",
    "TRAIN_DATASET_URL": "/downloads/out/j1/data/train/2/data.txt",
    "ORIGINAL_DATASET_URL": "/downloads/out/j1/data/train/2/dataIndex.txt",
    "HAS_COMPLETED_INITIAL_TRAINING": "true",
    "CLOUD_KB_INDEX": "s3://out/j1/train/1/index.pkl",
}
EVAL_S3_1 = {
    **S3,
    "WORKER_NAME": "eval-worker-bbbbb",
    "KB_SERVER": "http://kb.sedna:9020",
    "OUTPUT_URL": "s3://out/j1/eval/1",
    "TEST_DATASET_URL": "/downloads/out/j1/data/eval/1/data.txt",
    "ORIGINAL_DATASET_URL": "/downloads/out/j1/data/eval/1/dataIndex.txt",
    "MODEL_URLS": "/downloads/out/j1/train/1/index.pkl",
}
EVAL_S3_2 = {
    name: value.replace("/1", "/2") if "j1" in value else value for name, value in EVAL_S3_1.items()
}
INFER_S3 = {
    **S3,
    "WORKER_NAME": "inferworker-ccccc",
    "OUTPUT_URL": "s3://out/j1",
    "MODEL_URLS": "s3://out/j1/deploy/index.pkl",
}


def where(worker_name: str, **fields: object) -> WorkerEnvironment:
    """What every worker of the job `ll-demo` is told, and `fields`."""
    told: dict[str, object] = {
        "namespace": "sedna",
        "job_name": "ll-demo",
        "worker_name": worker_name,
        "lc_server": "http://localhost:9100",
        "data_path_prefix": "/home/data",
        **fields,
    }
    return WorkerEnvironment(**told)  # type: ignore[arg-type]


def local(stage: str, name: str, number: int, **fields: object) -> WorkerEnvironment:
    return where(
        name,
        output_url=f"/home/data/output/{stage}/{number}",
        dataset_url=f"/home/data/output/data/{stage}/{number}/data.txt",
        original_dataset_url="/home/data/data/train.txt",
        **fields,
    )


def on_s3(stage: str, name: str, number: int, **fields: object) -> WorkerEnvironment:
    return where(
        name,
        output_url=f"s3://out/j1/{stage}/{number}",
        dataset_url=f"/downloads/out/j1/data/{stage}/{number}/data.txt",
        original_dataset_url=f"/downloads/out/j1/data/{stage}/{number}/dataIndex.txt",
        data_path_prefix="",
        s3=ACCOUNT,
        **fields,
    )


TRAIN, EVAL, INFER = WorkerKind.TRAIN, WorkerKind.EVAL, WorkerKind.INFER


@pytest.mark.parametrize(
    ("kind", "told", "expected"),
    [
        (TRAIN, TRAIN_LOCAL_1, local("train", "train-worker-nsccq", 1)),
        (
            TRAIN,
            TRAIN_LOCAL_2,
            local(
                "train",
                "train-worker-nsccq",
                2,
                has_trained_before=True,
                previous_index="/home/data/output/train/1/index.pkl",
            ),
        ),
        (
            EVAL,
            EVAL_LOCAL_1,
            local(
                "eval", "eval-worker-kjdhw", 1, model_urls=("/home/data/output/train/1/index.pkl",)
            ),
        ),
        (
            EVAL,
            EVAL_LOCAL_2,
            local(
                "eval", "eval-worker-kjdhw", 2, model_urls=("/home/data/output/train/2/index.pkl",)
            ),
        ),
        (
            INFER,
            INFER_LOCAL,
            where(
                "inferworker-pzxht",
                lc_server="",
                output_url="",
                dataset_url="",
                original_dataset_url="",
                model_urls=("/home/data/output/deploy/index.pkl",),
            ),
        ),
        (TRAIN, TRAIN_S3_1, on_s3("train", "train-worker-aaaaa", 1)),
        (
            TRAIN,
            TRAIN_S3_2,
            on_s3(
                "train",
                "train-worker-aaaaa",
                2,
                has_trained_before=True,
                previous_index="s3://out/j1/train/1/index.pkl",
            ),
        ),
        (
            EVAL,
            EVAL_S3_1,
            on_s3(
                "eval", "eval-worker-bbbbb", 1, model_urls=("/downloads/out/j1/train/1/index.pkl",)
            ),
        ),
        (
            EVAL,
            EVAL_S3_2,
            on_s3(
                "eval", "eval-worker-bbbbb", 2, model_urls=("/downloads/out/j1/train/2/index.pkl",)
            ),
        ),
        (
            INFER,
            INFER_S3,
            where(
                "inferworker-ccccc",
                lc_server="",
                output_url="",
                dataset_url="",
                original_dataset_url="",
                data_path_prefix="",
                model_urls=("s3://out/j1/deploy/index.pkl",),
                s3=ACCOUNT,
            ),
        ),
    ],
    ids=[
        "train-local-1", "train-local-2", "eval-local-1", "eval-local-2", "infer-local",
        "train-s3-1", "train-s3-2", "eval-s3-1", "eval-s3-2", "infer-s3",
    ],
)  # fmt: skip
def test_k8s_04_every_environment_that_sedna_sets_is_read(
    kind: WorkerKind, told: dict[str, str], expected: WorkerEnvironment
) -> None:
    assert read_environment(kind, told) == expected


def test_models_are_split_at_semicolons_and_empty_ones_passed_over() -> None:
    told = {**EVAL_LOCAL_1, "MODEL_URLS": "/home/data/a/index.pkl; /home/data/b/index.pkl;"}
    models = read_environment(EVAL, told).model_urls
    assert models == ("/home/data/a/index.pkl", "/home/data/b/index.pkl")


@pytest.mark.parametrize("missing", ["TEST_DATASET_URL", "ORIGINAL_DATASET_URL", "MODEL_URLS"])
def test_k8s_04_what_sedna_forgets_after_a_restart_may_be_missing(missing: str) -> None:
    """An empty evaluation set must be no crash loop: hold-outs are the knowledge base's."""
    for told in ({**EVAL_LOCAL_1, missing: ""}, {k: EVAL_LOCAL_1[k] for k in EVAL_LOCAL_1}):
        told.pop(missing, None)
        assert read_environment(EVAL, told).job_name == "ll-demo"


@pytest.mark.parametrize("name", ["JOB_NAME", "WORKER_NAME", "LC_SERVER", "OUTPUT_URL"])
def test_a_missing_variable_is_named(name: str) -> None:
    with pytest.raises(SednaError, match=f"{name} is missing.*cornerloop job run"):
        read_environment(TRAIN, {k: v for k, v in TRAIN_LOCAL_1.items() if k != name})


def test_an_inference_worker_needs_a_model_and_asks_no_controller() -> None:
    without = {k: v for k, v in INFER_LOCAL.items() if k not in {"LC_SERVER", "OUTPUT_URL"}}
    assert read_environment(INFER, without) == read_environment(INFER, INFER_LOCAL)
    with pytest.raises(SednaError, match="MODEL_URLS"):
        read_environment(INFER, {**INFER_LOCAL, "MODEL_URLS": ""})
    with pytest.raises(SednaError, match="never reports"):
        LcReporter(read_environment(INFER, INFER_LOCAL), INFER, not_before_s=0, linger_s=0)


def test_sec_05_secrets_do_not_show_in_a_printed_environment() -> None:
    """SEC-05: an environment lands in tracebacks and logs."""
    assert "of-sedna" not in repr(read_environment(TRAIN, TRAIN_S3_1))
    assert "of-sedna" not in repr(ACCOUNT)


@pytest.mark.parametrize(
    ("told", "ours", "named"),
    [
        (TRAIN_LOCAL_2, "/home/data/output/train/2/index.pkl", "/output/train/2/index.pkl"),
        (EVAL_S3_1, "s3://out/j1/eval/1/index.pkl", "s3://out/j1/eval/1/index.pkl"),
        (TRAIN_LOCAL_1, "/home/database/x/index.pkl", "/home/database/x/index.pkl"),
    ],
)
def test_a_reported_url_is_a_host_path_or_s3(told: dict[str, str], ours: str, named: str) -> None:
    kind = TRAIN if "TRAIN_DATASET_URL" in told else EVAL
    assert read_environment(kind, told).host_url(ours) == named


# -- reports --------------------------------------------------------------------------------------


class Controller:
    """Answers as Sedna's local controller does, or with the given statuses, one after another."""

    def __init__(self, *statuses: int) -> None:
        self.requests: list[tuple[str, str, dict[str, object]]] = []
        waiting = list(statuses)
        controller = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                kind = str(self.headers["Content-Type"])
                controller.requests.append((self.path, kind, body))
                status = waiting.pop(0) if waiting else 200
                answer = b'{"Status":200,"Message":"OK"}' if status == 200 else b'"no"'
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                return

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    @property
    def result(self) -> dict[str, object]:
        """Its one model."""
        results = self.body["results"]
        assert isinstance(results, list)
        (model,) = results
        assert isinstance(model, dict)
        return model

    @property
    def body(self) -> dict[str, object]:
        """The one report that came."""
        ((_, _, body),) = self.requests
        return body


@pytest.fixture
def answers(request: pytest.FixtureRequest) -> Iterator[Controller]:
    made = Controller(*getattr(request, "param", ()))
    yield made
    made.server.shutdown()
    made.server.server_close()


def reporter(told: dict[str, str], controller: Controller, kind: WorkerKind) -> LcReporter:
    environment = read_environment(kind, {**told, "LC_SERVER": controller.url})
    return LcReporter(
        environment, kind, not_before_s=0, linger_s=0, clock=lambda: 0, sleep=lambda _: None
    )


def model(url: str, **changes: object) -> ReportedModel:
    fields: dict[str, object] = {
        "url": url,
        "metrics": {},
        "current_metric": {"model-a": {"mIoU": 0.25}, "model-b": {"mIoU": 0.5}},
        "classes": ("road", "grass"),
        "samples": 7,
        **changes,
    }
    return ReportedModel(**fields)  # type: ignore[arg-type]


def test_k8s_04_a_train_report_is_the_one_that_was_observed(answers: Controller) -> None:
    reporter(TRAIN_LOCAL_1, answers, TRAIN).completed(model("/home/data/output/train/1/index.pkl"))
    path, content_type, _ = answers.requests[0]
    assert path == "/sedna/workers/train-worker-nsccq/info"
    assert content_type == "application/json"  # without it Sedna answers 415
    assert answers.body == {
        "name": "train-worker-nsccq",
        "namespace": "sedna",
        "ownerName": "ll-demo",
        "ownerKind": "lifelonglearningjob",
        "kind": "train",
        "status": "completed",
        "results": [
            {
                "format": "pkl",
                "url": "/output/train/1/index.pkl",
                "metrics": None,
                "current_metric": {"model-a": {"mIoU": 0.25}, "model-b": {"mIoU": 0.5}},
                "classes": ["road", "grass"],
                "number_of_labeled_unseen_sample": 7,
            }
        ],
    }


def test_k8s_04_an_eval_report_keeps_what_the_status_shows(answers: Controller) -> None:
    """Without current_metric and classes the Global Manager resets status.knowledgeBase."""
    told = model("s3://out/j1/eval/1/index.pkl", metrics={"mIoU": 0.375})
    reporter(EVAL_S3_1, answers, EVAL).completed(told)
    result = answers.result
    assert answers.body["kind"] == "eval"
    assert result["url"] == "s3://out/j1/eval/1/index.pkl"
    assert result["metrics"] == {"mIoU": 0.375}
    assert set(result) >= {"current_metric", "classes", "number_of_labeled_unseen_sample"}


def test_k8s_04_a_veto_is_completed_with_an_empty_list(answers: Controller) -> None:
    reporter(EVAL_LOCAL_1, answers, EVAL).completed(None)
    assert (answers.body["status"], answers.body["results"]) == ("completed", [])


@pytest.mark.parametrize("kind", [TRAIN, EVAL])
def test_k8s_04_a_failure_has_no_results(answers: Controller, kind: WorkerKind) -> None:
    told = TRAIN_LOCAL_1 if kind is TRAIN else EVAL_LOCAL_1
    reporter(told, answers, kind).failed()
    assert (answers.body["kind"], answers.body["status"]) == (str(kind), "failed")
    assert answers.body["results"] == []


def test_k8s_04_only_the_types_that_the_global_manager_takes_are_sent(answers: Controller) -> None:
    """Numpy scalars become floats; NaN and infinity are no JSON and are left out."""
    told = model(
        "/home/data/output/eval/1/index.pkl",
        metrics={"mIoU": np.float32(0.5), "loss": math.nan, "worst": -math.inf},
        current_metric={"day": {"mIoU": np.float64(0.25)}, "fog": {"mIoU": math.nan}},
        classes=np.array(["road", "sky"]),
        samples=np.int64(3),
    )
    reporter(EVAL_LOCAL_1, answers, EVAL).completed(told)
    result = answers.result
    assert result["metrics"] == {"mIoU": 0.5}
    assert result["current_metric"] == {"day": {"mIoU": 0.25}}
    assert result["classes"] == ["road", "sky"]
    assert result["number_of_labeled_unseen_sample"] == 3


GOOD = {
    "name": "train-worker-nsccq",
    "namespace": "sedna",
    "ownerName": "ll-demo",
    "ownerKind": "lifelonglearningjob",
    "kind": "train",
    "status": "completed",
    "results": [{"format": "pkl", "url": "/output/train/1/index.pkl", "metrics": None}],
}
RESULT = GOOD["results"][0]  # type: ignore[index]


@pytest.mark.parametrize(
    ("changes", "result", "named"),
    [
        ({"ownerKind": "LifelongLearningJob"}, {}, "ownerKind"),
        ({"status": "running"}, {}, "status"),
        ({"kind": "deploy"}, {}, "kind"),
        ({"name": ""}, {}, "name"),
        ({"results": []}, None, "one model after a training"),
        ({"results": [RESULT, RESULT]}, None, "at most one"),
        ({"results": "none"}, None, "results"),
        ({}, {"metrics": [0.5]}, "metrics"),
        ({}, {"metrics": {"mIoU": "0.5"}}, "metrics"),
        ({}, {"metrics": {"mIoU": math.nan}}, "metrics"),
        ({}, {"metrics": {"mIoU": np.float32(0.5)}}, "metrics"),
        ({}, {"current_metric": {"mIoU": 0.5}}, "current_metric"),
        ({}, {"classes": "road,sky"}, "classes"),
        ({}, {"classes": [1, 2]}, "classes"),
        ({}, {"number_of_labeled_unseen_sample": 1.0}, "number_of_labeled"),
        ({}, {"url": None}, "url"),
    ],
)
def test_k8s_04_a_report_that_sedna_would_drop_with_200_is_never_sent(
    changes: dict[str, object], result: dict[str, object] | None, named: str
) -> None:
    check_report(GOOD)
    body = {**GOOD, **changes}
    if result:
        body["results"] = [{**RESULT, **result}]  # type: ignore[dict-item]
    with pytest.raises(SednaError, match=named):
        check_report(body)


@pytest.mark.parametrize("answers", [(400,), (415,)], indirect=True)
def test_a_report_that_is_refused_is_not_repeated(answers: Controller) -> None:
    with pytest.raises(ReportRefusedError, match=r"HTTP 4\d\d"):
        reporter(TRAIN_LOCAL_1, answers, TRAIN).failed()
    assert len(answers.requests) == 1


@pytest.mark.parametrize("answers", [(503, 500)], indirect=True)
def test_k8s_04_a_controller_in_trouble_is_asked_again(answers: Controller) -> None:
    reporter(TRAIN_LOCAL_1, answers, TRAIN).failed()
    assert len(answers.requests) == 3


def test_k8s_04_one_report_a_life(answers: Controller) -> None:
    """A second one after the job moved on rewinds it."""
    once = reporter(EVAL_LOCAL_1, answers, EVAL)
    once.failed()
    assert once.has_reported
    with pytest.raises(SednaError, match="already"):
        once.completed(None)
    assert len(answers.requests) == 1


def test_k8s_04_late_and_alive_afterwards(answers: Controller) -> None:
    """Early reports, and those just before a pod's end, are overwritten by Sedna itself."""
    environment = read_environment(EVAL, {**EVAL_LOCAL_1, "LC_SERVER": answers.url})
    slept: list[tuple[float, int]] = []
    late = LcReporter(
        environment,
        EVAL,
        not_before_s=15,
        linger_s=20,
        clock=lambda: 0,
        sleep=lambda seconds: slept.append((seconds, len(answers.requests))),
    )
    late.completed(None)
    assert slept == [(15, 0), (20, 1)]
