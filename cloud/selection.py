"""Which hard examples go to people, within the round's budget."""

from collections.abc import Iterable, Sequence

from lifelong.records.ids import SampleId, VersionId
from lifelong.records.samples import HardExample


def choose_for_annotation(
    waiting: Iterable[HardExample],
    *,
    incumbent: VersionId | None,
    budget: int,
    at_least: int,
) -> tuple[HardExample, ...]:
    """The most unsure examples, or none while too few wait.

    Scores of different model versions cannot be compared, so what the present incumbent was
    unsure of goes first. At most `budget` are chosen; ties go to the older one, then by id.
    """
    ranked = sorted(
        waiting,
        key=lambda e: (e.version_id != incumbent, -e.score, e.sequence, e.sample_id),
    )
    fresh = [example for example in ranked if example.version_id == incumbent]
    # Old leftovers fill up a round that the incumbent's own doubts have begun; they begin none.
    if len(fresh) < at_least:
        return ()
    return tuple(ranked[:budget])


def without(
    examples: Iterable[HardExample], taken: Iterable[Sequence[HardExample]]
) -> list[HardExample]:
    """Examples that no earlier round has taken."""
    gone: set[SampleId] = {example.sample_id for group in taken for example in group}
    return [example for example in examples if example.sample_id not in gone]
