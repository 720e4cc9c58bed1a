"""Who may talk to the interactive model: whoever knows its user and password.

Label Studio sends them as Basic authorization, from the fields of the connected model or from the
model's address, `http://user:password@host:port`. A program may send the password alone as a
token. Where none is configured a password is made at the first start and kept.
"""

import base64
import binascii
import hmac
import os
import secrets
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from lifelong.errors import ConfigError
from lifelong.links.durable_files import UNFINISHED, sync_folder
from lifelong.links.redaction import hide
from lifelong.sections.assist import AssistSection

_USER = "cornerloop"
_LONGEST = 4096  # characters of the header
FILE = "assist-password"


class Credentials:
    """A user and a password, compared in a time that tells nothing of them."""

    def __init__(self, user: str, password: str) -> None:
        """
        Raises:
            ConfigError: no password, or a user with ":", which Basic authorization cannot send.
        """
        if not password:
            raise ConfigError("interactive annotation needs a password; an empty one is none")
        if not user or ":" in user:
            raise ConfigError(f"user {user!r} of interactive annotation: a name without ':'")
        self.user = user
        self._password = password

    def __repr__(self) -> str:
        return f"Credentials(user={self.user!r})"

    def allows(self, authorization: str | None) -> bool:
        """Does this Authorization header come from somebody who knows the password?"""
        scheme, _, given = (authorization or "").strip().partition(" ")
        given = given.strip()
        if not given or len(given) > _LONGEST:
            return False
        if scheme.lower() in {"token", "bearer"}:
            return self._is_password(given.encode("utf-8", "surrogateescape"))
        if scheme.lower() != "basic":
            return False
        try:
            user, colon, password = base64.b64decode(given, validate=True).partition(b":")
        except (binascii.Error, ValueError):
            return False
        # Both are always compared, so that the answer's time does not tell which was wrong.
        is_user = _is_one_of(user, self.user)
        return self._is_password(password) and is_user and bool(colon)

    def url(self, base: str) -> str:
        """`base` with user and password, to be pasted as the address of a model.

        >>> Credentials("me", "a/b").url("http://127.0.0.1:9090")
        'http://me:a%2Fb@127.0.0.1:9090'
        """
        scheme, mark, rest = base.partition("://")
        if not mark:
            raise ValueError(f"{base!r}: expected http://… or https://…")
        return f"{scheme}://{quote(self.user, safe='')}:{quote(self._password, safe='')}@{rest}"

    def _is_password(self, given: bytes) -> bool:
        return _is_one_of(given, self._password)


def configured_credentials(
    section: AssistSection, folder: Path, environ: Mapping[str, str] = os.environ
) -> Credentials:
    """User and password as the variables say; without a password the one kept in `folder`.

    Args:
        folder: beside the journal; the file `assist-password` is made in it when it is not there.

    Raises:
        ConfigError: the file is damaged, open to others, or cannot be written.
    """
    user = environ.get(section.user_env, "").strip() or _USER
    password = environ.get(section.password_env, "").strip() or kept_password(folder / FILE)
    hide([password])
    return Credentials(user, password)


def kept_password(path: Path) -> str:
    """The password in a file, which is made with a new one where it is not there.

    Two that start at once agree on one: the file appears whole, and only once.

    Raises:
        ConfigError: it is damaged, open to others, or cannot be written.
    """
    try:
        if not path.exists():
            _make(path, secrets.token_urlsafe(24))
        mode = path.stat().st_mode
        password = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: the password of interactive annotation cannot be kept there ({error}); set "
            "assist.password_env's variable, or make the folder writable"
        ) from error
    if mode & 0o077:
        raise ConfigError(f"{path}: others may read this password; run `chmod 600 {path}`")
    if not password:
        raise ConfigError(f"{path}: it is empty; remove it, and a new password is made")
    return password


def _make(path: Path, password: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{UNFINISHED}{path.name}-{secrets.token_hex(8)}")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(password + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(part, path)  # fails where somebody was faster, and theirs is as good
        except FileExistsError:
            return
    finally:
        part.unlink(missing_ok=True)
    sync_folder(path.parent)


def _is_one_of(given: bytes, wanted: str) -> bool:
    """Compare as UTF-8 and as the Latin-1 that `requests` sends; equal lengths tell nothing."""
    same = hmac.compare_digest(sha256(given).digest(), sha256(wanted.encode()).digest())
    latin = wanted.encode("latin-1", "replace")  # "?" where it has no such letter
    is_latin = latin.decode("latin-1") == wanted
    return same | (hmac.compare_digest(sha256(given).digest(), sha256(latin).digest()) & is_latin)
