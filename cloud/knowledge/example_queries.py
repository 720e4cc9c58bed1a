"""Which admitted examples are asked for: filters over all that travelled with the picture."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from lifelong.errors import ConfigError
from lifelong.links.storage import Storage
from lifelong.records.keys import EXAMPLES
from lifelong.records.samples import HardExample
from lifelong.records.wire import from_json

ORDERS: Mapping[str, Callable[[HardExample], tuple[object, ...]]] = {
    "priority": lambda example: (-example.priority, example.edge_id, example.sequence),
    "score": lambda example: (-example.score, example.edge_id, example.sequence),
    "novelty": lambda example: (-(example.novelty or 0.0), example.edge_id, example.sequence),
    # As each device counted: a clock that was wrong misleads `time`, not this.
    "sequence": lambda example: (example.edge_id, example.sequence),
    "time": lambda example: (example.captured_at, example.edge_id, example.sequence),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleQuery:
    """What an example must be to be told of; empty fields ask nothing."""

    edge: str = ""
    version: str = ""  # of the model that was unsure, or how its id begins
    since: datetime | None = None  # by the device's clock
    until: datetime | None = None  # not later than that
    min_score: float | None = None
    max_score: float | None = None
    min_novelty: float | None = None  # who asks for novelty means examples that have one
    max_novelty: float | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    order: str = "priority"

    def fits(self, example: HardExample) -> bool:
        """Is this one asked for?"""
        return (
            self.edge in ("", example.edge_id)
            and example.version_id.startswith(self.version)
            and (self.since is None or example.captured_at >= self.since)
            and (self.until is None or example.captured_at <= self.until)
            and _lies_in(example.score, self.min_score, self.max_score)
            and _lies_in(example.novelty, self.min_novelty, self.max_novelty)
            and all(example.attributes.get(k) == v for k, v in self.attributes.items())
        )

    def answer(self, examples: Iterable[HardExample]) -> list[HardExample]:
        """Those that fit, in the order that was asked for."""
        return sorted((one for one in examples if self.fits(one)), key=ORDERS[self.order])


def _lies_in(value: float | None, low: float | None, high: float | None) -> bool:
    if value is None:
        return low is None and high is None
    return (low is None or value >= low) and (high is None or value <= high)


def admitted_examples(storage: Storage) -> list[HardExample]:
    """Every admitted example, in the order of its key.

    Raises:
        StorageError: storage cannot be reached.
        CorruptRecordError: a record was damaged; names it.
    """
    return [from_json(HardExample, storage.get(key), key) for key in storage.keys(EXAMPLES)]


def attributes_of(pairs: Iterable[str]) -> dict[str, str]:
    """`site=north` to an attribute and its value.

    Raises:
        ConfigError: a pair without "=".
    """
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise ConfigError(f"--attribute {pair!r}: write NAME=VALUE, e.g. condition=night")
        found[name] = value
    return found


def moment_of(text: str, option: str = "--since") -> datetime:
    """A date or a moment in ISO 8601; without a zone it is UTC.

    Raises:
        ConfigError: neither.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{option} {text!r}: write 2026-03-01 or 2026-03-01T12:00") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
