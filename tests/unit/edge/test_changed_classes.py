"""LLL-06: a node refuses a model of other classes, and takes it once it has those classes."""

from pathlib import Path

from edge.models.model_updates import ModelUpdates
from edge.models.trust import Trust
from lifelong.links.journal import Journal
from lifelong.records.label_map import CITYSCAPES, LabelMap
from tests.builders import SMALL_MAP
from tests.edge_fixtures import FlakyStorage, release
from tests.tiny_bundle import tiny_bundle


def updates(folder: Path, storage: FlakyStorage, label_map: LabelMap) -> ModelUpdates:
    journal = Journal(folder / "journal", "edge-1")
    trust = Trust(None, accepts_unsigned=True)
    return ModelUpdates(storage, folder / "models", label_map.digest, journal, trust=trust)


def test_lll_06_a_model_of_other_classes_is_refused_until_the_node_is_given_them(tmp_path):
    storage = FlakyStorage()
    bundle = tiny_bundle()
    release(storage, bundle)
    assert bundle.manifest.label_map.digest == SMALL_MAP.digest
    old = updates(tmp_path, storage, CITYSCAPES)
    assert old.newer_than(None) is None
    assert old.refused is not None and "made for label map" in old.refused.reason
    again = updates(tmp_path, storage, CITYSCAPES)  # a restart with the same classes
    assert again.newer_than(None) is None
    new = updates(tmp_path, storage, SMALL_MAP)  # and with the new ones
    offer = new.newer_than(None)
    assert offer is not None and offer.bundle == bundle


def test_lll_06_a_kept_model_of_other_classes_is_not_run_and_not_misread(tmp_path):
    storage = FlakyStorage()
    release(storage, tiny_bundle())
    old = updates(tmp_path, storage, SMALL_MAP)
    offer = old.newer_than(None)
    assert offer is not None
    old.keep(offer, None)
    assert updates(tmp_path, storage, SMALL_MAP).on_disk()
    assert updates(tmp_path, storage, CITYSCAPES).on_disk() == []
