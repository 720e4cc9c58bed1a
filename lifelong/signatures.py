"""Who signed this? Ed25519 over releases and key rings; the rules of which key is good for what.

What is signed is not a file but what it says: a word for the purpose (so that a signature under
one kind of record is worth nothing under another), then the record as JSON with sorted keys and
without blanks, all fields but `signature`. Fields that this version does not know are covered.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from lifelong.errors import (
    CorruptRecordError,
    RetiredKeyError,
    RevokedKeyError,
    SignatureError,
    UnknownKeyError,
    UnsignedError,
)
from lifelong.records.ids import sha256_hex
from lifelong.records.key_ring import KeyRing, KeyState, PublicKey
from lifelong.records.model_versions import Release
from lifelong.records.wire import from_json, json_object, to_plain

RELEASE = "cornerloop release 1"
RING = "cornerloop key ring 1"
SEED_BYTES = 32  # of a secret key


class Signer:
    """A secret key at work."""

    def __init__(self, seed: bytes) -> None:
        """`seed`: the 32 secret bytes; anybody who has them signs as this key."""
        self._key = SigningKey(seed)
        public = bytes(self._key.verify_key)
        self.public = base64.b64encode(public).decode()
        self.key_id = key_id_of(public)

    def release(self, release: Release) -> Release:
        """The release with this key's signature, in place of any it had."""
        named = replace(release, key_id=self.key_id, signature="")
        return replace(named, signature=self._signature(RELEASE, to_plain(named)))

    def ring(self, ring: KeyRing) -> KeyRing:
        """The ring with this key's signature, in place of any it had."""
        named = replace(ring, key_id=self.key_id, signature="")
        return replace(named, signature=self._signature(RING, to_plain(named)))

    def public_key(
        self, made_at: datetime, *, signs_rings: bool = True, note: str = ""
    ) -> PublicKey:
        """The public half, as a ring lists it."""
        return PublicKey(
            key_id=self.key_id,
            public=self.public,
            state=KeyState.ACTIVE,
            made_at=made_at,
            signs_rings=signs_rings,
            note=note,
        )

    def _signature(self, purpose: str, body: Mapping[str, object]) -> str:
        return base64.b64encode(self._key.sign(signed_bytes(purpose, body)).signature).decode()


def key_id_of(public: bytes) -> str:
    """The short name of a public key (32 bytes): 16 hex digits."""
    return sha256_hex(public)[:16]


def signed_bytes(purpose: str, body: Mapping[str, object]) -> bytes:
    """What a signature covers: the purpose, and the record's fields but `signature`."""
    content = {name: value for name, value in body.items() if name != "signature"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"{purpose}\n{text}".encode()


def check_release(data: bytes, ring: KeyRing, where: str) -> Release:
    """A release whose signature is one of the ring's, as it lies in storage.

    Raises:
        CorruptRecordError: not a release.
        UnsignedError, UnknownKeyError, RetiredKeyError, RevokedKeyError: as they say.
        SignatureError: it was altered after it was signed, or by somebody without the key.
    """
    release = from_json(Release, data, where)
    if not release.signature:
        raise UnsignedError(
            f"{where}: release {release.number} is not signed; set releases.signing_key in the "
            "cloud, or edge.updates.unsigned: accept on this node"
        )
    key = _key_in(ring, release.key_id, where)
    # Signature first: "revoked" must mean that the key did sign it.
    _check(key, RELEASE, _body(data, where), where)
    _refuse_revoked(key, ring, where)
    if key.state is KeyState.RETIRED and release.number > key.last_release:
        raise RetiredKeyError(
            f"{where}: release {release.number} is signed by key {key.key_id}, which was retired "
            f"after release {key.last_release}; sign with an active key"
        )
    return release


def check_successor(data: bytes, held: KeyRing, where: str) -> KeyRing:
    """A ring that may take the place of `held`.

    Raises:
        CorruptRecordError: not a ring, or one that contradicts itself.
        SignatureError: not newer, or not signed by a key that is active in `held` and may.
    """
    ring = checked_ring(data, where)
    if ring.serial <= held.serial:
        raise SignatureError(f"{where}: ring {ring.serial} is not newer than ring {held.serial}")
    key = _key_in(held, ring.key_id, where)
    _refuse_revoked(key, held, where)
    if key.state is not KeyState.ACTIVE or not key.signs_rings:
        raise SignatureError(
            f"{where}: ring {ring.serial} is signed by key {key.key_id}, which may not sign rings"
        )
    _check(key, RING, _body(data, where), where)
    return ring


def checked_ring(data: bytes, where: str) -> KeyRing:
    """A ring that is whole: signed by one of its own keys, in whatever state.

    Says nothing about whether it may be trusted; that is for who brought it.

    Raises:
        CorruptRecordError: not a ring, or one that contradicts itself.
        SignatureError: it was altered.
    """
    ring = from_json(KeyRing, data, where)
    ids = [key.key_id for key in ring.keys]
    if ring.serial < 1 or len(set(ids)) != len(ids):
        raise CorruptRecordError(f"{where}: ring {ring.serial} names a key twice or has no serial")
    for key in ring.keys:
        if key.key_id != key_id_of(_decoded(key.public, 32, where)):
            raise CorruptRecordError(f"{where}: key {key.key_id} is not the key of that id")
    _check(_key_in(ring, ring.key_id, where), RING, _body(data, where), where)
    return ring


def _body(data: bytes, where: str) -> Mapping[str, object]:
    body = json_object(data, where).get("record")
    if not isinstance(body, dict):
        raise CorruptRecordError(f"{where}: holds no record")
    return body


def _key_in(ring: KeyRing, key_id: str, where: str) -> PublicKey:
    key = ring.find(key_id)
    if key is None:
        known = ", ".join(k.key_id for k in ring.keys if k.state is KeyState.ACTIVE) or "none"
        raise UnknownKeyError(
            f"{where}: signed by key {key_id[:40]!r}, which key ring {ring.serial} does not have "
            f"(active there: {known}); `cornerloop keys publish` brings a newer ring"
        )
    return key


def _refuse_revoked(key: PublicKey, ring: KeyRing, where: str) -> None:
    if key.state is KeyState.REVOKED:
        raise RevokedKeyError(
            f"{where}: signed by key {key.key_id}, which key ring {ring.serial} revokes; "
            "release anew with an active key (`cornerloop keys publish --resign`)"
        )


def _check(key: PublicKey, purpose: str, body: Mapping[str, object], where: str) -> None:
    signature = _decoded(str(body.get("signature", "")), 64, where)
    try:
        VerifyKey(_decoded(key.public, 32, where)).verify(signed_bytes(purpose, body), signature)
    except BadSignatureError as error:
        raise SignatureError(
            f"{where}: is not what key {key.key_id} signed: altered, or signed by another key"
        ) from error


def _decoded(text: str, length: int, where: str) -> bytes:
    try:
        value = base64.b64decode(text.encode(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise SignatureError(f"{where}: {text[:20]!r}… is not base64") from error
    if len(value) != length:
        raise SignatureError(f"{where}: expected {length} bytes of base64, got {len(value)}")
    return value
