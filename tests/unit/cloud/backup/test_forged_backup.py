"""SEC-03: what a backup from somewhere says of Label Studio's tasks."""

import pytest

from cloud.backup.restoring import _tasks


@pytest.mark.parametrize("data", [b"", b"\xff", b"{}", b"[1, null, [2]]", b"[" * 100_000])
def test_sec_03_tasks_that_are_none_end_no_restore(data: bytes) -> None:
    """Everything else is back by then, and the mark of an unfinished restore would stay."""
    assert _tasks(data) == []
    assert _tasks(b'[{"data": 3}, 4]') == [{"data": 3}]
