"""`KeyRing`: the public keys whose releases edge nodes run, and what each may still sign."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class KeyState(StrEnum):
    """What a key is still good for.

    ACTIVE signs releases. RETIRED was replaced: what it signed before stays good. REVOKED may be
    in foreign hands: nothing it ever signed is good any more.
    """

    ACTIVE = "active"
    RETIRED = "retired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """One Ed25519 key, as nodes know it."""

    key_id: str  # the first 16 hex digits of the SHA-256 of its 32 bytes
    public: str  # base64 of its 32 bytes
    state: KeyState
    made_at: datetime  # UTC, by the clock of who made it; nodes do not rely on it
    signs_rings: bool = True  # False: releases only, for a key that lies on a server
    # Of a retired key: the last release it may have signed. No clock decides, as nodes have none
    # that can be trusted.
    last_release: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRing:
    """All keys there ever were; each ring is signed by a key that was active in the one before."""

    serial: int  # 1, 2, 3 …
    made_at: datetime  # UTC
    keys: tuple[PublicKey, ...]
    key_id: str = ""  # of the key that signed this ring
    signature: str = ""  # base64 of the Ed25519 signature over everything above

    def find(self, key_id: str) -> PublicKey | None:
        """The key of that id, in whatever state."""
        return next((key for key in self.keys if key.key_id == key_id), None)
