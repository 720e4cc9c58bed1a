"""What lets somebody in: tokens of programs and people, links to enter once, sessions of browsers.

Each is 256 bits by chance; only its SHA-256 is kept, so who reads the file can be nobody. The
letters before the bits tell what it is, to people and to scanners that look for leaked secrets.
"""

import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from cloud.access.permissions import Role

TOKEN, CODE, SESSION = "clp_", "clpl_", "clps_"  # what a secret begins with
_SECRET = re.compile(r"clp[ls]?_[A-Za-z0-9_-]{43}")
_NAME = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,100}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What a program sends with each question, and what a person may enter with."""

    id: str
    name: str  # stands in the audit log
    role: Role
    sha256: str
    created: datetime
    expires: datetime | None  # None: never
    used: datetime | None = None  # to the hour
    revoked: datetime | None = None
    replaced_by: str = ""  # id of the token that came in its place

    def is_good(self, now: datetime) -> bool:
        """Does it let anybody in?"""
        return self.revoked is None and (self.expires is None or now < self.expires)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A code that opens one session, once."""

    id: str
    name: str
    role: Role
    sha256: str
    created: datetime
    expires: datetime
    is_first: bool = False  # printed by `serve` when there was nothing else to enter with
    used: datetime | None = None
    revoked: datetime | None = None

    def is_good(self, now: datetime) -> bool:
        """Can somebody still enter by it?"""
        return self.used is None and self.revoked is None and now < self.expires


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A browser that has entered; its cookie is the secret."""

    id: str
    name: str
    role: Role
    sha256: str
    entered_by: str  # id of a token or link; with a token's end it ends
    created: datetime
    seen: datetime  # coarse


def new_secret(kind: str) -> str:
    """A secret that nobody has ever had, of kind TOKEN, CODE or SESSION."""
    return kind + secrets.token_urlsafe(32)


def new_id(kind: str) -> str:
    """A name to speak of it that is no secret: t…, l…, s…."""
    return kind + secrets.token_hex(4)


def hash_of(secret: str) -> str:
    """What is kept of a secret. A fast hash will do: nobody guesses 256 bits."""
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def csrf_of(cookie: str) -> str:
    """What the forms of a session carry; known only to whoever has its cookie."""
    return hmac.new(cookie.encode("utf-8", "surrogatepass"), b"csrf", sha256).hexdigest()


def same(one: str, other: str) -> bool:
    """Are two texts equal? Takes as long wherever they differ."""
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"),
                               other.encode("utf-8", "surrogatepass"))  # fmt: skip


def secret_in(text: str) -> str:
    """The token or code in what somebody pasted, be it a whole link; "" when there is none.

    >>> secret_in(" http://h/enter#code=clpl_" + 43 * "a" + " ") == "clpl_" + 43 * "a"
    True
    """
    found = _SECRET.search(text[:4096])
    return found[0] if found else ""


def is_name(text: str) -> bool:
    """Can a token be called so?"""
    return _NAME.fullmatch(text) is not None and text == text.strip()
