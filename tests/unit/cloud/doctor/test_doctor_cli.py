"""`cornerloop doctor` from a shell: its words, exit codes and repairs (OPS-04)."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from annotation.labeling_config import labeling_config
from annotation.project_settings import SETTINGS
from cloud import assembly
from cloud.cli import app
from cloud.doctor import machine_checks
from cloud.doctor.list_of_checks import CHECKS
from cloud.doctor.repairs import end_torn_line, free_lease, mend_project
from cloud.lease import Lease, Term
from lifelong.errors import LifelongError
from lifelong.labels.map_changes import LabelMapChange
from lifelong.links.journal import utc_now
from lifelong.records.keys import LABEL_MAPS
from lifelong.records.wire import from_json, to_json
from tests.builders import SMALL_MAP
from tests.unit.cloud.doctor.doctor_room import (
    HOOK_SECRET,
    PASSWORD,
    TOKEN,
    Ward,
    Web,
    ill,
    serving,
)


@pytest.fixture
def ward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ward]:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemAvailable: 8000000 kB\n")
    monkeypatch.setattr(machine_checks, "_MEMINFO", meminfo)
    with serving(Web()) as web, ExitStack() as held_open:
        made = Ward(tmp_path, web, held_open)
        monkeypatch.setattr(assembly, "open_label_studio", lambda _: made.studio)
        yield made


def doctor(ward: Ward, *words: str, **environ: str | None) -> Result:
    ward.write()
    config = str(ward.folder / "config.yaml")
    named = {name: None for name in os.environ if "proxy" in name.lower()}
    given = {**named, **ward.environ, **environ}
    return CliRunner().invoke(app, ["doctor", "-c", config, *words], env=given)


# What looks at nothing that a test's machine may lack.
OURS = [f"--only={name}" for name in CHECKS if name not in {"disk", "device", "student"}]


def test_ops_04_well_is_exit_code_0_and_one_line_a_check(ward: Ward) -> None:
    result = doctor(ward, *OURS)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert len(lines) == len(OURS) + 1
    assert lines[-1] == f"{len(OURS)} well"


def test_ops_04_broken_is_exit_code_1_a_warning_0_usage_2(ward: Ward) -> None:
    ward.report("edge-3", alarms={"heat": "hot"})
    warned = doctor(ward, *OURS)
    assert warned.exit_code == 0
    assert "warning: edge edge-3" in warned.stdout
    assert doctor(ward, *OURS, LS_TOKEN="").exit_code == 1
    assert doctor(ward, "--only", "nonsense").exit_code == 2
    assert doctor(ward, "--job", "no/such/file").exit_code == 2
    assert CliRunner().invoke(app, ["doctor"], env={"CORNERLOOP_CONFIG": ""}).exit_code == 2


def test_ops_04_json_says_the_same(ward: Ward) -> None:
    ward.web.answers.clear()
    told = json.loads(doctor(ward, *OURS, "--json").stdout)
    by_name = {check["check"]: check["findings"] for check in told["checks"]}
    assert list(by_name) == [name.removeprefix("--only=") for name in OURS]
    assert by_name["label-studio"][0]["level"] == "broken"
    assert by_name["label-studio"][0]["to_do"]
    assert by_name["project"][0]["level"] == "not looked at"
    assert told["counts"]["broken"] == 1
    assert told["repairs"] == []


def test_ops_04_quick_leaves_the_long_ones_out(ward: Ward) -> None:
    output = doctor(ward, *OURS, "--quick").stdout
    assert output.count("left out by --quick") == sum(check.is_long for check in CHECKS.values())
    listed = CliRunner().invoke(app, ["doctor", "--list"]).stdout
    assert [line.split()[0] for line in listed.splitlines()] == list(CHECKS)
    assert listed.count("(long)") == sum(check.is_long for check in CHECKS.values())


def test_ops_04_no_secret_is_printed_whatever_is_wrong(ward: Ward) -> None:
    class Talking(type(ward.studio)):  # type: ignore[misc]
        def whoami(self) -> str:
            raise LifelongError(f"401 for {TOKEN}")

    ward.studio.__class__ = Talking
    for words in (["--json"], []):
        for environ in (
            {"LS_TOKEN": f'"{TOKEN}"\n'},
            {"KEY_PASSWORD": f"{PASSWORD}\n"},
            {"SECRET_ACCESS_KEY": f"{HOOK_SECRET} "},
        ):
            output = doctor(ward, *OURS, *words, **environ).output
            for secret in (TOKEN, PASSWORD, HOOK_SECRET):
                assert secret not in output
    assert "401 for (secret)" in doctor(ward, *OURS).output


def dead_lease(ward: Ward) -> str:
    assert Lease(ward.storage, 30.0, ward.now).hold()
    (key,) = ward.storage.keys("lease")
    term = from_json(Term, ward.storage.get(key), key)
    ward.storage.put(key, to_json(replace(term, started="long ago")))
    return key


def test_ops_04_a_dead_services_lease_is_ended(ward: Ward) -> None:
    dead_lease(ward)
    assert "--repair" in doctor(ward, "--only", "lease").stdout
    assert len(list(ward.storage.keys("lease"))) == 1
    result = doctor(ward, "--only", "lease", "--repair")
    assert "ending term 1" in result.stdout
    assert "the next service begins at once" in result.stdout
    assert result.stdout.splitlines()[-1] == "1 well"
    assert Lease(ward.storage, 30.0, utc_now).hold()


def test_ops_04_a_living_services_lease_is_left_alone(ward: Ward) -> None:
    living = Lease(ward.storage, 30.0, ward.now)
    assert living.hold()
    said: list[str] = []
    free_lease(ward.patient(), said.append)
    assert said == []
    assert living.hold()
    index = ward.folder / "dataset" / "index.txt"
    index.write_text(index.read_text()[:-5])
    torn = index.read_text()
    result = doctor(ward, "--only", "index", "--repair")
    assert "not done: a service is at work" in result.stdout
    assert result.exit_code == 1
    assert index.read_text() == torn


def test_ops_04_a_projects_settings_are_put_right(ward: Ward) -> None:
    ward.studio.change_settings(1, {"sampling": "Uniform sampling"})
    ward.studio.hooks.clear()
    ward.studio.models.clear()
    assert doctor(ward, "--only", "project").stdout.count("--repair") == 3
    result = doctor(ward, "--only", "project", "--repair")
    assert "is as it should be" in result.stdout
    assert result.stdout.splitlines()[-1] == "1 well"
    assert ward.studio.settings(1)["sampling"] == SETTINGS["sampling"]
    assert HOOK_SECRET not in result.output
    before = (dict(ward.studio.hooks), dict(ward.studio.models))
    doctor(ward, "--only", "project", "--repair")
    assert before == (ward.studio.hooks, ward.studio.models)


def test_ops_04_labels_that_a_change_of_classes_brought_are_added(ward: Ward) -> None:
    after = ward.patient().label_map
    origins = {name: (name,) if name in SMALL_MAP else () for name in after.names}
    change = LabelMapChange(before=SMALL_MAP, after=after, origins=origins)
    ward.storage.put(f"{LABEL_MAPS}/000001.json", to_json(change))
    ward.studio.set_label_config(1, labeling_config(SMALL_MAP))
    assert "does not fit" in str(ill(ward.look("project")))
    mend_project(ward.patient(), lambda _: None)
    assert ill(ward.look("project")) == {}


def test_ops_04_a_project_that_is_not_there_is_not_made(ward: Ward) -> None:
    ward.studio.projects.clear()
    said: list[str] = []
    mend_project(ward.patient(), said.append)
    assert said == []
    assert ward.studio.projects == {}


@pytest.mark.parametrize("cut", [1, 5, 22, 40])
def test_ops_04_a_torn_line_of_a_known_sample_becomes_whole(ward: Ward, cut: int) -> None:
    index = ward.folder / "dataset" / "index.txt"
    whole = index.read_bytes()
    index.write_bytes(whole[:-cut])
    result = doctor(ward, "--only", "index", "--repair")
    assert index.read_bytes() == whole
    assert "completing it" in result.stdout
    assert result.stdout.splitlines()[-1] == "1 well"


def test_ops_04_a_torn_line_of_nothing_we_know_is_only_ended(ward: Ward) -> None:
    index = ward.folder / "dataset" / "index.txt"
    whole = index.read_text()
    index.write_text(whole + "images/strange")
    end_torn_line(ward.patient(), lambda _: None)
    assert index.read_text() == whole + "images/strange\n"
    end_torn_line(ward.patient(), lambda _: None)
    assert index.read_text() == whole + "images/strange\n"


def test_ops_04_repairs_are_told_in_json_and_one_that_fails_does_not_stop_the_next(
    ward: Ward,
) -> None:
    dead_lease(ward)
    ward.studio.change_settings(1, {"sampling": "Uniform sampling"})
    ward.studio.set_label_config(1, labeling_config(SMALL_MAP))  # nobody said how to read it
    told: Any = json.loads(doctor(ward, *OURS, "--repair", "--json").stdout)
    repairs = "\n".join(told["repairs"])
    assert "lease: the next service begins at once" in repairs
    assert "project: not done: Label Studio project 'Cornerloop' does not fit" in repairs
