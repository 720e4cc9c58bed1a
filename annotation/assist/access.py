"""With what pictures are asked of Label Studio: a legacy token, or a personal access token.

A legacy token is sent as it is (`Token …`). A personal access token is only good for getting
access tokens of five minutes, which are sent (`Bearer …`). Both go to the configured address of
Label Studio and nowhere else: what /setup says of its host is only used to recognise addresses.
"""

import base64
import binascii
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from annotation.assist.downloads import Downloads
from annotation.assist.hosts import Origin, web_place
from lifelong.errors import ConfigError, PictureAccessError

_MARGIN_S = 30.0  # an access token is renewed that long before it runs out
_LIFETIME_S = 300.0  # of an access token that does not say
_KEPT = 64  # access tokens: there is one for each project's creator at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Studio:
    """The configured Label Studio.

    Raises:
        ConfigError: its address is no http(s) one, or the token no token.
    """

    url: str
    token: str = field(default="", repr=False)
    token_env: str = "CORNERLOOP_LABEL_STUDIO_TOKEN"  # the variable it came from, for messages
    local_files_root: Path | None = None  # where that folder of its machine can be read here

    def __post_init__(self) -> None:
        try:
            web_place(self.url, "label_studio.url")
        except PictureAccessError as error:
            raise ConfigError(f"{error}; expected http://… or https://…") from None
        # Files that variables are filled from end with a line break.
        object.__setattr__(self, "token", self.token.strip())
        if self.token and not is_sendable(self.token):
            raise ConfigError(
                f"{self.token_env}: holds blanks or letters that no token has; copy it once more"
            )

    @property
    def origin(self) -> Origin:
        return web_place(self.url, "label_studio.url").origin

    def at(self, path: str) -> str:
        """The URL of a path without a leading slash, below the sub-path if there is one."""
        return f"{self.url.rstrip('/')}/{path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectAccess:
    """What Label Studio told of a project: in /setup host and token, in /predict a log-in."""

    hostname: str = ""
    access_token: str = field(default="", repr=False)  # of who made the project; a legacy one
    login: str = ""  # for pictures on servers of others, from the project's settings
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Offer:
    """A token, and where it is from."""

    token: str = field(repr=False)
    source: str
    kind: str  # legacy, access or refresh


def offers(studio: Studio, project: ProjectAccess) -> list[Offer]:
    """The tokens to try, the configured one first."""
    found = {studio.token: f"the token in {studio.token_env}"}
    # Where both are the same, the one that people can change is named.
    found.setdefault(project.access_token, "the token that Label Studio sent to /setup")
    return [
        Offer(token, source, token_kind(token)) for token, source in found.items() if token
        and is_sendable(token)
    ]  # fmt: skip


def is_sendable(token: str) -> bool:
    """May these letters stand in a header?"""
    return token.isascii() and token.isprintable() and " " not in token and len(token) < 4096


def token_kind(token: str) -> str:
    """`legacy`; of a JWT `access`, or `refresh`: a personal access token."""
    claims = _claims(token)
    if claims is None:
        return "legacy"
    return "access" if claims.get("token_type") == "access" else "refresh"


class AccessTokens:
    """Makes the Authorization header; keeps access tokens while they are good, for all threads.

    How long that is comes from what the token says of itself, measured on this machine's own
    clock from its arrival: the two machines may differ in what time it is.
    """

    def __init__(
        self, studio: Studio, downloads: Downloads, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._studio = studio
        self._downloads = downloads
        self._clock = clock
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[str, float]] = OrderedDict()  # access token, good until

    def header(self, offer: Offer, *, after: str = "") -> str:
        """The header's value, "" where the token is good for nothing any more.

        Args:
            after: the header that was refused; the same is not made again.

        Raises:
            PictureAccessError: Label Studio cannot be reached, or answers as it never does.
        """
        if offer.kind == "legacy":
            return f"Token {offer.token}"
        if offer.kind == "access":
            return f"Bearer {offer.token}"
        with self._lock:  # one renewal, however many wait for it
            access, until = self._known.get(offer.token, ("", 0.0))
            if self._clock() >= until or f"Bearer {access}" == after:
                access, lifetime = self._renewed(offer)
                self._known[offer.token] = (access, self._clock() + lifetime - _MARGIN_S)
                self._known.move_to_end(offer.token)
                if len(self._known) > _KEPT:
                    self._known.popitem(last=False)
        return f"Bearer {access}" if access else ""

    def _renewed(self, offer: Offer) -> tuple[str, float]:
        """A new access token and its lifetime in seconds; ("", 0) where it is refused."""
        name = f"Label Studio at {self._studio.origin}"
        answer = self._downloads.post(
            self._studio.at("api/token/refresh/"),
            json.dumps({"refresh": offer.token}).encode(),
            name=name,
        )
        if answer.status in {400, 401, 403}:
            return "", 0.0
        try:
            access = json.loads(answer.data)["access"] if answer.status == 200 else None
            claims = _claims(access) if isinstance(access, str) and is_sendable(access) else None
        except (ValueError, KeyError, TypeError):
            claims = None
        if claims is None:
            raise PictureAccessError(
                f"{name} answered {answer.status} when {offer.source} was to be renewed, and not "
                "as Label Studio does; is label_studio.url right? A redirect is not followed"
            )
        begin, end = claims.get("iat"), claims.get("exp")
        if isinstance(begin, int | float) and isinstance(end, int | float):
            return str(access), float(end) - float(begin)
        return str(access), _LIFETIME_S


def _claims(token: str) -> dict[str, object] | None:
    """What a JWT says of itself, unverified: who signed it will verify it."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        padded = parts[1] + "=" * (-len(parts[1]) % 4)
        told = json.loads(base64.urlsafe_b64decode(padded))
    except (binascii.Error, ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None
