"""Releases: bytes first, history second, pointer last; a damaged bundle never gets a pointer."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloud.releasing.floor import ReleaseFloor, write_floor
from cloud.releasing.releases import VERSIONS_IN_CHUNKS, Releases
from lifelong.errors import RecordError, StorageUnavailableError
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage, open_storage
from lifelong.records.chunk_list import ChunkList
from lifelong.records.ids import RoundNumber
from lifelong.records.keys import (
    CURRENT_RELEASE,
    STAGED_RELEASE,
    bundle_key,
    chunk_key,
    chunk_list_key,
)
from lifelong.records.model_versions import Release
from lifelong.records.wire import from_json
from lifelong.signatures import check_release
from tests.signing import a_ring, a_signer
from tests.tiny_bundle import tiny_bundle

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ONE = a_signer(1)
OLD, NEW = tiny_bundle(seed=1), tiny_bundle(seed=2)


def releases_over(storage: Storage, folder: Path) -> Releases:
    return Releases(storage, Journal(folder, "cloud"), lambda: NOON)


def storage_with_bundles() -> Storage:
    storage = open_storage("memory://")
    for bundle in (OLD, NEW):
        storage.put(bundle_key(bundle.version_id), bundle.to_bytes())
    return storage


def pointer(storage: Storage) -> Release:
    return from_json(Release, storage.get(CURRENT_RELEASE), CURRENT_RELEASE)


def test_publishing_twice_is_publishing_once(tmp_path: Path) -> None:
    storage = storage_with_bundles()
    releases = releases_over(storage, tmp_path)
    first = releases.publish(OLD.version_id, RoundNumber(1), "round 1 accepted")
    assert releases.publish(OLD.version_id, RoundNumber(1), "round 1 accepted") == first
    assert len(releases.history()) == 1
    assert pointer(storage) == first
    assert first.sha256 == OLD.sha256


def test_ops_07_after_a_restore_without_the_key_the_same_version_is_released_above_the_floor(
    tmp_path: Path,
) -> None:
    """OPS-07: `cornerloop rollback VERSION` of what runs, as the restore asks for."""
    storage = storage_with_bundles()
    releases = releases_over(storage, tmp_path)
    releases.publish(OLD.version_id, RoundNumber(1), "round 1 accepted")
    write_floor(storage, ReleaseFloor(number=5000, round_number=1001))
    again = releases.roll_back(OLD.version_id, "an operator")
    assert (again.number, again.version_id, again.is_rollback) == (5001, OLD.version_id, True)
    assert pointer(storage) == again
    assert releases.roll_back(OLD.version_id, "an operator") == again, "once is enough"


def test_a_crash_before_the_pointer_moved_is_mended(tmp_path: Path) -> None:
    storage = storage_with_bundles()
    releases = releases_over(storage, tmp_path)
    releases.publish(OLD.version_id, RoundNumber(1), "round 1 accepted")

    class Dying(Storage):
        def put(self, key: str, data: bytes) -> None:
            raise StorageUnavailableError("killed")

    with pytest.raises(StorageUnavailableError):
        releases_over(Dying(storage._store, storage.url), tmp_path).publish(
            NEW.version_id, RoundNumber(2), "round 2 accepted"
        )
    assert pointer(storage).version_id == OLD.version_id
    releases_over(storage, tmp_path).publish(NEW.version_id, RoundNumber(2), "round 2 accepted")
    assert pointer(storage).version_id == NEW.version_id
    assert [r.number for r in releases.history()] == [1, 2]


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-3], lambda b: b[:60] + bytes([b[60] ^ 1]) + b[61:]]
)
def test_a_damaged_bundle_is_not_released(tmp_path: Path, damage: object) -> None:
    storage = storage_with_bundles()
    releases = releases_over(storage, tmp_path)
    releases.publish(OLD.version_id, RoundNumber(1), "round 1 accepted")
    storage.put(bundle_key(NEW.version_id), damage(NEW.to_bytes()))  # type: ignore[operator]
    with pytest.raises(RecordError):
        releases.publish(NEW.version_id, RoundNumber(2), "round 2 accepted")
    assert pointer(storage).version_id == OLD.version_id


def test_rolling_back_is_a_release_of_its_own(tmp_path: Path) -> None:
    releases = releases_over(storage_with_bundles(), tmp_path)
    releases.publish(OLD.version_id, RoundNumber(1), "round 1 accepted")
    releases.publish(NEW.version_id, RoundNumber(2), "round 2 accepted")
    back = releases.roll_back(OLD.version_id, "olga")
    assert (back.number, back.version_id, back.why) == (3, OLD.version_id, "rolled back by olga")
    with pytest.raises(RecordError, match="never released"):
        releases.roll_back(tiny_bundle(seed=3).version_id, "olga")


def signing(storage: Storage, folder: Path) -> Releases:
    return Releases(storage, Journal(folder, "cloud"), lambda: NOON, lambda: ONE)


def test_sec_02_every_release_is_signed_staged_and_rolled_back_ones_too(tmp_path: Path) -> None:
    storage = storage_with_bundles()
    releases = signing(storage, tmp_path)
    releases.publish(OLD.version_id, RoundNumber(1), "round 1 accepted")
    releases.publish(NEW.version_id, RoundNumber(2), "round 2 accepted", share=0.1)
    for share in (0.1, 0.5):
        releases.show_staged(2, share)
        staged = check_release(storage.get(STAGED_RELEASE), a_ring(ONE), STAGED_RELEASE)
        assert staged.share == share
    back = releases.roll_back(OLD.version_id, "olga")
    assert check_release(storage.get(CURRENT_RELEASE), a_ring(ONE), CURRENT_RELEASE) == back
    assert back.is_rollback


def test_what_runs_everywhere_can_be_signed_anew(tmp_path: Path) -> None:
    storage = storage_with_bundles()
    with pytest.raises(RecordError, match="nothing is released"):
        signing(storage, tmp_path).sign_anew("new key")
    first = releases_over(storage, tmp_path).publish(OLD.version_id, RoundNumber(1), "round 1")
    assert first.signature == ""
    again = signing(storage, tmp_path).sign_anew("new key")
    assert (again.number, again.version_id, again.key_id) == (2, OLD.version_id, ONE.key_id)
    storage.put(STAGED_RELEASE, b"{}")
    with pytest.raises(RecordError, match="roll-out is under way"):
        signing(storage, tmp_path).sign_anew("new key")


def test_tr_09_a_release_brings_its_chunks_and_those_of_old_versions_go(tmp_path: Path) -> None:
    storage = storage_with_bundles()
    releases = releases_over(storage, tmp_path)
    bundles = [tiny_bundle(seed=seed) for seed in range(10, 10 + VERSIONS_IN_CHUNKS + 2)]
    for number, bundle in enumerate(bundles, start=1):
        storage.put(bundle_key(bundle.version_id), bundle.to_bytes())
        releases.publish(bundle.version_id, RoundNumber(number), "accepted")
    lists = [key for key in storage.keys("models") if key.endswith(".chunks.json")]
    kept = bundles[-VERSIONS_IN_CHUNKS:]
    assert lists == sorted(chunk_list_key(bundle.version_id) for bundle in kept)
    named = {
        chunk_key(chunk.sha256)
        for key in lists
        for chunk in from_json(ChunkList, storage.get(key), key).chunks
    }
    assert set(storage.keys("chunks")) == named
