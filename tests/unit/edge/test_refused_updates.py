"""SEC-02: whatever is not the newest signed word of the cloud is refused, with its reason."""

from dataclasses import replace
from pathlib import Path

import pytest

from edge.models.kept_models import Offer
from edge.models.model_updates import LOOKS_BETWEEN_RINGS, ModelUpdates
from edge.models.trust import Trust
from lifelong.links.journal import Journal
from lifelong.model_bundle import ModelBundle
from lifelong.records.ids import EdgeId, VersionId
from lifelong.records.key_ring import KeyRing
from lifelong.records.label_map import CITYSCAPES
from lifelong.records.model_versions import Release
from lifelong.records.wire import to_json
from lifelong.signatures import Signer
from tests.edge_fixtures import FlakyStorage, events, release, street_bundle
from tests.signing import a_ring, a_signer
from tests.tiny_bundle import tiny_bundle

POINTER = "releases/current.json"
CLOUD, THIEF, NEXT = a_signer(1), a_signer(2), a_signer(3)
OLD, NEW = street_bundle(0), street_bundle(1)


class Site:
    """A node's updates over a storage that anybody may write to."""

    def __init__(self, folder: Path, ring: KeyRing | None = None) -> None:
        self.folder = folder
        self.storage = FlakyStorage()
        self.trust = Trust(ring or a_ring(CLOUD), kept=folder / "keys.json")
        self.updates = self.restarted()

    def restarted(self) -> ModelUpdates:
        journal = Journal(self.folder / "journal", "edge-1")
        self.updates = ModelUpdates(
            self.storage, self.folder / "models", CITYSCAPES.digest, journal, trust=self.trust
        )
        return self.updates

    def release(
        self, bundle: ModelBundle, number: int = 1, signer: Signer | None = CLOUD, **changes
    ) -> Release:
        record = release(self.storage, bundle, number, **changes)
        return self.point_at(signer.release(record) if signer else record)

    def point_at(self, record: Release) -> Release:
        self.storage.put(POINTER, to_json(record))
        return record

    def take(self) -> Offer:
        """Look, and run what is offered as the slot does."""
        before = self.updates._running
        offer = self.updates.newer_than(before.bundle.version_id if before else None)
        assert offer is not None
        self.updates.keep(offer, before)
        return offer

    def look(self) -> Offer | None:
        running = self.updates._running
        return self.updates.newer_than(running.bundle.version_id if running else None)

    def refused(self) -> list[dict]:
        return events(self.folder / "journal", "model.refused")


@pytest.fixture
def site(tmp_path) -> Site:
    site = Site(tmp_path)
    site.release(OLD, 5)
    site.take()
    return site


def unsigned(site: Site) -> None:
    site.release(NEW, 6, signer=None)


def by_an_unknown_key(site: Site) -> None:
    site.release(NEW, 6, signer=THIEF)


def by_a_wrong_key(site: Site) -> None:
    record = site.release(NEW, 6, signer=THIEF)
    site.point_at(replace(record, key_id=CLOUD.key_id))


def by_a_revoked_key(site: Site) -> None:
    site.trust.ring = a_ring(CLOUD, NEXT, revoked=NEXT)
    site.release(NEW, 6, signer=NEXT)


def by_a_retired_key(site: Site) -> None:
    site.trust.ring = a_ring(CLOUD, NEXT, retired=(NEXT, 5))
    site.release(NEW, 6, signer=NEXT)


def altered(site: Site) -> None:
    site.point_at(replace(site.release(NEW, 6), is_rollback=True))


def replayed(site: Site) -> None:
    site.release(NEW, 4, round_number=9)


def from_an_earlier_round(site: Site) -> None:
    site.release(NEW, 6, round_number=4)


def truncated(site: Site) -> None:
    record = site.release(NEW, 6)
    site.storage.put(record.bundle_key, NEW.to_bytes()[:-1])


def flipped(site: Site) -> None:
    record, data = site.release(NEW, 6), NEW.to_bytes()
    site.storage.put(record.bundle_key, data[:70] + bytes([data[70] ^ 4]) + data[71:])


def of_other_classes(site: Site) -> None:
    site.release(tiny_bundle(), 6)


def another_version(site: Site) -> None:
    site.release(NEW, 6, version_id=VersionId("0" * 16))


def gone(site: Site) -> None:
    site.storage.delete(site.release(NEW, 6).bundle_key)


def with_a_key_that_climbs(site: Site) -> None:
    site.release(NEW, 6, bundle_key="models/../../etc/passwd")


@pytest.mark.parametrize(
    ("attack", "error", "reason"),
    [
        (unsigned, "UnsignedError", "not signed"),
        (by_an_unknown_key, "UnknownKeyError", "does not have"),
        (by_a_wrong_key, "SignatureError", "another key"),
        (by_a_revoked_key, "RevokedKeyError", "revokes"),
        (by_a_retired_key, "RetiredKeyError", "retired after release 5"),
        (altered, "SignatureError", "altered"),
        (replayed, "ReplayedReleaseError", "older than release 5"),
        (from_an_earlier_round, "OlderModelError", "from round 4"),
        (truncated, "ChecksumError", "damaged"),
        (flipped, "ChecksumError", "damaged"),
        (of_other_classes, "LabelMapError", "label map"),
        (another_version, "OtherVersionError", "holds version"),
        (gone, "ObjectNotFoundError", "no such object"),
        (with_a_key_that_climbs, "CorruptRecordError", "storage key"),
    ],
)
def test_sec_02_what_is_refused_and_why(site, attack, error, reason):
    attack(site)
    assert site.look() is None
    (refused,) = site.refused()
    assert refused["error"] == error
    assert reason in refused["reason"]
    assert site.updates.refused.reason == refused["reason"]
    # Nor at the next look, nor after a restart; and what ran is what runs.
    assert site.look() is None
    (kept,) = site.restarted().on_disk()
    site.updates.runs(kept, None)
    assert kept.bundle == OLD
    assert site.look() is None
    assert len(site.refused()) == 1
    # The next honest release is taken all the same.
    site.trust.ring = a_ring(CLOUD)
    site.release(NEW, 7)
    assert site.take().bundle == NEW


def test_sec_02_a_signed_roll_back_may_be_older(site):
    site.release(NEW, 6, round_number=3, is_rollback=True)
    assert site.take().bundle == NEW
    assert site.refused() == []


def test_sec_02_a_replay_is_refused_after_a_restart_and_without_the_list_of_refusals(site):
    old = site.release(OLD, 5)
    site.release(NEW, 6)
    site.take()
    (site.folder / "models/refused.json").unlink(missing_ok=True)
    site.restarted().runs(*site.updates.on_disk())
    site.point_at(old)
    assert site.look() is None
    assert site.refused()[-1]["error"] == "ReplayedReleaseError"


def test_an_unsigned_model_runs_where_that_is_accepted_and_a_false_signature_never(tmp_path):
    site = Site(tmp_path)
    site.trust = Trust(a_ring(CLOUD), accepts_unsigned=True)
    site.restarted()
    site.release(OLD, 1, signer=None)
    assert site.take().bundle == OLD
    site.release(NEW, 2, signer=THIEF)
    assert site.look() is None


def test_sec_02_what_lies_on_the_disk_is_verified_again_at_the_start(site):
    installed = site.folder / "models/installed.json"
    signed = installed.read_bytes()
    installed.write_bytes(signed.replace(b"for a test", b"for a thief"))
    assert site.restarted().on_disk() == []
    installed.write_bytes(signed)
    path = site.folder / f"models/{OLD.version_id}.bundle"
    path.write_bytes(NEW.to_bytes())  # whole, but another one
    assert site.restarted().on_disk() == []
    path.write_bytes(OLD.to_bytes())
    (offer,) = site.restarted().on_disk()
    assert offer.bundle == OLD


def test_sec_02_a_model_that_was_kept_without_a_signature_is_fetched_anew(site):
    offer = replace(site.updates._running, pointer=b"")
    site.updates.keep(offer, None)
    assert site.restarted().on_disk() == []
    assert site.refused()[-1]["error"] == "UnsignedError"


def test_sec_02_a_revoked_key_lets_its_model_run_on_with_a_complaint(site):
    site.storage.put("keys/ring.json", to_json(a_ring(CLOUD, NEXT, serial=2)))
    site.trust.refresh(site.storage)
    site.storage.put("keys/ring.json", to_json(a_ring(NEXT, CLOUD, serial=3, revoked=CLOUD)))
    for _ in range(LOOKS_BETWEEN_RINGS):
        assert site.look() is None
    assert "runs on" in site.updates.doubt
    assert len(events(site.folder / "journal", "model.doubted")) == 1
    # Neither the running model nor a start is lost; a new node would take nothing.
    (offer,) = site.restarted().on_disk()
    assert offer.bundle == OLD
    assert "revokes" in offer.doubt
    site.updates.runs(offer, None)
    site.release(NEW, 6, signer=CLOUD)
    assert site.look() is None
    # Signed anew by a good key: the same model, and no complaint any more.
    site.release(OLD, 7, signer=NEXT)
    assert site.look() is None
    assert site.updates.doubt == ""
    (offer,) = site.restarted().on_disk()
    assert (offer.doubt, offer.record.key_id) == ("", NEXT.key_id)


def test_a_release_that_came_before_its_key_is_taken_when_the_key_comes(site):
    site.release(NEW, 6, signer=NEXT)
    assert site.look() is None
    assert site.refused()[-1]["error"] == "UnknownKeyError"
    site.storage.put("keys/ring.json", to_json(a_ring(CLOUD, NEXT, serial=2)))
    found = None
    for _ in range(LOOKS_BETWEEN_RINGS):
        found = found or site.look()
    assert found is not None
    assert found.bundle == NEW


def test_k8s_05_a_staged_release_is_for_its_share_of_the_nodes(tmp_path):
    site = Site(tmp_path)
    site.release(OLD, 1)
    site.take()
    staged = CLOUD.release(release(site.storage, NEW, 2, share=0.5))
    site.release(OLD, 1)
    site.storage.put("releases/staged.json", to_json(staged))
    took = 0
    for number in range(40):
        site.updates = ModelUpdates(
            site.storage,
            tmp_path / f"{number}/models",
            CITYSCAPES.digest,
            Journal(tmp_path / "journal", "edge"),
            trust=site.trust,
            edge_id=EdgeId(f"edge-{number}"),
        )
        took += site.take().bundle == NEW
    assert 10 <= took <= 30
    site.storage.put("releases/staged.json", to_json(replace(staged, share=1.0)))
    site.restarted()
    assert site.take().bundle == OLD  # the altered stage is refused, the rest goes on
