"""Model updates: what is fetched, what is refused and why, what a restart finds on the disk."""

import pytest

from edge.models.kept_models import Offer
from edge.models.model_updates import ModelUpdates
from edge.models.trust import Trust
from lifelong.errors import StorageUnavailableError
from lifelong.links.journal import Journal
from lifelong.records.ids import sha256_hex
from lifelong.records.label_map import CITYSCAPES
from tests.edge_fixtures import FlakyStorage, events, release, street_bundle
from tests.tiny_bundle import tiny_bundle

POINTER = "releases/current.json"


@pytest.fixture
def storage() -> FlakyStorage:
    return FlakyStorage()


def updates(folder, storage) -> ModelUpdates:
    journal = Journal(folder / "journal", "edge-1")
    trust = Trust(None, accepts_unsigned=True)
    return ModelUpdates(storage, folder / "models", CITYSCAPES.digest, journal, trust=trust)


def gets(storage) -> list[str]:
    return [key for what, key in storage.calls if what == "get"]


def test_a_released_model_is_offered_verified(tmp_path, storage):
    bundle = street_bundle()
    release(storage, bundle)
    offer = updates(tmp_path, storage).newer_than(None)
    assert offer is not None
    assert offer.bundle == bundle


def test_nothing_is_offered_before_the_first_release_or_when_it_runs_already(tmp_path, storage):
    watched = updates(tmp_path, storage)
    assert watched.newer_than(None) is None
    bundle = street_bundle()
    release(storage, bundle)
    assert watched.newer_than(bundle.version_id) is None


def corrupted(storage, how: str) -> None:
    bundle = street_bundle()
    record = release(storage, bundle)
    data = bundle.to_bytes()
    if how == "flipped byte":
        storage.put(record.bundle_key, data[:-5] + b"x" + data[-4:])
    elif how == "truncated":
        storage.put(record.bundle_key, data[: len(data) // 2])
    elif how == "absent":
        storage.delete(record.bundle_key)
    elif how == "no bundle":
        storage.put(record.bundle_key, b"\x80\x04pickle")
        release(storage, bundle, sha256=sha256_hex(b"\x80\x04pickle"))
        storage.put(record.bundle_key, b"\x80\x04pickle")
    elif how == "other version":
        release(storage, bundle, version_id="0" * 16)
    elif how == "foreign classes":
        release(storage, tiny_bundle())
    elif how == "pointer is no JSON":
        storage.put(POINTER, b"{")
    elif how == "pointer of another age":
        storage.put(POINTER, b'{"schema": 99, "kind": "Release", "record": {}}')


@pytest.mark.parametrize(
    "how",
    [
        "flipped byte",
        "truncated",
        "absent",
        "no bundle",
        "other version",
        "foreign classes",
        "pointer is no JSON",
        "pointer of another age",
    ],
)
def test_b5_a_bad_release_is_refused_once_with_its_reason_and_not_fetched_again(
    tmp_path, storage, how
):
    """Sedna's hot update neither verifies nor rolls back."""
    corrupted(storage, how)
    watched = updates(tmp_path, storage)
    assert watched.newer_than(None) is None
    (refused,) = events(tmp_path / "journal", "model.refused")
    assert refused["reason"]
    storage.calls.clear()
    for again in (watched, updates(tmp_path, storage)):  # also after a restart
        assert again.newer_than(None) is None
    assert set(gets(storage)) == {POINTER, "releases/staged.json"}
    assert len(events(tmp_path / "journal", "model.refused")) == 1


def test_a_repaired_model_released_anew_gets_a_new_chance(tmp_path, storage):
    corrupted(storage, "flipped byte")
    watched = updates(tmp_path, storage)
    assert watched.newer_than(None) is None
    release(storage, street_bundle(), number=2)
    assert watched.newer_than(None) is not None


def test_a_dead_link_is_an_error_and_not_a_refusal(tmp_path, storage):
    release(storage, street_bundle())
    watched = updates(tmp_path, storage)
    storage.is_down = True
    with pytest.raises(StorageUnavailableError):
        watched.newer_than(None)
    assert events(tmp_path / "journal", "model.refused") == []


def test_the_running_and_the_previous_model_are_kept_on_the_disk_and_older_ones_go(
    tmp_path, storage
):
    watched = updates(tmp_path, storage)
    offers = [Offer(release=str(seed) * 64, bundle=street_bundle(seed)) for seed in range(3)]
    watched.keep(offers[0], None)
    watched.keep(offers[1], offers[0])
    watched.keep(offers[2], offers[1])
    assert updates(tmp_path, storage).on_disk() == [offers[2], offers[1]]
    assert len(list((tmp_path / "models").glob("*.bundle"))) == 2


@pytest.mark.parametrize("damage", ["truncated", "gone", "index"])
def test_a_kept_model_that_is_damaged_is_left_out(tmp_path, storage, damage):
    watched = updates(tmp_path, storage)
    new, old = (Offer(release=str(s) * 64, bundle=street_bundle(s)) for s in (1, 0))
    watched.keep(new, old)
    path = tmp_path / "models" / f"{new.bundle.version_id}.bundle"
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:100])
    elif damage == "gone":
        path.unlink()
    else:
        (tmp_path / "models/installed.json").write_bytes(b"{")
    expected = [] if damage == "index" else [old]
    assert updates(tmp_path, storage).on_disk() == expected


def test_an_unreadable_list_of_refusals_does_not_keep_the_node_from_starting(tmp_path, storage):
    (tmp_path / "models").mkdir()
    (tmp_path / "models/refused.json").write_bytes(b'{"refused": 3}')
    release(storage, street_bundle())
    assert updates(tmp_path, storage).newer_than(None) is not None
