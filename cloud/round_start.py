"""What a round's trigger is judged by: waiting examples, earlier rounds, nodes, an operator."""

from collections.abc import Callable, Sequence
from datetime import datetime

from cloud.fleet.edges import Edges
from cloud.selecting.picture_features import KeptFeatures
from cloud.selecting.present_counts import PresentCounts
from lifelong.config import RoundsSection
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage
from lifelong.records.ids import RoundNumber
from lifelong.records.label_map import LabelMap
from lifelong.records.rounds import Round, RoundState
from lifelong.records.samples import HardExample
from lifelong.records.wire import dumps
from lifelong.round_triggers import Facts, Verdict, classes_asked_for, conditions_of, judge

REQUESTS = "round_requests"


class RoundStart:
    """Implements the loop's `Trigger` port by `rounds.trigger`; says once why a round waits."""

    def __init__(
        self,
        *,
        rules: RoundsSection,
        storage: Storage,
        label_map: LabelMap,
        journal: Journal,
        now: Callable[[], datetime],
        counts: PresentCounts | None = None,
    ) -> None:
        """Args: `counts` reads what nodes with older classes saw; None: there are none."""
        for name in classes_asked_for(rules.trigger):
            label_map.id_of(name)  # refuses a class that is none before anything waits for it
        self._rules = rules
        self._storage = storage
        self._label_map = label_map
        self._counts = counts
        self._journal = journal
        self._now = now
        self._features = KeptFeatures(storage)
        self._edges = Edges(storage, now)
        self._told: Verdict | None = None

    def begins(
        self, round_: Round, waiting: Sequence[HardExample], earlier: Sequence[Round]
    ) -> bool:
        """May the round begin with what waits?"""
        own = [example for example in waiting if example.version_id == round_.incumbent]
        verdict = judge(
            self._rules.trigger,
            self._facts(own, earlier),
            self._now(),
            min_examples=self._rules.min_examples,
            is_asked=is_asked_for(self._storage, round_.number),
        )
        if verdict.begins and verdict != self._told:
            self._journal.event(
                "round.triggered", round=round_.number, reasons=list(verdict.reasons)
            )
        self._told = verdict
        return verdict.begins

    def _facts(self, own: Sequence[HardExample], earlier: Sequence[Round]) -> Facts:
        """Only what a condition asks for is looked up: pictures and reports cost reading."""
        asked = {one.metric for one in conditions_of(self._rules.trigger, 0)}
        novelty = [example.novelty for example in own if example.novelty is not None]
        ended = [max(r.entered.values()) for r in earlier if r.is_over and r.entered]
        annotated = [round_.annotations for round_ in earlier if round_.annotations]
        oldest = min((example.captured_at for example in own), default=None)
        return Facts(
            num_of_samples=len(own),
            mean_novelty=_mean(novelty),
            mean_score=_mean([example.score for example in own]),
            hours_waited=self._hours_since(oldest),
            hours_since_round=self._hours_since(max(ended, default=None)),
            draft_agreement=_mean([a.agreement for a in annotated[-1]]) if annotated else None,
            drift_alarms=self._alarms() if "drift_alarms" in asked else None,
            class_samples={
                name: self._showing(name, own) for name in classes_asked_for(self._rules.trigger)
            },
        )

    def _hours_since(self, moment: datetime | None) -> float | None:
        # A node whose clock runs ahead must not make the wait negative.
        return max(0.0, (self._now() - moment).total_seconds() / 3600.0) if moment else None

    def _alarms(self) -> int:
        return sum(bool(seen.health and seen.health.alarms) for seen in self._edges.look())

    def _showing(self, name: str, own: Sequence[HardExample]) -> int:
        class_id = self._label_map.id_of(name)
        found = 0
        for example in own:
            kept = self._features.of(example.sample_id, example.image_key, example.mask_key)
            pixels = kept.class_pixels
            if self._counts is not None:
                pixels = self._counts.answered(example, pixels)
            found += bool(pixels and pixels.get(class_id))
        return found


def next_to_begin(rounds: Sequence[Round]) -> RoundNumber:
    """The round that begins next: the open one while it collects, else the one after it."""
    newest = rounds[-1] if rounds else None
    open_ = newest is not None and newest.state is RoundState.COLLECTING
    return RoundNumber((newest.number if newest else 0) + (0 if open_ else 1))


def ask_for_round(
    storage: Storage, rounds: Sequence[Round], now: datetime, who: str
) -> RoundNumber:
    """Ask the service to begin a round with whatever waits, at any hour.

    While a round is under way the word holds for the next one. Asking twice is asking once.

    Returns:
        The round that will begin.
    """
    number = next_to_begin(rounds)
    storage.put(_key(number), dumps({"round": number, "asked_by": who, "at": now.isoformat()}))
    return number


def is_asked_for(storage: Storage, number: RoundNumber) -> bool:
    """Did an operator ask for this round?"""
    return storage.size(_key(number)) is not None


def _key(number: RoundNumber) -> str:
    return f"{REQUESTS}/{number:06d}.json"


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
