"""K8S-05 on the node: a staged model is taken by its share, kept as it widens, left when halted."""

import pytest

from cloud.releasing.releases import Releases
from edge.models.model_updates import ModelUpdates
from edge.models.trust import Trust
from lifelong.links.journal import Journal
from lifelong.records.ids import EdgeId, RoundNumber, VersionId
from lifelong.records.keys import STAGED_RELEASE, bundle_key
from lifelong.records.label_map import CITYSCAPES
from lifelong.staging import draw_of
from tests.builders import NOON
from tests.edge_fixtures import FlakyStorage, events, street_bundle

OLD, NEW = street_bundle(1), street_bundle(2)
STAGED = 2  # number of the staged release
FLEET = [EdgeId(f"edge-{number}") for number in range(40)]
INSIDE = min(FLEET, key=lambda edge: draw_of(edge, STAGED))
OUTSIDE = max(FLEET, key=lambda edge: draw_of(edge, STAGED))


@pytest.fixture
def storage() -> FlakyStorage:
    return FlakyStorage()


@pytest.fixture
def releases(storage, tmp_path) -> Releases:
    """The old model for everybody, the new one staged for a tenth."""
    for bundle in (OLD, NEW):
        storage.put(bundle_key(bundle.version_id), bundle.to_bytes())
    made = Releases(storage, Journal(tmp_path, "cloud"), lambda: NOON)
    made.publish(OLD.version_id, RoundNumber(0), "first model")
    staged = made.publish(NEW.version_id, RoundNumber(1), "round 1 accepted", share=0.1)
    assert staged.number == STAGED
    made.show_staged(STAGED, 0.1)
    return made


class Node:
    """Takes what it is offered; nothing else of a node is here."""

    def __init__(self, folder, storage, edge: EdgeId) -> None:
        self.journal = folder / edge
        self.updates = ModelUpdates(
            storage,
            folder / edge / "models",
            CITYSCAPES.digest,
            Journal(self.journal, edge),
            trust=Trust(None, accepts_unsigned=True),
            edge_id=edge,
        )
        self.running: VersionId | None = None

    def look(self) -> str | None:
        offer = self.updates.newer_than(self.running)
        if offer is not None:
            self.running = offer.bundle.version_id
            self.updates.keep(offer, None)
        return self.running


def test_k8s_05_its_share_takes_the_staged_model_and_the_rest_when_it_is_promoted(
    tmp_path, storage, releases
):
    inside, outside = Node(tmp_path, storage, INSIDE), Node(tmp_path, storage, OUTSIDE)
    assert (inside.look(), outside.look()) == (NEW.version_id, OLD.version_id)
    releases.show_staged(STAGED, 0.5)
    assert inside.look() == NEW.version_id
    releases.publish(NEW.version_id, RoundNumber(1), "round 1 accepted")
    releases.withdraw_staged()
    assert (inside.look(), outside.look()) == (NEW.version_id, NEW.version_id)
    assert events(tmp_path, "model.refused") == []


def test_k8s_05_a_halted_model_is_left_by_a_roll_back_with_a_higher_number(
    tmp_path, storage, releases
):
    inside, outside = Node(tmp_path, storage, INSIDE), Node(tmp_path, storage, OUTSIDE)
    inside.look(), outside.look()
    releases.roll_back(OLD.version_id, "roll-out 2, halted")
    assert storage.exists(STAGED_RELEASE)  # a leftover says nothing any more
    assert (inside.look(), outside.look()) == (OLD.version_id, OLD.version_id)
    releases.withdraw_staged()
    assert (inside.look(), outside.look()) == (OLD.version_id, OLD.version_id)
    assert events(tmp_path, "model.refused") == []


@pytest.mark.parametrize("end", ["promoted", "rolled back"])
def test_k8s_05_a_look_while_the_pointers_move_sees_no_old_release(
    tmp_path, storage, releases, monkeypatch, end
):
    """Both pointers cannot be read at once; whatever lies between, nothing is replayed."""
    inside = Node(tmp_path, storage, INSIDE)
    inside.look()
    read = storage.get

    def get(key, **how):
        found = read(key, **how)
        if "releases/" in key:  # between the first pointer and the second
            monkeypatch.setattr(storage, "get", read)
            if end == "promoted":
                releases.publish(NEW.version_id, RoundNumber(1), "round 1 accepted")
            else:
                releases.roll_back(OLD.version_id, "olga")
            releases.withdraw_staged()
        return found

    monkeypatch.setattr(storage, "get", get)
    assert inside.look() == (NEW if end == "promoted" else OLD).version_id
    assert events(tmp_path, "model.refused") == []
