"""Class scores for every pixel: shipped, from transformers' own folders, or our deployed model."""

import json
import shutil

import numpy as np
import pytest
import torch

from cloud.demo.scenes import draw_scene
from cloud.preannotation.ontology import ontology_of
from cloud.preannotation.semantic import enlarging
from cloud.preannotation.semantic.enlarging import probabilities_at, shares_at
from cloud.preannotation.semantic.placing import Placing, placing_of
from cloud.preannotation.semantic_labels import (
    LABELERS,
    TINY_SEGFORMER_WEIGHTS,
    BundleLabeler,
    TinyLabeler,
    class_ids_of,
    labeler_from,
)
from lifelong.errors import ConfigError, LabelMapError, ModelLoadError, ModelOutputError
from lifelong.records.label_map import CITYSCAPES
from lifelong.sections.drafting import SemanticSection
from lifelong.segmenter import OnnxSegmenter
from tests.builders import SMALL_MAP, an_image
from tests.tiny_bundle import tiny_bundle


def test_every_semantic_type_of_the_configuration_has_a_labeler():
    """PRE-08: the semantic branch is a choice by name, our own deployed model among them."""
    assert set(SemanticSection.model_fields["type"].annotation.__args__) == set(LABELERS)


def test_pre_10_the_shipped_labeler_knows_a_scene_on_the_cpu():
    """PRE-10: the tiny SegFormer needs no GPU, and answers the same twice."""
    scene = draw_scene(21, "clear")
    labeler = labeler_from(SemanticSection(), CITYSCAPES, device="cpu")

    scores = labeler.label(scene.image)

    assert scores.shape == (19, 320, 480)
    assert scores.dtype == np.float32
    assert scores.sum(axis=0) == pytest.approx(1.0, abs=1e-4)
    assert (scores.argmax(axis=0) == scene.mask).mean() > 0.7
    assert np.array_equal(scores, labeler.label(scene.image))


def test_several_names_may_mean_one_class_and_some_none(caplog):
    """PRE-08: probabilities of names that mean the same add up; the rest is nobody's."""
    names = {0: "sedan", 1: "cars", 2: "the road", 3: "giraffe"}
    placing = placing_of(SMALL_MAP, names, where="model", meanings=Meanings())

    scores = probabilities_at(torch.zeros(1, 4, 2, 2), (4, 4), placing, where="model")

    assert placing.targets == (1, 1, 0, None)
    assert scores[:, 0, 0] == pytest.approx([0.25, 0.5, 0.0])
    (warning,) = caplog.messages
    assert "giraffe" in warning and "sedan" not in warning


class Meanings:
    """What words mean, for SMALL_MAP: road, car, person."""

    def class_of(self, name):
        return {"sedan": 1, "cars": 1, "the road": 0}.get(name)


def test_the_ontology_of_a_label_map_knows_plurals_and_articles():
    names = {0: "cars", 1: "the road", 2: "zebra"}
    placing = placing_of(SMALL_MAP, names, where="m", meanings=ontology_of(SMALL_MAP))

    assert placing.targets == (1, 0, None)


def test_foreign_names_are_told_once_and_never_drafted(caplog):
    names = {0: "road", 1: "zebra", 2: "person"}
    placing = placing_of(SMALL_MAP, names, where="model")
    logits = torch.tensor([1.0, 3.0, 0.0]).view(1, 3, 1, 1)

    scores = probabilities_at(logits, (2, 2), placing, where="model")

    (warning,) = caplog.messages
    assert "zebra" in warning
    assert "preannotation.ontology" in warning
    assert scores.sum(axis=0).max() < 0.2
    assert (class_ids_of(scores) == 255).all()


def test_a_model_none_of_whose_classes_is_ours_is_refused():
    with pytest.raises(LabelMapError, match="zebra, giraffe"):
        placing_of(SMALL_MAP, {0: "zebra", 1: "giraffe"}, where="model")


def test_nothing_unknown_is_ever_class_0():
    """255 where the remainder beats every class; a class where it does not; lowest id on a tie."""
    probabilities = np.array(
        [[0.0, 0.2, 0.5, 0.4, 0.4], [0.0, 0.3, 0.5, 0.1, 0.2]], dtype=np.float32
    )[:, None]

    ids = class_ids_of(probabilities)

    assert ids.dtype == np.uint8
    assert ids.tolist() == [[255, 255, 0, 255, 0]]


def test_a_class_the_model_lacks_is_never_drafted():
    placing = placing_of(SMALL_MAP, {0: "Person", 1: "road "}, where="model")

    scores = probabilities_at(torch.zeros(1, 2, 4, 4), (8, 8), placing, where="model")

    assert placing.targets == (2, 0)
    assert scores[1].max() == 0.0
    assert scores[0] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("logits", "reason"),
    [
        (torch.full((1, 3, 2, 2), torch.nan), "NaN"),
        (torch.zeros(1, 2, 2, 2), "expected scores"),
        (torch.zeros(3, 2, 2), "expected scores"),
    ],
)
@pytest.mark.parametrize("squash", [probabilities_at, shares_at])
def test_nonsense_from_a_model_is_refused(logits, reason, squash):
    with pytest.raises(ModelOutputError, match=reason):
        squash(logits, (4, 4), Placing(targets=(0, 1, 2), classes=3), where="model")


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(37, 53), (5, 90), (4, 6), (1, 7)])
def test_bands_are_what_the_whole_is(monkeypatch, align_corners, size):
    """PRE-13: a picture too large for one band gets the same answer, up to float rounding."""
    torch.manual_seed(1)
    logits = torch.randn(1, 3, 7, 11) * 4
    placing = Placing(targets=(1, 0, None), classes=2)
    answers = []
    for values in (10**9, 3 * size[1] * 2):
        monkeypatch.setattr(enlarging, "BAND_VALUES", values)
        answers.append(
            probabilities_at(logits, size, placing, where="m", align_corners=align_corners)
        )

    assert np.allclose(answers[0], answers[1], atol=2e-5)
    assert answers[0].sum(axis=0).max() <= 1.0001


def test_the_default_labeler_survives_a_picture_12000_pixels_wide():
    """PRE-13: without tiles the tiny model scales to 480 pixels; its answer is full size."""
    image = np.tile(draw_scene(3, "clear").image, (2, 25, 1))[:400]

    scores = labeler_from(SemanticSection(), CITYSCAPES, device="cpu").label(image)

    assert scores.shape == (19, 400, 12000)
    assert scores[:, ::97, ::97].sum(axis=0) == pytest.approx(1.0, abs=1e-4)


def test_the_configuration_chooses_tiles():
    """PRE-13."""
    scene = draw_scene(21, "clear")
    tiled = labeler_from(SemanticSection(tile_px=320), CITYSCAPES, device="cpu")

    scores = tiled.label(scene.image)

    assert tiled.name == "tiny_segformer, tiles of 320"
    assert scores.shape == (19, 320, 480)
    assert scores.sum(axis=0) == pytest.approx(1.0, abs=1e-4)
    assert (class_ids_of(scores) == scene.mask).mean() > 0.6
    with pytest.raises(ConfigError, match="tile_px"):
        labeler_from(SemanticSection(tile_px=16), CITYSCAPES, device="cpu")


@pytest.mark.parametrize(
    "section", [{"type": "transformers"}, {"type": "bundle"}, {"type": "onnx"}]
)
def test_a_type_that_needs_a_model_says_so(section):
    with pytest.raises(ConfigError, match=r"preannotation\.semantic\.model"):
        labeler_from(SemanticSection(**section), CITYSCAPES)


def test_our_own_deployed_model_drafts_too(tmp_path):
    """PRE-08: no foreign model is needed."""
    bundle, image = tiny_bundle(), an_image(4)
    (tmp_path / "model.bundle").write_bytes(bundle.to_bytes())
    section = SemanticSection(type="bundle", model=str(tmp_path / "model.bundle"))

    scores = labeler_from(section, SMALL_MAP).label(image)

    assert scores.shape == (3, *image.shape[:2])
    assert scores.sum(axis=0) == pytest.approx(1.0, abs=1e-5)
    expected = OnnxSegmenter(bundle).segment(image).mask
    assert (scores.argmax(axis=0) == expected).mean() > 0.9


def test_a_missing_bundle_is_refused(tmp_path):
    with pytest.raises(ModelLoadError, match="no such file"):
        BundleLabeler(tmp_path / "model.clmodel", CITYSCAPES)


def test_missing_tiny_weights_are_refused(tmp_path):
    with pytest.raises(ModelLoadError, match=r"NAME\.json"):
        TinyLabeler(CITYSCAPES, weights=tmp_path / "none.safetensors")


def test_truncated_tiny_weights_are_refused(tmp_path):
    weights = tmp_path / "tiny.safetensors"
    weights.write_bytes(TINY_SEGFORMER_WEIGHTS.read_bytes()[:5000])
    shutil.copy(TINY_SEGFORMER_WEIGHTS.with_suffix(".json"), tmp_path / "tiny.json")

    with pytest.raises(ModelLoadError, match="not readable"):
        TinyLabeler(CITYSCAPES, weights=weights)


def test_tiny_weights_with_another_description_are_refused(tmp_path):
    weights = tmp_path / "tiny.safetensors"
    shutil.copy(TINY_SEGFORMER_WEIGHTS, weights)
    config = json.loads(TINY_SEGFORMER_WEIGHTS.with_suffix(".json").read_text())
    config["decoder_hidden_size"] = 32
    weights.with_suffix(".json").write_text(json.dumps(config))

    with pytest.raises(ModelLoadError, match=r"tiny\.json"):
        TinyLabeler(CITYSCAPES, weights=weights)
