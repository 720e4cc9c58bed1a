"""The secret key's file, and how rings change and are published, SEC-02."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from nacl import pwhash

from cloud.releasing.key_rings import first_ring, publish_ring, revoked, rotated, with_key
from cloud.releasing.signing_keys import new_seed, read_secret, signer_source, write_secret
from lifelong.errors import ConfigError, SignatureError
from lifelong.links.storage import open_storage
from lifelong.records.key_ring import KeyState
from lifelong.records.keys import KEY_RING, key_ring_key
from lifelong.records.wire import to_json
from lifelong.sections.fleet import ReleasesSection
from tests.signing import a_ring, a_signer

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ONE, TWO, THREE = (a_signer(seed) for seed in (1, 2, 3))
CHEAP = {"operations": pwhash.argon2id.OPSLIMIT_MIN, "memory": pwhash.argon2id.MEMLIMIT_MIN}


def test_a_secret_is_found_again_with_its_password_only(tmp_path):
    path, seed = tmp_path / "keys" / "signing.json", new_seed()
    signer = write_secret(path, seed, "correct horse", **CHEAP)
    assert path.stat().st_mode & 0o777 == 0o600
    assert seed.hex() not in path.read_text()
    assert read_secret(path, "correct horse", "PASSWORD").key_id == signer.key_id
    with pytest.raises(ConfigError, match="PASSWORD does not open"):
        read_secret(path, "battery staple", "PASSWORD")
    with pytest.raises(ConfigError, match="set PASSWORD"):
        read_secret(path, "", "PASSWORD")


def test_an_unencrypted_one_needs_none_and_none_is_ever_overwritten(tmp_path):
    path = tmp_path / "signing.json"
    signer = write_secret(path, new_seed(), None)
    assert read_secret(path, "", "PASSWORD").key_id == signer.key_id
    with pytest.raises(ConfigError, match="a key already"):
        write_secret(path, new_seed(), None)


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o666, 0o601])
def test_sec_02_a_secret_that_others_can_read_is_refused(tmp_path, mode):
    path = tmp_path / "signing.json"
    write_secret(path, new_seed(), None)
    path.chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_secret(path, "", "PASSWORD")


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:40],
        lambda text: "{}",
        lambda text: text.replace('"memory": 8192', '"memory": 99999999999'),
        lambda text: text.replace('"secret": "', '"secret": "!'),
    ],
)
def test_a_damaged_secret_is_named(tmp_path, damage):
    path = tmp_path / "signing.json"
    write_secret(path, new_seed(), "horse", **CHEAP)
    path.write_text(damage(path.read_text()))
    with pytest.raises(ConfigError, match=r"signing\.json"):
        read_secret(path, "horse", "PASSWORD")


def test_every_flipped_byte_of_a_secret_is_an_error_or_the_same_key(tmp_path):
    path = tmp_path / "signing.json"
    signer = write_secret(path, new_seed(), None)
    data = path.read_bytes()
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        try:
            assert read_secret(path, "", "PASSWORD").key_id == signer.key_id
        except ConfigError:
            continue


def test_sec_02_a_life_of_a_key_ring():
    ring = first_ring(ONE, NOON, "laptop")
    ring = with_key(ring, TWO.public_key(NOON, signs_rings=False), ONE, NOON)
    ring = rotated(ring, ONE, THREE, last_release=12, now=NOON)
    assert (ring.serial, ring.key_id) == (3, ONE.key_id)
    assert ring.find(ONE.key_id).state is KeyState.RETIRED
    assert ring.find(ONE.key_id).last_release == 12
    assert ring.find(THREE.key_id).note == "laptop"
    ring = revoked(ring, ONE.key_id, THREE, NOON)
    assert ring.find(ONE.key_id).state is KeyState.REVOKED
    with pytest.raises(ConfigError, match="is revoked"):
        with_key(ring, a_signer(9).public_key(NOON), ONE, NOON)
    with pytest.raises(ConfigError, match="releases only"):
        with_key(ring, a_signer(9).public_key(NOON), TWO, NOON)


def test_the_last_key_that_signs_rings_cannot_be_revoked_nor_revoke_itself():
    ring = with_key(first_ring(ONE, NOON), TWO.public_key(NOON, signs_rings=False), ONE, NOON)
    with pytest.raises(ConfigError, match="rotate"):
        revoked(ring, ONE.key_id, ONE, NOON)
    ring = with_key(ring, THREE.public_key(NOON), ONE, NOON)
    with pytest.raises(ConfigError, match="--signed-by"):
        revoked(ring, ONE.key_id, ONE, NOON)
    with pytest.raises(ConfigError, match="has no key"):
        revoked(ring, "nobody", ONE, NOON)


def test_rings_are_published_one_after_the_other_and_repeating_changes_nothing():
    storage = open_storage("memory://")
    one, two = a_ring(ONE), a_ring(ONE, TWO, serial=2)
    three = a_ring(TWO, ONE, serial=3, revoked=ONE)
    assert publish_ring(storage, one)
    assert not publish_ring(storage, one)
    with pytest.raises(ConfigError, match="one after the other"):
        publish_ring(storage, three)
    assert publish_ring(storage, two)
    assert publish_ring(storage, three)
    assert storage.get(KEY_RING) == storage.get(key_ring_key(3)) == to_json(three)
    with pytest.raises(ConfigError):
        publish_ring(storage, two)
    with pytest.raises(SignatureError):
        publish_ring(storage, a_ring(THREE, serial=4))


def test_two_people_who_change_the_keys_at_once_are_told():
    storage = open_storage("memory://")
    publish_ring(storage, a_ring(ONE))
    storage.put(key_ring_key(2), to_json(a_ring(ONE, THREE, serial=2)))
    with pytest.raises(ConfigError, match="somebody else"):
        publish_ring(storage, a_ring(ONE, TWO, serial=2))


def test_the_configured_key_is_opened_when_it_is_needed_and_again_when_it_was_replaced(
    tmp_path, monkeypatch
):
    storage, path = open_storage("memory://"), tmp_path / "signing.json"
    assert signer_source(ReleasesSection(), storage)() is None
    source = signer_source(ReleasesSection(signing_key=path), storage)
    with pytest.raises(ConfigError, match="keys new"):
        source()
    monkeypatch.setenv("CORNERLOOP_SIGNING_PASSWORD", "horse")
    first = write_secret(path, new_seed(), "horse", **CHEAP)
    assert source().key_id == first.key_id
    publish_ring(storage, first_ring(first, NOON))
    fresh = tmp_path / "fresh.json"
    second = write_secret(fresh, new_seed(), "horse", **CHEAP)
    ring = rotated(first_ring(first, NOON), first, second, last_release=1, now=NOON)
    publish_ring(storage, ring)
    with pytest.raises(ConfigError, match="is retired in the published key ring 2"):
        source()  # rather an error here than a release that every node refuses
    fresh.replace(path)
    assert source().key_id == second.key_id


def test_a_ring_that_was_altered_is_not_published():
    with pytest.raises(SignatureError):
        publish_ring(open_storage("memory://"), replace(a_ring(ONE), serial=2))
