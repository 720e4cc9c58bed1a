"""SEC-01: the book of tokens, links and sessions."""

import multiprocessing
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cloud.access.book import AccessBook
from cloud.access.permissions import Role
from cloud.access.tokens import secret_in
from lifelong.errors import ConfigError

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> datetime:
        return self.at

    def pass_(self, **span: float) -> None:
        self.at += timedelta(**span)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book(tmp_path: Path, clock: Clock) -> AccessBook:
    return AccessBook(tmp_path / "access", clock, session_hours=10)


def test_sec_01_only_hashes_are_kept_and_only_the_owner_reads_them(
    book: AccessBook, tmp_path: Path
) -> None:
    _, token = book.make_token("ada", Role.OPERATOR)
    _, code = book.make_link(Role.ADMIN, "bob")
    entered = book.enter(token)
    assert entered is not None
    folder = tmp_path / "access"
    kept = b"".join(one.read_bytes() for one in folder.iterdir())
    for secret in (token, code, entered[1], entered[0].csrf):
        assert secret.encode() not in kept
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(one.stat().st_mode) for one in folder.iterdir()} == {0o600}


def test_sec_01_secrets_say_what_they_are_and_are_256_bits(book: AccessBook) -> None:
    _, token = book.make_token("ada", Role.OPERATOR)
    _, code = book.make_link(Role.OPERATOR, "bob")
    assert token.startswith("clp_") and len(token) == 4 + 43
    assert code.startswith("clpl_") and secret_in(f" http://x/enter#code={code}\n") == code
    assert secret_in("nothing of ours") == ""


def test_sec_01_a_token_lets_in_until_it_ends(book: AccessBook, clock: Clock) -> None:
    token, secret = book.make_token("ada", Role.OPERATOR, days=1)
    known = book.by_token(secret)
    assert known is not None and known.caller.role is Role.OPERATOR
    assert (known.caller.name, known.caller.token_id) == ("ada", token.id)
    for wrong in ("", secret[:-1], secret + "A", "clp_" + "A" * 43, "\ud800", token.sha256):
        assert book.by_token(wrong) is None
    clock.pass_(hours=23, minutes=59)
    assert book.by_token(secret) is not None
    clock.pass_(minutes=1)
    assert book.by_token(secret) is None


def test_sec_01_what_a_command_revokes_the_server_refuses_at_once(
    book: AccessBook, clock: Clock, tmp_path: Path
) -> None:
    _, secret = book.make_token("ada", Role.OPERATOR)
    server = AccessBook(tmp_path / "access", clock, session_hours=10)
    entered = server.enter(secret)
    assert entered is not None
    cookie = entered[1]
    assert server.by_token(secret) and server.by_cookie(cookie)
    book.revoke("ada")
    assert server.by_token(secret) is None
    assert server.by_cookie(cookie) is None, "a session ends with its token"


def test_sec_01_a_rotated_token_works_for_its_grace_and_no_longer(
    book: AccessBook, clock: Clock
) -> None:
    _, old = book.make_token("ada", Role.OPERATOR, days=30)
    clock.pass_(days=10)
    fresh, new = book.rotate("ada", grace_hours=2)
    assert fresh.name == "ada" and fresh.expires == clock.at + timedelta(days=30)
    assert book.by_token(old) and book.by_token(new)
    clock.pass_(hours=2)
    assert book.by_token(old) is None and book.by_token(new)


def test_sec_01_rotation_without_grace_ends_the_old_token_and_its_sessions(
    book: AccessBook,
) -> None:
    _, old = book.make_token("ada", Role.OPERATOR)
    entered = book.enter(old)
    assert entered is not None
    _, new = book.rotate("ada")
    assert book.by_token(old) is None and book.by_cookie(entered[1]) is None
    assert book.by_token(new)


def test_sec_01_a_grace_never_lengthens_a_life(book: AccessBook, clock: Clock) -> None:
    _, old = book.make_token("ada", Role.OPERATOR, days=1)
    book.rotate("ada", grace_hours=1000)
    clock.pass_(days=1)
    assert book.by_token(old) is None


def test_sec_01_revoking_a_name_ends_its_rotated_ones_too(book: AccessBook) -> None:
    _, old = book.make_token("ada", Role.OPERATOR)
    _, new = book.rotate("ada", grace_hours=5)
    assert len(book.revoke("ada")) == 2
    assert book.by_token(old) is None and book.by_token(new) is None


def test_sec_01_a_link_opens_one_session_once_within_a_day(book: AccessBook, clock: Clock) -> None:
    _, code = book.make_link(Role.OPERATOR, "ada")
    _, late = book.make_link(Role.OPERATOR, "bob")
    entered = book.enter(code)
    assert entered is not None
    caller, cookie = entered
    assert caller.role is Role.OPERATOR and caller.csrf and book.by_cookie(cookie)
    assert book.enter(code) is None
    clock.pass_(hours=24)
    assert book.enter(late) is None
    assert book.by_token(code) is None, "a code is no token"


def test_sec_01_a_session_lasts_since_the_last_visit(book: AccessBook, clock: Clock) -> None:
    entered = book.enter(book.make_link(Role.OPERATOR, "ada")[1])
    assert entered is not None
    for _ in range(3):
        clock.pass_(hours=9)
        known = book.by_cookie(entered[1])
        assert known is not None and known.is_stale
        book.note_use(known)
    clock.pass_(hours=10)
    assert book.by_cookie(entered[1]) is None


def test_sec_01_leaving_and_revoking_end_a_session(book: AccessBook) -> None:
    one = book.enter(book.make_link(Role.OPERATOR, "ada")[1])
    two = book.enter(book.make_link(Role.OPERATOR, "bob")[1])
    assert one is not None and two is not None
    book.leave(one[1])
    assert book.by_cookie(one[1]) is None and book.by_cookie(two[1])
    book.revoke("bob")
    assert book.by_cookie(two[1]) is None


def test_sec_01_machines_do_not_enter(book: AccessBook) -> None:
    _, secret = book.make_token("probe", Role.DEVICE)
    assert book.enter(secret) is None and book.by_token(secret)
    with pytest.raises(ConfigError, match="for people"):
        book.make_link(Role.DEVICE, "probe")


def test_sec_01_forms_of_two_sessions_carry_different_tokens(book: AccessBook) -> None:
    found = [book.enter(book.make_link(Role.OPERATOR, name)[1]) for name in ("ada", "bob")]
    assert len({entered[0].csrf for entered in found if entered}) == 2


@pytest.mark.parametrize("name", ["", " ada", "a\nb", "x" * 101, "\ud800"])
def test_names_that_are_none(book: AccessBook, name: str) -> None:
    with pytest.raises(ConfigError, match="1 to 100"):
        book.make_token(name, Role.OPERATOR)


def test_a_name_in_use_and_one_that_nobody_has(book: AccessBook) -> None:
    book.make_token("ada", Role.OPERATOR)
    with pytest.raises(ConfigError, match="rotate"):
        book.make_token("ada", Role.ADMIN)
    for end in (book.revoke, book.rotate):
        with pytest.raises(ConfigError, match="tokens list"):
            end("eve")
    book.revoke("ada")
    book.make_token("ada", Role.ADMIN)


@pytest.mark.parametrize("days", [0, -1, float("nan"), float("inf"), 1e9])
def test_days_that_are_none(book: AccessBook, days: float) -> None:
    with pytest.raises(ConfigError, match="--days"):
        book.make_token("ada", Role.OPERATOR, days=days)


def test_sec_01_the_last_use_is_written_coarsely(book: AccessBook, clock: Clock) -> None:
    _, secret = book.make_token("ada", Role.OPERATOR)
    known = book.by_token(secret)
    assert known is not None and known.is_stale
    book.note_use(known)
    clock.pass_(minutes=59)
    again = book.by_token(secret)
    assert again is not None and not again.is_stale
    assert book.page().tokens[0].used == START


def test_sec_01_a_book_that_others_could_read_is_closed(
    book: AccessBook, clock: Clock, tmp_path: Path
) -> None:
    _, secret = book.make_token("ada", Role.OPERATOR)
    path = tmp_path / "access" / "access.json"
    path.chmod(0o660)  # as a cluster's fsGroup does
    again = AccessBook(tmp_path / "access", clock, session_hours=10)
    assert again.by_token(secret)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_sec_01_a_folder_that_others_write_to_is_refused(clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "of somebody else").touch()
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigError, match="folder of its own"):
        AccessBook(tmp_path, clock, session_hours=10).make_token("ada", Role.ADMIN)


@pytest.mark.parametrize("data", [b"", b"{", b'{"schema": 1}', b"\xff", b"[" * 100_000])
def test_sec_01_a_damaged_book_lets_nobody_in_and_is_named(
    book: AccessBook, tmp_path: Path, data: bytes
) -> None:
    _, secret = book.make_token("ada", Role.OPERATOR)
    (tmp_path / "access" / "access.json").write_bytes(data)
    with pytest.raises(ConfigError, match=r"access\.json"):
        book.by_token(secret)


def test_sec_01_a_role_that_was_raised_by_hand_is_found_out(
    book: AccessBook, tmp_path: Path
) -> None:
    _, secret = book.make_token("ada", Role.ANNOTATOR)
    path = tmp_path / "access" / "access.json"
    path.write_bytes(path.read_bytes().replace(b'"annotator"', b'"admin"'))
    with pytest.raises(ConfigError, match="not what was written"):
        book.by_token(secret)


def test_only_an_untouched_book_gets_a_first_link(book: AccessBook) -> None:
    assert book.is_untouched()
    _, first = book.make_link(Role.OPERATOR, "first", is_first=True)
    assert book.is_untouched()
    _, second = book.make_link(Role.OPERATOR, "first", is_first=True)
    assert book.enter(first) is None, "the one before has ended"
    assert book.enter(second) is not None
    assert not book.is_untouched()


def _make(folder: Path, names: list[str]) -> None:
    book = AccessBook(folder, lambda: START, session_hours=10)
    for name in names:
        book.make_token(name, Role.DEVICE)


def test_sec_01_several_processes_write_one_book(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    names = [[f"{who}-{number}" for number in range(8)] for who in "abc"]
    writers = [context.Process(target=_make, args=(tmp_path / "a", one)) for one in names]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    book = AccessBook(tmp_path / "a", lambda: START, session_hours=10)
    assert {one.name for one in book.page().tokens} == {name for one in names for name in one}


def test_a_full_disk_keeps_nobody_out(book: AccessBook, monkeypatch: pytest.MonkeyPatch) -> None:
    _, secret = book.make_token("ada", Role.OPERATOR)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    known = book.by_token(secret)
    assert known is not None
    book.note_use(known)  # says so in the log
    assert book.by_token(secret)
    with pytest.raises(ConfigError, match="No space left"):
        book.make_token("bob", Role.OPERATOR)
    monkeypatch.undo()
    assert [one.name for one in book.page().tokens] == ["ada"]
