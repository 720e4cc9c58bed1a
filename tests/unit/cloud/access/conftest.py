"""A whole application behind its real gate."""

from pathlib import Path

import pytest

from tests.gated_house import House, a_house


@pytest.fixture
def house(tmp_path: Path) -> House:
    return a_house(tmp_path)
