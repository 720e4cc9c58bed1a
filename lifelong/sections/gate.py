"""Configuration of the gate: when a candidate may replace the deployed model."""

from typing import Annotated

from pydantic import Field

from lifelong.sections.types import Count, Section, Share


class GateSection(Section):
    """When a candidate may replace the incumbent."""

    min_gain: float = 0.0  # of the mean mIoU over all learning tasks, 0.01 = one point
    # The mean mIoU must not have fallen by more than this, with confidence.
    max_doubtful_loss: Share = 0.01
    max_forgetting: Share = 0.01  # of any learning task known before
    max_class_drop: Share = 0.15  # of IoU, of any class on any learning task
    # A class that occurs in fewer hold-out images wavers by chance; it counts when protected.
    min_class_images: Count = 12
    protected_classes: tuple[str, ...] = ()
    max_protected_drop: Share = 0.05
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95  # of the intervals
    # Hold-out pictures in a row that count as one piece of evidence; 0: the cube root of their
    # number, 1: each for itself.
    block_pictures: Count = 0
