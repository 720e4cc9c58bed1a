"""Signatures, SEC-02: what they cover, and which key is good for what."""

import json
from dataclasses import replace

import pytest

from lifelong.errors import (
    CorruptRecordError,
    RecordError,
    RetiredKeyError,
    RevokedKeyError,
    SignatureError,
    UnknownKeyError,
    UnsignedError,
)
from lifelong.links.storage import open_storage
from lifelong.records.key_ring import KeyRing
from lifelong.records.model_versions import Release
from lifelong.records.wire import to_json
from lifelong.signatures import (
    RING,
    Signer,
    check_release,
    check_successor,
    checked_ring,
    key_id_of,
)
from tests.builders import NOON
from tests.edge_fixtures import release, street_bundle
from tests.signing import a_ring, a_signer

ONE, TWO = a_signer(1), a_signer(2)


def a_release(number: int = 7) -> Release:
    return release(open_storage("memory://"), street_bundle(), number)


def checked(record: Release, ring: KeyRing) -> Release:
    return check_release(to_json(record), ring, "releases/current.json")


def test_sec_02_a_signed_release_is_believed_and_equal_records_have_equal_signatures():
    signed = ONE.release(a_release())
    assert checked(signed, a_ring(ONE)) == signed
    assert ONE.release(signed) == signed
    assert key_id_of(bytes(ONE._key.verify_key)) == signed.key_id == ONE.key_id


@pytest.mark.parametrize(
    "change",
    [
        {"number": 8},
        {"version_id": "0" * 16},
        {"bundle_key": "models/other.bundle"},
        {"sha256": "0" * 64},
        {"label_map_digest": "0" * 16},
        {"round_number": 9},
        {"why": "for another reason"},
        {"is_rollback": True},
        {"share": 0.5},
        {"released_at": NOON.replace(hour=13)},
    ],
)
def test_sec_02_no_field_of_a_signed_release_can_be_changed(change):
    altered = replace(ONE.release(a_release()), **change)
    with pytest.raises(SignatureError, match="altered"):
        checked(altered, a_ring(ONE))


def test_sec_02_fields_of_a_later_version_are_covered_and_do_not_disturb():
    envelope = json.loads(to_json(a_release()))
    envelope["record"] |= {"key_id": ONE.key_id, "from_the_future": [1, 2.5, "ü"]}
    envelope["record"]["signature"] = ONE._signature("cornerloop release 1", envelope["record"])
    assert check_release(json.dumps(envelope).encode(), a_ring(ONE), "x").number == 7
    envelope["record"]["from_the_future"] = []
    with pytest.raises(SignatureError):
        check_release(json.dumps(envelope).encode(), a_ring(ONE), "x")


@pytest.mark.parametrize(
    ("make", "ring", "error"),
    [
        (lambda r: r, a_ring(ONE), UnsignedError),
        (TWO.release, a_ring(ONE), UnknownKeyError),
        (lambda r: replace(TWO.release(r), key_id=ONE.key_id), a_ring(ONE), SignatureError),
        (ONE.release, a_ring(TWO, ONE, revoked=ONE), RevokedKeyError),
        (ONE.release, a_ring(TWO, ONE, retired=(ONE, 6)), RetiredKeyError),
        (lambda r: replace(ONE.release(r), signature="short"), a_ring(ONE), SignatureError),
        (lambda r: replace(ONE.release(r), signature="AAAA"), a_ring(ONE), SignatureError),
        (lambda r: replace(ONE.release(r), signature="é"), a_ring(ONE), SignatureError),
        # Revoked must mean that the key did sign it: else anybody could claim so.
        (
            lambda r: replace(TWO.release(r), key_id=ONE.key_id),
            a_ring(TWO, ONE, revoked=ONE),
            SignatureError,
        ),
    ],
)
def test_sec_02_each_reason_has_an_error_of_its_own(make, ring, error):
    with pytest.raises(error) as raised:
        checked(make(a_release()), ring)
    assert type(raised.value) is error
    assert "releases/current.json" in str(raised.value)


def test_a_retired_key_is_good_for_what_it_signed_before():
    assert checked(ONE.release(a_release(6)), a_ring(TWO, ONE, retired=(ONE, 6))).number == 6


def test_a_signature_of_a_ring_is_none_of_a_release():
    record = replace(a_release(), key_id=ONE.key_id)
    body = json.loads(to_json(record))["record"]
    with pytest.raises(SignatureError):
        checked(replace(record, signature=ONE._signature(RING, body)), a_ring(ONE))


def successor(ring: KeyRing, held: KeyRing) -> KeyRing:
    return check_successor(to_json(ring), held, "keys/ring.json")


def test_sec_02_a_newer_ring_is_taken_when_an_active_key_signed_it():
    held, newer = a_ring(ONE), a_ring(ONE, TWO, serial=2)
    assert successor(newer, held) == newer
    assert successor(a_ring(ONE, TWO, serial=9), held).serial == 9


@pytest.mark.parametrize(
    ("ring", "held", "error"),
    [
        (a_ring(ONE, TWO, serial=2), a_ring(ONE, serial=2), SignatureError),  # not newer
        (a_ring(ONE, TWO, serial=1), a_ring(ONE, serial=2), SignatureError),  # put back
        (a_ring(TWO, serial=2), a_ring(ONE), UnknownKeyError),
        (a_ring(ONE, TWO, serial=3), a_ring(TWO, ONE, revoked=ONE, serial=2), RevokedKeyError),
        (a_ring(ONE, TWO, serial=3), a_ring(TWO, ONE, retired=(ONE, 9), serial=2), SignatureError),
        (replace(a_ring(ONE, TWO, serial=2), serial=3), a_ring(ONE), SignatureError),  # altered
    ],
)
def test_sec_02_any_other_ring_is_refused(ring, held, error):
    with pytest.raises(error):
        successor(ring, held)


def test_a_key_for_releases_only_cannot_change_the_ring():
    keys = (ONE.public_key(NOON), TWO.public_key(NOON, signs_rings=False))
    held = ONE.ring(KeyRing(serial=1, made_at=NOON, keys=keys))
    assert checked(TWO.release(a_release()), held).key_id == TWO.key_id
    with pytest.raises(SignatureError, match="may not sign rings"):
        successor(TWO.ring(KeyRing(serial=2, made_at=NOON, keys=keys)), held)


@pytest.mark.parametrize(
    "keys",
    [
        (ONE.public_key(NOON), ONE.public_key(NOON)),
        (ONE.public_key(NOON), replace(TWO.public_key(NOON), key_id="0" * 16)),
        (ONE.public_key(NOON), replace(TWO.public_key(NOON), public="AAAA")),
    ],
)
def test_a_ring_that_contradicts_itself_is_refused(keys):
    with pytest.raises((CorruptRecordError, SignatureError)):
        checked_ring(to_json(ONE.ring(KeyRing(serial=1, made_at=NOON, keys=keys))), "x")


def test_sec_02_a_byte_that_flips_anywhere_changes_nothing_that_is_believed():
    """Either an error of ours, or the very same content (a blank between two fields)."""
    signed, ring = ONE.release(a_release()), a_ring(ONE, TWO)
    for record, read in (
        (signed, lambda data: check_release(data, ring, "x")),
        (ring, lambda data: checked_ring(data, "x")),
    ):
        data = to_json(record)
        for place in range(len(data)):
            for bit in (0x01, 0x20, 0x80):
                flipped = data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]
                try:
                    assert read(flipped) == record
                except RecordError:
                    continue
        for length in range(0, len(data), 7):
            with pytest.raises(RecordError):
                read(data[:length])


def test_seeds_are_32_bytes():
    with pytest.raises(Exception, match="32"):
        Signer(b"short")
