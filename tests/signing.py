"""Keys and rings of tests: the same seed is the same key."""

from dataclasses import replace

from lifelong.records.key_ring import KeyRing, KeyState, PublicKey
from lifelong.signatures import Signer
from tests.builders import NOON


def a_signer(seed: int = 1) -> Signer:
    return Signer(bytes([seed]) * 32)


def a_ring(*signers: Signer, serial: int = 1, by: Signer | None = None, **states) -> KeyRing:
    """A ring of these keys, signed by the first of them or `by`.

    `revoked=signer`, `retired=(signer, last_release)` change the state of one.
    """
    keys = tuple(changed(signer.public_key(NOON), **states) for signer in signers)
    return (by or signers[0]).ring(KeyRing(serial=serial, made_at=NOON, keys=keys))


def changed(key: PublicKey, revoked: Signer | None = None, retired=None) -> PublicKey:
    if revoked is not None and key.key_id == revoked.key_id:
        return replace(key, state=KeyState.REVOKED)
    if retired is not None and key.key_id == retired[0].key_id:
        return replace(key, state=KeyState.RETIRED, last_release=retired[1])
    return key
