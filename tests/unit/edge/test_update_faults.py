"""Faults of a link, a disk and a storage anybody may write to: no unverified model ever runs.

Each fault is tried on a node that runs a signed model; what is offered must be, byte for byte,
what the cloud signed.
"""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from cloud.releasing.bundle_chunks import publish_chunks
from edge.models.model_updates import ModelUpdates
from edge.models.trust import open_trust
from lifelong.errors import StorageError
from lifelong.links.journal import Journal
from lifelong.model_bundle import ModelBundle
from lifelong.records.keys import CURRENT_RELEASE, KEY_RING, chunk_list_key
from lifelong.records.label_map import CITYSCAPES
from lifelong.records.wire import to_json
from lifelong.sections.updates import UpdatesSection
from tests.edge_fixtures import FlakyStorage, release, street_bundle
from tests.signing import a_ring, a_signer

CLOUD, NEXT = a_signer(1), a_signer(2)
OLD, NEW = street_bundle(0), street_bundle(1)
TRUE = {OLD.version_id: OLD, NEW.version_id: NEW}


class Site:
    """A cloud that published OLD and then NEW under ring 2, and nodes that hold ring 1."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.storage = FlakyStorage()
        self.nodes = 0
        (folder / "ring.json").write_bytes(to_json(a_ring(CLOUD)))
        self.storage.put(KEY_RING, to_json(a_ring(CLOUD, NEXT, serial=2)))
        self.pointers = [self.published(OLD, 1), self.published(NEW, 2)]

    def published(self, bundle: ModelBundle, number: int) -> bytes:
        publish_chunks(self.storage, bundle)
        signed = to_json(
            (CLOUD if number == 1 else NEXT).release(release(self.storage, bundle, number))
        )
        self.storage.put(CURRENT_RELEASE, signed)
        return signed

    def node(self) -> ModelUpdates:
        self.nodes += 1
        return self.again(self.nodes)

    def again(self, number: int) -> ModelUpdates:
        folder = self.folder / str(number)
        trust = open_trust(UpdatesSection(trusted_keys=self.folder / "ring.json"), folder)
        journal = Journal(self.folder / "journal", "edge-1")
        return ModelUpdates(
            self.storage, folder / "models", CITYSCAPES.digest, journal, trust=trust
        )

    def objects(self) -> list[str]:
        """What a node reads."""
        return [
            CURRENT_RELEASE,
            KEY_RING,
            f"models/{NEW.version_id}.bundle",
            chunk_list_key(NEW.version_id),
            *self.storage.keys("chunks"),
        ]


@pytest.fixture
def site(tmp_path) -> Site:
    return Site(tmp_path)


def looked(updates: ModelUpdates) -> str:
    """One look; what it offers must be true. `offered`, `refused` or `unreachable`."""
    try:
        offer = updates.newer_than(None)
    except StorageError:
        return "unreachable"
    if offer is None:
        return "refused"
    assert offer.bundle == TRUE[offer.bundle.version_id]
    assert offer.bundle.to_bytes() == TRUE[offer.bundle.version_id].to_bytes()
    return "offered"


def tried(site: Site, key: str, damages: list[Callable[[bytes], bytes]]) -> dict[str, int]:
    whole = site.storage.get(key)
    outcomes: dict[str, int] = {}
    for damage in damages:
        site.storage.put(key, damage(whole))
        outcome = looked(site.node())
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    site.storage.put(key, whole)
    assert looked(site.node()) == "offered"
    return outcomes


def cut(length: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:length]


def flip(place: int, bit: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]


def test_sec_02_an_object_cut_at_any_place_never_gives_a_false_model(site):
    for key in site.objects():
        size = len(site.storage.get(key))
        outcomes = tried(site, key, [cut(n) for n in range(0, size, max(size // 12, 1))])
        if key == CURRENT_RELEASE:
            assert "offered" not in outcomes
        if key.startswith("chunks/") or key.endswith(".chunks.json"):
            assert set(outcomes) == {"offered"}  # the whole bundle is there, too


def test_sec_02_a_byte_that_flips_anywhere_never_gives_a_false_model(site):
    chance = random.Random(7)
    for key in site.objects():
        size = len(site.storage.get(key))
        places = [(chance.randrange(size), 1 << chance.randrange(8)) for _ in range(12)]
        tried(site, key, [flip(*place) for place in places])


def test_sec_02_replayed_and_reordered_pointers_never_go_back(site):
    chance = random.Random(11)
    pointers = [site.published((OLD, NEW)[n % 2], n) for n in range(3, 9)]
    updates, running, highest = site.node(), None, 0
    for _ in range(60):
        pointer = chance.choice([*site.pointers, *pointers])
        site.storage.put(CURRENT_RELEASE, pointer)
        offer = updates.newer_than(running)
        if offer is not None:
            number = offer.record.number
            assert number >= highest
            highest, running = number, offer.bundle.version_id
            assert offer.bundle == TRUE[running]
            updates.keep(offer, None)
        if chance.random() < 0.3:  # a restart forgets nothing of it
            updates = site.again(site.nodes)
            (kept,) = updates.on_disk()
            updates.runs(kept, None)
    assert highest == 8


def test_sec_02_a_link_that_fails_anywhere_is_tried_again_and_ends_well(site):
    get = site.storage.get
    chance = random.Random(3)

    def flaky(key: str, **more) -> bytes:
        data = get(key, **{} if chance.random() < 0.2 else more)
        if chance.random() < 0.3:
            raise StorageError("the link is gone")
        return data

    for _ in range(20):
        updates = site.node()
        site.storage.get = flaky
        for _ in range(200):
            if looked(updates) == "offered":
                break
        else:
            pytest.fail("never got through")
        site.storage.get = get


def test_sec_02_whatever_the_disk_does_a_start_runs_what_was_signed_or_nothing(site):
    chance = random.Random(5)
    updates = site.node()
    offer = updates.newer_than(None)
    updates.keep(offer, None)
    folder = site.folder / str(site.nodes)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) >= 4  # bundle, installed, accepted, keys
    for path in files:
        whole = path.read_bytes()
        damages = [flip(chance.randrange(len(whole)), 1 << chance.randrange(8)) for _ in range(15)]
        damages += [cut(chance.randrange(len(whole))) for _ in range(5)]
        for damage in damages:
            path.write_bytes(damage(whole))
            again = site.again(site.nodes)
            for found in again.on_disk():
                assert found.bundle == NEW
            looked(again)
        path.write_bytes(whole)
