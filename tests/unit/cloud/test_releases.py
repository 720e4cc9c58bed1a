"""Releases: bytes first, history second, pointer last; a damaged bundle never gets a pointer."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloud.releases import Releases
from lifelong.errors import RecordError, StorageUnavailableError
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage, open_storage
from lifelong.records.ids import RoundNumber
from lifelong.records.keys import CURRENT_RELEASE, bundle_key
from lifelong.records.model_versions import Release
from lifelong.records.wire import from_json
from tests.tiny_bundle import tiny_bundle

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
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
