"""Folders and files of weights as people have them, in miniature and random, for whole programs.

`bench.engine_models` makes the captioner, CLIP and CLIPSeg; here are the others that a
configuration of drafts may name. What they answer means nothing, how they are called is real.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper
from transformers import (
    BertTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessor,
    Owlv2Processor,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SegformerImageProcessor,
    SwinConfig,
)

from bench.engine_models import BLIP_WORDS, tiny_clip_tokenizer
from cloud.preannotation.naming.english import PREPOSITIONS
from cloud.preannotation.sam.mobile import build_mobile_sam

# Names as the 150 of ADE20K are written; a rug and a kitchen island mean no class of Cityscapes.
ADE_NAMES = (
    "building, edifice",
    "sky",
    "road, route",
    "car, auto, automobile, machine, motorcar",
    "rug, carpet, carpeting",
    "kitchen island",
)


def save_wordless_captioner(blip: Path, folder: Path) -> Path:
    """A captioner of `bench.engine_models` whose words are no things: "under of the through"."""
    shutil.copytree(blip, folder)
    path = folder / "tokenizer.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    words = iter(sorted(word for word in PREPOSITIONS if word.isalpha()))
    vocabulary = told["model"]["vocab"].items()
    told["model"]["vocab"] = {w if w.startswith("[") else next(words): n for w, n in vocabulary}
    path.write_text(json.dumps(told), encoding="utf-8")
    return folder


def save_segformer(folder: Path, names: Sequence[str] = ADE_NAMES, *, seed: int = 0) -> Path:
    """A SegFormer with which several of its classes win somewhere."""
    torch.manual_seed(seed)
    config = SegformerConfig(
        depths=[1] * 4, hidden_sizes=[8] * 4, num_attention_heads=[1] * 4, decoder_hidden_size=8,
        id2label=dict(enumerate(names)), label2id={name: n for n, name in enumerate(names)},
    )  # fmt: skip
    network = SegformerForSemanticSegmentation(config)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim > 1:
                weight.copy_(torch.randn_like(weight) * 2 / weight[0].numel() ** 0.5)
    network.save_pretrained(folder)
    SegformerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def save_grounding_dino(folder: Path) -> Path:
    """A Grounding DINO of 20 boxes that knows a few words."""
    torch.manual_seed(0)
    words = [*BLIP_WORDS, ".", "traffic"]
    text = {
        "model_type": "bert", "vocab_size": len(words), "hidden_size": 32, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": 37, "max_position_embeddings": 64,
    }  # fmt: skip
    backbone = SwinConfig(
        image_size=64, embed_dim=16, depths=[1] * 4, num_heads=[1] * 4, window_size=4,
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = GroundingDinoConfig(
        backbone_config=backbone, text_config=text, d_model=32, num_queries=20, encoder_layers=1,
        decoder_layers=2, encoder_ffn_dim=32, decoder_ffn_dim=32, encoder_attention_heads=2,
        decoder_attention_heads=2, max_text_len=32,
    )  # fmt: skip
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    tokenizer = BertTokenizer(vocab={word: number for number, word in enumerate(words)})
    images = GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    GroundingDinoProcessor(images, tokenizer).save_pretrained(folder)
    return folder


def save_owlv2(folder: Path) -> Path:
    """An OWLv2 of 16 boxes whose tokens are letters."""
    torch.manual_seed(0)
    tokenizer = tiny_clip_tokenizer()
    text = {
        "vocab_size": len(tokenizer), "hidden_size": 16, "intermediate_size": 37,
        "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 16,
        "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip
    vision = {
        "hidden_size": 16, "intermediate_size": 37, "num_hidden_layers": 1,
        "num_attention_heads": 2, "image_size": 64, "patch_size": 16,
    }  # fmt: skip
    config = Owlv2Config(text_config=text, vision_config=vision, projection_dim=16)
    Owlv2ForObjectDetection(config).save_pretrained(folder)
    images = Owlv2ImageProcessor(size={"height": 64, "width": 64})
    Owlv2Processor(images, tokenizer).save_pretrained(folder)
    return folder


def save_mobile_sam(path: Path) -> Path:
    """MobileSAM in its real size with random weights, as its authors' file names them."""
    torch.manual_seed(0)
    torch.save(build_mobile_sam().state_dict(), path)
    return path


def save_onnx(path: Path, names: Sequence[str] = ("road, route", "car", "rug")) -> Path:
    """A graph whose three scores are the picture's three colours, with its description."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["image"], ["logits"])],
        "colours",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, "h", "w"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3, "h", "w"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    says = {"names": list(names), "mean": [0, 0, 0], "std": [1, 1, 1]}
    path.with_suffix(".json").write_text(json.dumps(says))
    return path
