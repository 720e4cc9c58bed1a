"""UX-01: a person is told what waits and where when it waits, not minutes before."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from annotation.label_studio_server import LabelStudioServer
from cloud.demo.demo import Demo
from cloud.demo.people import People
from cloud.demo.plan import DemoPlan
from cloud.demo.told import Told
from lifelong.errors import LifelongError
from lifelong.records.ids import RoundNumber, SampleId, VersionId
from lifelong.records.label_map import CITYSCAPES
from lifelong.records.rounds import Round, RoundState
from lifelong.records.samples import AnnotationTask
from tests.builders import a_round
from tests.integration_fixtures import REPOSITORY

A_TASK = AnnotationTask(
    task_id=3, project_id=7, sample_id=SampleId("a" * 16), round_number=RoundNumber(1), draft_key=""
)


class Listening(Told):
    """Keeps what was said."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


class Server(LabelStudioServer):
    """One that runs nowhere."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "x", folder, folder, folder / "log")
        self._secrets = {"email": "me@here", "password": "secret", "token": "t"}
        self._port = 8080


def test_ux_01_a_person_is_asked_once_a_round_with_address_and_login(tmp_path: Path) -> None:
    told = Listening()
    people = People(tmp_path / "config.yaml", Server(tmp_path), CITYSCAPES, None, told)
    round_ = a_round(RoundState.ANNOTATING, tasks=(A_TASK,))
    people.ask(a_round())  # nothing waits yet
    assert told.said == []
    people.ask(round_)
    people.ask(round_)
    asked = [line for line in told.said if "your turn" in line]
    assert len(asked) == 1
    for word in ("1 drafts wait", "http://127.0.0.1:8080/projects/7/data", "me@here", "secret"):
        assert word in asked[0]


def test_a_scripted_annotator_needs_no_word(tmp_path: Path) -> None:
    told = Listening()
    people = People(tmp_path / "config.yaml", Server(tmp_path), CITYSCAPES, lambda told: None, told)
    people.ask(a_round(RoundState.ANNOTATING, tasks=(A_TASK,)))
    assert told.said == []


def a_demo(rounds: Sequence[Round], *, person: bool, folder: Path) -> Demo:
    """One without any real part, whose patience is over at once; rounds change at each look."""
    looks = iter(rounds)
    last = [rounds[0]]

    def every() -> list[Round]:
        last[0] = next(looks, last[0])
        return last

    nothing = MagicMock()
    nothing.look_after.return_value = ()
    people = MagicMock(is_a_person=person)
    people.finished.return_value = 0
    cloud = MagicMock()
    cloud.rounds.all.side_effect = every
    cloud.releases.current.return_value = None
    return Demo(
        folder=folder, plan=DemoPlan(patience_s=0.0), cloud=cloud, camera=nothing,
        children=nothing, studio=nothing, people=people, begin=nothing, forget=nothing,
        commands={}, told=Listening(), link=nothing,
    )  # fmt: skip


def test_ux_01_the_demo_waits_for_a_person_as_long_as_it_takes(tmp_path: Path) -> None:
    """It once gave up after half an hour, with Label Studio, in the middle of somebody's work."""
    waiting = a_round(RoundState.ANNOTATING, tasks=(A_TASK,))
    over = a_round(RoundState.RELEASED, tasks=(A_TASK,), candidate=VersionId("v2"))
    looks = [waiting, waiting, waiting, over]
    a_demo(looks, person=True, folder=tmp_path)._play(0, "fog")
    with pytest.raises(LifelongError, match="round 1 is annotating for 0 s"):
        a_demo(looks, person=False, folder=tmp_path)._play(0, "fog")


def test_ux_06_the_demo_is_put_together_without_torch() -> None:
    """Its import costs seconds, and on a busy machine a minute, before anything is said."""
    program = "import sys, cloud.demo.assembly; sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=False).returncode == 0
    )
