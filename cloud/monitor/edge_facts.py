"""Edge nodes for pages: gravest first, found by name and state; what one node saw last."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloud.fleet.edges import EdgeState, Standing
from cloud.fleet.overview import edge_summary, release_summary
from cloud.monitor.look import Look
from lifelong.records.ids import EdgeId, RoundNumber
from lifelong.records.samples import HardExample

ROUNDS_SEARCHED = 100  # the newest; what a node sent before them is not looked for
_GRAVITY = {state: place for place, state in enumerate(EdgeState)}


@dataclass(frozen=True, slots=True, kw_only=True)
class SentExample:
    """A hard example of a node, and the round that took it."""

    round_number: RoundNumber
    example: HardExample


def gravest_first(look: Look) -> Sequence[Standing]:
    """All nodes, the gravest first, then by name; a fact."""
    return sorted(look.fleet, key=lambda one: (_GRAVITY[one.state], one.seen.edge_id))


def by_state(look: Look) -> Mapping[str, int]:
    """How many nodes stand how, the gravest state first; a fact."""
    found = dict.fromkeys(map(str, EdgeState), 0)
    for one in look.fleet:
        found[one.state] += 1
    return found


def matching(
    look: Look, *, text: str = "", state: EdgeState | None = None, version: str = ""
) -> Sequence[Standing]:
    """Nodes whose name holds `text`, in this state, that run this version; gravest first."""
    wanted = text.casefold()
    return [
        one
        for one in look.fact(gravest_first)
        if (state is None or one.state is state)
        and wanted in one.seen.edge_id.casefold()
        and (not version or (one.seen.health and one.seen.health.version_id == version))
    ]


def names_of_edges(look: Look) -> Mapping[EdgeId, Standing]:
    """Every node by its id; a fact."""
    return {one.seen.edge_id: one for one in look.fleet}


def newest_examples(look: Look, edge: EdgeId, count: int = 12) -> Sequence[SentExample]:
    """What a node sent last that a round took; looks through the newest rounds only."""
    found: list[SentExample] = []
    for round_ in reversed(look.rounds[-ROUNDS_SEARCHED:]):
        own = [example for example in round_.examples if example.edge_id == edge]
        own.sort(key=lambda example: example.sequence, reverse=True)
        found += [SentExample(round_number=round_.number, example=example) for example in own]
        if len(found) >= count:
            break
    return found[:count]


def fleet_summary(look: Look, nodes: Sequence[Standing]) -> dict[str, Any]:
    """What `cornerloop edges --json` prints, of these nodes, as a look saw them."""
    return {
        "counts": dict(look.fact(by_state)),
        "current": release_summary(look.current),
        "staged": release_summary(look.staged),
        "rollout": look.rollout,
        "edges": [edge_summary(one) for one in nodes],
    }
