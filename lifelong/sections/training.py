"""Configuration of training: network, strategy, pace, memory, and what a bundle computes with."""

from typing import Annotated, Literal

from pydantic import Field

from lifelong.sections.types import Count, Positive, Section, Share

SCRATCH = "scratch"  # a first model that begins from nothing


class TrainingSection(Section):
    """How a candidate is trained."""

    network: str = "fast_cnn"
    # What a first model begins with: `scratch`, a file or folder of weights, or a name that
    # `cornerloop models pull` knows; docs/students.md.
    init: str = SCRATCH
    # How the old is kept; lifelong/training/strategies.py says what each does.
    strategy: Literal[
        "replay+distillation", "replay", "distillation", "ewc", "adapters", "naive", "joint"
    ] = "replay+distillation"
    height: Positive = 160  # network input, pixels
    width: Positive = 240
    steps: Positive = 300  # of a round
    batch_size: Positive = 8
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3  # the highest; it rises, then falls to 0
    # A first model starts from nothing: so many times the steps, and of the learning rate.
    first_steps_factor: Positive = 4
    first_rate_factor: Annotated[float, Field(gt=0)] = 2.1
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    # Thin classes: how much more a pixel of a rare class counts, and a share of the loss that is
    # measured in overlap and not in pixels.
    class_weights: Literal["none", "balanced"] = "none"
    dice_weight: Annotated[float, Field(ge=0)] = 0.5
    # Looks at pictures held back, one every `checkpoint_every` steps, without a better answer
    # before a run ends; it then keeps the best weights. 0: all steps are taken.
    patience: Count = 0
    # Of each batch at most; every old learning task gets as much as the new pictures until then.
    replay_share: Share = 0.75
    replay_mib: Positive = 256  # budget of the replay memory, encoded images and masks
    replay_choice: Literal["reservoir", "class_balanced", "herding"] = "class_balanced"
    distillation_weight: Annotated[float, Field(ge=0)] = 1.5
    distillation_temperature: Annotated[float, Field(gt=0)] = 2.0
    ewc_weight: Annotated[float, Field(ge=0)] = 50.0
    checkpoint_every: Positive = 100  # steps
    # What the bundle computes with; int8 and fp16 ship only when they lose at most so much mIoU
    # beside fp32 on pictures with known masks, else the bundle stays fp32 and says so.
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    max_precision_loss: Share = 0.01
    device: str = "auto"
    # bf16 computes with half the digits where that is safe; auto: where the machine has units for
    # it (GPUs since 2020, CPUs with AMX).
    compute: Literal["auto", "fp32", "bf16"] = "auto"
    threads: Count = 0  # of torch on the CPU; 0: all cores but one
    seed: int = 0
