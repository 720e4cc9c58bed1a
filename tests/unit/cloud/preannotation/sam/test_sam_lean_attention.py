"""Heads that take turns give the numbers of heads that work at once."""

import pytest
import torch
from segment_anything.modeling.image_encoder import Attention, ImageEncoderViT

from cloud.preannotation.sam import lean_attention
from cloud.preannotation.sam.lean_attention import LeanAttention, make_lean
from cloud.preannotation.sam.tiny import TinyImageEncoder


def small_encoder():
    torch.manual_seed(0)
    encoder = ImageEncoderViT(
        img_size=128, embed_dim=48, depth=4, num_heads=6, use_rel_pos=True, window_size=3,
        global_attn_indexes=(1, 3), out_chans=16,
    ).eval()  # fmt: skip
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return encoder


@pytest.mark.parametrize("heads_at_once", [1, 2, 4, 6, 100])
@torch.no_grad()
def test_pre_09_an_encoder_with_fewer_heads_at_once_answers_the_same(monkeypatch, heads_at_once):
    """PRE-09: bit for bit, whatever number of heads has its turn."""
    monkeypatch.setattr(lean_attention, "_TABLE_BYTES", heads_at_once * 64 * 64 * 4)
    encoder, pictures = small_encoder(), torch.randn(2, 3, 128, 128)
    expected = encoder(pictures)

    make_lean(encoder)

    assert torch.equal(expected, encoder(pictures))


@torch.no_grad()
def test_int_08_in_half_precision_one_product_says_what_added_tables_say(monkeypatch):
    """As near to float32 as segment-anything's own blocks are in bfloat16, or nearer."""
    monkeypatch.setattr(lean_attention, "_TABLE_BYTES", 2 * 64 * 64 * 2)
    encoder, pictures = small_encoder(), torch.randn(2, 3, 128, 128)
    exact = encoder(pictures)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        theirs = encoder(pictures).float()
    make_lean(encoder)
    asked = []
    whole = LeanAttention._mixed_by_one_product

    def noted(self, q, k, v, size):
        asked.append(size)
        return whole(self, q, k, v, size)

    monkeypatch.setattr(LeanAttention, "_mixed_by_one_product", noted)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = encoder(pictures).float()

    assert set(asked) == {(3, 3), (8, 8)}  # of windows, and of the whole picture
    assert (ours - exact).norm() < 1.1 * (theirs - exact).norm()
    assert (ours - exact).norm() < 0.05 * exact.norm()


def test_blocks_are_changed_only_once():
    encoder = small_encoder()

    make_lean(encoder)
    make_lean(encoder)

    assert all(type(block.attn) is LeanAttention for block in encoder.blocks)
    assert all(isinstance(block.attn.whole, Attention) for block in encoder.blocks)


def test_encoders_of_other_kinds_stay_as_they_are():
    encoder = TinyImageEncoder()
    before = list(encoder.state_dict())

    make_lean(encoder)

    assert list(encoder.state_dict()) == before
