"""A real Label Studio server for tests that ask for one; started once, stopped at the end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from annotation.label_studio_server import LabelStudioServer

REPOSITORY = Path(__file__).parents[1]
EXECUTABLE = REPOSITORY / ".venv-label-studio" / "bin" / "label-studio"
TEMPLATE = REPOSITORY / ".cache" / "label-studio-template"


@pytest.fixture(scope="session")
def label_studio_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudioServer]:
    """A running Label Studio that serves local files from its `documents` folder."""
    if not EXECUTABLE.exists():
        pytest.skip("no Label Studio in .venv-label-studio; `make setup` installs it")
    folder = tmp_path_factory.mktemp("label-studio")
    server = LabelStudioServer(
        EXECUTABLE,
        folder / "data",
        folder / "documents",
        folder / "label-studio.log",
        template=TEMPLATE,
    )
    with server:
        yield server
