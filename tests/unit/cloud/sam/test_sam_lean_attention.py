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


def test_only_blocks_that_see_the_whole_picture_are_changed_and_only_once():
    encoder = small_encoder()

    make_lean(encoder)
    make_lean(encoder)

    kinds = [type(block.attn) for block in encoder.blocks]
    assert kinds == [Attention, LeanAttention, Attention, LeanAttention]
    assert isinstance(encoder.blocks[1].attn.whole, Attention)


def test_encoders_of_other_kinds_stay_as_they_are():
    encoder = TinyImageEncoder()
    before = list(encoder.state_dict())

    make_lean(encoder)

    assert list(encoder.state_dict()) == before
