"""The log behind the knowledge base: a chain that shows tampering, old logs, checkpoints."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from lifelong.errors import (
    BrokenChainError,
    CorruptRecordError,
    RecordError,
    StorageUnavailableError,
)
from lifelong.knowledge.checkpoints import CHECKPOINTS
from lifelong.knowledge.checks import verify
from lifelong.knowledge.log import GENESIS, MAX_BYTES, key_of, read_change, to_bytes
from lifelong.knowledge_base import LOG, KnowledgeBase
from lifelong.links.storage import Entry, Storage, open_storage
from lifelong.records.forget_requests import ForgetRequest
from lifelong.records.ids import EdgeId, SampleId
from lifelong.records.samples import Sample
from lifelong.records.trainings import (
    content_id,
    dataset_of_samples,
    exemplars_of,
    task_version_of,
)
from lifelong.records.wire import to_plain
from tests.builders import a_sample
from tests.dying_storage import Dying

LATER = datetime(2026, 3, 2, tzinfo=UTC)


def a_log(changes: int = 5, **options: int) -> Storage:
    storage = open_storage("memory://")
    kb = KnowledgeBase(storage, **options)  # type: ignore[arg-type]
    for seed in range(changes):
        kb.add([a_sample(seed), a_sample(seed + 100)], why=f"change {seed + 1}")
    return storage


def an_old_log(changes: int = 3) -> Storage:
    """As it was written before there was a chain."""
    storage = open_storage("memory://")
    for number in range(1, changes + 1):
        body = {
            "schema": 1,
            "number": number,
            "why": "before",
            "records": [{"kind": "Sample", "record": to_plain(a_sample(number))}],
        }
        storage.put(key_of(number), json.dumps(body, indent=1).encode())
    return storage


def request(*samples: SampleId) -> ForgetRequest:
    return ForgetRequest(
        request_id="00000000000000f0",
        scope="sample",
        name="x",
        value="",
        samples=samples,
        tasks=(),
        asked_at=LATER,
    )


def altered(key: str, change: Callable[[dict], object]) -> Callable[[Storage], None]:
    def act(storage: Storage) -> None:
        body = json.loads(storage.get(key))
        change(body)
        storage.put(key, json.dumps(body, sort_keys=True).encode())

    return act


def swapped(storage: Storage) -> None:
    one, other = storage.get(key_of(2)), storage.get(key_of(3))
    storage.put(key_of(2), other)
    storage.put(key_of(3), one)


def renumbered(storage: Storage) -> None:
    """Change 3 is taken out and those after it move up."""
    storage.delete(key_of(3))
    for number in (4, 5):
        body = json.loads(storage.get(key_of(number)))
        body["number"] = number - 1
        storage.put(key_of(number - 1), json.dumps(body).encode())
    storage.delete(key_of(5))


def of_another_log(storage: Storage) -> None:
    storage.put(key_of(3), a_log(5).get(key_of(3)))


@pytest.mark.parametrize(
    "tamper",
    [
        altered(key_of(2), lambda b: b["records"][0]["record"].update(annotator="hugo")),
        altered(key_of(2), lambda b: b.update(why="something else")),
        altered(key_of(2), lambda b: b["records"].pop()),
        altered(key_of(2), lambda b: b["records"][0].update(salt="0")),
        altered(key_of(5), lambda b: b["records"].pop()),
        altered(key_of(3), lambda b: b.update(previous="0" * 64)),
        altered(key_of(2), lambda b: b["records"][0].update(sha256="0" * 64)),
        altered(key_of(2), lambda b: b.update(records={})),
        lambda storage: storage.delete(key_of(2)),
        lambda storage: storage.put(f"{LOG}/00000099.json", b"{}"),
        lambda storage: storage.put(f"{LOG}/evil.json", b"{}"),
        lambda storage: storage.put(key_of(2), b""),
        swapped,
        renumbered,
        of_another_log,
    ],
)
def test_kb_01_a_tampered_missing_or_foreign_change_is_found(
    tamper: Callable[[Storage], None],
) -> None:
    """KB-01: every change is linked to the one before by hash."""
    storage = a_log()
    assert verify(storage).findings == ()
    tamper(storage)
    with pytest.raises(CorruptRecordError, match=LOG):
        KnowledgeBase(storage)
    assert verify(storage).findings != ()


def test_kb_01_newest_changes_that_were_cut_off_are_found_by_a_checkpoint() -> None:
    storage = a_log(5, checkpoint_every=5)
    storage.delete(key_of(5))
    assert "newest changes are missing" in verify(storage).findings[0]


def test_kb_01_the_head_is_the_same_for_whoever_reads_the_log() -> None:
    storage = a_log(3)
    writer = KnowledgeBase(storage)
    writer.add([a_sample(7)], why="one more")
    assert KnowledgeBase(storage).head == writer.head == verify(storage).head


def test_kb_01_a_log_from_before_the_chain_is_read_and_joins_it() -> None:
    """KB-01: old logs stay readable; the first new change links to all of them."""
    storage = an_old_log()
    kb = KnowledgeBase(storage)
    assert len(kb.samples) == 3
    assert verify(storage).unlinked == 3
    kb.add([a_sample(50)], why="after")
    found = verify(storage)
    assert (found.findings, found.unlinked, found.changes) == ((), 0, 4)
    altered(key_of(1), lambda b: b["records"][0]["record"].update(annotator="hugo"))(storage)
    with pytest.raises(BrokenChainError, match="00000004"):
        KnowledgeBase(storage)


@pytest.mark.parametrize("log", [a_log, an_old_log])
def test_kb_07_an_emptied_entry_leaves_the_chain_whole(log: Callable[[], Storage]) -> None:
    """KB-07: nothing of the record is left, its hash keeps its place."""
    storage = log()
    kb, other = KnowledgeBase(storage), KnowledgeBase(storage)
    gone = next(iter(kb.samples))
    before = kb.head
    assert kb.forget(request(gone), LATER) == 1
    assert kb.forget(request(gone), LATER) == 0
    assert gone not in kb.samples and kb.forgotten == {gone}
    other.refresh()
    assert gone not in other.samples
    assert gone not in KnowledgeBase(storage).samples
    left = [key for key in storage.keys(LOG) if gone.encode() in storage.get(key)]
    assert left == [key_of(kb.changes)]  # the record that says it was forgotten
    found = verify(storage)
    assert (found.findings, found.forgotten) == ((), 1)
    assert verify(storage).head != before


def test_kb_07_an_entry_that_nobody_asked_to_empty_is_found() -> None:
    """Emptying keeps the chain whole, so each emptied entry must be named by a request."""
    storage = a_log()
    change = read_change(storage, 1, GENESIS)
    assert change is not None
    subject = change.entries[0].subject
    storage.put(key_of(1), to_bytes(change.without({subject})))
    assert len(KnowledgeBase(storage).samples) == 9
    assert "nobody asked" in verify(storage).findings[0]


def test_kb_01_a_checkpoint_says_what_the_log_says() -> None:
    storage = a_log(9, checkpoint_every=4)
    assert [key.rsplit("/", 1)[1] for key in storage.keys(CHECKPOINTS)] == [
        "00000004.jsonl",
        "00000008.jsonl",
    ]
    quick = KnowledgeBase(storage)
    assert verify(storage).findings == ()
    for key in list(storage.keys(CHECKPOINTS)):
        storage.delete(key)
    slow = KnowledgeBase(storage)
    assert (dict(quick.samples), quick.head) == (dict(slow.samples), slow.head)
    assert list(quick.samples) == list(slow.samples)


@pytest.mark.parametrize("content", [b"", b"\x80\x04.", b"{}\n", b'{"schema": 1}\n[]'])
def test_kb_03_a_damaged_checkpoint_costs_time_and_nothing_else(content: bytes) -> None:
    storage = a_log(9, checkpoint_every=4)
    storage.put(f"{CHECKPOINTS}/00000008.jsonl", content)
    assert len(KnowledgeBase(storage).samples) == 18
    body = storage.get(f"{CHECKPOINTS}/00000004.jsonl")
    storage.put(f"{CHECKPOINTS}/00000004.jsonl", body.replace(b"anna", b"hugo"))
    assert {s.annotator for s in KnowledgeBase(storage).samples.values()} == {"anna"}


def test_kb_07_no_checkpoint_keeps_what_was_forgotten() -> None:
    storage = a_log(9, checkpoint_every=4)
    kept = {key: storage.get(key) for key in storage.keys(CHECKPOINTS)}
    kb = KnowledgeBase(storage)
    gone = next(iter(kb.samples))
    kb.forget(request(gone), LATER)
    assert list(storage.keys(CHECKPOINTS)) == []
    for key, data in kept.items():  # another process was about to write them, and died of it
        storage.put(key, data)
    assert gone not in KnowledgeBase(storage).samples
    assert list(storage.keys(CHECKPOINTS)) == []


class Counted(Storage):
    def __init__(self, real: Storage) -> None:
        super().__init__(real._store, real.url)
        self.calls = 0

    def size(self, key: str) -> int | None:
        self.calls += 1
        return super().size(key)

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        self.calls += 1
        return super().get(key, sha256=sha256)

    def keys(self, prefix: str):
        self.calls += 1
        return super().keys(prefix)

    def entries(self, prefix: str) -> list[Entry]:
        self.calls += 1
        return super().entries(prefix)


def test_refreshing_costs_one_question_however_much_there_is() -> None:
    storage = Counted(a_log(20))
    kb = KnowledgeBase(storage)
    storage.calls = 0
    kb.refresh()
    assert storage.calls == 1


def test_what_was_handed_out_does_not_change_under_the_hands() -> None:
    kb = KnowledgeBase(a_log(2))
    held = kb.samples
    for seed in range(3):
        for _ in held.values():
            kb.add([a_sample(200 + seed)], why="while somebody walks through it")
    assert len(held) == 4 and len(kb.samples) == 7


@pytest.mark.parametrize(
    "changes",
    [
        {"image_key": "../../etc/passwd"},
        {"mask_key": "/etc/passwd"},
        {"image_key": "a\\b"},
        {"sample_id": SampleId("../../x")},
        {"sample_id": SampleId("..")},
        {"edge_id": EdgeId("../edge")},
    ],
)
def test_kb_03_ids_and_keys_that_leave_their_folder_are_refused(changes: dict[str, str]) -> None:
    """KB-03: on the way in, and when somebody has put them into the log by hand."""
    storage = open_storage("memory://")
    bad = replace(a_sample(0), **changes)  # type: ignore[arg-type]
    with pytest.raises(RecordError):
        KnowledgeBase(storage).add([bad], why="malicious")
    assert list(storage.keys(LOG)) == []
    body = {"schema": 1, "number": 1, "why": "", "records": [_old(bad)]}
    storage.put(key_of(1), json.dumps(body).encode())
    with pytest.raises(CorruptRecordError, match="00000001"):
        KnowledgeBase(storage)


def _old(sample: Sample) -> dict:
    return {"kind": "Sample", "record": to_plain(sample)}


class Huge(Storage):
    """A store that says of every change that it is larger than it may be, and never reads it."""

    def size(self, key: str) -> int | None:
        return MAX_BYTES + 1

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        raise AssertionError("read before its size was looked at")


@pytest.mark.parametrize(
    "content",
    [
        b"PK\x03\x04" + b"\0" * 100,  # a zip
        b"\x1f\x8b\x08" + b"\0" * 100,  # gzip
        b"[" * 100_000,  # nested until the parser gives up
        b'{"schema": 2, "number": 1' + b"0" * 5000 + b"}",  # a number without an end
        b'{"schema": 2, "number": 1, "why": 1, "records": []}',
        b'{"schema": 2, "number": 1, "why": "", "records": [{"kind": "Sample"}]}',
        b'{"schema": 2, "number": 1, "why": "", "records": [["Sample"]]}',
        b'{"schema": 2, "number": true, "why": "", "records": []}',
        b'{"schema": 2, "number": 1, "why": "\\ud800", "records": []}',
    ],
)
def test_kb_03_a_malicious_change_is_refused_by_name(content: bytes) -> None:
    """KB-03: archives, bombs and half letters end in a named error, never in code that runs."""
    storage = open_storage("memory://")
    storage.put(key_of(1), content)
    with pytest.raises(CorruptRecordError, match="00000001"):
        KnowledgeBase(storage)
    assert len(verify(storage).findings) == 1


def test_kb_03_a_bomb_is_not_even_read() -> None:
    storage = open_storage("memory://")
    storage.put(key_of(1), b"{}")
    with pytest.raises(CorruptRecordError, match="more than"):
        KnowledgeBase(Huge(storage._store, storage.url))


def test_kb_03_records_of_no_known_kind_are_not_kept() -> None:
    with pytest.raises(RecordError, match="keeps no str"):
        KnowledgeBase(open_storage("memory://")).add(["text"], why="wrong")


@pytest.mark.parametrize("after", [False, True])
def test_kb_04_killed_at_any_write_of_adding_checkpointing_and_forgetting(after: bool) -> None:
    """KB-04: every reader afterwards sees whole changes, and repeating the work ends the same."""
    groups = [[a_sample(seed), a_sample(seed + 100)] for seed in range(6)]
    gone = groups[1][0].sample_id

    def work(storage: Storage) -> None:
        kb = KnowledgeBase(storage, checkpoint_every=2)
        for group in groups:
            kb.add(group, why="group")
        kb.forget(request(gone), LATER)

    whole = open_storage("memory://")
    work(whole)
    expected = set(KnowledgeBase(whole).samples)
    at = 0
    while True:
        at += 1
        real = open_storage("memory://")
        try:
            work(Dying(real, at, after=after))
        except StorageUnavailableError:
            seen = set(KnowledgeBase(real).samples)
            for one, other in groups[2:]:
                assert (one.sample_id in seen) == (other.sample_id in seen)
            work(real)
        else:
            break
        assert set(KnowledgeBase(real).samples) == expected
        assert verify(real).findings == ()
    assert at > 12


def test_kb_01_a_data_set_is_named_by_its_content() -> None:
    """KB-01: the id is the hash of the sorted sample ids with the hashes of their masks."""
    samples = [a_sample(seed) for seed in range(3)]
    dataset = dataset_of_samples(samples)
    assert dataset == dataset_of_samples([*reversed(samples), samples[0]])
    lines = sorted(f"{s.sample_id} {s.mask_sha256}" for s in samples)
    assert dataset.dataset_id == content_id("dataset", *lines)
    other_mask = [replace(samples[0], mask_sha256="00" * 32), *samples[1:]]
    assert dataset_of_samples(other_mask).dataset_id != dataset.dataset_id
    assert dataset_of_samples([]).samples == ()
    task = task_version_of("night", samples)
    assert task.dataset_id == dataset.dataset_id and task.samples == 3
    assert task != task_version_of("fog", samples)
    assert task.class_pixels[0] == sum(s.class_pixels.get(0, 0) for s in samples)


def test_kb_01_a_replay_memory_is_named_by_what_is_in_it_and_how_it_was_chosen() -> None:
    dataset = dataset_of_samples([a_sample(0)])
    how = {"offered": 3, "choice": "herding", "seed": 1, "budget": 100, "size": 40}
    memory = exemplars_of(dataset, **how)  # type: ignore[arg-type]
    assert memory == exemplars_of(dataset, **how)  # type: ignore[arg-type]
    for name, value in (("seed", 2), ("choice", "reservoir"), ("budget", 101)):
        assert memory.memory_id != exemplars_of(dataset, **how | {name: value}).memory_id  # type: ignore[arg-type]
