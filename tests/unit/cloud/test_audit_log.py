"""SEC-06: the audit log keeps every action in a chain that gives changes away."""

import json
import multiprocessing
from pathlib import Path

import pytest

from cloud.audit_log import AuditLog, key_of
from lifelong.errors import AuditUnavailableError, RecordError, StorageUnavailableError
from lifelong.links.journal import utc_now
from lifelong.links.storage import Storage, open_storage


def a_log(storage: Storage | None = None, entries: int = 0) -> tuple[AuditLog, Storage]:
    storage = storage or open_storage("memory://")
    log = AuditLog(storage, utc_now)
    for number in range(1, entries + 1):
        log.record("ada", "release.rolled_back", release=number)
    return log, storage


def changed(storage: Storage, number: int, **fields: object) -> None:
    plain = json.loads(storage.get(key_of(number)))
    storage.put(key_of(number), json.dumps(plain | fields).encode())


def test_sec_06_entries_are_read_newest_first_in_pages_and_hold_together() -> None:
    log, storage = a_log(entries=7)
    page = log.newest(3)
    assert [entry.number for entry in page] == [7, 6, 5]
    assert [entry.number for entry in log.newest(3, before=5)] == [4, 3, 2]
    assert [entry.number for entry in log.newest(3, before=2)] == [1]
    assert page[0].who == "ada" and page[0].facts == {"release": 7}
    assert page[0].previous == page[1].sha256
    state = AuditLog(storage, utc_now).verify()
    assert state.is_whole and state.entries == 7 and state.sha256 == page[0].sha256


def test_sec_06_a_page_reads_no_more_than_its_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    _, storage = a_log(entries=40)
    read: list[str] = []
    get = Storage.get

    def noted(self: Storage, key: str) -> bytes:
        read.append(key)
        return get(self, key)

    monkeypatch.setattr(Storage, "get", noted)
    AuditLog(storage, utc_now).newest(5)
    assert set(read) == {key_of(number) for number in range(36, 41)}


@pytest.mark.parametrize("fields", [{"who": "eve"}, {"facts": {}}, {"at": "2020-01-01"}])
def test_sec_06_a_changed_entry_is_named(fields: dict[str, object]) -> None:
    _, storage = a_log(entries=5)
    changed(storage, 3, **fields)
    state = AuditLog(storage, utc_now).verify()
    assert state.first_bad == 3 and key_of(3) in state.trouble


def test_sec_06_an_entry_that_was_written_anew_with_its_hash_breaks_the_next_link() -> None:
    _, storage = a_log(entries=5)
    other, elsewhere = a_log(entries=2)
    other.record("eve", "release.rolled_back")
    storage.put(key_of(3), elsewhere.get(key_of(3)))
    state = AuditLog(storage, utc_now).verify()
    assert state.first_bad == 3 and "does not follow" in state.trouble


def test_sec_06_a_removed_entry_is_named() -> None:
    log, storage = a_log(entries=5)
    storage.delete(key_of(2))
    state = log.verify()
    assert state.first_bad == 2 and "removed" in state.trouble
    page = AuditLog(storage, utc_now).newest(5)
    assert [bool(entry.trouble) for entry in page] == [False, False, False, True, False]


def test_sec_06_an_inserted_entry_is_named() -> None:
    _, storage = a_log(entries=3)
    storage.put("audit/00000002b.json", storage.get(key_of(2)))
    state = AuditLog(storage, utc_now).verify()
    assert "inserted" in state.trouble and "00000002b" in state.trouble


def test_sec_06_entries_cut_off_at_the_end_are_known_to_the_witness(tmp_path: Path) -> None:
    storage, witness = open_storage("memory://"), tmp_path / "access" / "witness.json"
    log = AuditLog(storage, utc_now, witness=witness)
    for number in range(4):
        log.record("ada", "round.begun", round=number)
    assert log.verify().is_whole
    storage.delete(key_of(4))
    assert AuditLog(storage, utc_now).verify().is_whole  # the chain alone cannot know
    state = log.verify()
    assert state.first_bad == 4 and "removed" in state.trouble


def test_sec_06_nobody_else_on_the_machine_reads_the_witness(tmp_path: Path) -> None:
    witness = tmp_path / "access" / "witness.json"
    AuditLog(open_storage("memory://"), utc_now, witness=witness).record("ada", "token.made")
    assert witness.stat().st_mode & 0o077 == 0


def test_sec_06_a_chain_written_anew_as_a_whole_is_known_to_the_witness(tmp_path: Path) -> None:
    storage, witness = open_storage("memory://"), tmp_path / "witness.json"
    log = AuditLog(storage, utc_now, witness=witness)
    log.record("eve", "release.rolled_back")
    storage.delete(key_of(1))
    AuditLog(storage, utc_now).record("ada", "release.rolled_back")
    assert log.verify().first_bad == 1


def test_sec_06_a_damaged_last_entry_keeps_nobody_from_recording() -> None:
    _, storage = a_log(entries=2)
    storage.put(key_of(2), b"\xff not JSON")
    log = AuditLog(storage, utc_now)
    assert log.record("ada", "round.begun").number == 3
    assert log.verify().first_bad == 2


def test_sec_06_what_storage_does_not_take_is_an_error_before_the_action(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log, _ = a_log(entries=1)

    def away(*_: object) -> None:
        raise StorageUnavailableError("s3://loop: connection refused")

    monkeypatch.setattr(Storage, "put_if_absent", away)
    with pytest.raises(AuditUnavailableError, match="was not done") as caught:
        log.record("ada", "release.rolled_back")
    assert caught.value.retryable


def test_sec_06_a_write_whose_answer_was_lost_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    log, storage = a_log(entries=1)
    put = Storage.put_if_absent

    def twice(self: Storage, key: str, data: bytes) -> None:
        put(self, key, data)
        put(self, key, data)  # as a retry after a lost answer

    monkeypatch.setattr(Storage, "put_if_absent", twice)
    assert log.record("ada", "round.begun").number == 2
    assert log.count() == 2 and len(list(storage.keys("audit"))) == 2


def test_sec_06_no_secret_gets_into_the_log() -> None:
    log, storage = a_log()
    token = "clp_" + "A" * 43
    log.record(f"ada {token}", "token.made", note=[{"why": f"pasted {token} here"}])
    assert b"AAAA" not in storage.get(key_of(1))
    with pytest.raises(RecordError, match="names a secret"):
        log.record("ada", "token.made", token="x")


@pytest.mark.parametrize(
    ("who", "what", "facts"),
    [
        ("", "round.begun", {}),
        ("ada", "begun", {}),
        ("ada", "round.begun", {"share": float("nan")}),
        ("ada", "round.begun", {"why": "\ud800"}),
        ("ada", "round.begun", {"why": "x" * 70_000}),
        ("ada", "round.begun", {"why": object()}),
    ],
)
def test_sec_06_what_does_not_belong_is_refused(who: str, what: str, facts: dict) -> None:
    log, storage = a_log()
    with pytest.raises(RecordError):
        log.record(who, what, **facts)
    assert not list(storage.keys("audit"))


def test_an_empty_log_is_whole() -> None:
    log, _ = a_log()
    assert log.newest() == [] and log.count() == 0 and log.verify().is_whole


def _write(folder: str, who: str) -> None:
    log = AuditLog(open_storage(folder), utc_now)
    for number in range(15):
        log.record(who, "round.begun", number=number)


def test_sec_06_writers_in_several_processes_all_succeed(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(str(tmp_path), f"w{n}")) for n in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    log = AuditLog(open_storage(str(tmp_path)), utc_now)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    state = log.verify()
    assert state.is_whole and state.entries == 45
    for who in ("w0", "w1", "w2"):
        own = [entry.facts["number"] for entry in log.newest(45) if entry.who == who]
        assert own == list(range(14, -1, -1))
