"""Whom a node trusts, SEC-02: rings over storage, the chain, restarts, and settings."""

import pytest

from edge.models.trust import Trust, active_keys, open_trust
from lifelong.errors import ConfigError, StorageUnavailableError
from lifelong.links.journal import Journal
from lifelong.records.key_ring import KeyRing
from lifelong.records.keys import KEY_RING, key_ring_key
from lifelong.records.wire import to_json
from lifelong.sections.updates import UpdatesSection
from tests.edge_fixtures import FlakyStorage, events
from tests.signing import a_ring, a_signer

ONE, TWO, THREE = (a_signer(seed) for seed in (1, 2, 3))


@pytest.fixture
def storage() -> FlakyStorage:
    return FlakyStorage()


def installed(folder, ring) -> UpdatesSection:
    (folder / "ring.json").write_bytes(to_json(ring))
    return UpdatesSection(trusted_keys=folder / "ring.json")


def held(trust: Trust) -> KeyRing:
    assert trust.ring is not None
    return trust.ring


def opened(folder, ring) -> Trust:
    return open_trust(installed(folder, ring), folder, Journal(folder / "journal", "edge-1"))


def test_a_newer_ring_is_taken_kept_and_found_by_the_next_start(tmp_path, storage):
    trust = opened(tmp_path, a_ring(ONE))
    storage.put(KEY_RING, to_json(a_ring(ONE, TWO, serial=2)))
    assert trust.refresh(storage)
    assert not trust.refresh(storage)
    assert active_keys(held(trust)) == [ONE.key_id, TWO.key_id]
    assert opened(tmp_path, a_ring(ONE)).serial == 2
    # An older ring of the installation does not bring a revoked key back; a newer one counts.
    assert opened(tmp_path, a_ring(ONE, serial=3)).serial == 3


def test_sec_02_a_node_that_was_away_follows_the_chain(tmp_path, storage):
    trust = opened(tmp_path, a_ring(ONE))
    chain = [
        a_ring(ONE, TWO, serial=2),
        a_ring(TWO, ONE, serial=3, revoked=ONE),
        a_ring(TWO, ONE, THREE, serial=4, revoked=ONE),
        a_ring(THREE, TWO, ONE, serial=5, revoked=ONE, retired=(TWO, 9)),
    ]
    for ring in chain:
        storage.put(key_ring_key(ring.serial), to_json(ring))
    storage.put(KEY_RING, to_json(chain[-1]))
    assert trust.refresh(storage)
    assert trust.serial == 5
    assert active_keys(held(trust)) == [THREE.key_id]


@pytest.mark.parametrize(
    "published",
    [
        to_json(a_ring(TWO, serial=2)),
        to_json(a_ring(TWO, serial=9)),
        to_json(a_ring(ONE, TWO, serial=2))[:-40],
        b"{}",
        b"\xff\x00",
    ],
)
def test_sec_02_a_ring_of_somebody_else_is_refused_once(tmp_path, storage, published):
    trust = opened(tmp_path, a_ring(ONE))
    storage.put(KEY_RING, published)
    for _ in range(3):
        assert not trust.refresh(storage)
    assert trust.serial == 1
    assert len(events(tmp_path / "journal", "keys.refused")) == 1


def test_an_old_ring_put_back_changes_nothing(tmp_path, storage):
    trust = opened(tmp_path, a_ring(ONE, serial=4))
    storage.put(KEY_RING, to_json(a_ring(ONE, TWO, serial=3)))
    assert not trust.refresh(storage)
    assert trust.serial == 4


def test_a_dead_link_is_no_refusal(tmp_path, storage):
    trust = opened(tmp_path, a_ring(ONE))
    storage.put(KEY_RING, to_json(a_ring(ONE, TWO, serial=2)))
    storage.is_down = True
    with pytest.raises(StorageUnavailableError):
        trust.refresh(storage)
    storage.is_down = False
    assert trust.refresh(storage)


@pytest.mark.parametrize("damage", [b"", b"{", to_json(a_ring(ONE, TWO, serial=8))[:-30]])
def test_a_damaged_kept_ring_gives_way_to_the_installed_one(tmp_path, damage):
    (tmp_path / "keys.json").write_bytes(damage)
    assert opened(tmp_path, a_ring(ONE)).serial == 1


def test_a_full_disk_does_not_keep_a_ring_from_being_taken(tmp_path, storage, monkeypatch):
    trust = opened(tmp_path, a_ring(ONE))

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edge.models.trust.write_whole", full)
    storage.put(KEY_RING, to_json(a_ring(ONE, TWO, serial=2)))
    assert trust.refresh(storage)


def test_sec_02_a_node_without_keys_says_what_to_do(tmp_path):
    with pytest.raises(ConfigError, match=r"trusted_keys is missing.*keys export"):
        open_trust(UpdatesSection(), tmp_path)
    with pytest.raises(ConfigError, match="cannot be read"):
        open_trust(UpdatesSection(trusted_keys=tmp_path / "none.json"), tmp_path)
    (tmp_path / "ring.json").write_bytes(
        to_json(a_ring(ONE)).replace(b'"serial": 1', b'"serial": 2')
    )
    with pytest.raises(ConfigError, match="altered"):
        open_trust(UpdatesSection(trusted_keys=tmp_path / "ring.json"), tmp_path)
    assert open_trust(UpdatesSection(unsigned="accept"), tmp_path).ring is None
