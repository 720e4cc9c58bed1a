"""A drafting model of one's own: the shipped one, trained on for a while with given pictures."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import save_file

from cloud.preannotation.drafting_training import (
    Pair,
    State,
    segformer_config,
    train_segformer,
)
from cloud.preannotation.semantic_labels import load_tiny_segformer
from lifelong.records.label_map import LabelMap

logger = logging.getLogger(__name__)

CROP = (256, 384)  # height, width in pixels of what it learns from


def train_drafter(
    pairs: Sequence[Pair], label_map: LabelMap, weights: Path, *, minutes: float, seed: int
) -> Path:
    """Train for so many minutes and write `weights` (.safetensors) with its .json beside it.

    Raises:
        ModelLoadError: the shipped weights, which it starts from, cannot be loaded.
        DivergedError: the loss became NaN.
    """
    start: State = load_tiny_segformer().state_dict()
    state = train_segformer(
        pairs,
        seed=seed,
        size=CROP,
        log=logger.info,
        minutes=minutes,
        label_map=label_map,
        start=start,
    )
    write_drafter(state, label_map, weights)
    return weights


def write_drafter(state: State, label_map: LabelMap, weights: Path) -> None:
    """Write `weights` (.safetensors), whole or not at all, after its .json beside it."""
    weights.parent.mkdir(parents=True, exist_ok=True)
    about = json.dumps(segformer_config(label_map).to_dict(), indent=1)
    weights.with_suffix(".json").write_text(about, encoding="utf-8")
    temporary = weights.with_suffix(".new")
    save_file({name: value.contiguous() for name, value in state.items()}, temporary)
    temporary.replace(weights)
