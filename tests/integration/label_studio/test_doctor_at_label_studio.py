"""The doctor at a real Label Studio: version, kinds of tokens, a project put right (OPS-04)."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from annotation.label_studio_server import LabelStudioServer
from cloud.doctor.checks import Finding, Level, Patient, examine
from cloud.doctor.list_of_checks import CHECKS
from cloud.doctor.repairs import mend_project
from lifelong.links.storage import open_storage
from lifelong.records.label_map import CITYSCAPES
from tests.integration_fixtures import EXECUTABLE, TEMPLATE, access_token, personal_token

# The SDK reads the answer with a method that pydantic will drop one day.
pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:The `parse_obj` method is deprecated"),
]
VARIABLE = "CORNERLOOP_LABEL_STUDIO_TOKEN"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudioServer]:
    """One of its own: a user has a single personal token."""
    if not EXECUTABLE.exists():
        pytest.skip("no Label Studio in .venv-label-studio; `make setup` installs it")
    folder = tmp_path_factory.mktemp("label-studio-doctor")
    made = LabelStudioServer(
        EXECUTABLE, folder / "data", folder / "documents", folder / "log.txt", template=TEMPLATE
    )
    with made:
        yield made


@pytest.fixture(scope="module")
def personal(server: LabelStudioServer) -> str:
    return personal_token(server)


@pytest.fixture
def config(server: LabelStudioServer, tmp_path: Path) -> Path:
    storage = server.documents_root / tmp_path.name
    open_storage(str(storage)).put("masks/a", b"a")
    settings = {
        "storage": str(storage),
        "label_studio": {
            "url": server.url,
            "project": f"Doctor {tmp_path.name}"[:50],
            "local_files_root": str(server.documents_root),
        },
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def looked(config: Path, token: str, monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    monkeypatch.setenv(VARIABLE, token)
    patient = Patient(config_path=config, environ={VARIABLE: token})
    try:
        checks = {name: CHECKS[name] for name in ("label-studio", "project")}
        return [finding for one in examine(patient, checks) for finding in one.findings]
    finally:
        patient.close()


def test_ops_04_the_kind_of_token_is_told(
    server: LabelStudioServer, personal: str, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for token, words in (
        (server.token, "version 1.23.2; annotator@cornerloop.example by a legacy token"),
        (personal, "version 1.23.2; annotator@cornerloop.example by a personal access token"),
    ):
        first, second = looked(config, token, monkeypatch)
        assert (first.level, first.what) == (Level.WELL, words)
        assert "the first round makes it" in second.what


def test_ops_04_a_token_that_does_not_do_is_told_without_it(
    server: LabelStudioServer, personal: str, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for token, words in ((access_token(server, personal), "five minutes"), ("0" * 40, VARIABLE)):
        first, *_ = looked(config, token, monkeypatch)
        assert first.level is Level.BROKEN
        assert words in f"{first.where} {first.what}"
        assert token not in str(first)


def test_ops_04_a_project_that_somebody_changed_is_put_right(
    server: LabelStudioServer, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from annotation.labeling_config import labeling_config

    monkeypatch.setenv(VARIABLE, server.token)
    patient = Patient(
        config_path=config, environ={VARIABLE: server.token}, now=lambda: datetime.now(UTC)
    )
    try:
        title = patient.config.label_studio.project
        project = patient.studio.create_project(
            title, labeling_config(CITYSCAPES.with_distinct_colours()), "as you like"
        )
        patient.studio.change_settings(project, {"sampling": "Uniform sampling"})
        first = looked(config, server.token, monkeypatch)
        assert "sampling" in first[1].what
        said: list[str] = []
        mend_project(patient, said.append)
        assert said[-1].endswith("is as it should be")
        after = looked(config, server.token, monkeypatch)
        assert [finding.level for finding in after] == [Level.WELL, Level.WELL]
    finally:
        patient.close()
