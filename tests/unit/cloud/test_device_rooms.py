"""SEC-03: an object with an impossible name in one device's folder costs that device alone."""

import logging
import os
from pathlib import Path

import pytest

from cloud.device_rooms import entries_of_devices
from cloud.fleet.edges import Edges
from cloud.inbox import Inbox
from lifelong.errors import ObjectNameError
from lifelong.links.journal import Journal, utc_now
from lifelong.links.storage import Storage, open_storage
from lifelong.records.ids import EdgeId
from lifelong.records.samples import HardExample
from lifelong.records.wire import to_json
from tests.builders import a_hard_example, a_jpeg, a_mask_png
from tests.web_parts import a_watch


def deliver(storage: Storage, edge: str, seed: int) -> HardExample:
    example = a_hard_example(seed, edge_id=EdgeId(edge))
    folder = f"inbox/{edge}/{example.sample_id}"
    storage.put(f"{folder}/image.jpg", a_jpeg(seed))
    storage.put(f"{folder}/mask.png", a_mask_png(seed))
    storage.put(f"{folder}/example.json", to_json(example))
    return example


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """Of two devices; one has left something whose name is no text."""
    found = open_storage(str(tmp_path / "storage"))
    for room in ("inbox", "edges", "escalations"):
        found.put(f"{room}/edge-1/x.json", b"{}")
        found.put(f"{room}/edge-2/x.json", b"{}")
        folder = tmp_path / "storage" / room / "edge-1"
        Path(os.fsdecode(bytes(folder) + b"/\xff.json")).touch()
    return found


def test_sec_03_the_others_are_seen_and_the_log_says_what_to_remove(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ObjectNameError, match="remove that object"):
        storage.entries("inbox")
    with caplog.at_level(logging.WARNING):
        found = entries_of_devices(storage, "inbox")
    assert [entry.key for entry in found] == ["inbox/edge-2/x.json"]
    assert "nothing of inbox/edge-1 is seen" in caplog.text and "%FF" in caplog.text


def test_sec_03_the_inbox_the_fleet_and_the_monitor_go_on(
    storage: Storage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deliver(storage, "edge-1", 1)
    good = deliver(storage, "edge-2", 2)
    inbox = Inbox(storage, Journal(tmp_path / "journal", "cloud"))
    assert [one.sample_id for one in inbox.collect()] == [good.sample_id]
    storage.put("edges/edge-2/health.json", b"no report")
    assert [seen.edge_id for seen in Edges(storage, utc_now).look()] == ["edge-2"]
    assert [one.seen.edge_id for one in a_watch(storage, tmp_path).refresh().fleet] == ["edge-2"]
