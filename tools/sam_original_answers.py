"""What the authors' own code of a SAM answers, with seeded weights; run in a process of its own.

Their packages are called as ours need them to be (`segment_anything`), so the two cannot live in
one process. Nothing of theirs is contained here: PATH is a checkout of their repository.
"""

import importlib
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from tools.seeded_sams import Case, cases, picture, seeded_weight

PACKAGES = {
    "sam": "segment_anything",
    "sam_hq": "segment_anything",
    "mobile_sam": "mobile_sam",
    "sam2": "sam2",
}
_SAM2_CONFIGS = {"tiny": "t", "small": "s", "base_plus": "b+", "large": "l"}
# `mini`: as small as the authors' code lets it be, for tests.
_SAM2_MINI = (
    "++model.image_encoder.trunk.embed_dim=8",
    "++model.image_encoder.trunk.stages=[1,1,2,1]",
    "++model.image_encoder.trunk.global_att_blocks=[3]",
    "++model.image_encoder.neck.backbone_channel_list=[64,32,16,8]",
)


def main(
    repo: Annotated[Path, typer.Option(help="Checkout of the authors' repository.")],
    which: Annotated[str, typer.Option(help="sam, sam_hq, mobile_sam or sam2.")],
    model: Annotated[str, typer.Option(help="vit_b …, vit_t, tiny …, or mini.")],
    out: Annotated[Path, typer.Option(help="Folder for answers.npz and weights.pth.")],
) -> None:
    """Write the answers to every case of tools/seeded_sams.py, and the weights behind them."""
    torch.set_num_threads(1)
    sys.path.insert(0, str(repo))
    with torch.no_grad():
        sam, answers = _sam2(model) if which == "sam2" else _first_generation(which, model)
    arrays: Any = {name: value.numpy() for name, value in answers.items()}
    np.savez(out / "answers.npz", **arrays)
    weights = sam.state_dict()
    torch.save({"model": weights} if which == "sam2" else weights, out / "weights.pth")


def _first_generation(which: str, model: str) -> tuple[Any, dict[str, torch.Tensor]]:
    package: Any = importlib.import_module(PACKAGES[which])
    build = partial(_mini_hq, package) if model == "mini" else package.sam_model_registry[model]
    sam = _seeded(build())
    predictor = package.SamPredictor(sam)
    predictor.set_image(picture())
    scale, size = predictor.transform, predictor.original_size
    answers = {"image_embedding": predictor.get_image_embedding()}
    for name, case in cases(sam.image_encoder.img_size // 4).items():
        points, labels, boxes, masks = _tensors(case)
        logits, quality, low_res = predictor.predict_torch(
            None if points is None else scale.apply_coords_torch(points, size),
            labels,
            None if boxes is None else scale.apply_boxes_torch(boxes, size),
            masks,
            case.several,
            return_logits=True,
        )
        answers |= _named(name, quality=quality, low_res=low_res, logits=logits)
    return sam, answers


def _sam2(model: str) -> tuple[Any, dict[str, torch.Tensor]]:
    build: Any = importlib.import_module("sam2.build_sam")
    predictors: Any = importlib.import_module("sam2.sam2_image_predictor")
    sam = build.build_sam2(
        f"configs/sam2.1/sam2.1_hiera_{_SAM2_CONFIGS.get(model, 't')}.yaml",
        device="cpu",
        hydra_overrides_extra=list(_SAM2_MINI) if model == "mini" else [],
    )
    predictor = predictors.SAM2ImagePredictor(_seeded(sam))
    predictor.set_image(picture())
    answers = {"image_embedding": predictor.get_image_embedding()}
    for name, case in cases().items():
        points, labels, boxes, masks = _tensors(case)
        masks, points, labels, boxes = predictor._prep_prompts(points, labels, boxes, masks, True)
        logits, quality, low_res = predictor._predict(
            points, labels, boxes, masks, case.several, return_logits=True
        )
        answers |= _named(name, quality=quality, low_res=low_res, logits=logits)
    return sam, answers


def _mini_hq(package: Any) -> Any:
    """HQ-SAM of the authors' parts, as small as `mini_hq_config` of the tests."""
    parts: Any = importlib.import_module("segment_anything.modeling")
    return parts.Sam(
        image_encoder=parts.ImageEncoderViT(
            depth=4, embed_dim=32, img_size=128, mlp_ratio=4, num_heads=2, patch_size=16,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6), qkv_bias=True, use_rel_pos=True,
            global_attn_indexes=[1, 3], window_size=3, out_chans=32,
        ),
        prompt_encoder=parts.PromptEncoder(
            embed_dim=32, image_embedding_size=(8, 8), input_image_size=(128, 128),
            mask_in_chans=16,
        ),
        mask_decoder=parts.MaskDecoderHQ(
            num_multimask_outputs=3,
            transformer=parts.TwoWayTransformer(depth=2, embedding_dim=32, mlp_dim=64, num_heads=2),
            transformer_dim=32, iou_head_depth=3, iou_head_hidden_dim=32, vit_dim=32,
        ),
    )  # fmt: skip


def _seeded(network: Any) -> Any:
    state = {
        name: torch.from_numpy(seeded_weight(name, tuple(value.shape)))
        for name, value in network.state_dict().items()
    }
    network.load_state_dict(state, strict=True)
    return network.eval()


def _tensors(case: Case) -> list[torch.Tensor | None]:
    parts = (case.points, case.labels, case.boxes, case.masks)
    return [None if part is None else torch.from_numpy(part) for part in parts]


def _named(case: str, **answers: torch.Tensor) -> dict[str, torch.Tensor]:
    return {f"{case}.{what}": value for what, value in answers.items()}


if __name__ == "__main__":
    typer.run(main)
