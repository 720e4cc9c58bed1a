"""From samples to a published candidate, on a tiny world in memory."""

import pytest

from cloud.learning.learner import Learner, publish_candidate
from lifelong.config import TrainingSection
from lifelong.errors import LabelMapError, TrainingError
from lifelong.links.storage import open_storage
from lifelong.model_bundle import read_bundle
from lifelong.records.ids import RoundNumber
from lifelong.records.keys import bundle_key, weights_key
from lifelong.records.label_map import label_map_of
from lifelong.segmenter import OnnxSegmenter
from tests.builders import SMALL_MAP, a_jpeg, a_mask_png, a_sample, an_image

SECTION = TrainingSection(height=32, width=48, steps=2, batch_size=2, threads=1, device="cpu")


def stored(storage, seeds, task):
    samples = [a_sample(seed, learning_task=task) for seed in seeds]
    for seed, sample in zip(seeds, samples, strict=True):
        storage.put(sample.image_key, a_jpeg(seed))
        storage.put(sample.mask_key, a_mask_png(seed))
    return samples


def a_learner(storage, tmp_path, **changes):
    section = SECTION.model_copy(update=changes)
    return Learner(storage, SMALL_MAP, section, tmp_path / "work")


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """Storage with a published first model, and the samples it learned."""
    storage = open_storage("memory://")
    samples = stored(storage, range(4), "day")
    learner = a_learner(storage, tmp_path_factory.mktemp("first"))
    candidate = learner.train(new=samples, memory=[], incumbent=None, round_number=RoundNumber(0))
    publish_candidate(storage, candidate)
    return storage, samples, candidate


def test_a_first_candidate_is_whole(first):
    storage, samples, candidate = first
    version, manifest = candidate.version, candidate.bundle.manifest
    assert version.parent is None and version.replayed == ()
    assert version.trained_on == tuple(sample.sample_id for sample in samples)
    assert version.weights_sha256 == manifest.weights_sha256
    assert version.settings["steps"] == "2"
    bundle = read_bundle(storage.get(version.bundle_key, sha256=version.sha256), "stored")
    assert bundle == candidate.bundle
    assert OnnxSegmenter(bundle).segment(an_image()).mask.shape == (48, 64)
    for quantiles in manifest.score_quantiles.values():
        values = [quantiles[name] for name in ("0.50", "0.75", "0.90", "0.95", "0.99")]
        assert values == sorted(values) and 0 <= values[0] <= values[-1] <= 1
    assert {"entropy", "margin", "least_confidence"} <= set(manifest.score_quantiles)


def test_publishing_twice_changes_nothing(first):
    storage, _, candidate = first
    publish_candidate(storage, candidate)
    version_id = candidate.version.version_id
    assert sorted(storage.keys("models")) == sorted(
        [bundle_key(version_id), weights_key(version_id)]
    )


def test_the_next_candidate_starts_from_the_incumbent_and_says_so(first, tmp_path):
    storage, old, incumbent = first
    new = stored(storage, range(10, 22), "fog")
    told = []
    candidate = a_learner(storage, tmp_path).train(
        new=new,
        memory=old,
        incumbent=incumbent.bundle,
        round_number=RoundNumber(1),
        on_progress=lambda step, steps, loss: told.append((step, steps)),
    )
    version = candidate.version
    assert told == [(1, 2), (2, 2)]
    assert version.parent == incumbent.version.version_id
    assert version.replayed == tuple(sample.sample_id for sample in old)
    assert version.trained_on == tuple(sample.sample_id for sample in new)
    assert version.round_number == 1 and version.weights_sha256 != incumbent.version.weights_sha256


def test_weights_trained_elsewhere_are_packed_as_a_first_model(first, tmp_path):
    storage, samples, candidate = first
    packed = a_learner(storage, tmp_path).package(
        candidate.weights, samples, round_number=RoundNumber(0)
    )
    assert packed.version.weights_sha256 == candidate.version.weights_sha256
    assert packed.bundle.onnx == candidate.bundle.onnx
    assert packed.version.trained_on == candidate.version.trained_on


def test_an_incumbent_that_cannot_be_continued_is_refused(first, tmp_path):
    storage, samples, incumbent = first

    def train(learner):
        learner.train(
            new=samples, memory=[], incumbent=incumbent.bundle, round_number=RoundNumber(1)
        )

    with pytest.raises(TrainingError, match="change of network"):
        train(a_learner(storage, tmp_path, network="lraspp_mobilenet_v3"))
    other = label_map_of([("sky", (0, 0, 1)), ("sea", (0, 0, 2)), ("sand", (0, 0, 3))])
    with pytest.raises(LabelMapError, match=r"version .* no change is recorded"):
        train(Learner(storage, other, SECTION, tmp_path))
    elsewhere = open_storage("memory://")
    with pytest.raises(TrainingError, match="not in storage"):
        stored(elsewhere, range(4), "day")
        train(a_learner(elsewhere, tmp_path))


@pytest.mark.parametrize(("max_loss", "shipped"), [(1.0, "int8"), (-1.0, "fp32")])
def test_lll_12_a_candidate_is_reduced_only_when_it_loses_little(
    first, tmp_path, max_loss, shipped
):
    storage, samples, full = first
    learner = a_learner(storage, tmp_path, precision="int8", max_precision_loss=max_loss)
    candidate = learner.package(full.weights, samples, round_number=RoundNumber(0))
    manifest = candidate.bundle.manifest
    assert manifest.precision == shipped
    assert bool(candidate.reduction.reasons) == (shipped == "fp32")
    assert candidate.reduction.loss.pictures == 2, "two calibrate, the other two examine"
    assert candidate.version.version_id == candidate.bundle.version_id
    assert "entropy" in manifest.score_quantiles
    assert (len(candidate.bundle.onnx) < len(full.bundle.onnx)) == (shipped == "int8")


def test_lll_12_exemplars_calibrate_and_pictures_held_back_examine(first, tmp_path):
    storage, old, incumbent = first
    new = stored(storage, range(40, 120), "fog")
    learner = a_learner(storage, tmp_path, precision="int8", max_precision_loss=1.0)
    candidate = learner.train(
        new=new, memory=old, incumbent=incumbent.bundle, round_number=RoundNumber(1)
    )
    assert candidate.bundle.manifest.precision == "int8"
    assert candidate.reduction.loss.pictures == 9, "every tenth of 80 and of 4"


def test_lll_02_a_candidate_with_adapters_ships_as_any_other(first, tmp_path):
    storage, samples, candidate = first
    night = stored(storage, range(40, 43), "night")
    learner = a_learner(storage, tmp_path, strategy="adapters")
    adapted = learner.train(
        new=night, memory=samples, incumbent=candidate.bundle, round_number=RoundNumber(1)
    )
    assert adapted.version.strategy == "adapters"
    assert OnnxSegmenter(adapted.bundle).segment(an_image()).mask.shape == (48, 64)


def test_a_run_that_may_end_early_is_watched_on_pictures_held_back(first, tmp_path, monkeypatch):
    storage, _, _ = first
    lessons = []

    def only_look(lesson, **_):
        lessons.append(lesson)
        raise TrainingError("seen enough")

    monkeypatch.setattr("cloud.learning.learner.train", only_look)
    many = stored(storage, range(100, 190), "day")
    learner = a_learner(storage, tmp_path, patience=3)
    with pytest.raises(TrainingError, match="seen enough"):
        learner.train(new=many, memory=(), incumbent=None, round_number=RoundNumber(0))
    (lesson,) = lessons
    assert len(lesson.validation) == 9
    assert len(lesson.new) == 81
