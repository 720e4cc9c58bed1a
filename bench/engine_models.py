"""Random BLIP, CLIP and CLIPSeg of a few thousand weights, with tokenizers of a few words.

The architectures are the real ones of transformers, so that calls, crops, batches and texts go
their real ways; what they say means nothing. Weights are larger than usual, so that different
crops get different answers.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    BlipProcessor,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    CLIPSegConfig,
    CLIPSegForImageSegmentation,
    CLIPSegProcessor,
    CLIPTokenizer,
    ViTImageProcessor,
)

# The first five are BERT's own; among the rest are things and words between them.
_WORDS = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] a the man car tree dog house street sign bike red green old "
    "on in with riding parked and of next to sky bus woman pole wall road cat fence light"
)
BLIP_WORDS = tuple(_WORDS.split())
_BOS, _EOS = "<|startoftext|>", "<|endoftext|>"
_SPREAD = 0.5  # standard deviation of the weights


def save_tiny_models(folder: Path, *, seed: int = 0) -> tuple[Path, Path, Path]:
    """Folders with a captioner, a CLIP and a CLIPSeg, as `from_pretrained` takes them."""
    torch.manual_seed(seed)
    blip, clip, clipseg = folder / "blip", folder / "clip", folder / "clipseg"
    _save_blip(blip)
    tokenizer = tiny_clip_tokenizer()
    _save_clip(clip, tokenizer)
    _save_clipseg(clipseg, tokenizer)
    return blip, clip, clipseg


def _save_blip(folder: Path) -> None:
    words = {word: number for number, word in enumerate(BLIP_WORDS)}
    tokenizer = BertTokenizer(vocab=words)
    text = {
        "vocab_size": len(words), "hidden_size": 32, "encoder_hidden_size": 32,
        "intermediate_size": 37, "projection_dim": 16, "num_hidden_layers": 2,
        "num_attention_heads": 4, "max_position_embeddings": 64,
        "initializer_range": _SPREAD, "bos_token_id": words["[CLS]"],
        "eos_token_id": words["[SEP]"], "sep_token_id": words["[SEP]"],
        "pad_token_id": words["[PAD]"], "tie_word_embeddings": False,
    }  # fmt: skip
    vision = {
        "hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2,
        "num_attention_heads": 4, "image_size": 32, "patch_size": 8, "initializer_range": _SPREAD,
    }  # fmt: skip
    # With tied weights a random decoder says the same word again and again.
    config = BlipConfig(
        text_config=text, vision_config=vision, projection_dim=16, tie_word_embeddings=False
    )
    network = _spread(BlipForConditionalGeneration(config))
    network.save_pretrained(folder)
    size = {"height": 32, "width": 32}
    BlipProcessor(BlipImageProcessor(size=size), tokenizer).save_pretrained(folder)


def _save_clip(folder: Path, tokenizer: CLIPTokenizer) -> None:
    config = CLIPConfig(
        text_config=_text(tokenizer), vision_config=_vision(image_size=32), projection_dim=16
    )
    _spread(CLIPModel(config)).save_pretrained(folder)
    images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(images, tokenizer).save_pretrained(folder)


def _save_clipseg(folder: Path, tokenizer: CLIPTokenizer) -> None:
    # Patches of 64 pixels keep the fixed 512 x 512 of SSA's crops cheap.
    config = CLIPSegConfig(
        text_config=_text(tokenizer),
        vision_config=_vision(image_size=512, patch_size=64),
        projection_dim=16,
        reduce_dim=16,
        extract_layers=[0, 1, 2],
        decoder_num_attention_heads=2,
        decoder_intermediate_size=32,
    )
    _spread(CLIPSegForImageSegmentation(config)).save_pretrained(folder)
    images = ViTImageProcessor(size={"height": 352, "width": 352})
    CLIPSegProcessor(images, tokenizer).save_pretrained(folder)


def tiny_clip_tokenizer() -> CLIPTokenizer:
    """Every printable sign is a token of its own."""
    letters = [chr(code) for code in range(33, 127)]
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), _BOS, _EOS]
    return CLIPTokenizer(
        vocab={piece: number for number, piece in enumerate(pieces)},
        merges=[],
        model_max_length=160,
    )


def _text(tokenizer: CLIPTokenizer) -> dict[str, object]:
    return {
        "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 37,
        "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 160,
        "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip


def _vision(*, image_size: int, patch_size: int = 8) -> dict[str, object]:
    return {
        "hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 3,
        "num_attention_heads": 4, "image_size": image_size, "patch_size": patch_size,
    }  # fmt: skip


def _spread(network: Any) -> Any:
    """Weights drawn so far apart that crops and words differ visibly in what comes out."""
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.dim() > 1:
                weight.normal_(0.0, _SPREAD / max(1.0, weight[0].numel() ** 0.5) * 4)
            elif name.endswith("bias"):
                weight.normal_(0.0, 0.1)
    return network.eval()
