"""Networks as small as their authors' code lets them be, with seeded weights."""

import json
from pathlib import Path

import pytest
import torch
from transformers import (
    Sam2Config,
    Sam2HieraDetConfig,
    Sam2Model,
    Sam2VisionConfig,
    SamHQConfig,
    SamHQMaskDecoderConfig,
    SamHQModel,
    SamHQPromptEncoderConfig,
    SamHQVisionConfig,
)

from cloud.preannotation.sam.checkpoints import put_into
from cloud.preannotation.sam.hq import HqSam
from cloud.preannotation.sam.mobile import build_mobile_sam
from cloud.preannotation.sam.original_names import hq_weights, sam2_weights
from cloud.preannotation.sam.sam2 import Sam2
from cloud.preannotation.sam.segment_anything_model import SegmentAnythingModel
from tools.seeded_sams import seeded_weight

HERE = Path(__file__).parent


def recorded(name):
    """What the authors' code answered: names and shapes of weights, and some numbers."""
    return json.loads((HERE / f"{name}.json").read_text())


def seeded(name):
    """Seeded weights under the authors' names."""
    shapes = recorded(name)["weights"]
    return {key: torch.from_numpy(seeded_weight(key, tuple(shapes[key]))) for key in shapes}


def filled(network, weights):
    put_into(network, weights, path=Path("seeded"), expected="")
    return network.eval()


def mini_hq_config():
    """The sizes of `_mini_hq` in tools/sam_original_answers.py."""
    return SamHQConfig(
        vision_config=SamHQVisionConfig(
            hidden_size=32,
            output_channels=32,
            num_hidden_layers=4,
            num_attention_heads=2,
            image_size=128,
            window_size=3,
            global_attn_indexes=[1, 3],
            num_pos_feats=16,
        ),
        prompt_encoder_config=SamHQPromptEncoderConfig(hidden_size=32, image_size=128),
        mask_decoder_config=SamHQMaskDecoderConfig(
            hidden_size=32, mlp_dim=64, num_attention_heads=2, iou_head_hidden_dim=32, vit_dim=32
        ),
    )


def mini_sam2_vision():
    """The sizes of `mini` in tools/sam_original_answers.py."""
    return Sam2VisionConfig(
        backbone_config=Sam2HieraDetConfig(
            hidden_size=8,
            blocks_per_stage=[1, 1, 2, 1],
            embed_dim_per_stage=[8, 16, 32, 64],
            global_attention_blocks=[3],
        ),
        backbone_channel_list=[64, 32, 16, 8],
    )


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def mini_hq():
    network = filled(SamHQModel(mini_hq_config()), hq_weights(seeded("sam_hq_mini")))
    return HqSam(network, name="mini_hq", device="cpu")


@pytest.fixture(scope="session")
def mini_sam2():
    network = Sam2Model(Sam2Config(vision_config=mini_sam2_vision()))
    return Sam2(filled(network, sam2_weights(seeded("sam2_mini"))), name="mini2", device="cpu")


@pytest.fixture(scope="session")
def mobile_sam():
    sam = filled(build_mobile_sam(), seeded("mobile_sam_vit_t"))
    return SegmentAnythingModel(sam, name="mobile_sam", device="cpu")


@pytest.fixture(scope="session", params=["mini_hq", "mini_sam2"])
def sam(request):
    return request.getfixturevalue(request.param)
