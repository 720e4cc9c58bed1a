"""K8S-04: from a condition list alone, what is wrong with a job and which reports free it."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cloud.job.recovery import diagnose

NOW = datetime(2026, 11, 20, 21, 0, tzinfo=UTC)
TRAINED = {"format": "pkl", "url": "/output/train/2/index.pkl", "classes": ["road"]}
ASKED: dict[str, Any] = {"input": {"dataURL": "/d", "outputDir": "/output/train/2"}}
EXAMINED: dict[str, Any] = {
    "input": {"models": [TRAINED], "dataURL": "/d", "outputDir": "/output/eval/2"}
}


def a_job(*steps: str | tuple[str, dict[str, Any]], age: int = 3600, **spec: Any) -> dict[str, Any]:
    """A job whose conditions are `Stage/Type`, with data where a pair is given."""
    conditions = []
    for step in steps:
        name, data = step if isinstance(step, tuple) else (step, None)
        stage, kind = name.split("/")
        conditions.append(
            {
                "stage": stage,
                "type": kind,
                "status": "True",
                "lastTransitionTime": f"{NOW - timedelta(seconds=age):%Y-%m-%dT%H:%M:%SZ}",
                **({} if data is None else {"data": json.dumps(data)}),
            }
        )
    trigger = {"condition": {"metric": "num_of_samples", "operator": ">", "threshold": 100}}
    return {
        "metadata": {"name": "ll-demo"},
        "spec": {
            "dataset": {"name": "d", "trainProb": 0.8},
            "trainSpec": {"trigger": trigger},
            **spec,
        },
        "status": {"conditions": conditions},
    }


UP_TO_EVAL = ("Train/Waiting", ("Train/Ready", ASKED), "Train/Starting", "Train/Running")


def test_k8s_04_the_job_that_was_stuck_for_ever_is_freed_by_the_two_reports_that_were_seen() -> (
    None
):
    """Observed fault 2: Train completed without data, Eval/Waiting for ever."""
    found = diagnose(a_job(*UP_TO_EVAL, "Train/Completed", "Eval/Waiting"), NOW)
    assert found.is_stuck
    assert "knows no model at all" in found.reasons[0]
    first, second = found.reports
    assert (first.kind, first.status, first.results, first.wait_s) == ("train", "failed", (), 0)
    assert (second.kind, second.status, second.wait_s) == ("train", "completed", 20)
    assert second.results == ({"format": "pkl", "url": "/output/train/2/index.pkl"},)
    assert second.needs_file == "/output/train/2/index.pkl"


def test_a_model_that_was_reported_is_reported_again_as_it_was() -> None:
    """W3: a late report came after the local controller had given up."""
    done = ("Train/Completed", {"output": {"models": [TRAINED]}})
    found = diagnose(
        a_job(*UP_TO_EVAL, "Train/Completed", "Eval/Waiting", done, "Eval/Waiting"), NOW
    )
    assert found.is_stuck
    assert found.reports[1].results == (TRAINED,)
    assert "marked this stage as done" in found.reasons[0]


@pytest.mark.parametrize(
    ("steps", "age", "told"),
    [
        ((), 3600, "no condition"),
        (("Train/Waiting", ("Train/Ready", ASKED)), 3600, "hostPath"),
        ((*UP_TO_EVAL[:3],), 3600, "hostPath"),
        (UP_TO_EVAL, 200_000, "pod was deleted"),
        ((*UP_TO_EVAL, "Train/Failed"), 3600, "Global Manager does not move"),
        ((*UP_TO_EVAL, "Deploy/Waiting"), 3600, "marked this stage"),
    ],
)
def test_each_state_that_lasts_too_long_is_stuck_and_says_why(
    steps: tuple[Any, ...], age: int, told: str
) -> None:
    job = a_job(*steps, age=age)
    job["metadata"]["creationTimestamp"] = "2026-11-20T08:00:00Z"
    found = diagnose(job, NOW)
    assert found.is_stuck
    assert told in " ".join((found.state, *found.reasons))
    assert not diagnose(a_job(*steps, age=5), NOW).is_stuck, "but not after five seconds"


def test_an_older_model_that_was_deployed_is_found_out_and_put_right() -> None:
    """Observed fault 3: the report of Eval was lost, so the round before was deployed again."""
    old = ("Deploy/Ready", {"input": {"models": [{"url": "/output/eval/1/index.pkl"}]}})
    job = a_job(
        *UP_TO_EVAL,
        ("Train/Completed", {"output": {"models": [TRAINED]}}),
        ("Eval/Ready", EXAMINED),
        "Eval/Completed",
        "Deploy/Waiting",
        old,
        "Deploy/Completed",
        "Train/Waiting",
    )
    found = diagnose(job, NOW)
    assert not found.is_stuck
    assert "/output/eval/1/index.pkl" in found.reasons[0]
    (report,) = found.reports
    assert (report.kind, report.needs_file) == ("eval", "/output/eval/2/index.pkl")


def test_a_veto_is_no_fault() -> None:
    job = a_job(
        *UP_TO_EVAL,
        ("Train/Completed", {"output": {"models": [TRAINED]}}),
        ("Eval/Ready", EXAMINED),
        ("Eval/Completed", {"output": {}}),
        "Deploy/Waiting",
        "Deploy/Completed",
        "Train/Waiting",
    )
    found = diagnose(job, NOW)
    assert (found.is_stuck, found.reasons, found.reports) == (False, (), ())


def test_w2_an_eval_of_the_round_before_is_found_out() -> None:
    earlier = {"format": "pkl", "url": "/output/train/1/index.pkl"}
    wrong = {"input": {**EXAMINED["input"], "models": [earlier]}}
    job = a_job(*UP_TO_EVAL, "Train/Completed", ("Eval/Ready", wrong), "Train/Waiting")
    found = diagnose(job, NOW)
    assert "instead of this round's /output/train/2/index.pkl" in found.reasons[0]
    assert found.reports[0].results[0]["url"] == "/output/train/2/index.pkl"


@pytest.mark.parametrize(
    "verdict", [{"output": {}}, {"output": {"models": [{"format": "pkl", "url": "/o/eval/0"}]}}]
)
def test_a_verdict_that_arrived_is_right_whatever_eval_was_pointed_to(verdict) -> None:
    """Seen with Sedna after a restart of its local controller: it names an older round's model."""
    earlier = {"format": "pkl", "url": "/output/train/1/index.pkl"}
    wrong = {"input": {**EXAMINED["input"], "models": [earlier]}}
    told = ("Eval/Ready", wrong), ("Eval/Completed", verdict)
    job = a_job(*UP_TO_EVAL, "Train/Completed", *told, "Deploy/Completed", "Train/Waiting")
    found = diagnose(job, NOW)
    assert (found.is_stuck, found.reports) == (False, ())


def test_without_any_model_eval_waits_in_vain_from_the_first_look() -> None:
    steps = (*UP_TO_EVAL, "Train/Completed", "Eval/Waiting")
    assert not diagnose(a_job(*steps, age=20), NOW).is_stuck
    assert diagnose(a_job(*steps, age=40), NOW).is_stuck


def test_a_round_whose_lines_are_gone_is_started_by_comment_lines() -> None:
    """Observed fault 6: no second try; Sedna counts `#` lines, our workers do not."""
    job = a_job(*UP_TO_EVAL, "Train/Failed", "Train/Waiting")
    waiting = diagnose(job, NOW)
    assert (waiting.is_stuck, waiting.comment_lines) == (False, 0)
    assert "never offers its lines again" in waiting.reasons[0]
    stuck = diagnose(job, NOW, awaits_training=True)
    assert (stuck.is_stuck, stuck.comment_lines) == (True, 127)  # int(0.8 * 127) = 101 > 100
    again = ("Train/Waiting", ("Train/Ready", ASKED), "Train/Failed")
    worn = diagnose(a_job(*again * 3, "Train/Waiting"), NOW, awaits_training=True)
    assert worn.is_stuck
    assert worn.comment_lines == 0, "a worker that always fails is not pushed on"


def test_a_closed_timer_is_a_reason_to_wait() -> None:
    condition = {"metric": "num_of_samples", "operator": ">=", "threshold": 1}
    trigger = {"condition": condition, "timer": {"start": "22:00", "end": "06:00"}}
    job = a_job("Train/Waiting", trainSpec={"trigger": trigger})
    found = diagnose(job, NOW, awaits_training=True)
    assert (found.is_stuck, found.reasons) == (False, ("the timer is closed at this hour",))
    assert diagnose(job, NOW.replace(hour=23), awaits_training=True).is_stuck


def test_a_restarted_local_controller_is_seen_in_the_numbers() -> None:
    first = {"input": {"dataURL": "/d", "outputDir": "/output/train/1"}}
    zero = {"input": {"models": [TRAINED], "dataURL": "/d", "outputDir": "/output/eval/0"}}
    job = a_job(
        ("Train/Ready", ASKED), ("Train/Ready", first), ("Eval/Ready", zero), "Train/Waiting"
    )
    told = " ".join(diagnose(job, NOW).reasons)
    assert "round numbers began again" in told
    assert "round 0" in told
