"""Places in a round for conditions that the model does not know yet.

The queue values what differs from everything chosen before; so the second picture of a new
condition is worth little once the first is taken, and a round would see too few to learn it. Here
every open condition gets places until people have seen twelve of its pictures, in half of the
round at most. Which pictures of it, and everything else, is the queue's own choice.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from cloud.loop import Selection
from lifelong.records.ids import SampleId, VersionId
from lifelong.records.samples import HardExample

ENOUGH = 12  # pictures; a bundle can describe a condition by so many


class PlacesForConditions:
    """A queue that keeps places for open conditions; implements the loop's `Selection`."""

    def __init__(
        self,
        queue: Selection,
        wanted: Callable[[], Mapping[str, tuple[int, frozenset[SampleId]]]],
    ) -> None:
        """
        Args:
            wanted: by open condition, how many pictures people should see still, and which show
                it.
        """
        self._queue = queue
        self._wanted = wanted

    def choose(
        self,
        waiting: Iterable[HardExample],
        *,
        incumbent: VersionId | None,
        budget: int,
        at_least: int,
    ) -> tuple[HardExample, ...]:
        """The queue's choice, its last places given to open conditions that it left short."""
        examples = list(waiting)
        chosen = self._queue.choose(examples, incumbent=incumbent, budget=budget, at_least=at_least)
        wanted = self._wanted() if chosen else {}
        places = budget // 2
        kept: set[SampleId] = set()
        more: list[HardExample] = []
        for left, (missing, pictures) in zip(
            range(len(wanted), 0, -1), wanted.values(), strict=True
        ):
            share = min(missing, places // left)
            own = [e.sample_id for e in chosen if e.sample_id in pictures][:share]
            there = [e for e in examples if e.sample_id in pictures and e.sample_id not in own]
            found = self._queue.choose(
                there, incumbent=incumbent, budget=share - len(own), at_least=0
            )
            kept.update(own)
            more += found
            places -= len(own) + len(found)
            left -= 1
        added = {example.sample_id for example in more}
        spare = [e for e in chosen if e.sample_id not in kept | added]
        room = budget - len(kept) - len(more)
        stay = {example.sample_id for example in spare[: max(room, 0)]} | kept
        return (*(e for e in chosen if e.sample_id in stay), *more)

    def order(
        self,
        open_: Iterable[HardExample],
        *,
        done: Sequence[HardExample],
        incumbent: VersionId | None,
    ) -> tuple[SampleId, ...]:
        """The queue's own order."""
        return self._queue.order(open_, done=done, incumbent=incumbent)
