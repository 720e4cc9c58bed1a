"""MobileSAM: SAM's prompt encoder and mask decoder behind TinyViT (Zhang et al. 2023)."""

from pathlib import Path

from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

from cloud.preannotation.sam.checkpoints import Kind, put_into, read_weights, require_kind
from cloud.preannotation.sam.original import PIXEL_MEAN, PIXEL_STD
from cloud.preannotation.sam.tiny_vit import TinyVit, TinyVitShape

_EXPECTED = "expected MobileSAM's checkpoint (mobile_sam.pt, 39 MB)"
_STRIDE_PX = 16


def build_mobile_sam() -> Sam:
    """The architecture with fresh weights, in evaluation mode."""
    shape = TinyVitShape()
    side = shape.image_px // _STRIDE_PX
    sam = Sam(
        image_encoder=TinyVit(shape),
        prompt_encoder=PromptEncoder(
            embed_dim=shape.embedding,
            image_embedding_size=(side, side),
            input_image_size=(shape.image_px, shape.image_px),
            mask_in_chans=16,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(
                depth=2, embedding_dim=shape.embedding, mlp_dim=2048, num_heads=8
            ),
            transformer_dim=shape.embedding,
            iou_head_depth=3,
            iou_head_hidden_dim=256,
        ),
        pixel_mean=list(PIXEL_MEAN),
        pixel_std=list(PIXEL_STD),
    )
    return sam.eval()


def load_mobile_sam(checkpoint: Path) -> Sam:
    """MobileSAM in evaluation mode, on the CPU.

    Raises:
        ModelLoadError: no such file, a truncated one, or one of another model.
    """
    weights = read_weights(checkpoint, _EXPECTED)
    kind = Kind(type="mobile_sam", model="")
    require_kind(weights, kind, path=checkpoint, expected=_EXPECTED)
    sam = build_mobile_sam()
    put_into(sam, weights, path=checkpoint, expected=_EXPECTED)
    return sam
