"""What a demo run does, in numbers: conditions, frames, examples, sizes."""

from dataclasses import dataclass, field


def _holding_on() -> dict[str, dict[str, object]]:
    """Twice the usual distillation: 24 scenes of a weather cost the first one up to 2.1 points
    else, and above 2.0 the gate grants nothing to chance (docs/learning.md has the figures)."""
    return {"training": {"distillation_weight": 3.0}}


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPlan:
    """The main job at a size that two cores finish in minutes; tests use smaller ones."""

    start: str = "clear"  # the condition the first model was trained on
    conditions: tuple[str, ...] = ("fog", "night")  # one a round, unseen until then
    measured: tuple[str, ...] = ("clear", "dusk", "fog", "rain", "night")  # have hold-outs
    first_samples: int = 200  # labelled pictures of `start` that replay may choose from
    known_frames: int = 40  # streamed in `start` before the weather turns
    frames_at_once: int = 48  # streamed before looking whether they were enough
    most_frames: int = 240  # of one condition
    examples: int = 24  # annotated in one round
    holdout_images: int = 30  # of each condition
    seed: int = 7
    train_first: bool = False  # instead of the shipped first model
    drafting_minutes: float = 0.0  # training of the drafting model on the first samples
    show_refusal: bool = False  # one more round whose candidate is made to forget
    # Values of the configuration's sections that differ from their defaults.
    overrides: dict[str, dict[str, object]] = field(default_factory=_holding_on)
    patience_s: float = 1800.0  # for one round, before the demo says what it waits for


# The round of `show_refusal` trains without any defence, and hard: it forgets, and is refused.
FORGETFUL_TRAINING: dict[str, object] = {
    "strategy": "naive",
    "learning_rate": 0.002,
    "steps": 120,
}
