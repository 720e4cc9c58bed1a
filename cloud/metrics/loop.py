"""Rounds, gate, releases, inbox and training of a look, as metrics."""

import re
from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import Metric

from cloud.metrics.catalogue import LOOP, Families
from cloud.monitor.look import Look
from lifelong.records.rounds import Round, RoundState

# What a reason of the gate begins or goes on with (`lifelong/gate.py`, `gate_faults.py`).
_KINDS = (
    ("forgotten", re.compile(r": forgot |: mIoU falls ")),
    ("class_dropped", re.compile(r" drops? by more than ")),
    ("no_gain", re.compile(r"no gain: ")),
    ("no_sure_gain", re.compile(r"no sure gain: ")),
    ("no_better_than_chance", re.compile(r"better than guessing")),
    ("one_answer", re.compile(r" nearly everywhere, whatever the picture")),
    ("classes_exchanged", re.compile(r"class names are exchanged")),
    ("unexamined", re.compile(r"examined on it|hold-out has no images")),
    ("not_a_number", re.compile(r"is not a number from 0 to 1")),
)
OTHER = "other"
GATE_KINDS = (*(name for name, _ in _KINDS), OTHER)
_ENDS = (RoundState.RELEASED, RoundState.REFUSED, RoundState.FAILED)


def loop_metrics(look: Look) -> Iterator[Metric]:
    """Everything that rounds, releases and the inbox tell."""
    families = Families(LOOP)
    _put_rounds(families, look)
    _put_gate(families, look)
    _put_releases(families, look)
    _put_inbox(families, look)
    _put_training(families, look)
    families.put("conditions_proposed", look.conditions_proposed)
    return iter(families)


def kind_of(reason: str) -> str:
    """Which of `GATE_KINDS` a reason of the gate is."""
    return next((name for name, words in _KINDS if words.search(reason)), OTHER)


def refused_in_a_row(rounds: tuple[Round, ...]) -> int:
    """Rounds refused since the last released one; open and failed ones are passed over."""
    count = 0
    for round_ in reversed(rounds):
        if round_.state is RoundState.RELEASED:
            return count
        count += round_.state is RoundState.REFUSED
    return count


def _put_rounds(families: Families, look: Look) -> None:
    ended = Counter(round_.state for round_ in look.rounds)
    for state in _ENDS:
        families.put("rounds_total", ended[state], str(state))
    families.put("rounds_refused_in_a_row", refused_in_a_row(look.rounds))
    if not look.rounds:
        return
    newest = look.rounds[-1]
    families.put("round_state", 1.0, str(newest.number), str(newest.state))
    families.put("round_number", newest.number)
    entered = newest.entered.get(str(newest.state))
    if entered is not None:
        families.put("round_state_seconds", max((look.at - entered).total_seconds(), 0.0))


def _put_gate(families: Families, look: Look) -> None:
    decisions = [round_.decision for round_ in look.rounds if round_.decision is not None]
    accepted = sum(decision.accepted for decision in decisions)
    families.put("gate_decisions_total", accepted, "accepted")
    families.put("gate_decisions_total", len(decisions) - accepted, "refused")
    kinds = Counter(kind_of(reason) for decision in decisions for reason in decision.reasons)
    for kind in GATE_KINDS:
        families.put("gate_reasons_total", kinds[kind], kind)


def _put_releases(families: Families, look: Look) -> None:
    families.put("releases_total", len(look.releases))
    families.put("release_rollbacks_total", sum(release.is_rollback for release in look.releases))
    if look.current is not None:
        families.put("release_number", look.current.number)
        age = (look.at - look.current.released_at).total_seconds()
        families.put("release_age_seconds", max(age, 0.0))
    if look.rollout is not None:
        families.put("rollout_state", 1.0, str(look.rollout["state"]))
        families.put("rollout_share_ratio", float(look.rollout["share"]))


def _put_inbox(families: Families, look: Look) -> None:
    families.put("inbox_deliveries", look.inbox.deliveries)
    families.put("inbox_refused_deliveries", look.inbox.refused)
    if look.inbox.oldest_at is not None:
        age = (look.at - look.inbox.oldest_at).total_seconds()
        families.put("inbox_oldest_age_seconds", max(age, 0.0))


def _put_training(families: Families, look: Look) -> None:
    """Only of a training that is under way: an old file tells nothing."""
    newest = look.rounds[-1] if look.rounds else None
    training = look.training
    if newest is None or newest.state is not RoundState.TRAINING or training is None:
        return
    if training.round_number != newest.number or training.steps <= 0:
        return
    families.put("training_step", training.step)
    families.put("training_steps", training.steps)
    families.put("training_progress_ratio", training.step / training.steps)
    families.put("training_loss", training.loss)
