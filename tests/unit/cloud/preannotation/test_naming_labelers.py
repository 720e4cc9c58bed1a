"""PRE-05: closed-set models of transformers as sources of names, on tiny random networks."""

import numpy as np
import pytest
import torch
from transformers import (
    MaskFormerConfig,
    MaskFormerForInstanceSegmentation,
    MaskFormerImageProcessor,
    OneFormerConfig,
    OneFormerForUniversalSegmentation,
    OneFormerImageProcessor,
    OneFormerProcessor,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SegformerImageProcessor,
    SwinConfig,
)

from bench.engine_models import tiny_clip_tokenizer
from cloud.preannotation.naming.picture_labelers import (
    LogitsLabeler,
    load_picture_labeler,
    spoken_names,
)
from lifelong.errors import ModelLoadError, ModelOutputError

NAMES = ["wall", "sky-other-merged", "bed ", "car, auto"]
SPOKEN = ("wall", "sky", "bed", "car")
CLASSES = {"id2label": dict(enumerate(NAMES)), "label2id": {n: i for i, n in enumerate(NAMES)}}
IMAGE = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)


def swin():
    stages = ["stage1", "stage2", "stage3", "stage4"]
    return SwinConfig(
        image_size=64, embed_dim=16, depths=[1] * 4, num_heads=[1] * 4, window_size=4,
        out_features=stages,
    )  # fmt: skip


def oneformer(folder):
    config = OneFormerConfig(
        backbone_config=swin(), num_queries=8, num_classes=4, hidden_dim=32, mask_dim=32,
        conv_dim=32, encoder_feedforward_dim=32, encoder_layers=1, decoder_layers=2,
        dim_feedforward=32, num_attention_heads=4, text_encoder_width=32,
        text_encoder_vocab_size=200, text_encoder_proj_layers=1, text_encoder_num_layers=1,
        query_dec_layers=1, **CLASSES,
    )  # fmt: skip
    OneFormerForUniversalSegmentation(config).save_pretrained(folder)
    (folder / "classes.json").write_text('{"0": {"name": "wall", "isthing": 0}}')
    images = OneFormerImageProcessor(
        repo_path=str(folder), class_info_file="classes.json",
        size={"shortest_edge": 64, "longest_edge": 128},
    )  # fmt: skip
    OneFormerProcessor(images, tiny_clip_tokenizer()).save_pretrained(folder)
    # The table of classes lies elsewhere on the hub; naming pixels does without it.
    (folder / "classes.json").unlink()


def maskformer(folder):
    config = MaskFormerConfig(
        backbone_config=swin(), fpn_feature_size=32, mask_feature_size=32,
        decoder_config={
            "model_type": "detr", "d_model": 32, "decoder_layers": 1, "encoder_layers": 1,
            "decoder_ffn_dim": 32, "encoder_ffn_dim": 32, "num_queries": 8,
            "encoder_attention_heads": 4, "decoder_attention_heads": 4,
        },
        **CLASSES,
    )  # fmt: skip
    MaskFormerForInstanceSegmentation(config).save_pretrained(folder)
    MaskFormerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)


def segformer(folder):
    config = SegformerConfig(
        hidden_sizes=[8, 8, 8, 8], depths=[1] * 4, num_attention_heads=[1] * 4,
        decoder_hidden_size=8, **CLASSES,
    )  # fmt: skip
    SegformerForSemanticSegmentation(config).save_pretrained(folder)
    SegformerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)


@pytest.mark.parametrize("build", [oneformer, maskformer, segformer])
def test_pre_05_any_semantic_model_of_transformers_names_pixels(tmp_path, build):
    torch.manual_seed(0)
    build(tmp_path)
    labeler = load_picture_labeler(str(tmp_path), device="cpu")
    ids = labeler.ids(IMAGE)
    assert labeler.names == SPOKEN
    assert ids.shape == (50, 70)
    assert ids.dtype == np.int64
    assert set(np.unique(ids)) <= {0, 1, 2, 3}
    assert np.array_equal(ids, labeler.ids(IMAGE))


def test_pre_05_names_lose_blanks_synonyms_and_data_set_endings():
    names = {
        2: "bed ",
        0: "wall-brick",
        1: "floor-other-merged",
        3: "door-stuff",
        4: "a; b",
        5: ",",
    }
    assert spoken_names(names) == ("wall-brick", "floor", "bed", "door", "a", ",")


def test_ops_03_a_folder_without_such_a_model_is_named(tmp_path):
    with pytest.raises(ModelLoadError, match="expected a folder or hub id of a model for semantic"):
        load_picture_labeler(str(tmp_path), device="cpu")


def test_a_labeler_that_answers_nan_is_reported(tmp_path):
    segformer(tmp_path)
    labeler = load_picture_labeler(str(tmp_path), device="cpu")
    assert isinstance(labeler, LogitsLabeler)
    with torch.no_grad():
        labeler._network.decode_head.classifier.bias.fill_(float("nan"))
    with pytest.raises(ModelOutputError, match="NaN"):
        labeler.ids(IMAGE)
