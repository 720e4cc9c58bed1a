"""The inbox admits what verifies, once; everything else goes to quarantine with its reason."""

import contextlib
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from cloud.arrivals import MAX_BYTES
from cloud.inbox import Inbox
from lifelong.errors import StorageUnavailableError
from lifelong.links.journal import Journal, read_events
from lifelong.links.storage import Storage, open_storage
from lifelong.records.deliveries import Receipt
from lifelong.records.ids import EdgeId, VersionId, sample_id_of, sha256_hex
from lifelong.records.keys import image_key
from lifelong.records.samples import HardExample
from lifelong.records.wire import from_json, to_json
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
        case "version that climbs":
            liar = replace(good, version_id=VersionId("../../x"))
            storage.put(f"{folder}/example.json", to_json(liar))
        case "scene without a number":
            storage.put(f"{folder}/example.json", to_json(replace(good, scene_hash="zz")))
        case "score that is none":
            storage.put(f"{folder}/example.json", to_json(replace(good, score=float("nan"))))
        case "moment without a zone":
            naive = replace(good, captured_at=good.captured_at.replace(tzinfo=None))
            storage.put(f"{folder}/example.json", to_json(naive))
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
        "version that climbs",
        "scene without a number",
        "score that is none",
        "moment without a zone",
        "wrong size",
        "not an image",
    ],
)
def test_tr03_what_does_not_verify_is_quarantined_with_its_reason(
    kind: str, tmp_path: Path
) -> None:
    """TR-03, SEC-03: the cloud trusts no upload; the others are admitted all the same."""
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


# -- parts and receipts ------------------------------------------------------------------------


def deliver_in_parts(storage: Storage, seed: int, size: int = 300, **changes: object) -> str:
    """A delivery whose image comes in parts of `size` bytes."""
    image = a_jpeg(seed)
    pieces = [image[start : start + size] for start in range(0, len(image), size)]
    example = replace(
        a_hard_example(seed),
        parts={"image.jpg": tuple(sha256_hex(piece) for piece in pieces)},
        wants_receipt=True,
        **changes,  # type: ignore[arg-type]
    )
    folder = f"inbox/{example.edge_id}/{example.sample_id}"
    for piece in pieces:
        storage.put(f"{folder}/parts/{sha256_hex(piece)}", piece)
    storage.put(f"{folder}/mask.png", a_mask_png(seed))
    storage.put(f"{folder}/example.json", to_json(example))
    return folder


def receipt_of(storage: Storage, seed: int) -> Receipt:
    key = f"receipts/edge-1/{a_hard_example(seed).sample_id}.json"
    return from_json(Receipt, storage.get(key), key)


def test_tr02_parts_are_joined_verified_and_cleared_away(tmp_path: Path) -> None:
    storage = open_storage("memory://")
    deliver_in_parts(storage, 0)
    (example,) = inbox_over(storage, tmp_path).collect()
    assert example.parts == {}
    assert storage.get(example.image_key) == a_jpeg(0)
    assert list(storage.keys("inbox")) == []
    receipt = receipt_of(storage, 0)
    assert (receipt.verdict, receipt.reason) == ("admitted", "")
    assert receipt.hashes == {
        "image.jpg": sha256_hex(a_jpeg(0)),
        "mask.png": sha256_hex(a_mask_png(0)),
    }


@pytest.mark.parametrize(
    ("damage", "is_final"),
    [("missing", False), ("flipped", False), ("swapped", False), ("no hash", True)],
)
def test_tr03_parts_that_do_not_make_the_promised_file_are_refused_with_a_receipt(
    damage: str, is_final: bool, tmp_path: Path
) -> None:
    storage = open_storage("memory://")
    folder = deliver_in_parts(storage, 0)
    key = next(key for key in storage.keys(folder) if "/parts/" in key)
    record = from_json(HardExample, storage.get(f"{folder}/example.json"), folder)
    match damage:
        case "missing":
            storage.delete(key)
        case "flipped":
            storage.put(key, storage.get(key)[:-1] + b"?")
        case "swapped":
            turned = {"image.jpg": record.parts["image.jpg"][::-1]}
            storage.put(f"{folder}/example.json", to_json(replace(record, parts=turned)))
        case "no hash":
            climbing = {"image.jpg": ("../../../models/a.bundle",)}
            storage.put(f"{folder}/example.json", to_json(replace(record, parts=climbing)))
    assert inbox_over(storage, tmp_path).collect() == []
    receipt = receipt_of(storage, 0)
    assert (receipt.verdict, receipt.is_final) == ("refused", is_final)
    assert receipt.reason
    assert list(storage.keys("inbox")) == []


def test_receipts_are_written_for_who_asks_and_for_who_cannot_be_read(tmp_path: Path) -> None:
    storage = open_storage("memory://")
    deliver(storage, a_hard_example(0))
    folder = deliver(storage, a_hard_example(1), seed=1)
    storage.put(f"{folder}/example.json", b"{")
    inbox_over(storage, tmp_path).collect()
    assert list(storage.keys("receipts")) == [f"receipts/edge-1/{a_hard_example(1).sample_id}.json"]
    assert not receipt_of(storage, 1).is_final


# -- hostile and unfinished --------------------------------------------------------------------


class Watched(Storage):
    """Counts what is asked, and refuses to be read where a test says so."""

    def __init__(self, storage: Storage, forbidden: Callable[[str], bool] = lambda _: False):
        super().__init__(storage._store, storage.url)
        self.forbidden = forbidden
        self.calls: list[tuple[str, str]] = []

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        assert not self.forbidden(key), f"{key} was read"
        self.calls.append(("get", key))
        return super().get(key, sha256=sha256)

    def keys(self, prefix: str):  # type: ignore[no-untyped-def]
        found = list(super().keys(prefix))
        self.calls += [("listed", key) for key in found] + [("list", prefix)]
        return iter(found)

    def size(self, key: str) -> int | None:
        self.calls.append(("size", key))
        return super().size(key)


@pytest.mark.parametrize("name", ["example.json", "image.jpg", "mask.png"])
def test_what_is_too_large_is_refused_without_being_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_storage("memory://")
    folder = deliver(storage, replace(a_hard_example(0), wants_receipt=True))
    limit = 20_000
    monkeypatch.setitem(MAX_BYTES, name, limit)
    storage.put(f"{folder}/{name}", b"x" * (limit + 1))
    watched = Watched(storage, lambda key: key == f"{folder}/{name}")
    assert inbox_over(watched, tmp_path).collect() == []
    assert receipt_of(storage, 0).is_final
    assert str(limit) in receipt_of(storage, 0).reason
    assert list(storage.keys("inbox")) == []
    assert not storage.exists(f"refused/edge-1/{a_hard_example(0).sample_id}/{name}")


def test_many_small_parts_that_make_too_large_a_file_are_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_storage("memory://")
    deliver_in_parts(storage, 0)
    monkeypatch.setitem(MAX_BYTES, "image.jpg", 400)
    watched = Watched(storage)
    assert inbox_over(watched, tmp_path).collect() == []
    reads = [key for what, key in watched.calls if what == "size" and "/parts/" in key]
    assert reads == []  # none was even asked for before the sum was known
    assert receipt_of(storage, 0).is_final


def test_objects_at_odd_places_of_the_inbox_harm_no_delivery(tmp_path: Path) -> None:
    storage = open_storage("memory://")
    deliver(storage, a_hard_example(0))
    for key in ("inbox/example.json", "inbox/edge-1/example.json", "inbox/edge-1/a/b/example.json"):
        storage.put(key, b"{}")
    assert len(inbox_over(storage, tmp_path).collect()) == 1
    assert len(inbox_over(storage, tmp_path).collect()) == 1


def test_uploads_that_were_never_finished_and_receipts_nobody_fetched_go_after_a_week(
    tmp_path: Path,
) -> None:
    storage = open_storage("memory://")
    storage.put("inbox/edge-1/0123456789abcdef/parts/ab", b"1")
    storage.put("receipts/edge-1/0123456789abcdef.json", b"{}")
    moment = [datetime.now(UTC)]
    inbox = Inbox(storage, Journal(tmp_path, "cloud"), lambda: moment[0])
    for days, left in ((0, 2), (6.9, 2), (7.1, 0)):
        moment[0] = datetime.now(UTC) + timedelta(days=days)
        inbox.collect()
        assert len([*storage.keys("inbox"), *storage.keys("receipts")]) == left
    assert [e["event"] for e in read_events(tmp_path)] == ["delivery.abandoned"]


# -- cost and company --------------------------------------------------------------------------


@pytest.mark.parametrize("before", [0, 60])
def test_a_look_costs_what_is_new_however_many_were_admitted_before(
    before: int, tmp_path: Path
) -> None:
    storage = Watched(open_storage("memory://"))
    inbox = inbox_over(storage, tmp_path)
    inbox.collect()
    for seed in range(before):
        deliver(storage, a_hard_example(seed), seed=seed)
    inbox.collect()
    storage.calls.clear()
    deliver(storage, a_hard_example(100), seed=100)
    assert len(inbox.collect()) == before + 1
    busy = len(storage.calls)
    storage.calls.clear()
    inbox.collect()
    assert (busy, len(storage.calls)) == (11, 1)


def test_what_another_service_admitted_is_seen_at_the_next_look(tmp_path: Path) -> None:
    storage = open_storage("memory://")
    one, other = inbox_over(storage, tmp_path), inbox_over(storage, tmp_path)
    assert one.collect() == other.collect() == []
    for seed in range(6):
        deliver(storage, a_hard_example(seed), seed=seed)
        (one if seed % 2 else other).collect()
    assert len(one.collect()) == len(other.collect()) == 6
    assert {e.sample_id for e in inbox_over(storage, tmp_path).collect()} == {
        e.sample_id for e in one.collect()
    }


class Interrupted(Storage):
    """Another service acts at chosen calls of this one; some calls fail instead."""

    def __init__(self, store: MemoryStore, draw: random.Random) -> None:
        super().__init__(store, "memory://")
        self.draw, self.between, self.is_inside = draw, (lambda: None), False
        self.fails = 0.0

    def _interrupt(self) -> None:
        if self.is_inside:
            return
        if self.draw.random() < self.fails:
            raise StorageUnavailableError("cut")
        if self.draw.random() < 0.2:
            self.is_inside = True
            try:
                self.between()
            finally:
                self.is_inside = False

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        self._interrupt()
        return super().get(key, sha256=sha256)

    def put(self, key: str, data: bytes) -> None:
        self._interrupt()
        super().put(key, data)

    def put_if_absent(self, key: str, data: bytes) -> None:
        self._interrupt()
        super().put_if_absent(key, data)

    def delete(self, key: str) -> None:
        self._interrupt()
        super().delete(key)


@pytest.mark.parametrize("seed", range(40))
def test_tr01_two_services_at_once_duplicates_disorder_and_cuts_admit_each_sample_once(
    seed: int, tmp_path: Path
) -> None:
    """TR-01: what was sent, and nothing else, is admitted; each once; nothing good is refused."""
    draw = random.Random(seed)
    store = MemoryStore()
    plain = Storage(store, "memory://")
    shared = Interrupted(store, draw)
    other = inbox_over(plain, tmp_path)
    one = inbox_over(shared, tmp_path)
    shared.between = other.collect  # type: ignore[assignment]
    shared.fails = 0.05
    todo = [n for n in range(6) for _ in range(draw.randrange(1, 4))]
    draw.shuffle(todo)
    for number in todo:
        edge = draw.choice(["edge-1", "edge-1", "edge-2"])
        if draw.random() < 0.5 or edge == "edge-2":
            deliver(plain, a_hard_example(number, edge_id=edge), seed=number)
        else:
            deliver_in_parts(plain, number)
        with contextlib.suppress(StorageUnavailableError):
            draw.choice([one, other]).collect()
    shared.fails = 0.0
    expected = {a_hard_example(number).sample_id for number in set(todo)}
    for box in (one, other, one, inbox_over(plain, tmp_path)):
        assert {example.sample_id for example in box.collect()} == expected
        assert len(box.collect()) == len(expected)
    # A cut while the inbox is emptied leaves objects without a record, for a week.
    assert not [key for key in plain.keys("inbox") if key.endswith("example.json")]
    assert list(plain.keys("refused")) == []
    admitted = [e["sample_id"] for e in read_events(tmp_path) if "admitted" in e["event"]]
    assert sorted(admitted) == sorted(expected)


def test_tr08_one_look_admits_in_the_order_of_the_device_whatever_its_clock_said(
    tmp_path: Path,
) -> None:
    """TR-08: the clock ran backwards; the device counted on."""
    storage = open_storage("memory://")
    for number in (3, 0, 2, 1):
        skewed = replace(
            a_hard_example(number),
            captured_at=datetime(2026, 3, 1, tzinfo=UTC) - timedelta(days=400 * number),
        )
        deliver(storage, skewed, seed=number)
    assert [e.sequence for e in inbox_over(storage, tmp_path).collect()] == [0, 1, 2, 3]
