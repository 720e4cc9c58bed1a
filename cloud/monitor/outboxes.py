"""What lies on edge nodes and has not been sent: by what each node last said of itself."""

from collections.abc import Sequence
from dataclasses import dataclass

from cloud.fleet.edges import EdgeState, Standing
from cloud.monitor.look import Look


@dataclass(frozen=True, slots=True, kw_only=True)
class Outboxes:
    """All nodes' outboxes."""

    nodes: Sequence[Standing]  # with something in them, the gravest first
    empty: int  # nodes that say theirs is
    untold: int  # nodes whose report cannot be read
    examples: int
    size: int  # bytes
    oldest_s: float | None  # the longest that an example had waited when its node reported
    dropped: int  # hard examples given up since the nodes' starts: no space, too old


def outboxes_of(look: Look) -> Outboxes:
    """Silent nodes first, whose outbox nobody empties, then the fullest; a fact."""
    healths = [(one, one.seen.health) for one in look.fleet if one.seen.health is not None]
    waiting = [
        (one.state is not EdgeState.SILENT, -health.outbox_examples, one.seen.edge_id, one)
        for one, health in healths
        if health.outbox_examples
    ]
    return Outboxes(
        nodes=[one for *_, one in sorted(waiting, key=lambda item: item[:3])],
        empty=len(healths) - len(waiting),
        untold=len(look.fleet) - len(healths),
        examples=sum(health.outbox_examples for _, health in healths),
        size=sum(health.outbox_bytes for _, health in healths),
        oldest_s=max(
            (h.outbox_oldest_s for _, h in healths if h.outbox_oldest_s is not None), default=None
        ),
        dropped=sum(health.dropped for _, health in healths),
    )
