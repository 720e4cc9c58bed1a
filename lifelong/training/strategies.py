"""The ways to learn something new without losing the old, by name.

A strategy is what a step learns from (`batches.py`), what is added to its loss (`penalties.py`)
and which parameters may change; the loop (`trainer.py`) is the same for all.
"""

from collections.abc import Callable
from dataclasses import dataclass

from lifelong.errors import ConfigError
from lifelong.training.adapters import adapted_names
from lifelong.training.batches import Batches, fresh, pooled, replayed
from lifelong.training.network import Network
from lifelong.training.penalties import MakePenalty, keeping_answers, keeping_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """How a lesson is learned."""

    batches: Batches = fresh
    penalties: tuple[MakePenalty, ...] = ()
    # The parameters' names of a network that may change when there is an incumbent; None: all.
    trains: Callable[[Network], frozenset[str]] | None = None
    own_normalisation: bool = False  # batch norm follows the new pictures' statistics
    separately: bool = False  # every learning task gets an adapter of its own (adapters.py)


STRATEGIES = {
    "naive": Strategy(),  # the lower bound: only the new pictures
    "replay": Strategy(batches=replayed),
    "distillation": Strategy(penalties=(keeping_answers,)),
    "ewc": Strategy(penalties=(keeping_weights,)),
    "replay+distillation": Strategy(batches=replayed, penalties=(keeping_answers,)),
    "adapters": Strategy(trains=adapted_names, own_normalisation=True, separately=True),
    "joint": Strategy(batches=pooled),  # the upper bound, when the memory holds all old pictures
}


def strategy_named(name: str) -> Strategy:
    """The strategy of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in STRATEGIES:
        raise ConfigError(f"training.strategy: no {name!r}; there are {', '.join(STRATEGIES)}")
    return STRATEGIES[name]
