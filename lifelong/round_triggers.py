"""When does a round begin? Conditions, hours of the day, and what an operator asked for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from lifelong.judging.comparisons import COMPARISONS, is_within
from lifelong.sections.trigger import ConditionSection, TriggerSection


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known when a round may begin; None: nobody knows, and no condition on it holds."""

    num_of_samples: int
    mean_novelty: float | None = None
    mean_score: float | None = None
    hours_waited: float | None = None
    hours_since_round: float | None = None
    draft_agreement: float | None = None
    drift_alarms: int | None = None
    class_samples: Mapping[str, int] = field(default_factory=dict)  # by class name


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a round begins, and why, or what it waits for."""

    begins: bool
    reasons: tuple[str, ...]


def judge(
    section: TriggerSection,
    facts: Facts,
    now: datetime,
    *,
    min_examples: int,
    is_asked: bool = False,
) -> Verdict:
    """Does a round begin now?

    It never begins without an example. An operator's word counts at any hour. Otherwise the
    timer must hold, and of the conditions any or all; where there is none, `min_examples` must
    wait.

    Args:
        now: with a time zone; the timer is UTC, which knows no summer time.

    >>> night = TriggerSection.model_validate({"timer": {"start": "22:00", "end": "06:00"}})
    >>> at = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
    >>> judge(night, Facts(num_of_samples=8), at, min_examples=8)
    Verdict(begins=True, reasons=('num_of_samples 8 >= 8',))
    """
    if facts.num_of_samples < 1:
        return Verdict(False, ("no hard example of the deployed model waits",))
    if is_asked:
        return Verdict(True, ("an operator asked for it",))
    clock = now.astimezone(UTC).strftime("%H:%M")
    if section.timer is not None and not is_within(section.timer.start, section.timer.end, clock):
        start, end = section.timer.start, section.timer.end
        return Verdict(False, (f"{clock} UTC is not between {start} and {end}",))
    checked = [_checked(one, facts) for one in conditions_of(section, min_examples)]
    holding = [words for holds, words in checked if holds]
    failing = [words for holds, words in checked if not holds]
    begins = bool(holding) if section.combine == "any" else not failing
    return Verdict(begins, tuple(holding if begins else failing))


def conditions_of(section: TriggerSection, min_examples: int) -> tuple[ConditionSection, ...]:
    """The conditions in force; without any the service's own count."""
    own = (*((section.condition,) if section.condition else ()), *section.conditions)
    return own or (ConditionSection(operator=">=", threshold=min_examples),)


def classes_asked_for(section: TriggerSection) -> Iterator[str]:
    """Names of the classes that conditions count."""
    for one in conditions_of(section, 0):
        if one.class_name:
            yield one.class_name


def _checked(one: ConditionSection, facts: Facts) -> tuple[bool, str]:
    name = f"{one.metric} of {one.class_name}" if one.class_name else one.metric
    value = (
        facts.class_samples.get(one.class_name) if one.class_name else getattr(facts, one.metric)
    )
    if value is None:
        return False, f"{name} is not known"
    holds = COMPARISONS[one.operator](float(value), one.threshold)
    return holds, f"{name} {value:.4g} {'' if holds else 'not '}{one.operator} {one.threshold:g}"
