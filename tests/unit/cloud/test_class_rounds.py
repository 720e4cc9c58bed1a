"""LLL-06: a round after a change of classes, from an older incumbent to the gate's verdict."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cloud.class_changes import label_map_json
from cloud.learning.learner import Learner, publish_candidate
from lifelong.config import GateSection, TrainingSection
from lifelong.errors import LabelMapChangeError
from lifelong.labels.map_changes import change_classes
from lifelong.labels.map_history import record_change
from lifelong.links.storage import open_storage
from lifelong.records.ids import RoundNumber, sha256_hex
from lifelong.records.pixels import png_from_mask
from lifelong.segmenter import OnnxSegmenter
from lifelong.training.checkpoints import weights_from_bytes
from tests.builders import SMALL_MAP, a_mask, an_image
from tests.unit.cloud.learning.test_learner import stored
from tests.unit.cloud.test_examination import BIASED, NONE, SHARP, Room, a_model

CHANGE = change_classes(SMALL_MAP, rename={"car": "motor"}, add={"bicycle": ("person",)})
SECTION = TrainingSection(height=32, width=48, steps=2, batch_size=2, threads=1, device="cpu")


def painted_anew(storage, samples):
    """The same samples as somebody would paint them now: half of the persons ride a bicycle."""
    made = []
    for seed, sample in enumerate(samples):
        mask = a_mask(10 + seed)
        mask[:, ::2][mask[:, ::2] == 2] = 3
        key = f"masks/{sample.sample_id}/9.png"
        data = png_from_mask(mask)
        storage.put(key, data)
        made.append(
            replace(
                sample,
                mask_key=key,
                mask_sha256=sha256_hex(data),
                label_map_digest=CHANGE.after.digest,
            )
        )
    return made


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """Storage with a first model of the old classes, and the samples it learned."""
    storage = open_storage("memory://")
    samples = stored(storage, range(4), "day")
    learner = Learner(storage, SMALL_MAP, SECTION, tmp_path_factory.mktemp("first"))
    first = learner.train(new=samples, memory=[], incumbent=None, round_number=RoundNumber(0))
    publish_candidate(storage, first)
    return storage, samples, first


@pytest.fixture
def begun(taught):
    """The same in a storage of its own: one test records the change that another one lacks."""
    storage, samples, first = taught
    own = open_storage("memory://")
    for room in storage.rooms():
        for key in storage.keys(room):
            own.put(key, storage.get(key))
    return own, samples, first


def test_lll_06_an_incumbent_of_older_classes_needs_a_recorded_change(begun, tmp_path):
    storage, samples, first = begun
    learner = Learner(storage, CHANGE.after, SECTION, tmp_path)
    with pytest.raises(LabelMapChangeError, match=f"version {first.version.version_id}.*recorded"):
        learner.train(new=samples, memory=[], incumbent=first.bundle, round_number=RoundNumber(1))


@pytest.mark.parametrize("strategy", ["replay+distillation", "naive"])
def test_lll_06_an_incumbent_grows_along_a_recorded_change(begun, tmp_path, strategy):
    storage, samples, first = begun
    record_change(storage, CHANGE)
    new = painted_anew(storage, stored(storage, range(10, 22), "fog"))
    section = SECTION.model_copy(update={"strategy": strategy, "learning_rate": 1e-9})
    candidate = Learner(storage, CHANGE.after, section, tmp_path).train(
        new=new, memory=samples, incumbent=first.bundle, round_number=RoundNumber(1)
    )
    manifest = candidate.bundle.manifest
    assert manifest.label_map == CHANGE.after
    assert candidate.version.label_map_digest == CHANGE.after.digest
    assert candidate.version.parent == first.version.version_id
    assert "disagreement" not in manifest.score_quantiles  # masks of other classes
    assert int(OnnxSegmenter(candidate.bundle).segment(an_image()).mask.max()) < 4
    # With next to no learning rate it is what the head has grown to: the old rows are there.
    old = weights_from_bytes(first.weights, "old")
    now = weights_from_bytes(candidate.weights, "new")
    np.testing.assert_allclose(now["head.weight"][:3], old["head.weight"], atol=1e-5)
    np.testing.assert_allclose(now["head.weight"][3], old["head.weight"][2], atol=1e-5)
    np.testing.assert_allclose(now["scene.weight"], old["scene.weight"], atol=1e-5)


def changed_room(folder: Path, *, marked: bool = True) -> Room:
    """A room of `test_examination.py` whose classes have changed since its hold-outs were made."""
    room = Room(folder, GateSection())
    record_change(room.storage, CHANGE)
    if marked:
        (folder / "holdouts" / "label_map.json").write_bytes(label_map_json(SMALL_MAP))
    (folder / "classes.json").write_bytes(label_map_json(CHANGE.after))
    return room


# Bicycles are answered where a picture is much brighter than any person.
SHARPER = a_model(np.vstack([SHARP, SHARP[2] * 0.1]), np.append(NONE, -90.0), CHANGE.after)
KEEPS_BIAS = a_model(np.vstack([SHARP, SHARP[2] * 0.1]), np.append(BIASED, -90.0), CHANGE.after)
FORGETS = a_model(
    np.vstack([SHARP, SHARP[0]]), np.append(NONE, 30.0), CHANGE.after
)  # roads are bicycles


def test_lll_06_the_gate_compares_models_of_different_classes_on_old_hold_outs(tmp_path):
    found = changed_room(tmp_path).judge(SHARPER)
    assert found.decision.accepted, found.decision.reasons
    assert set(found.candidate.tasks["day"].iou) == {"road", "motor", "person"}
    assert found.incumbent is not None
    assert set(found.incumbent.tasks["day"].iou) == {"road", "motor", "person"}
    notes = "\n".join(found.decision.notes)
    assert "classes: rename car to motor" in notes
    assert "bicycle: new, and no hold-out shows it" in notes


def test_lll_06_a_candidate_of_new_classes_need_not_gain_on_the_old_ones(tmp_path):
    assert changed_room(tmp_path).judge(KEEPS_BIAS).decision.accepted


def test_lll_06_a_new_class_that_swallows_an_old_one_is_refused(tmp_path):
    found = changed_room(tmp_path).judge(FORGETS)
    assert not found.decision.accepted
    assert any("road" in reason for reason in found.decision.reasons)


def test_lll_06_hold_outs_that_do_not_say_their_classes_stop_the_examination(tmp_path):
    with pytest.raises(LabelMapChangeError, match=r"label_map\.json"):
        changed_room(tmp_path, marked=False).judge(SHARPER)


def test_lll_06_an_unrecorded_change_is_never_compared(tmp_path):
    room = Room(tmp_path, GateSection())
    (tmp_path / "classes.json").write_bytes(label_map_json(CHANGE.after))
    (tmp_path / "holdouts" / "label_map.json").write_bytes(label_map_json(CHANGE.after))
    with pytest.raises(LabelMapChangeError, match="no change is recorded"):
        room.judge(SHARPER)
