"""How a key ring changes: a key is added, replaced, revoked; and how a ring reaches the nodes.

Each function makes the next ring from the last one and signs it; nothing is published by them.
"""

from dataclasses import replace
from datetime import datetime

from lifelong.errors import ConfigError, ObjectExistsError, ObjectNotFoundError
from lifelong.links.storage import Storage
from lifelong.records.key_ring import KeyRing, KeyState, PublicKey
from lifelong.records.keys import KEY_RING, key_ring_key
from lifelong.records.wire import to_json
from lifelong.signatures import Signer, check_successor, checked_ring


def first_ring(signer: Signer, now: datetime, note: str = "") -> KeyRing:
    """A ring of one key, signed by itself: nodes get it by hand."""
    return signer.ring(KeyRing(serial=1, made_at=now, keys=(signer.public_key(now, note=note),)))


def with_key(ring: KeyRing, key: PublicKey, signer: Signer, now: datetime) -> KeyRing:
    """The ring with one more key."""
    return _next(ring, (*ring.keys, key), signer, now)


def rotated(
    ring: KeyRing, old: Signer, new: Signer, *, last_release: int, now: datetime
) -> KeyRing:
    """The ring in which `new` takes the place of `old`, signed by `old`.

    Args:
        last_release: number of the newest release; `old` may not have signed later ones.
    """
    replaced = _key(ring, old.key_id)
    keys = _changed(ring, old.key_id, state=KeyState.RETIRED, last_release=last_release)
    fresh = new.public_key(now, signs_rings=replaced.signs_rings, note=replaced.note)
    return _next(ring, (*keys, fresh), old, now)


def revoked(ring: KeyRing, key_id: str, signer: Signer, now: datetime) -> KeyRing:
    """The ring in which nothing that this key ever signed is good any more.

    Raises:
        ConfigError: no such key, or none would be left that signs rings.
    """
    _key(ring, key_id)
    keys = _changed(ring, key_id, state=KeyState.REVOKED)
    if not any(key.state is KeyState.ACTIVE and key.signs_rings for key in keys):
        raise ConfigError(
            f"key {key_id} is the only active one that signs rings; run `cornerloop keys rotate` "
            "first, then revoke it"
        )
    if signer.key_id == key_id:
        raise ConfigError(
            f"key {key_id} would sign its own revocation; name another active key's file with "
            "--signed-by"
        )
    return _next(ring, keys, signer, now)


def publish_ring(storage: Storage, ring: KeyRing) -> bool:
    """Let nodes see a ring; False when it was published before. Safe to repeat.

    Raises:
        ConfigError: storage has a newer one, or one that this does not follow from.
        SignatureError: it is not signed by a key of the ring before.
    """
    data = to_json(ring)
    checked_ring(data, "this ring")
    try:
        published = storage.get(KEY_RING)
    except ObjectNotFoundError:
        published = b""
    if published == data:
        return False
    if published:
        held = checked_ring(published, KEY_RING)
        if held.serial + 1 != ring.serial:
            raise ConfigError(
                f"storage has key ring {held.serial}, this is ring {ring.serial}; rings are "
                "published one after the other"
            )
        check_successor(data, held, f"key ring {ring.serial}")
    try:
        # The chain first: a node that was away needs every link of it.
        storage.put_if_absent(key_ring_key(ring.serial), data)
    except ObjectExistsError:
        if storage.get(key_ring_key(ring.serial)) != data:
            raise ConfigError(
                f"storage has another key ring {ring.serial}; somebody else changed the keys"
            ) from None
    storage.put(KEY_RING, data)
    return True


def _next(ring: KeyRing, keys: tuple[PublicKey, ...], signer: Signer, now: datetime) -> KeyRing:
    by = _key(ring, signer.key_id)
    if by.state is not KeyState.ACTIVE or not by.signs_rings:
        raise ConfigError(f"key {by.key_id} is {by.state} or signs releases only; use another")
    return signer.ring(KeyRing(serial=ring.serial + 1, made_at=now, keys=keys))


def _key(ring: KeyRing, key_id: str) -> PublicKey:
    key = ring.find(key_id)
    if key is None:
        known = ", ".join(k.key_id for k in ring.keys)
        raise ConfigError(f"key ring {ring.serial} has no key {key_id!r}; it has: {known}")
    return key


def _changed(
    ring: KeyRing, key_id: str, *, state: KeyState, last_release: int | None = None
) -> tuple[PublicKey, ...]:
    def change(key: PublicKey) -> PublicKey:
        if key.key_id != key_id:
            return key
        last = key.last_release if last_release is None else last_release
        return replace(key, state=state, last_release=last)

    return tuple(change(key) for key in ring.keys)
