"""SEC-01 and SEC-06 at the terminal: `cornerloop tokens` and `cornerloop audit`."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cloud.access.entering import open_book
from cloud.access.permissions import Role
from cloud.audit_log import key_of
from cloud.cli import app
from lifelong.config import load_config
from lifelong.errors import AuditUnavailableError, LifelongError, StorageUnavailableError
from lifelong.links.storage import Storage, open_storage


class Terminal:
    """Commands over one configuration."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "config.yaml"
        self.path.write_text(
            f"storage: {folder}/storage\nweb: {{access_path: {folder}/access}}\n", encoding="utf-8"
        )

    def says(self, *words: str) -> Result:
        """A command; an error of ours is raised, as `main` would print it."""
        found = CliRunner().invoke(app, [*words, "-c", str(self.path)])
        if isinstance(found.exception, LifelongError):
            raise found.exception
        return found

    def json(self, *words: str) -> dict:
        return json.loads(self.says(*words, "--json").stdout)


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path)


def test_sec_01_a_new_token_stands_alone_on_stdout_and_nowhere_else(terminal: Terminal) -> None:
    made = terminal.says("tokens", "new", "--role", "operator", "--name", "ada", "--days", "90")
    secret = made.stdout.strip()
    assert made.exit_code == 0 and secret.startswith("clp_") and "\n" not in secret
    assert secret not in made.stderr and "not shown again" in made.stderr
    known = open_book(load_config(terminal.path)).by_token(secret)
    assert known is not None and known.caller.role is Role.OPERATOR
    kept = [one for one in terminal.folder.rglob("*") if one.is_file()]
    assert kept and not any(secret.encode() in one.read_bytes() for one in kept)


def test_sec_01_json_of_a_token_and_of_the_list(terminal: Terminal) -> None:
    made = terminal.json("tokens", "new", "--role", "device", "--name", "probe")
    assert made["token"].startswith("clp_") and made["role"] == "device"
    terminal.says("tokens", "link", "--role", "admin", "--name", "béla")
    listed = terminal.json("tokens", "list")
    assert [(one["name"], one["good"]) for one in listed["tokens"]] == [("probe", True)]
    assert [(one["name"], one["role"]) for one in listed["links"]] == [("béla", "admin")]
    assert made["token"] not in json.dumps(listed)
    text = terminal.says("tokens", "list").stdout
    assert "probe (device): good" in text and "link " in text


def test_sec_01_rotating_and_revoking(terminal: Terminal) -> None:
    old = terminal.says("tokens", "new", "--role", "operator", "--name", "ada").stdout.strip()
    new = terminal.says("tokens", "rotate", "ada", "--grace-hours", "1").stdout.strip()
    book = open_book(load_config(terminal.path))
    assert book.by_token(old) and book.by_token(new)
    ended = terminal.json("tokens", "revoke", "ada")["ended"]
    assert len(ended) == 2
    assert book.by_token(old) is None and book.by_token(new) is None
    what = [one["what"] for one in terminal.json("audit", "list")["entries"]]
    assert what == ["token.revoked", "token.rotated", "token.made"]


def test_sec_01_a_link_lets_in_once(terminal: Terminal) -> None:
    link = terminal.says("tokens", "link").stdout.strip()
    address, _, code = link.partition("#code=")
    assert address == "http://127.0.0.1:8000/enter", "the code stands behind the #"
    book = open_book(load_config(terminal.path))
    assert book.enter(code) and not book.enter(code)


def test_sec_01_a_command_that_is_refused_leaves_no_entry(terminal: Terminal) -> None:
    terminal.says("tokens", "new", "--role", "operator", "--name", "ada")
    for words in (
        ("new", "--role", "operator", "--name", "ada"),
        ("new", "--role", "operator", "--name", ""),
        ("rotate", "eve"),
        ("rotate", "ada", "--grace-hours", "-1"),
        ("revoke", "eve"),
        ("link", "--role", "device"),
    ):
        with pytest.raises(LifelongError):
            terminal.says("tokens", *words)
    assert len(terminal.json("audit", "list")["entries"]) == 1


def test_sec_06_no_token_is_made_unrecorded_but_one_is_revoked(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = terminal.says("tokens", "new", "--role", "admin", "--name", "ada").stdout.strip()

    def away(*_: object) -> None:
        raise StorageUnavailableError("storage is away")

    monkeypatch.setattr(Storage, "put_if_absent", away)
    for words in (("new", "--role", "admin", "--name", "eve"), ("rotate", "ada")):
        with pytest.raises(AuditUnavailableError, match="was not done"):
            terminal.says("tokens", *words)
    book = open_book(load_config(terminal.path))
    assert [one.name for one in book.page().tokens] == ["ada"] and book.by_token(secret)
    assert terminal.says("tokens", "revoke", "ada").exit_code == 0
    assert book.by_token(secret) is None


def test_sec_06_the_audit_log_at_the_terminal(terminal: Terminal) -> None:
    assert "nothing has been recorded" in terminal.says("audit", "list").stdout
    for name in ("ada", "béla", "王"):
        terminal.says("tokens", "new", "--role", "operator", "--name", name)
    listed = terminal.says("audit", "list", "--count", "2").stdout.splitlines()
    assert [line.split()[0] for line in listed] == ["3", "2"] and "name 王" in listed[0]
    assert terminal.says("audit", "list", "--before", "2").stdout.startswith("1 ")
    assert terminal.says("audit", "verify").stdout.startswith("whole: 3 entries")
    storage = open_storage(f"{terminal.folder}/storage")
    storage.put(key_of(2), storage.get(key_of(2)).replace("béla".encode(), b"eve"))
    broken = terminal.says("audit", "verify", "--json")
    assert broken.exit_code == 3
    assert json.loads(broken.stdout)["first_bad"] == 2


def test_sec_06_a_restored_log_is_accepted_by_command_and_that_is_recorded(
    terminal: Terminal,
) -> None:
    for name in ("ada", "béla"):
        terminal.says("tokens", "new", "--role", "operator", "--name", name)
    open_storage(f"{terminal.folder}/storage").delete(key_of(2))  # as after an older backup
    assert terminal.says("audit", "verify").exit_code == 3
    accepted = terminal.says("audit", "verify", "--accept")
    assert accepted.exit_code == 0 and "whole: 2 entries" in accepted.stdout
    newest = terminal.json("audit", "list")["entries"][0]
    assert newest["what"] == "audit.accepted" and newest["facts"] == {"witnessed": 2}
