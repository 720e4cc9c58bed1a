"""Any checkpoint of transformers drafts: per pixel or by queries, from a folder, without a network.

The checkpoints are real ones in miniature: every family's own classes, with random weights.
"""

import json
import socket
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import (
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    Mask2FormerImageProcessor,
    MaskFormerConfig,
    MaskFormerForInstanceSegmentation,
    MaskFormerImageProcessor,
    MaskFormerSwinConfig,
    OneFormerConfig,
    OneFormerForUniversalSegmentation,
    OneFormerImageProcessor,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SegformerImageProcessor,
    SegformerModel,
    SwinConfig,
    UperNetConfig,
    UperNetForSemanticSegmentation,
)

from cloud.preannotation.semantic.transformers_labeler import TransformersLabeler
from cloud.preannotation.semantic_labels import class_ids_of, labeler_from
from lifelong.errors import LabelMapError, ModelLoadError
from lifelong.sections.drafting import SemanticSection
from tests.builders import SMALL_MAP, an_image

NAMES = ("road", "car", "person")
SIZE = {"height": 64, "width": 96}


def classes(names=NAMES):
    return {
        "id2label": dict(enumerate(names)),
        "label2id": {name: number for number, name in enumerate(names)},
    }


def lively(network, *, seed=0, gain=1.0):
    """Random weights with which several classes win somewhere."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim > 1:
                weight.copy_(torch.randn_like(weight) * gain / weight[0].numel() ** 0.5)
    return network


def small_segformer(names):
    return SegformerConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 8, 8],
        num_attention_heads=[1, 1, 1, 1],
        decoder_hidden_size=8,
        **classes(names),
    )


def segformer_folder(folder, names=NAMES):
    """A checkpoint folder as `save_pretrained` writes it, with random weights."""
    lively(SegformerForSemanticSegmentation(small_segformer(names))).save_pretrained(folder)
    SegformerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return str(folder)


def small_swin(config=SwinConfig):
    return config(
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 1, 1],
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )


def upernet_folder(folder):
    config = UperNetConfig(
        backbone_config=small_swin(),
        hidden_size=8,
        use_auxiliary_head=False,
        pool_scales=[1, 2],
        **classes(),
    )
    lively(UperNetForSemanticSegmentation(config), seed=2, gain=2.0).save_pretrained(folder)
    SegformerImageProcessor(size=SIZE).save_pretrained(folder)


def maskformer_folder(folder):
    config = MaskFormerConfig(
        backbone_config=small_swin(MaskFormerSwinConfig),
        fpn_feature_size=32,
        mask_feature_size=32,
        decoder_config={
            "model_type": "detr",
            "d_model": 32,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 16,
            "decoder_ffn_dim": 16,
            "num_queries": 6,
        },
        **classes(),
    )
    lively(MaskFormerForInstanceSegmentation(config), gain=2.0).save_pretrained(folder)
    MaskFormerImageProcessor(size=SIZE, ignore_index=255).save_pretrained(folder)


SMALL_DECODER = {
    "num_queries": 6,
    "hidden_dim": 32,
    "encoder_feedforward_dim": 16,
    "dim_feedforward": 16,
    "num_attention_heads": 2,
    "decoder_layers": 2,
    "encoder_layers": 1,
}


def mask2former_folder(folder):
    config = Mask2FormerConfig(
        backbone_config=small_swin(),
        feature_size=32,
        mask_feature_size=32,
        **SMALL_DECODER,
        **classes(),
    )
    lively(Mask2FormerForUniversalSegmentation(config), seed=1, gain=2.0).save_pretrained(folder)
    Mask2FormerImageProcessor(size=SIZE, ignore_index=255).save_pretrained(folder)


def oneformer_folder(folder):
    folder.mkdir(parents=True)
    config = OneFormerConfig(
        backbone_config=small_swin(),
        conv_dim=32,
        mask_dim=32,
        query_dec_layers=1,
        text_encoder_width=32,
        text_encoder_vocab_size=64,
        text_encoder_n_ctx=4,
        is_training=False,
        **SMALL_DECODER,
        **classes(),
    )
    lively(OneFormerForUniversalSegmentation(config)).save_pretrained(folder)
    listed = {str(i): {"isthing": 0, "name": name} for i, name in enumerate(NAMES)}
    (folder / "classes.json").write_text(json.dumps(listed))
    OneFormerImageProcessor(
        size=SIZE, repo_path=str(folder), class_info_file="classes.json", num_text=2, num_labels=3
    ).save_pretrained(folder)
    processor = json.loads((folder / "preprocessor_config.json").read_text())
    processor["repo_path"] = "shi-labs/oneformer_demo"  # as the published ones say
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    letters = sorted(set("thetaskissemantic"))
    words = [*letters, *(f"{letter}</w>" for letter in letters)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77}
    settings |= {"pad_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


FAMILIES = {
    "segformer": segformer_folder,
    "upernet": upernet_folder,
    "maskformer": maskformer_folder,
    "mask2former": mask2former_folder,
    "oneformer": oneformer_folder,
}


@pytest.fixture
def _no_network(monkeypatch):
    """Whoever asks for another machine than this one fails the test."""

    def refuse(*arguments, **keywords):
        raise AssertionError(f"asked the network: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.usefixtures("_no_network")
def test_pre_08_k8s_08_every_family_labels_as_its_library_does_and_asks_no_network(
    family, tmp_path, monkeypatch
):
    """PRE-08, K8S-08: the same class at every pixel as `post_process_semantic_segmentation`, from
    the folder that `cornerloop models pull` leaves, found by its hub id."""
    FAMILIES[family](tmp_path / "org" / family)
    image = an_image(3)
    section = SemanticSection(type="transformers", model=f"org/{family}")

    labeler = labeler_from(section, SMALL_MAP, device="cpu", weights_path=tmp_path)
    scores = labeler.label(image)

    assert labeler.name == family
    assert scores.dtype == np.float32
    assert scores.shape == (3, *image.shape[:2])
    assert scores.min() >= 0
    assert scores.sum(axis=0) == pytest.approx(1.0, abs=1e-5)
    with torch.no_grad():
        answer = labeler._network(**labeler._inputs(image))
    theirs = labeler._processor.post_process_semantic_segmentation(
        answer, target_sizes=[image.shape[:2]]
    )[0].numpy()
    assert len(np.unique(theirs)) > 1
    assert (class_ids_of(scores) == theirs).mean() == 1.0


def test_ssas_way_to_enlarge_logits_is_a_switch(tmp_path):
    """SSA enlarges SegFormer's logits with align_corners=True; transformers with False."""
    folder = segformer_folder(tmp_path / "b5")
    image = an_image(5, height=70, width=90)
    ours = TransformersLabeler(folder, SMALL_MAP, device="cpu")
    ssas = TransformersLabeler(folder, SMALL_MAP, device="cpu", align_corners=True)
    with torch.no_grad():
        logits = ours._network(**ours._inputs(image)).logits

    maps = {}
    for align, labeler in ((False, ours), (True, ssas)):
        full = F.interpolate(logits, (70, 90), mode="bilinear", align_corners=align)
        maps[align] = class_ids_of(labeler.label(image))
        assert np.array_equal(maps[align], full[0].argmax(dim=0).numpy())
    assert (maps[True] != maps[False]).any()


def test_a_folder_is_put_in_the_label_maps_order(tmp_path):
    theirs = TransformersLabeler(
        segformer_folder(tmp_path / "theirs", ["person", "Road", "car"]), SMALL_MAP, device="cpu"
    ).label(an_image(3))
    plain = TransformersLabeler(segformer_folder(tmp_path / "same"), SMALL_MAP, device="cpu").label(
        an_image(3)
    )

    # The same weights under other names: their class 0 is our person, and so on.
    assert np.allclose(theirs[[2, 0, 1]], plain, atol=1e-6)


def test_a_model_with_some_foreign_classes_drafts_what_it_knows(tmp_path, caplog):
    folder = segformer_folder(tmp_path / "ade", ["road", "zebra", "person"])

    scores = TransformersLabeler(folder, SMALL_MAP, device="cpu").label(an_image(3))

    assert scores[1].max() == 0
    assert scores.sum(axis=0).min() < 0.9
    assert sum("zebra" in message for message in caplog.messages) == 1
    with pytest.raises(LabelMapError, match="zebra"):
        TransformersLabeler(segformer_folder(tmp_path / "zoo", ["zebra"] * 2), SMALL_MAP)


def test_bfloat16_is_close_and_answers_in_float32(tmp_path):
    folder = segformer_folder(tmp_path / "b5")
    full = TransformersLabeler(folder, SMALL_MAP, device="cpu").label(an_image(3))

    half = TransformersLabeler(folder, SMALL_MAP, device="cpu", precision="bfloat16")

    scores = half.label(an_image(3))
    assert scores.dtype == np.float32
    assert np.abs(scores - full).max() < 0.1
    assert not np.array_equal(scores, full)


def test_weights_stored_in_half_precision_are_run_in_float32(tmp_path):
    lively(SegformerForSemanticSegmentation(small_segformer(NAMES))).half().save_pretrained(
        tmp_path / "half"
    )
    SegformerImageProcessor(size=SIZE).save_pretrained(tmp_path / "half")

    labeler = TransformersLabeler(str(tmp_path / "half"), SMALL_MAP, device="cpu")

    assert labeler.label(an_image(3)).sum(axis=0) == pytest.approx(1.0, abs=1e-5)


def test_what_is_no_checkpoint_folder_is_refused_with_its_name(tmp_path):
    (tmp_path / "config.json").write_text("{}")

    with pytest.raises(ModelLoadError, match=tmp_path.name):
        TransformersLabeler(str(tmp_path), SMALL_MAP)


def test_a_backbone_without_its_head_is_refused(tmp_path):
    """transformers would fill the head with random numbers, and say so in a warning only."""
    SegformerModel(small_segformer(NAMES)).save_pretrained(tmp_path)
    SegformerImageProcessor(size=SIZE).save_pretrained(tmp_path)

    with pytest.raises(ModelLoadError, match="lacks weights: decode_head"):
        TransformersLabeler(str(tmp_path), SMALL_MAP)


@pytest.mark.usefixtures("_no_network")
def test_ops_03_a_hub_id_that_cannot_be_had_names_the_command_that_brings_it(tmp_path, monkeypatch):
    """OPS-03, K8S-08: air-gapped, nothing pulled."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    section = SemanticSection(type="transformers", model="org/absent")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the hub's own, about the setting
        with pytest.raises(ModelLoadError, match="cornerloop models pull"):
            labeler_from(section, SMALL_MAP, weights_path=tmp_path)
