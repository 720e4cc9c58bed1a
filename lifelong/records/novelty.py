"""`Familiarity`: what a model was trained for, in the numbers that tell the known from the new."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Familiarity:
    """Part of a bundle's manifest; empty when the bundle describes nothing."""

    # learning task -> (D,) the mean embedding of its pictures
    prototypes: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    # Quantiles ("0.10" … "0.99") of the distance to the nearest prototype, on held-back pictures.
    distance_quantiles: Mapping[str, float] = field(default_factory=dict)
    # class id -> the strangeness that counts as 0.5. All are stretched together until one
    # held-back picture in twenty has a class that reaches it.
    class_distances: Mapping[int, float] = field(default_factory=dict)
    class_shares: Mapping[int, float] = field(default_factory=dict)  # mean share of the pixels
    # Quantiles of how far one picture's shares are from those; see `lifelong/drift.py`.
    class_shift_quantiles: Mapping[str, float] = field(default_factory=dict)
    pictures: int = 0  # held back, on which all this was measured
