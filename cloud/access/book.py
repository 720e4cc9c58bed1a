"""The book of who may enter: tokens, links and sessions of browsers.

It lies on the machine of `serve` (`cloud/access/book_file.py`), never in storage: edge nodes can
write there. What is revoked by a command is refused by the running server at once.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from cloud.access.book_file import BookFile, Page
from cloud.access.permissions import Caller, Role
from cloud.access.tokens import (
    CODE,
    SESSION,
    TOKEN,
    Link,
    Session,
    Token,
    csrf_of,
    hash_of,
    is_name,
    new_id,
    new_secret,
    same,
)
from lifelong.errors import ConfigError

logger = logging.getLogger(__name__)

WITNESS = "audit-witness.json"  # of the audit log, see cloud/audit_log.py
LINK_LIFE = timedelta(hours=24)
_COARSE = timedelta(hours=1)  # how exactly a token's last use is known
_MOST_SESSIONS = 1000  # then the oldest goes
_KEPT = timedelta(days=90)  # so long links that are over stay in the list

T = TypeVar("T", Token, Link)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Somebody whom the book knows."""

    caller: Caller
    sha256: str
    is_stale: bool  # the last use in the book is older than it should be: `note_use`


class AccessBook:
    """Makes, finds, ends what lets people in; safe for threads and processes."""

    def __init__(self, folder: Path, now: Callable[[], datetime], session_hours: float) -> None:
        """Nothing is read or made yet.

        Args:
            session_hours: since the last visit; then a browser must enter again.
        """
        self._file = BookFile(folder)
        self._now = now
        self._life = timedelta(hours=session_hours)

    def page(self) -> Page:
        """Everything in the book, as it is now.

        Raises:
            ConfigError: the file cannot be read; names it.
        """
        return self._file.look().page

    def instance(self) -> str:
        """What tells us from another Cornerloop; made at the first question, then kept."""
        found = self._file.look()
        if found.stamp is None:
            with self._file.writing() as page:
                self._file.write(page)
        return self.page().instance

    def is_untouched(self) -> bool:
        """Has nobody ever had a way in? Then `serve` makes one."""
        page = self.page()
        return not page.tokens and not any(link.used or not link.is_first for link in page.links)

    def make_token(self, name: str, role: Role, *, days: float | None = None) -> tuple[Token, str]:
        """A token, and the secret, which is nowhere kept.

        Raises:
            ConfigError: a name that is none or in use, days that are none.
        """
        self._check(name, days)
        now = self._now()
        with self._file.writing() as page:
            self._check_free(page, name)
            token, secret = self._token(name, role, now, days)
            self._file.write(replace(page, tokens=(*page.tokens, token)))
        return token, secret

    def rotate(self, which: str, *, grace_hours: float = 0.0) -> tuple[Token, str]:
        """A new token in place of one, with its name, role and length of life.

        Args:
            which: a name or id.
            grace_hours: so long the old one works besides; 0: it and its sessions end now.

        Raises:
            ConfigError: no such token, or one that is over.
        """
        self.check_rotation(which, grace_hours)
        now = self._now()
        with self._file.writing() as page:
            old = self._one(page, which, now)
            life = old.expires - old.created if old.expires else None
            days = life / timedelta(days=1) if life else None
            fresh, secret = self._token(old.name, old.role, now, days)
            end = now + timedelta(hours=grace_hours)
            over = replace(old, replaced_by=fresh.id, expires=min(old.expires or end, end))
            if not grace_hours:
                over = replace(over, revoked=now, expires=old.expires)
            tokens = tuple(over if one.id == old.id else one for one in page.tokens)
            self._file.write(_swept(replace(page, tokens=(*tokens, fresh)), now, self._life))
        return fresh, secret

    def revoke(self, which: str) -> list[str]:
        """End all tokens and links of a name or id, or a session by its id; their sessions, too.

        Returns:
            The ids of what ended.

        Raises:
            ConfigError: nothing of that name is good any more.
        """
        now = self._now()
        with self._file.writing() as page:
            every: tuple[Token | Link, ...] = (*page.tokens, *page.links)
            named = [one for one in every if which in (one.name, one.id)]
            ended = {one.id for one in named if one.revoked is None}
            by = {one.id for one in named}
            gone = {one.id for one in page.sessions if one.entered_by in by or one.id == which}
            if not ended and not gone:
                raise ConfigError(f"no token, link or session {which!r}; see `tokens list`")
            page = replace(
                page,
                tokens=tuple(_ended(one, ended, now) for one in page.tokens),
                links=tuple(_ended(one, ended, now) for one in page.links),
                sessions=tuple(one for one in page.sessions if one.id not in gone),
            )
            self._file.write(page)
        return sorted(ended | gone)

    def make_link(self, role: Role, name: str, *, is_first: bool = False) -> tuple[Link, str]:
        """A link to enter by once, within a day, and its code.

        Args:
            is_first: those before it that nobody has used end.

        Raises:
            ConfigError: a name that is none, or the role of machines.
        """
        self._check(name, None)
        if role is Role.DEVICE:
            raise ConfigError("a link is for people; make a token for a device: `tokens new`")
        now, code = self._now(), new_secret(CODE)
        link = Link(
            id=new_id("l"),
            name=name,
            role=role,
            sha256=hash_of(code),
            created=now,
            expires=now + LINK_LIFE,
            is_first=is_first,
        )
        with self._file.writing() as page:
            stale = {one.id for one in page.links if is_first and one.is_first and not one.used}
            links = tuple(one for one in page.links if one.id not in stale)
            self._file.write(replace(page, links=(*links, link)))
        return link, code

    def enter(self, secret: str) -> tuple[Caller, str] | None:
        """Open a session with a token or a code; the code is used up by it.

        Returns:
            Who entered, and the cookie; None: the secret is good for nothing (any more), or for
            machines only.
        """
        now, hashed, cookie = self._now(), hash_of(secret), new_secret(SESSION)
        with self._file.writing() as page:
            by: Token | Link | None = None
            every: tuple[Token | Link, ...] = (*page.tokens, *page.links)
            for one in every:
                if same(one.sha256, hashed) and one.is_good(now) and one.role is not Role.DEVICE:
                    by = one
            if by is None:
                return None
            session = Session(
                id=new_id("s"),
                name=by.name,
                role=by.role,
                sha256=hash_of(cookie),
                entered_by=by.id,
                created=now,
                seen=now,
            )
            page = _used(_swept(page, now, self._life), by, now)
            self._file.write(replace(page, sessions=(*page.sessions, session)[-_MOST_SESSIONS:]))
        return self._caller(session, cookie), cookie

    def leave(self, cookie: str) -> None:
        """End the session of a cookie; nothing happens when there is none."""
        hashed = hash_of(cookie)
        with self._file.writing() as page:
            left = tuple(one for one in page.sessions if not same(one.sha256, hashed))
            if len(left) != len(page.sessions):
                self._file.write(replace(page, sessions=left))

    def by_token(self, secret: str) -> Known | None:
        """Whose token this is; None: nobody's, or it is over."""
        now, hashed = self._now(), hash_of(secret)
        # Found by hash, which tells a clock nothing of the secret; then compared once more.
        token = self._file.look().tokens.get(hashed)
        if token is None or not same(token.sha256, hashed) or not token.is_good(now):
            return None
        caller = Caller(name=token.name, role=token.role, token_id=token.id)
        is_stale = token.used is None or abs(now - token.used) >= _COARSE
        return Known(caller=caller, sha256=hashed, is_stale=is_stale)

    def by_cookie(self, cookie: str) -> Known | None:
        """Whose session this is; None: nobody's, or it is over."""
        now, hashed = self._now(), hash_of(cookie)
        read = self._file.look()
        session = read.sessions.get(hashed)
        if session is None or not same(session.sha256, hashed):
            return None
        if not _lasts(session, read.page, now, self._life):
            return None
        is_stale = abs(now - session.seen) >= min(_COARSE, self._life / 20)
        return Known(caller=self._caller(session, cookie), sha256=hashed, is_stale=is_stale)

    def note_use(self, known: Known) -> None:
        """Write down that somebody was here; a full disk keeps nobody out."""
        now = self._now()
        try:
            with self._file.writing() as page:
                tokens = (
                    replace(one, used=now) if one.sha256 == known.sha256 else one
                    for one in page.tokens
                )
                sessions = (
                    replace(one, seen=now) if one.sha256 == known.sha256 else one
                    for one in page.sessions
                )
                page = replace(page, tokens=tuple(tokens), sessions=tuple(sessions))
                self._file.write(_swept(page, now, self._life))
        except ConfigError as error:
            logger.warning("a last use is not written down: %s", error)

    @staticmethod
    def _caller(session: Session, cookie: str) -> Caller:
        return Caller(
            name=session.name,
            role=session.role,
            token_id=session.entered_by,
            csrf=csrf_of(cookie),
        )

    def check_new(self, name: str, days: float | None = None) -> None:
        """
        Raises:
            ConfigError: `make_token` would refuse this.
        """
        self._check(name, days)
        self._check_free(self.page(), name)

    def check_rotation(self, which: str, grace_hours: float = 0.0) -> None:
        """
        Raises:
            ConfigError: `rotate` would refuse this.
        """
        if not 0 <= grace_hours <= 24 * 365:
            raise ConfigError(f"--grace-hours {grace_hours}: 0 or more, at most a year")
        self._one(self.page(), which, self._now())

    def _check_free(self, page: Page, name: str) -> None:
        now = self._now()
        if any(one.name == name and one.is_good(now) for one in page.tokens):
            raise ConfigError(
                f"there is a token {name!r} already: `cornerloop tokens rotate` replaces it, "
                "`revoke` ends it"
            )

    @staticmethod
    def _check(name: str, days: float | None) -> None:
        if not is_name(name):
            raise ConfigError(f"name {name[:50]!r}: 1 to 100 letters on one line")
        if days is not None and not 0 < days <= 36500:
            raise ConfigError(f"--days {days}: more than 0, at most 36500")

    @staticmethod
    def _token(name: str, role: Role, now: datetime, days: float | None) -> tuple[Token, str]:
        secret = new_secret(TOKEN)
        token = Token(
            id=new_id("t"),
            name=name,
            role=role,
            sha256=hash_of(secret),
            created=now,
            expires=None if days is None else now + timedelta(days=days),
        )
        return token, secret

    @staticmethod
    def _one(page: Page, which: str, now: datetime) -> Token:
        found = [
            one
            for one in page.tokens
            if which in (one.name, one.id) and one.is_good(now) and not one.replaced_by
        ]
        if not found:
            raise ConfigError(f"no good token {which!r}; `cornerloop tokens list` shows all")
        return found[-1]


def _lasts(session: Session, page: Page, now: datetime, life: timedelta) -> bool:
    if now - session.seen >= life:
        return False
    for token in page.tokens:
        if token.id == session.entered_by:
            return token.is_good(now)
    return True  # by a link: `revoke` removes its sessions


def _swept(page: Page, now: datetime, life: timedelta) -> Page:
    """Without sessions that are over, and links that have been for long."""
    return replace(
        page,
        sessions=tuple(one for one in page.sessions if _lasts(one, page, now, life)),
        links=tuple(one for one in page.links if one.used or now - one.expires < _KEPT),
    )


def _used(page: Page, by: Token | Link, now: datetime) -> Page:
    return replace(
        page,
        tokens=tuple(replace(one, used=now) if one.id == by.id else one for one in page.tokens),
        links=tuple(replace(one, used=now) if one.id == by.id else one for one in page.links),
    )


def _ended(one: T, ids: set[str], now: datetime) -> T:
    return replace(one, revoked=now) if one.id in ids else one
