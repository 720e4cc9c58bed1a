"""Whom this node trusts: a ring of public keys, replaced only by what a key of it signed.

The first ring comes with the installation (`edge.updates.trusted_keys`); newer ones come over
storage and are kept as `keys.json` under the node's state. The higher serial wins, so a restart
does not bring a revoked key back. To begin anew with other keys, remove that file.
"""

import logging
from pathlib import Path

from lifelong.errors import (
    ConfigError,
    CorruptRecordError,
    ObjectNotFoundError,
    RecordError,
    SignatureError,
    UnknownKeyError,
)
from lifelong.links.durable_files import write_whole
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage
from lifelong.records.ids import sha256_hex
from lifelong.records.key_ring import KeyRing, KeyState
from lifelong.records.keys import KEY_RING, key_ring_key
from lifelong.records.model_versions import Release
from lifelong.records.wire import from_json, to_json
from lifelong.sections.updates import UpdatesSection
from lifelong.signatures import check_release, check_successor, checked_ring

logger = logging.getLogger(__name__)

RINGS_AT_ONCE = 100  # of the chain, in one look


class Trust:
    """Says whether a release may be believed, with the newest ring this node knows."""

    def __init__(
        self,
        ring: KeyRing | None,
        *,
        accepts_unsigned: bool = False,
        kept: Path | None = None,
        journal: Journal | None = None,
    ) -> None:
        """
        Args:
            ring: whom to trust; None: nobody, which only makes sense where unsigned is accepted.
            accepts_unsigned: releases that nobody signed are believed, too.
            kept: where a newer ring is kept for the next start.
        """
        self.ring = ring
        self.accepts_unsigned = accepts_unsigned
        self._kept = kept
        self._journal = journal
        self._looked_at = ""  # SHA-256 of the ring that storage had at the last look

    @property
    def serial(self) -> int:
        """Of the ring; 0 without one."""
        return self.ring.serial if self.ring else 0

    def release(self, data: bytes, where: str) -> Release:
        """The release that `data` holds, believed.

        Raises:
            CorruptRecordError: not a release.
            SignatureError: its kinds say why it is not believed.
        """
        release = from_json(Release, data, where)
        if self.accepts_unsigned and (self.ring is None or not release.signature):
            return release
        if self.ring is None:
            raise UnknownKeyError(f"{where}: this node trusts no key at all")
        return check_release(data, self.ring, where)

    def refresh(self, storage: Storage) -> bool:
        """Take newer rings from storage; True when there was one.

        What is not signed as it must be is left alone, told once in the journal as
        `keys.refused`.

        Raises:
            StorageError: storage cannot be reached.
        """
        if self.ring is None:
            return False
        try:
            data = storage.get(KEY_RING)
        except ObjectNotFoundError:
            return False
        if sha256_hex(data) == self._looked_at:
            return False
        before = self.serial
        try:
            self._take(storage, data)
        except RecordError as error:
            logger.warning("refused a key ring: %s", error)
            self._tell("keys.refused", str(error))
        self._looked_at = sha256_hex(data)
        return self.serial > before

    def _take(self, storage: Storage, data: bytes) -> None:
        assert self.ring is not None
        newest = checked_ring(data, KEY_RING)
        if newest.serial <= self.ring.serial:
            return  # the one we hold, or an old one put back: neither changes anything
        try:
            self._hold(check_successor(data, self.ring, KEY_RING))
            return
        except SignatureError:
            if newest.serial == self.ring.serial + 1:
                raise
        # This node was away for several rings: each one in between was signed by the one before.
        for serial in range(self.ring.serial + 1, newest.serial)[:RINGS_AT_ONCE]:
            key = key_ring_key(serial)
            try:
                self._hold(check_successor(storage.get(key), self.ring, key))
            except ObjectNotFoundError:
                continue
        self._hold(check_successor(data, self.ring, KEY_RING))

    def _hold(self, ring: KeyRing) -> None:
        self.ring = ring
        logger.info("key ring %d is trusted from now on", ring.serial)
        self._tell("keys.taken", "")
        if self._kept is None:
            return
        try:
            write_whole(self._kept, to_json(ring))
        except OSError as error:
            logger.warning("key ring %d is not on the disk: %s", ring.serial, error)

    def _tell(self, event: str, reason: str) -> None:
        if self._journal is not None:
            self._journal.event(event, serial=self.serial, **({"reason": reason} if reason else {}))


def open_trust(section: UpdatesSection, state: Path, journal: Journal | None = None) -> Trust:
    """Whom a node with these settings trusts: the installed ring, or a newer one it has kept.

    Raises:
        ConfigError: unsigned models are refused and no ring is named, or it cannot be read.
    """
    accepts_unsigned = section.unsigned == "accept"
    if section.trusted_keys is None:
        if accepts_unsigned:
            return Trust(None, accepts_unsigned=True)
        raise ConfigError(
            "edge.updates.trusted_keys is missing: `cornerloop keys new` makes a key and "
            "`cornerloop keys export FILE` writes the key ring to name here; "
            "or set edge.updates.unsigned: accept to run models that nobody signed"
        )
    ring = _installed_ring(section.trusted_keys)
    kept = state / "keys.json"
    return Trust(_newer(ring, kept), accepts_unsigned=accepts_unsigned, kept=kept, journal=journal)


def active_keys(ring: KeyRing) -> list[str]:
    """Ids of the keys that may sign new releases."""
    return [key.key_id for key in ring.keys if key.state is KeyState.ACTIVE]


def _installed_ring(path: Path) -> KeyRing:
    try:
        return checked_ring(path.read_bytes(), str(path))
    except OSError as error:
        raise ConfigError(
            f"edge.updates.trusted_keys: {path} cannot be read ({error.strerror}); "
            "`cornerloop keys export FILE` writes one"
        ) from error
    except RecordError as error:
        raise ConfigError(f"edge.updates.trusted_keys: {error}") from error


def _newer(installed: KeyRing, path: Path) -> KeyRing:
    try:
        kept = checked_ring(path.read_bytes(), str(path))
    except FileNotFoundError:
        return installed
    except (OSError, CorruptRecordError, SignatureError) as error:
        logger.warning("the kept key ring is not used: %s", error)
        return installed
    return kept if kept.serial > installed.serial else installed
