"""The SAM we ship: segment-anything's own prompt encoder and mask decoder behind a convolutional
image encoder small enough for a CPU; `weights/tiny_sam.md` says how it was trained and how well."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import Tensor, nn

from cloud.weights.sam_names import TINY_SAM_WEIGHTS
from lifelong.errors import ModelLoadError

IMAGE_PX = 256
STRIDE_PX = 16
EMBEDDING = 160


class TinyImageEncoder(nn.Module):
    """(B, 3, 256, 256) normalised RGB to (B, 160, 16, 16) embeddings.

    Two extra input channels carry the coordinates: without them the embeddings of two distant
    parts of one road have no reason to differ from those of two cars of one colour.
    """

    img_size = IMAGE_PX  # segment-anything's Sam and SamPredictor read this name

    def __init__(self) -> None:
        super().__init__()
        self.stem = _down(5, 32)
        self.at_4 = nn.Sequential(_down(32, 64), _Residual(64))
        self.at_8 = nn.Sequential(_down(64, 96), _Residual(96), _Residual(96))
        self.at_16 = nn.Sequential(_down(96, 160), _Residual(160), _Residual(160))
        self.at_32 = nn.Sequential(_down(160, 224), _Residual(224), _Residual(224))
        self.wide = nn.Conv2d(224, EMBEDDING, 1)
        self.fine = nn.Conv2d(160, EMBEDDING, 1)
        # Four sub-pixels of stride 8 each: detail for masks that come out at stride 4.
        self.detail = nn.Conv2d(96, EMBEDDING, 2, stride=2)
        self.mix = nn.Sequential(_Residual(EMBEDDING), _Residual(EMBEDDING))
        self.out = nn.Conv2d(EMBEDDING, EMBEDDING, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings at stride 16."""
        height, width = images.shape[-2:]
        rows = torch.linspace(-1.0, 1.0, height, device=images.device, dtype=images.dtype)
        columns = torch.linspace(-1.0, 1.0, width, device=images.device, dtype=images.dtype)
        place = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
        x = torch.cat([images, place.expand(images.shape[0], -1, -1, -1)], dim=1)
        at_8 = self.at_8(self.at_4(self.stem(x)))
        at_16 = self.at_16(at_8)
        wide = nn.functional.interpolate(self.wide(self.at_32(at_16)), scale_factor=2.0)
        embedded: Tensor = self.out(self.mix(self.fine(at_16) + self.detail(at_8) + wide))
        return embedded


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(x + self.body(x))


def _down(before: int, after: int) -> nn.Sequential:
    """Half the size, more channels."""
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )


def build_tiny_sam() -> Sam:
    """The architecture with fresh weights, in evaluation mode."""
    side = IMAGE_PX // STRIDE_PX
    sam = Sam(
        image_encoder=TinyImageEncoder(),
        prompt_encoder=PromptEncoder(
            embed_dim=EMBEDDING,
            image_embedding_size=(side, side),
            input_image_size=(IMAGE_PX, IMAGE_PX),
            mask_in_chans=16,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(
                depth=2, embedding_dim=EMBEDDING, mlp_dim=512, num_heads=8
            ),
            transformer_dim=EMBEDDING,
            iou_head_depth=3,
            iou_head_hidden_dim=160,
        ),
    )
    return sam.eval()


def load_tiny_sam(weights: Path = TINY_SAM_WEIGHTS) -> Sam:
    """The shipped model, or another one trained the same way.

    Raises:
        ModelLoadError: no such file, a truncated one, or weights of another architecture.
    """
    if not weights.is_file():
        raise ModelLoadError(f"{weights}: no such file; expected the weights of the tiny SAM")
    try:
        state = {name: value.float() for name, value in load_file(weights).items()}
    except (SafetensorError, OSError) as error:
        raise ModelLoadError(
            f"{weights}: not a readable safetensors file ({error}); fetch it again"
        ) from error
    sam = build_tiny_sam()
    try:
        sam.load_state_dict(state)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise ModelLoadError(
            f"{weights}: not the tiny SAM of this version ({first}); expected the weights "
            "that tools/train_tiny_models.py --which sam writes"
        ) from error
    return sam
