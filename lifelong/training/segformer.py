"""SegFormer in its six published sizes: transformers' network, untrained.

Widths and depths are those of Xie et al. 2021 ("SegFormer", table 6); the heads, reductions and
patches, which all sizes share, are the defaults of transformers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from lifelong.training.network import Network


@dataclass(frozen=True, slots=True)
class Size:
    """One Mix Transformer and its decoder."""

    widths: tuple[int, int, int, int]  # channels of the stages at 1/4, 1/8, 1/16, 1/32
    depths: tuple[int, int, int, int]  # blocks of each stage
    decoder: int  # channels


_NARROW, _WIDE = (32, 64, 160, 256), (64, 128, 320, 512)
SIZES = {
    "segformer_b0": Size(_NARROW, (2, 2, 2, 2), 256),
    "segformer_b1": Size(_WIDE, (2, 2, 2, 2), 256),
    "segformer_b2": Size(_WIDE, (3, 4, 6, 3), 768),
    "segformer_b3": Size(_WIDE, (3, 4, 18, 3), 768),
    "segformer_b4": Size(_WIDE, (3, 8, 27, 3), 768),
    "segformer_b5": Size(_WIDE, (3, 6, 40, 3), 768),
}


class Segformer(Network):
    """SegFormer of one size (Xie et al. 2021), untrained."""

    def __init__(self, size: Size, classes: int) -> None:
        super().__init__()
        # Loading transformers takes seconds; only who asks for this network pays.
        from transformers import SegformerConfig, SegformerForSemanticSegmentation

        # Without dropout: a run that stops and goes on must not depend on past random numbers.
        config = SegformerConfig(
            num_labels=classes,
            hidden_sizes=list(size.widths),
            depths=list(size.depths),
            decoder_hidden_size=size.decoder,
            classifier_dropout_prob=0.0,
            drop_path_rate=0.0,
        )
        self.model = SegformerForSemanticSegmentation(config)

    def seen(self, pictures: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(N, 3, h, w) to logits (N, classes, h/4, w/4) and the maps of the first three stages."""
        answer = self.model(pixel_values=pictures, output_hidden_states=True, return_dict=True)
        return answer.logits, tuple(answer.hidden_states[:3])

    def classifiers(self) -> tuple[str, ...]:
        """See `Network`."""
        return ("model.decode_head.classifier",)


SEGFORMERS: dict[str, Callable[[int], Network]] = {
    name: partial(Segformer, size) for name, size in SIZES.items()
}
