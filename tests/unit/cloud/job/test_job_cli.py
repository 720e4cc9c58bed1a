"""`cornerloop job`: status for people and for machines, the list of faults."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cloud.job.conditions import JobCondition
from cloud.job.faults import FAULTS, FaultPlan
from cloud.job.job_cli import job_app
from cloud.job.states import JobFolder, JobState
from lifelong.errors import ConfigError

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def stuck(tmp_path: Path) -> Path:
    """The folder of a job whose train report was lost."""
    names = ("Train/Waiting", "Train/Ready", "Train/Completed", "Eval/Waiting")
    conditions = [
        JobCondition(stage=stage, type=kind, at=AT)
        for stage, kind in (name.split("/") for name in names)
    ]
    folder = JobFolder(tmp_path)
    folder.save(JobState(conditions=conditions, round_number=1, rounds_begun=1))
    folder.keep_object({"metadata": {"name": "j1"}, "spec": {"outputDir": "/out"}})
    return tmp_path


def test_k8s_04_status_says_where_the_job_is_and_why_it_is_stuck(stuck: Path) -> None:
    told = CliRunner().invoke(job_app, ["status", "--state", str(stuck)]).output
    assert "Eval/Waiting STUCK" in told
    assert "report was lost or never sent" in told
    assert "2026-11-20 12:00:00" in told


def test_k8s_02_status_as_json_is_the_object_of_the_crd(stuck: Path) -> None:
    shown = json.loads(
        CliRunner().invoke(job_app, ["status", "--state", str(stuck), "--json"]).output
    )
    assert shown["kind"] == "LifelongLearningJob"
    assert shown["metadata"] == {"name": "j1", "namespace": "default"}
    assert [c["type"] for c in shown["status"]["conditions"]][-1] == "Waiting"
    assert set(shown["status"]["knowledgeBase"]) == {"AIModels", "AIClasses", "samples"}


def test_every_fault_is_listed_in_one_line() -> None:
    lines = CliRunner().invoke(job_app, ["faults"]).output.splitlines()
    assert [line.split()[0] for line in lines] == list(FAULTS)


@pytest.mark.parametrize(
    ("text", "rounds"),
    [
        ("lost-report", [2, 4, 6]),
        ("lost-report@3", [3]),
        ("lost-report/3", [3, 6]),
        ("stuck-eval, lost-report@1", [1]),
        ("long-line", []),
    ],
)
def test_a_fault_happens_in_the_rounds_that_were_asked_for(text: str, rounds: list[int]) -> None:
    plan = FaultPlan.parse(text)
    assert [n for n in range(1, 7) if plan.strikes("lost-report", n)] == rounds


def test_all_faults_come_one_after_the_other_in_an_order_of_the_seed() -> None:
    single = [name for name, fault in FAULTS.items() if fault.every > 1]

    def order(seed: int) -> list[str]:
        plan = FaultPlan.parse("all", seed)
        rounds = range(1, len(single) + 1)
        found = [[name for name in single if plan.strikes(name, n)] for n in rounds]
        assert all(len(names) == 1 for names in found)
        return [names[0] for names in found]

    assert sorted(order(1)) == sorted(single)
    assert order(1) == order(1)
    assert order(1) != order(2)


def test_an_unknown_fault_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ConfigError, match=r"'lost-reports': no such fault.*lost-report,"):
        FaultPlan.parse("lost-reports")
