"""Attention of segment-anything's image encoder, some heads at a time.

A block that attends over the whole picture holds a table of 4,096 x 4,096 numbers for each head,
in several copies: gigabytes, and more than everything else that automatic masks need. Heads know
nothing of each other, so they can take turns; every number stays as it is.

In half precision no number stays as it is anyway, so there the table is made by one product: what
a query adds for each row and column of keys is appended to the query, and a key says by ones and
zeros where it lies. Adding tables of that size took two fifths of the encoder's time.
"""

import torch
from segment_anything.modeling.image_encoder import (
    Attention,
    ImageEncoderViT,
    add_decomposed_rel_pos,
    get_rel_pos,
)
from torch import Tensor, nn

_TABLE_BYTES = 128 * 2**20  # of one copy of the table, for the heads that have their turn


class LeanAttention(nn.Module):
    """The weights of an `Attention`, its numbers, and a share of its memory."""

    def __init__(self, whole: Attention) -> None:
        super().__init__()
        self.whole = whole

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) tokens to (B, H, W, C)."""
        batch, height, width, _ = x.shape
        whole, count = self.whole, height * width
        heads = batch * whole.num_heads
        qkv = whole.qkv(x).reshape(batch, count, 3, whole.num_heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.reshape(3, heads, count, -1).unbind(0)
        at_once = max(1, _TABLE_BYTES // (count * count * x.element_size()))
        mixed = torch.cat(
            [
                self._mixed(q[some], k[some], v[some], (height, width))
                for first in range(0, heads, at_once)
                for some in [slice(first, first + at_once)]
            ]
        )
        placed = mixed.view(batch, whole.num_heads, height, width, -1).permute(0, 2, 3, 1, 4)
        projected: Tensor = whole.proj(placed.reshape(batch, height, width, -1))
        return projected

    def _mixed(self, q: Tensor, k: Tensor, v: Tensor, size: tuple[int, int]) -> Tensor:
        if q.dtype != torch.float32 and self.whole.use_rel_pos:
            return self._mixed_by_one_product(q, k, v, size)
        table = (q * self.whole.scale) @ k.transpose(-2, -1)
        if self.whole.use_rel_pos:
            table = add_decomposed_rel_pos(
                table, q, self.whole.rel_pos_h, self.whole.rel_pos_w, size, size
            )
        weighed: Tensor = table.softmax(dim=-1) @ v
        return weighed

    def _mixed_by_one_product(
        self, q: Tensor, k: Tensor, v: Tensor, size: tuple[int, int]
    ) -> Tensor:
        """Heads of half precision; the softmax counts in float32 inside."""
        height, width = size
        placed = q.reshape(len(q), height, width, -1)
        by_row = get_rel_pos(height, height, self.whole.rel_pos_h).to(q.dtype)
        by_column = get_rel_pos(width, width, self.whole.rel_pos_w).to(q.dtype)
        with torch.autocast(q.device.type, enabled=False):
            for_rows = torch.einsum("bhwc,hkc->bhwk", placed, by_row).reshape(len(q), -1, height)
            for_columns = torch.einsum("bhwc,wkc->bhwk", placed, by_column)
            queries = torch.cat(
                [q * self.whole.scale, for_rows, for_columns.reshape(len(q), -1, width)], dim=-1
            )
            rows = torch.eye(height, dtype=q.dtype, device=q.device).repeat_interleave(width, dim=0)
            columns = torch.eye(width, dtype=q.dtype, device=q.device).repeat(height, 1)
            where = torch.cat([rows, columns], dim=-1).expand(len(k), -1, -1)
            table = queries @ torch.cat([k, where], dim=-1).transpose(-2, -1)
            weighed: Tensor = table.softmax(dim=-1) @ v
        return weighed


def make_lean(encoder: nn.Module) -> None:
    """Let the blocks of a ViT take their heads in turns; other encoders stay as they are.

    Blocks that look at windows need no turns, but they add tables, too.
    """
    if not isinstance(encoder, ImageEncoderViT):
        return
    for block in encoder.blocks:
        if isinstance(block.attn, Attention):
            block.attn = LeanAttention(block.attn)
