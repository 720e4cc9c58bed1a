"""Either kind of Label Studio for every promise of the contract."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from annotation.label_studio_server import LabelStudioServer
from tests.desks import Desk, FakeDesk, RealDesk, Setting


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.integration)])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    if request.param == "fake":
        yield FakeDesk(tmp_path)
        return
    server: LabelStudioServer = request.getfixturevalue("label_studio_server")
    server.start()  # a test before this one may have left it stopped
    real = RealDesk(server, tmp_path.name)
    yield real
    real.studio.close()


@pytest.fixture
def setting(desk: Desk, tmp_path: Path) -> Setting:
    """Storage with drafts, and an exchange at the desk."""
    return Setting(desk, tmp_path)
