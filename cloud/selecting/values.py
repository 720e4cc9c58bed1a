"""How doubtful a waiting picture is among the others; `lifelong/picture_values.py` has the rest.

Pure functions: same input, same order.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lifelong.picture_values import FLOOR, places_among
from lifelong.records.ids import VersionId
from lifelong.records.samples import HardExample

STALE = 0.5  # what the doubt of a model that edges no longer run is worth


def score_of(example: HardExample, name: str = "entropy") -> float:
    """A recorded score of a frame, 0 (sure) .. 1 (no idea); the policy's own where it has none.

    What is no number is as doubtful as can be.
    """
    value = example.scores.get(name, example.score)
    return min(max(value, 0.0), 1.0) if np.isfinite(value) else 1.0


def uncertainties(
    examples: Sequence[HardExample], incumbent: VersionId | None
) -> NDArray[np.float64]:
    """How doubtful each example is among those of the same model version, 1/8 .. 1.

    Scores of different versions cannot be compared, so each becomes its place among the scores of
    its own version: u = 1/4 + 3/4 · (smaller + equal/2) / n, where `smaller` and `equal` count
    those with a smaller and an equal score, itself among the equal ones, and n all of them. The
    doubt of another version than the incumbent's counts half: that model no longer runs.

    Scores 0.2, 0.6 and 0.6 of the incumbent have the places 1/6, 4/6 and 4/6, so 0.375, 0.75 and
    0.75; the same scores of an older version are worth 0.1875, 0.375 and 0.375.
    """
    scores = np.array([score_of(example) for example in examples], dtype=np.float64)
    versions = np.array([str(example.version_id) for example in examples])
    values = np.zeros(len(examples), dtype=np.float64)
    for version in set(versions.tolist()):
        inside = versions == version
        place = places_among(scores[inside])
        fresh = 1.0 if incumbent is not None and version == str(incumbent) else STALE
        values[inside] = (FLOOR + (1.0 - FLOOR) * place) * fresh
    return values
