"""The inbox admits what verifies, once; everything else goes to quarantine with its reason."""

import contextlib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from cloud.inbox import Inbox
from lifelong.errors import StorageUnavailableError
from lifelong.links.journal import Journal, read_events
from lifelong.links.storage import Storage, open_storage
from lifelong.records.ids import EdgeId, sample_id_of, sha256_hex
from lifelong.records.keys import image_key
from lifelong.records.samples import HardExample
from lifelong.records.wire import to_json
from tests.builders import a_hard_example, a_jpeg, a_mask_png
from tests.edge_fixtures import HandClock


def deliver(storage: Storage, example: HardExample, seed: int = 0) -> str:
    folder = f"inbox/{example.edge_id}/{example.sample_id}"
    storage.put(f"{folder}/image.jpg", a_jpeg(seed))
    storage.put(f"{folder}/mask.png", a_mask_png(seed))
    storage.put(f"{folder}/example.json", to_json(example))
    return folder


def inbox_over(storage: Storage, folder: Path) -> Inbox:
    return Inbox(storage, Journal(folder, "cloud"), patience=timedelta(0))


def test_tr01_a_delivery_is_admitted_once_however_often_it_comes(tmp_path: Path) -> None:
    """TR-01: the sample id is the idempotency key."""
    storage = open_storage("memory://")
    inbox = inbox_over(storage, tmp_path)
    for _ in range(3):
        deliver(storage, a_hard_example(0))
        deliver(storage, a_hard_example(0, edge_id="edge-2"))  # the same picture by another node
        assert [e.sample_id for e in inbox.collect()] == [a_hard_example(0).sample_id]
    assert list(storage.keys("inbox")) == []
    assert storage.get(image_key(a_hard_example(0).sample_id)) == a_jpeg(0)
    events = [e["event"] for e in read_events(tmp_path)]
    assert events == ["hard_example.admitted"]
    assert len(inbox_over(storage, tmp_path).collect()) == 1


def test_an_upload_that_is_not_finished_is_left_alone(tmp_path: Path) -> None:
    storage = open_storage("memory://")
    storage.put("inbox/edge-1/0123456789abcdef/image.jpg", a_jpeg(0)[:100])
    assert inbox_over(storage, tmp_path).collect() == []
    assert list(storage.keys("inbox")) == ["inbox/edge-1/0123456789abcdef/image.jpg"]


def broken(kind: str, storage: Storage) -> None:
    good = a_hard_example(0)
    folder = deliver(storage, good)
    match kind:
        case "flipped byte":
            data = bytearray(a_jpeg(0))
            data[len(data) // 2] ^= 1
            storage.put(f"{folder}/image.jpg", bytes(data))
        case "truncated mask":
            storage.put(f"{folder}/mask.png", a_mask_png(0)[:-5])
        case "missing image":
            storage.delete(f"{folder}/image.jpg")
        case "not JSON":
            storage.put(f"{folder}/example.json", b"\x80\x04.")
        case "other sample":
            storage.put(f"{folder}/example.json", to_json(a_hard_example(1)))
        case "other edge":
            storage.put(
                f"{folder}/example.json", to_json(replace(good, edge_id=EdgeId("../../etc")))
            )
        case "wrong size":
            storage.put(f"{folder}/example.json", to_json(replace(good, height=1)))
        case "not an image":
            text = b"no image at all"
            liar = replace(good, image_sha256=sha256_hex(text), sample_id=sample_id_of(text))
            lies = f"inbox/edge-1/{liar.sample_id}"
            storage.put(f"{lies}/image.jpg", text)
            storage.put(f"{lies}/mask.png", a_mask_png(0))
            storage.put(f"{lies}/example.json", to_json(liar))
            for name in ("example.json", "image.jpg", "mask.png"):
                storage.delete(f"{folder}/{name}")


@pytest.mark.parametrize(
    "kind",
    [
        "flipped byte",
        "truncated mask",
        "missing image",
        "not JSON",
        "other sample",
        "other edge",
        "wrong size",
        "not an image",
    ],
)
def test_tr03_what_does_not_verify_is_quarantined_with_its_reason(
    kind: str, tmp_path: Path
) -> None:
    """TR-03: the cloud trusts no upload; the others are admitted all the same."""
    storage = open_storage("memory://")
    broken(kind, storage)
    deliver(storage, a_hard_example(5), seed=5)
    assert [e.sample_id for e in inbox_over(storage, tmp_path).collect()] == [
        a_hard_example(5).sample_id
    ]
    assert list(storage.keys("inbox")) == []
    reasons = [key for key in storage.keys("refused") if key.endswith("/reason.txt")]
    assert len(reasons) == 1
    assert len(storage.get(reasons[0])) > 20


def test_tr03_a_damaged_delivery_is_left_to_its_node_for_a_while(tmp_path: Path) -> None:
    """TR-01, TR-03: what a node has just read back is not cleared away because a late copy of the
    record came before it."""
    storage, clock = open_storage("memory://"), HandClock()
    inbox = Inbox(storage, Journal(tmp_path, "cloud"), clock.now)
    example = a_hard_example(0)
    folder = f"inbox/edge-1/{example.sample_id}"
    storage.put(f"{folder}/example.json", to_json(example))
    assert inbox.collect() == []
    clock.advance(59)
    storage.put(f"{folder}/image.jpg", a_jpeg(0))
    assert inbox.collect() == []
    clock.advance(59)  # of patience with the folder as it is now, not as it was
    assert inbox.collect() == []
    storage.put(f"{folder}/mask.png", a_mask_png(0))
    assert [e.sample_id for e in inbox.collect()] == [example.sample_id]
    assert list(storage.keys("refused")) == []
    assert list(storage.keys("inbox")) == []


@pytest.mark.parametrize(("wants_receipt", "seconds"), [(False, 61), (True, 0)])
def test_tr03_patience_ends_and_who_waits_for_a_receipt_is_told_at_once(
    wants_receipt: bool, seconds: int, tmp_path: Path
) -> None:
    storage, clock = open_storage("memory://"), HandClock()
    inbox = Inbox(storage, Journal(tmp_path, "cloud"), clock.now)
    folder = deliver(storage, replace(a_hard_example(0), wants_receipt=wants_receipt))
    storage.delete(f"{folder}/image.jpg")
    inbox.collect()
    if seconds:
        assert list(storage.keys("refused")) == []
        clock.advance(seconds)
        inbox.collect()
    assert any(key.endswith("reason.txt") for key in storage.keys("refused"))
    assert list(storage.keys("inbox")) == []


@pytest.mark.parametrize("at", range(1, 9))
def test_a_kill_at_any_write_changes_nothing_in_the_end(at: int, tmp_path: Path) -> None:
    """Bytes first, record second, inbox last."""
    storage = open_storage("memory://")
    deliver(storage, a_hard_example(0))

    class Dying(Storage):
        left = at

        def _count(self) -> None:
            type(self).left -= 1
            if type(self).left == 0:
                raise StorageUnavailableError("killed")

        def put(self, key: str, data: bytes) -> None:
            self._count()
            super().put(key, data)

        def delete(self, key: str) -> None:
            self._count()
            super().delete(key)

    with contextlib.suppress(StorageUnavailableError):
        inbox_over(Dying(storage._store, storage.url), tmp_path).collect()
    assert len(inbox_over(storage, tmp_path).collect()) == 1
    assert not [k for k in storage.keys("inbox") if k.endswith("example.json")]
    assert storage.get(image_key(a_hard_example(0).sample_id)) == a_jpeg(0)
    assert list(storage.keys("refused")) == []
