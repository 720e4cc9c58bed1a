"""A trained network to ONNX, and proof that ONNX Runtime answers as torch does."""

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lifelong.errors import ConfigError, ExportMismatchError
from lifelong.model_bundle import ModelBundle
from lifelong.preprocessing import Preprocessing, network_input
from lifelong.segmenter import OnnxSegmenter
from lifelong.training.networks import Network
from lifelong.training.onnx_programs import onnx_program

INPUT, OUTPUT, FEATURES = "image", "logits", "features"
_OPSET = 18

# Two libraries that add the same numbers in another order differ by rounding; relative to the
# largest logit, since that is what float32 rounds by.
TOLERANCE = 1e-4


def onnx_from_network(
    network: nn.Module, how: Preprocessing, *, with_features: bool = False
) -> bytes:
    """(1, 3, height, width) float32 to (1, classes, h, w) as an ONNX file.

    Equal weights give equal bytes: whatever the exporter notes about the machine is taken out.

    Args:
        with_features: a second output, (1, D, h', w') of what the network saw; then `network` is
            one of `networks.py`.
    """
    network = network.cpu().eval()
    exported = _Describing(network) if with_features else network
    example = torch.zeros(1, 3, how.height, how.width)
    outputs = [OUTPUT, FEATURES] if with_features else [OUTPUT]
    model = onnx_program(exported, (example,), [INPUT], outputs, opset=_OPSET)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


class _Describing(nn.Module):
    """A network whose answer is logits and what it saw."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        if not isinstance(network, Network):
            raise ConfigError(f"{type(network).__name__} cannot say what it saw; see networks.py")
        self.network = network

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.described(pictures)


def prove_equal(bundle: ModelBundle, network: nn.Module, images: list[NDArray[np.uint8]]) -> float:
    """Largest difference between the bundle's logits and the network's, over all images.

    Masks must be equal too, but where torch itself is undecided by less than that difference.

    Args:
        images: (H, W, 3) uint8 RGB each; one of pure noise is added.

    Raises:
        ExportMismatchError: the two disagree by more than rounding.
    """
    network = network.cpu().eval()
    how = bundle.manifest.preprocessing
    noise = np.random.default_rng(0).integers(0, 256, (how.height, how.width, 3), dtype=np.uint8)
    segmenter = OnnxSegmenter(bundle, threads=1)
    largest = 0.0
    for image in [noise, *images]:
        with torch.no_grad():
            wanted = network(torch.from_numpy(network_input(image, how)))[0].numpy()
        given = segmenter.logits(image)
        if given.shape != wanted.shape:
            raise ExportMismatchError(f"exported logits {given.shape}, trained {wanted.shape}")
        difference = float(np.abs(given - wanted).max())
        allowed = TOLERANCE * max(1.0, float(np.abs(wanted).max()))
        second, first = np.partition(wanted, -2, axis=0)[-2:]
        decided = first - second > 2.0 * difference
        if not difference <= allowed or (given.argmax(0) != wanted.argmax(0))[decided].any():
            raise ExportMismatchError(
                f"the exported model's logits differ by {difference:.2e} from the trained one's, "
                f"{allowed:.2e} is rounding; do not release it"
            )
        largest = max(largest, difference)
    return largest
