"""Which learning task does a picture belong to? Decided by its embedding, not by a file's name.

An embedding (`lifelong/training/descriptions.py`) has K coordinates within the plane of what the
model knows, whitened by what pictures of one learning task differ by, and one that says how far
the picture lies from that plane. Within the plane each known task is a Gaussian around its
prototype with one covariance for all, the identity, and nearest means most likely: linear
discriminant analysis with equal priors. The last coordinate has no part in that: it says how far
and not where, and CamVid's dusk was given to day because of it.

A picture whose novelty (`lifelong/novelty.py`, of all K + 1) reaches a limit belongs to no known
task. It may belong to a condition that was found in unseen pictures; within the plane two pictures
of one condition lie sqrt(2 K) apart and a picture sqrt(K) from its centre, because each coordinate
varies by 1. `docs/conditions.md` says how well that holds for conditions the model never saw.

Embeddings of two model versions cannot be compared.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lifelong.novelty import HALF_WAY, novelty_of
from lifelong.records.novelty import Familiarity

# In units of what two pictures of one condition usually differ by.
REACH = 1.5

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Centre:
    """A condition that was found in unseen pictures: the middle of them."""

    condition_id: str
    at: Floats  # (K,), within the plane


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """What the data say of one picture."""

    task: str | None  # the known learning task; None: it is of none of them
    condition_id: str  # the condition found in unseen pictures that it is of; "" when of none
    nearest: str  # the nearest known learning task within the plane, whatever its distance
    confidence: float  # 0 .. 1, of the task against the other known ones; 0 without a task
    novelty: float  # 0 .. 1, of its distance to the nearest prototype


def within_plane(embedding: NDArray[np.floating]) -> Floats:
    """(…, K + 1) to (…, K) float64: where in the model's plane, without how far from it."""
    inside: Floats = np.asarray(embedding, dtype=np.float64)[..., :-1]
    return inside


def usual_distance(directions: int) -> float:
    """How far two pictures of one condition lie apart within the plane, in the mean square.

    |x - y|² of two independent pictures has the mean 2 K, because every coordinate varies by 1.

    >>> usual_distance(32)
    8.0
    """
    return math.sqrt(2.0 * directions)


class Allocator:
    """Gives pictures to the learning tasks of one model version; made once for each."""

    def __init__(
        self,
        familiarity: Familiarity,
        *,
        unseen_from: float,
        name_now: Callable[[str], str] = str,
        centres: Sequence[Centre] = (),
    ) -> None:
        """
        Args:
            unseen_from: novelty from which a picture is of no known task, 0 .. 1.
            name_now: today's name of a learning task; the manifest has the name of its day.
            centres: conditions found in unseen pictures.
        """
        self._tasks = tuple(name_now(task) for task in familiarity.prototypes)
        rows = list(familiarity.prototypes.values())
        # Prototypes of different length fit no embedding.
        is_even = len({len(row) for row in rows}) == 1
        self._prototypes = np.array(rows, dtype=np.float64) if is_even else np.zeros((0, 0))
        self._usual = familiarity.distance_quantiles.get(HALF_WAY, math.nan)
        length = max(self._prototypes.shape[1], 1)
        self._unseen_from = unseen_from
        self._centres = tuple(c for c in centres if c.at.shape == (length - 1,))

    @property
    def can_tell(self) -> bool:
        """Does the model bring what is needed?"""
        return self._prototypes.size > 0 and math.isfinite(self._usual)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The known learning tasks by today's names, each once."""
        return tuple(dict.fromkeys(self._tasks))

    def allocate(self, embedding: NDArray[np.floating]) -> Allocation | None:
        """Where one picture belongs; None when the model cannot say.

        Args:
            embedding: (K + 1,), by the same model version.
        """
        given = np.asarray(embedding, dtype=np.float64)
        if not self.can_tell or given.shape != self._prototypes.shape[1:]:
            return None
        if not np.isfinite(given).all():
            return None
        apart = (self._prototypes - given) ** 2
        novelty = novelty_of(math.sqrt(float(apart.sum(axis=1).min())), self._usual)
        squares = within_plane(apart).sum(axis=1)
        place = int(squares.argmin())
        if novelty >= self._unseen_from:
            return Allocation(
                task=None,
                condition_id=self._condition_of(given),
                nearest=self._tasks[place],
                confidence=0.0,
                novelty=novelty,
            )
        return Allocation(
            task=self._tasks[place],
            condition_id="",
            nearest=self._tasks[place],
            confidence=self._confidence(squares, self._tasks[place]),
            novelty=novelty,
        )

    def _confidence(self, squares: Floats, task: str) -> float:
        """Posterior of the task with equal priors: its prototypes' share of the densities."""
        likelihoods = np.exp(-(squares - squares.min()) / 2.0)
        own = np.array([name == task for name in self._tasks])
        return float(likelihoods[own].sum() / likelihoods.sum())

    def _condition_of(self, embedding: Floats) -> str:
        """The nearest condition whose reach the picture is in; "" when there is none."""
        inside = within_plane(embedding)
        # A picture lies sqrt(K) from the middle of its condition: the distance of two over sqrt 2.
        reach = REACH * usual_distance(len(inside)) / math.sqrt(2.0)
        away = [(float(np.linalg.norm(c.at - inside)), c.condition_id) for c in self._centres]
        distance, condition_id = min(away, default=(math.inf, ""))
        return condition_id if distance <= reach else ""
