"""A drafting model of one's own: the shipped one, trained on for a while with given pictures."""

import logging
from collections.abc import Sequence
from pathlib import Path

from cloud.preannotation.drafting_training import Pair, train_draft_network
from cloud.preannotation.semantic_labels import load_tiny_semantic, save_tiny_semantic
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
    start = load_tiny_semantic()[0].state_dict()
    state = train_draft_network(
        pairs,
        seed=seed,
        size=CROP,
        log=logger.info,
        minutes=minutes,
        classes=len(label_map),
        start=start,
    )
    weights.parent.mkdir(parents=True, exist_ok=True)
    temporary = weights.with_name(f"{weights.stem}.new.safetensors")
    save_tiny_semantic(temporary, state, network="draft_net", classes=label_map.names)
    temporary.with_suffix(".json").replace(weights.with_suffix(".json"))
    temporary.replace(weights)
    return weights
