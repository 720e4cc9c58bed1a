"""SEC-03: what a broken or hostile device writes is refused where it is read."""

import json
from typing import Any

import pytest

from lifelong.errors import CorruptRecordError
from lifelong.records.device_records import MAX_BYTES, from_device
from lifelong.records.samples import HardExample
from lifelong.records.wire import to_json
from tests.builders import a_hard_example


def told(**changes: Any) -> bytes:
    plain = json.loads(to_json(a_hard_example(0)))
    plain["record"] |= changes
    return json.dumps(plain).encode()


def test_sec_03_a_record_that_can_be_counted_with_is_read() -> None:
    assert from_device(HardExample, told(), "x") == a_hard_example(0)
    assert from_device(HardExample, told(captured_at="1970-01-01T00:00:07Z"), "x").sequence == 0


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"score": float("nan")}, "score"),
        ({"priority": float("-inf")}, "priority"),
        ({"sequence": 10**300}, "sequence"),
        ({"sequence": -(10**17)}, "sequence"),
        ({"novelty": 1e300}, "novelty"),
        ({"embedding": [0.5, 1e308]}, r"embedding\[1\]"),
        ({"scores": {"entropy": 0.5, "margin": float("inf")}}, "margin"),
        ({"captured_at": "2026-01-01T00:00:00"}, "captured_at has no time zone"),
        ({"captured_at": "0001-01-01T00:00:00Z"}, "captured_at is of the year 1"),
        ({"captured_at": "9999-12-31T23:59:59-14:00"}, "captured_at"),
        ({"attributes": {"condition": "a" * 100_001}}, "condition"),
        ({"attributes": {"a" * 100_001: ""}}, "a name in HardExample.attributes"),
    ],
)
def test_sec_03_what_cannot_be_counted_with_is_named(changes: dict[str, Any], where: str) -> None:
    with pytest.raises(CorruptRecordError, match=rf"inbox/x: .*{where}"):
        from_device(HardExample, told(**changes), "inbox/x")


def test_sec_03_a_record_of_a_size_that_none_has_is_not_parsed() -> None:
    with pytest.raises(CorruptRecordError, match="more than"):
        from_device(HardExample, b" " * (MAX_BYTES + 1), "x")
