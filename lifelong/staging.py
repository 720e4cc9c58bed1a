"""Which release an edge node is to run: the one for everybody, or one that is on trial."""

import hashlib

from lifelong.records.ids import EdgeId
from lifelong.records.model_versions import Release


def draw_of(edge_id: EdgeId, release_number: int) -> float:
    """A node's place in the order of a release's roll-out, 0 .. 1, the same for ever.

    Another release draws another order, so that it is not always the same nodes that try.

    >>> round(draw_of(EdgeId("edge-1"), 7), 4)
    0.9176
    """
    digest = hashlib.sha256(f"{release_number}:{edge_id}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def takes_part(edge_id: EdgeId, release: Release) -> bool:
    """Is this node among the release's share of the fleet?

    The draw does not depend on the share: a wider stage keeps every node of the one before.
    """
    return release.share >= 1.0 or draw_of(edge_id, release.number) < release.share


def release_for(edge_id: EdgeId, current: Release | None, staged: Release | None) -> Release | None:
    """What this node is to run; None while nothing is released for it.

    Args:
        current: `releases/current.json`, what everybody runs.
        staged: `releases/staged.json`. It counts only while its number is the higher one: after
            a promotion or a halt a leftover of it says nothing any more.
    """
    if staged is None or (current is not None and staged.number <= current.number):
        return current
    return staged if takes_part(edge_id, staged) else current
