"""LR-ASPP on MobileNetV3-Large: torchvision's, untrained, under torchvision's own names."""

import torchvision
from torch import Tensor

from lifelong.training.network import Network


class Lraspp(Network):
    """torchvision's Lite R-ASPP on MobileNetV3-Large (Howard et al. 2019), untrained."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        made = torchvision.models.segmentation.lraspp_mobilenet_v3_large(
            weights=None, weights_backbone=None, num_classes=classes
        )
        # Its own forward() enlarges to the input's size; our callers do that once, at the end.
        self.backbone, self.classifier = made.backbone, made.classifier

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, 3, h, w) to logits (N, classes, h/8, w/8)."""
        logits: Tensor = self.classifier(self.backbone(pictures))
        return logits

    def seen(self, pictures: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """As `forward`, and maps of 40 and 128 channels; not for training."""
        features, head = self.backbone(pictures), self.classifier
        # The head's narrow view of the deep map: its 960 channels would be a heavy description.
        # Asked twice, it would count a training batch twice in its statistics.
        return head(features), (features["low"], head.cbr(features["high"]))

    def classifiers(self) -> tuple[str, ...]:
        """See `Network`; one looks at the deep map, one at the early one."""
        return ("classifier.low_classifier", "classifier.high_classifier")
