"""How interactive annotation is served: command line, addresses, passwords, its port."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from annotation.assist.credentials import Credentials
from annotation.project_settings import Backend
from cloud.assist_service import serving as assist_serving
from cloud.assist_service.serving import (
    assist_config,
    backend_address,
    connect_project,
    keep_connected,
    own_address,
    pairs_from,
    serve_assist,
)
from cloud.cli import app
from lifelong.config import Config, WebSection
from lifelong.errors import ConfigError
from lifelong.sections.annotation import LabelStudioSection
from lifelong.sections.assist import AssistSection
from tests.fakes_label_studio import FakeStudio

CREDENTIALS = Credentials("cornerloop", "pw")


def a_config(**studio: object) -> Config:
    return Config(label_studio=LabelStudioSection.model_validate(studio), web=WebSection(port=8000))


class ClosableStudio(FakeStudio):
    said = ""

    def close(self) -> None:
        pass

    def shown_version(self, project_id: int) -> str:
        return self.said


@pytest.fixture
def studio(monkeypatch: pytest.MonkeyPatch) -> ClosableStudio:
    fake = ClosableStudio()
    fake.said = "cornerloop-1"
    monkeypatch.setattr("cloud.assembly.open_label_studio", lambda _: fake)
    return fake


def test_int_16_the_words_of_the_seeds_come_before_the_configuration() -> None:
    """INT-16: as label_anything's own command line has them."""
    words = ["model_name=sam", "sam_config=vit_b", "sam_checkpoint_file=./sam_vit_b_01ec64.pth",
             "out_mask=True", "out_bbox=False", "device=cpu"]  # fmt: skip
    config = Config(assist=AssistSection(host="10.0.0.1", port=9091))
    got = assist_config(config, words)
    assert (got.assist.host, got.assist.port) == ("10.0.0.1", 9091)
    assert (got.assist.model.type, got.assist.model.model) == ("sam", "vit_b")
    assert (got.assist.out_mask, got.assist.out_bbox, got.assist.device) == (True, False, "cpu")


@pytest.mark.parametrize("word", ["sam", "=x", " =x"])
def test_ops_03_a_word_without_a_key_is_refused_with_an_example(word: str) -> None:
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        pairs_from([word])


def test_ops_03_an_unknown_word_is_told_by_the_command(tmp_path: Path) -> None:
    """OPS-03: at the terminal, before anything is loaded."""
    answer = CliRunner().invoke(app, ["assist", "--with", "modelname=sam"])
    assert isinstance(answer.exception, ConfigError) and "model_name" in str(answer.exception)


@pytest.mark.parametrize(
    ("studio", "told"),
    [
        ({}, "http://cornerloop:pw@127.0.0.1:8000/assist"),
        ({"url": "http://localhost:8080"}, "http://cornerloop:pw@127.0.0.1:8000/assist"),
        ({"url": "http://ls.example"}, ""),  # how it reaches us, nobody has said
        (
            {"url": "http://ls.example", "ml_backend": "http://c:8000/assist/"},
            "http://cornerloop:pw@c:8000/assist/",
        ),
        ({"ml_backend": "http://me:other@c:8000/assist"}, "http://me:other@c:8000/assist"),
        ({"ml_backend": "http://other-model:9090"}, "http://other-model:9090"),
    ],
)
def test_sec_01_our_password_goes_to_our_own_address_alone(
    studio: dict[str, object], told: str
) -> None:
    """SEC-01: somebody else's model is not told it."""
    assert backend_address(a_config(**studio), CREDENTIALS) == told


def test_own_addresses_are_those_that_this_machine_reaches() -> None:
    assert own_address("0.0.0.0", 9090) == "http://127.0.0.1:9090"
    assert own_address("fd00::7", 9090) == "http://[fd00::7]:9090"


def test_ops_03_a_taken_port_is_told_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """OPS-03: with what to do."""
    monkeypatch.setattr(assist_serving, "make_assist", lambda *_, **__: pytest.fail("loaded"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = Config(assist=AssistSection(port=taken.getsockname()[1]))
        with pytest.raises(ConfigError, match="say --port"):
            serve_assist(config, say=lambda _: None)


def test_a_project_is_connected_by_id_or_title(studio: ClosableStudio) -> None:
    number = studio.create_project("Streets", "<View/>", "")
    for name in (str(number), "Streets"):
        told = connect_project(a_config(), name, "http://cornerloop:pw@127.0.0.1:9090")
        assert f"project {number} is connected" in told
    (backend,) = studio.backends(number)
    assert (backend.url, backend.user) == ("http://127.0.0.1:9090", "cornerloop")
    studio.create_project("Streets", "<View/>", "")
    for name, why in (("Streets", "name it by its id"), ("Fields", "none of that title")):
        with pytest.raises(ConfigError, match=why):
            connect_project(a_config(), name, "http://127.0.0.1:9090")


@pytest.mark.parametrize(("shown", "connected"), [("cornerloop-1", 1), ("", 0)])
def test_the_loops_project_is_told_at_the_start_once_it_shows_drafts(
    studio: ClosableStudio, shown: str, connected: int
) -> None:
    """Before, Label Studio would ask the model for every task that is opened."""
    studio.said = shown
    number = studio.create_project("Cornerloop", "<View/>", "")
    keep_connected(a_config(), "http://cornerloop:new@127.0.0.1:8000/assist", threading.Event())
    assert len(studio.backends(number)) == connected


def test_a_label_studio_that_starts_later_is_told_then(
    studio: ClosableStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = studio.create_project("Cornerloop", "<View/>", "")
    waits: list[float] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0.0)
            return False

    open_at_third: list[Callable[[], object]] = []

    def opened(_: Config) -> ClosableStudio:
        open_at_third.append(lambda: None)
        if len(open_at_third) < 3:
            raise ConfigError("not yet")
        return studio

    monkeypatch.setattr("cloud.assembly.open_label_studio", opened)
    keep_connected(a_config(), "http://cornerloop:pw@127.0.0.1:8000/assist", Stop())
    assert [type(one) for one in studio.backends(number)] == [Backend] and len(waits) == 2
