"""Turns and a book of the work, for those who compute with them."""

import pytest

from cloud.assist.turns import Turns
from cloud.assist.work_book import WorkBook


@pytest.fixture
def turns():
    made = Turns(workers=1)
    yield made
    made.close()


@pytest.fixture
def book():
    return WorkBook()
