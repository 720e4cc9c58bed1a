"""The ways to learn something new without losing the old, by name."""

from dataclasses import dataclass

from lifelong.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """What a strategy does beside learning from the new pictures."""

    replays: bool = False  # mixes the memory into every batch, by `replay_share`
    pools: bool = False  # draws new and old pictures from one pool, every learning task alike
    distils: bool = False  # keeps the incumbent's answers (distillation.py)
    anchors: bool = False  # keeps the incumbent's weights where they matter (ewc.py)


STRATEGIES = {
    "naive": Strategy(),  # the lower bound: only the new pictures
    "replay": Strategy(replays=True),
    "distillation": Strategy(distils=True),
    "ewc": Strategy(anchors=True),
    "replay+distillation": Strategy(replays=True, distils=True),
    "joint": Strategy(pools=True),  # the upper bound, when the memory holds all old pictures
}


def strategy_named(name: str) -> Strategy:
    """The strategy of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in STRATEGIES:
        raise ConfigError(f"training.strategy: no {name!r}; there are {', '.join(STRATEGIES)}")
    return STRATEGIES[name]
