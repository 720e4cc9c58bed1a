"""segment-anything's parts as two ONNX graphs that know nothing of a picture's size.

The encoder takes its own square; the decoder takes points in the square's pixels, as many as there
are, and answers with every mask it has at low resolution. All that depends on the picture, scaling
and cutting off padding, stays outside.
"""

from pathlib import Path

import onnx
import torch
from onnx.external_data_helper import convert_model_to_external_data
from segment_anything.modeling import Sam
from torch import Tensor, nn

from cloud.assist.onnx_sam import (
    DECODER_INPUTS,
    DECODER_OUTPUTS,
    ENCODER_INPUTS,
    ENCODER_OUTPUTS,
)
from lifelong.training.onnx_programs import onnx_program

OPSET = 18
# Protocol buffers end at 2 GiB; what is larger keeps its weights in a file beside the graph.
LARGEST_FILE = 2_000_000_000
_MOST_POINTS = 4096  # of one prompt; the exporter wants a bound, the graph has none
_KINDS_OF_POINTS = 4  # not on the object, on it, and the two corners of a box


class EncoderGraph(nn.Module):
    """(1, 3, side, side) prepared pictures to (1, C, h, w) embeddings."""

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.encoder = sam.image_encoder

    def forward(self, image: Tensor) -> Tensor:
        """Embeddings."""
        embeddings: Tensor = self.encoder(image)
        return embeddings


class DecoderGraph(nn.Module):
    """One prompt to all masks and their predicted IoU; the single mask comes first."""

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.prompts, self.masks = sam.prompt_encoder, sam.mask_decoder
        self.register_buffer("places", sam.prompt_encoder.get_dense_pe())

    def forward(
        self, embeddings: Tensor, points: Tensor, labels: Tensor, mask: Tensor, has_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See `example_inputs`; (1, 4, 4h, 4w) logits and (1, 4) predicted IoU."""
        prompts = self.prompts
        without = prompts.no_mask_embed.weight.reshape(1, -1, 1, 1)
        # A choice, not a weighted sum: the mask that is not there must not touch the numbers.
        dense = torch.where(has_mask > 0, prompts.mask_downscaling(mask), without)
        low_res, predicted_iou = self.masks.predict_masks(
            image_embeddings=embeddings,
            image_pe=self.places,
            sparse_prompt_embeddings=self._placed(points, labels),
            dense_prompt_embeddings=dense,
        )
        return low_res, predicted_iou

    def _placed(self, points: Tensor, labels: Tensor) -> Tensor:
        """(1, P, C) tokens: where each point is, and what it says."""
        prompts = self.prompts
        kind = labels.unsqueeze(-1)
        where = prompts.pe_layer.forward_with_coords(points + 0.5, prompts.input_image_size)
        tokens: Tensor = torch.where(kind == -1, prompts.not_a_point_embed.weight, where)
        for number in range(_KINDS_OF_POINTS):
            said = prompts.point_embeddings[number].weight
            tokens = torch.where(kind == number, tokens + said, tokens)
        return tokens


def write_encoder(sam: Sam, path: Path, *, largest_file: int = LARGEST_FILE) -> Path | None:
    """The graph of the image encoder; returns the file of its weights, if it has one of its own."""
    side = sam.image_encoder.img_size
    model = onnx_program(
        EncoderGraph(sam).eval(),
        (torch.zeros(1, 3, side, side),),
        ENCODER_INPUTS,
        ENCODER_OUTPUTS,
        opset=OPSET,
    )
    return _write(model, path, largest_file)


def write_decoder(sam: Sam, path: Path, *, largest_file: int = LARGEST_FILE) -> Path | None:
    """The graph of prompt encoder and mask decoder; returns as `write_encoder`."""
    points = torch.export.Dim("points", min=0, max=_MOST_POINTS)
    model = onnx_program(
        DecoderGraph(sam).eval(),
        example_inputs(sam),
        DECODER_INPUTS,
        DECODER_OUTPUTS,
        opset=OPSET,
        dynamic=({}, {1: points}, {1: points}, {}, {}),
    )
    return _write(model, path, largest_file)


def example_inputs(sam: Sam) -> tuple[Tensor, ...]:
    """What the decoder takes: embeddings (1, C, h, w), points (1, P, 2) x and y in pixels of the
    encoder's square, labels (1, P) float32 (1 on the object, 0 not, 2 and 3 corners of a box, -1 no
    point), a mask (1, 1, 4h, 4w) of logits, and (1,) 1 where that counts."""
    prompts = sam.prompt_encoder
    height, width = prompts.image_embedding_size
    return (
        torch.zeros(1, prompts.embed_dim, height, width),
        torch.zeros(1, 3, 2),
        torch.ones(1, 3),
        torch.zeros(1, 1, 4 * height, 4 * width),
        torch.zeros(1),
    )


def _write(model: onnx.ModelProto, path: Path, largest_file: int) -> Path | None:
    """One file, or two where one would be too large; equal weights give equal bytes."""
    weights = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    if weights <= largest_file:
        path.write_bytes(model.SerializeToString(deterministic=True))
        return None
    beside = path.with_name(path.name + ".data")
    beside.unlink(missing_ok=True)  # onnx would append to it
    convert_model_to_external_data(model, all_tensors_to_one_file=True, location=beside.name)
    onnx.save_model(model, path)
    beside.chmod(path.stat().st_mode)  # onnx makes it for its owner alone
    return beside
