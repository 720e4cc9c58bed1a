"""SAMs small enough to be exported in a test, and the shipped one exported once a process."""

import atexit
import shutil
import tempfile
from functools import cache, partial
from pathlib import Path

import torch
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from torch import nn

from cloud.preannotation.sam.onnx_export import Source, export_sam, exportable
from cloud.preannotation.sam.tiny_vit import TinyVit, TinyVitShape
from tools.seeded_sams import seeded_weight

STRIDE_PX = 16
WIDTH = 32  # of embeddings


def silent(words: str) -> None:
    """Progress that nobody reads."""


@cache
def exported_tiny() -> Path:
    """The shipped tiny SAM as ONNX; to be read, not changed."""
    folder = _folder()
    export_sam(*exportable("tiny_sam"), folder, tell=silent)
    return folder


@cache
def exported_small_vit() -> Path:
    """`small_vit_sam` as ONNX; to be read, not changed."""
    folder = _folder()
    export_sam(small_vit_sam(), source(), folder, tell=silent)
    return folder


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="cornerloop-exported-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def source(name: str = "small_sam") -> Source:
    return Source(name=name, exported_from="seeded weights", weights_sha256="0" * 64)


def small_vit_sam(side: int = 128) -> Sam:
    """A ViT with one block that looks at padded windows and one that sees the whole picture."""
    encoder = ImageEncoderViT(
        img_size=side, patch_size=STRIDE_PX, embed_dim=48, depth=2, num_heads=2, mlp_ratio=2.0,
        out_chans=WIDTH, norm_layer=partial(nn.LayerNorm, eps=1e-6), use_rel_pos=True,
        window_size=3, global_attn_indexes=(1,),
    )  # fmt: skip
    return _around(encoder, side)


def small_mobile_sam(side: int = 256) -> Sam:
    """MobileSAM's kinds of layers, fewer of them."""
    shape = TinyVitShape(
        image_px=side, widths=(16, 32, 32, 64), depths=(1, 1, 2, 1), heads=(1, 2, 2, 4), classes=1,
        embedding=WIDTH,
    )  # fmt: skip
    return _around(TinyVit(shape), side)


def _around(encoder: nn.Module, side: int) -> Sam:
    grid = side // STRIDE_PX
    sam = Sam(
        image_encoder=encoder,
        prompt_encoder=PromptEncoder(
            embed_dim=WIDTH, image_embedding_size=(grid, grid), input_image_size=(side, side),
            mask_in_chans=8,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=2, embedding_dim=WIDTH, mlp_dim=64, num_heads=2),
            transformer_dim=WIDTH,
            iou_head_depth=2,
            iou_head_hidden_dim=32,
        ),
    )  # fmt: skip
    weights = {
        name: torch.from_numpy(seeded_weight(name, tuple(value.shape))).to(value.dtype)
        for name, value in sam.state_dict().items()
    }
    sam.load_state_dict(weights)
    return sam.eval()
