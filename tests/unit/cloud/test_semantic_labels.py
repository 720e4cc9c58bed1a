"""Class scores for every pixel: shipped, from transformers' own folders, or our deployed model."""

import json
import shutil

import numpy as np
import pytest
import torch
from transformers import (
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SegformerImageProcessor,
)

from cloud.demo.scenes import draw_scene
from cloud.preannotation.semantic_labels import (
    LABELERS,
    TINY_SEGFORMER_WEIGHTS,
    BundleLabeler,
    TinyLabeler,
    TransformersLabeler,
    labeler_from,
    places_in,
    probabilities_at,
)
from lifelong.drafting_config import SemanticSection
from lifelong.errors import ConfigError, LabelMapError, ModelLoadError, ModelOutputError
from lifelong.records.label_map import CITYSCAPES
from lifelong.segmenter import OnnxSegmenter
from tests.builders import SMALL_MAP, an_image
from tests.tiny_bundle import tiny_bundle


def segformer_folder(folder, names):
    """A checkpoint folder as `save_pretrained` writes it, with random weights."""
    torch.manual_seed(0)
    config = SegformerConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 8, 8],
        num_attention_heads=[1, 1, 1, 1],
        decoder_hidden_size=8,
        id2label=dict(enumerate(names)),
        label2id={name: index for index, name in enumerate(names)},
    )
    SegformerForSemanticSegmentation(config).save_pretrained(folder)
    SegformerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return str(folder)


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


def test_a_folder_of_transformers_is_loaded_and_put_in_the_label_maps_order(tmp_path):
    folder = segformer_folder(tmp_path / "theirs", ["person", "Road", "car"])

    labeler = TransformersLabeler(folder, SMALL_MAP, device="cpu")
    scores = labeler.label(an_image(3))

    assert scores.shape == (3, 48, 64)
    assert labeler.name == "theirs"
    plain = TransformersLabeler(
        segformer_folder(tmp_path / "same", ["road", "car", "person"]), SMALL_MAP, device="cpu"
    ).label(an_image(3))
    # The same weights under other names: their class 0 is our person, and so on.
    assert np.allclose(scores[[2, 0, 1]], plain, atol=1e-6)


def test_a_model_with_foreign_classes_is_refused(tmp_path):
    folder = segformer_folder(tmp_path / "theirs", ["road", "zebra"])

    with pytest.raises(LabelMapError, match="zebra"):
        TransformersLabeler(folder, SMALL_MAP, device="cpu")


def test_a_class_the_model_lacks_is_never_drafted():
    places = places_in(SMALL_MAP, {0: "person", 1: "road"}, where="model")

    scores = probabilities_at(torch.zeros(1, 2, 4, 4), (8, 8), places, where="model")

    assert places == (1, None, 0)
    assert scores[1].max() == 0.0
    assert scores[0] == pytest.approx(0.5)


def test_what_is_no_checkpoint_folder_is_refused_with_its_name(tmp_path):
    (tmp_path / "config.json").write_text("{}")

    with pytest.raises(ModelLoadError, match=tmp_path.name):
        TransformersLabeler(str(tmp_path), SMALL_MAP)


@pytest.mark.parametrize(
    ("logits", "reason"),
    [
        (torch.full((1, 3, 2, 2), torch.nan), "NaN"),
        (torch.zeros(1, 2, 2, 2), "expected logits"),
        (torch.zeros(3, 2, 2), "expected logits"),
    ],
)
def test_nonsense_from_a_model_is_refused(logits, reason):
    with pytest.raises(ModelOutputError, match=reason):
        probabilities_at(logits, (4, 4), (0, 1, 2), where="model")


@pytest.mark.parametrize("section", [{"type": "transformers"}, {"type": "bundle"}])
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
