"""EDGE-06: a packed bundle knows what it was trained for, and says what is new to it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cloud.learning.familiarity import QUANTILES, FamiliarPicture, chosen_evenly, described
from cloud.learning.packing import packed
from lifelong.errors import ModelLoadError
from lifelong.hard_examples import judge
from lifelong.model_bundle import BundleManifest, ModelBundle, make_bundle, read_bundle
from lifelong.preprocessing import Preprocessing
from lifelong.sections.edge import HardExamplesSection
from lifelong.segmenter import OnnxSegmenter
from lifelong.training.checkpoints import weights_of
from lifelong.training.networks import build_network
from tests.builders import SMALL_MAP, an_image
from tests.tiny_bundle import tiny_bundle

HOW = Preprocessing(height=48, width=64)


def pictures(first: int, count: int) -> list[np.ndarray]:
    return [an_image(seed) for seed in range(first, first + count)]


def dark(image: np.ndarray) -> np.ndarray:
    return image // 12


def a_manifest() -> BundleManifest:
    return BundleManifest(
        label_map=SMALL_MAP, preprocessing=HOW, network="fast_cnn", weights_sha256="0" * 64
    )


def novelty_of(segmenter: OnnxSegmenter, image: np.ndarray) -> float:
    novelty = segmenter.segment(image).novelty
    assert novelty is not None
    return novelty


def some_weights():
    network = build_network("fast_cnn", len(SMALL_MAP), seed=3)
    batch = torch.from_numpy(np.stack(pictures(500, 8)).transpose(0, 3, 1, 2)).float() / 64 - 2
    with torch.no_grad():  # statistics of a network that has seen something
        for _ in range(20):
            network(batch)
    return weights_of(network)


def packed_with(familiar: list[FamiliarPicture], previous: ModelBundle | None = None):
    return packed(
        some_weights(), a_manifest(), pictures(100, 16), familiar=familiar, previous=previous
    )


@pytest.fixture(scope="module")
def bundle() -> ModelBundle:
    """Packed once: the exporter takes seconds."""
    familiar = [FamiliarPicture("day", image) for image in pictures(0, 40)]
    previous = tiny_bundle(height=48, width=64)
    return packed_with(familiar, previous)


def test_edge_06_pictures_unlike_the_familiar_ones_are_novel(bundle):
    segmenter = OnnxSegmenter(bundle, threads=1)
    familiar = [novelty_of(segmenter, image) for image in pictures(200, 20)]
    new = [novelty_of(segmenter, dark(image)) for image in pictures(200, 20)]
    assert np.median(familiar) < 0.5 < min(new)
    assert min(new) > max(familiar)


def test_edge_06_half_is_what_one_held_back_picture_in_twenty_reaches(bundle):
    segmenter = OnnxSegmenter(bundle, threads=1)
    held_back = [segmenter.segment(image) for image in pictures(100, 16)]
    assert sum((one.novelty or 0.0) >= 0.5 for one in held_back) == 1
    assert sum(max(one.class_novelty.values(), default=0.0) >= 0.5 for one in held_back) == 1


def test_the_manifest_brings_prototypes_quantiles_shares_and_survives_its_file(bundle):
    manifest = read_bundle(bundle.to_bytes(), "test").manifest
    assert manifest == bundle.manifest
    known = manifest.familiarity
    embedding = OnnxSegmenter(bundle, threads=1).segment(an_image(7)).embedding
    assert embedding is not None
    assert embedding.dtype == np.float32
    assert {task: len(values) for task, values in known.prototypes.items()} == {
        "day": len(embedding)
    }
    assert tuple(known.distance_quantiles) == tuple(sorted(QUANTILES))
    assert known.pictures == 16
    assert sum(known.class_shares.values()) == pytest.approx(1.0, abs=1e-4)
    ranked = [known.distance_quantiles[name] for name in QUANTILES]
    assert ranked == sorted(ranked)


def test_edge_07_what_second_looks_usually_differ_by_is_measured_too(bundle):
    quantiles = bundle.manifest.score_quantiles
    assert {"novelty", "flip_consistency", "disagreement"} <= set(quantiles)
    assert 0.0 < quantiles["disagreement"]["0.50"] <= 1.0


def test_a_novel_frame_is_hard_by_the_bundles_own_quantile(bundle):
    segmenter, how = OnnxSegmenter(bundle, threads=1), HardExamplesSection(policy="novelty")
    quantiles = bundle.manifest.score_quantiles
    verdict = judge(segmenter.segment(dark(an_image(3))), how, quantiles, 0.5)
    assert verdict.is_hard
    assert "model's own 0.95 quantile" in verdict.reasons[0]


@pytest.mark.slow
def test_equal_weights_and_pictures_give_an_equal_bundle(bundle):
    familiar = [FamiliarPicture("day", image) for image in pictures(0, 40)]
    again = packed_with(familiar, tiny_bundle(height=48, width=64))
    assert again.to_bytes() == bundle.to_bytes()


@pytest.mark.slow
def test_too_few_familiar_pictures_make_a_bundle_that_answers_logits_only():
    bundle = packed_with([FamiliarPicture("day", image) for image in pictures(0, 3)])
    prediction = OnnxSegmenter(bundle, threads=1).segment(an_image(1))
    assert (prediction.embedding, prediction.novelty, prediction.class_novelty) == (None, None, {})
    assert not bundle.manifest.familiarity.prototypes
    assert "novelty" not in bundle.manifest.score_quantiles


def test_an_older_bundle_answers_as_ever_and_cannot_be_described():
    older = tiny_bundle()
    prediction = OnnxSegmenter(older, threads=1).segment(an_image(1))
    assert (prediction.embedding, prediction.novelty, prediction.class_novelty) == (None, None, {})
    with pytest.raises(ModelLoadError, match="cannot be described"):
        described(older, [], [])


def test_a_bundle_whose_prototypes_fit_no_embedding_calls_everything_novel(bundle):
    known = replace(bundle.manifest.familiarity, prototypes={"day": (0.0, 0.0)})
    odd = make_bundle(replace(bundle.manifest, familiarity=known), bundle.onnx)
    assert novelty_of(OnnxSegmenter(odd, threads=1), an_image(1)) > 0.999


def test_many_pictures_of_one_condition_leave_room_for_the_few_of_another():
    image = an_image(1)
    many = [FamiliarPicture("day", image)] * 500 + [FamiliarPicture("night", image)] * 10
    tasks = [one.learning_task for one in chosen_evenly(many)]
    assert (tasks.count("day"), tasks.count("night")) == (64, 10)
    assert chosen_evenly([]) == []
