"""Fixtures of more than one suite, and how many threads a worker may use."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from lifelong.links import redaction
from tests.integration_fixtures import label_studio_server

__all__ = ["label_studio_server"]

# No test is about speed: on a busy machine an example may take any time.
# The same examples in each run: whoever changes something else should not meet a new one by
# chance. `--hypothesis-profile seek` looks for new ones.
settings.register_profile("house", deadline=None, derandomize=True, database=None)
settings.register_profile("seek", settings.get_profile("house"), derandomize=False)
settings.load_profile("house")

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores: with as many threads as cores each, torch waits more than it works.
    # Processes that tests start inherit it.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def secrets_of_one_test() -> Iterator[None]:
    """What a test hides is known to that test alone: its password may be a word of another's."""
    known = redaction._known
    yield
    redaction._known = known
