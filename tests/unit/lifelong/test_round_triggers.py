"""LLL-01: when a round begins, on a clock that only the test moves."""

import doctest
from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from lifelong import round_triggers
from lifelong.judging import comparisons
from lifelong.judging.comparisons import COMPARISONS
from lifelong.round_triggers import Facts, judge
from lifelong.sections.trigger import ConditionSection, TimerSection, TriggerSection


def at(clock, day=1, month=3):
    hour, minute = clock.split(":")
    return datetime(2026, month, day, int(hour), int(minute), tzinfo=UTC)


def begins(section, facts, now=None, *, min_examples=8, is_asked=False):
    moment = now or at("12:00")
    return judge(section, facts, moment, min_examples=min_examples, is_asked=is_asked).begins


def test_the_doctests_hold():
    assert doctest.testmod(round_triggers).failed == 0
    assert doctest.testmod(comparisons).attempted > 0
    assert doctest.testmod(comparisons).failed == 0


@pytest.mark.parametrize(("waiting", "expected"), [(0, False), (7, False), (8, True), (9, True)])
def test_lll01_without_conditions_the_count_decides(waiting, expected):
    """LLL-01: as it always was."""
    assert begins(TriggerSection(), Facts(num_of_samples=waiting)) is expected


@pytest.mark.parametrize(
    ("clock", "start", "end", "expected"),
    [
        ("21:59", "22:00", "06:00", False),
        ("22:00", "22:00", "06:00", True),
        ("23:59", "22:00", "06:00", True),
        ("00:00", "22:00", "06:00", True),
        ("06:00", "22:00", "06:00", True),
        ("06:01", "22:00", "06:00", False),
        ("12:00", "09:00", "17:00", True),
        ("17:01", "09:00", "17:00", False),
        ("23:30", "00:00", "24:00", True),
    ],
)
def test_lll01_hours_of_the_day_also_over_midnight(clock, start, end, expected):
    """LLL-01: the timer of Sedna, both ends included."""
    section = TriggerSection(timer=TimerSection(start=start, end=end))
    assert begins(section, Facts(num_of_samples=8), at(clock)) is expected


def test_lll01_hours_are_utc_whatever_the_clock_on_the_wall():
    """LLL-01: on the night of summer time no window is entered twice or skipped."""
    section = TriggerSection(timer=TimerSection(start="01:00", end="02:00"))
    summer = timezone(timedelta(hours=2))
    assert begins(section, Facts(num_of_samples=8), datetime(2026, 3, 29, 3, 30, tzinfo=summer))
    assert not begins(section, Facts(num_of_samples=8), datetime(2026, 3, 29, 1, 30, tzinfo=summer))
    looks = [at("00:00", day=29) + timedelta(minutes=10 * step) for step in range(144)]
    inside = [look for look in looks if begins(section, Facts(num_of_samples=8), look)]
    assert len(inside) == 7, "seven looks from 01:00 to 02:00, once"


METRICS = [
    ("mean_novelty", ">=", 0.6, {"mean_novelty": 0.7}, {"mean_novelty": 0.5}),
    ("mean_score", ">", 0.4, {"mean_score": 0.5}, {"mean_score": 0.4}),
    ("draft_agreement", "<", 0.7, {"draft_agreement": 0.6}, {"draft_agreement": 0.9}),
    ("drift_alarms", ">=", 1, {"drift_alarms": 2}, {"drift_alarms": 0}),
    ("hours_waited", "ge", 24, {"hours_waited": 24.0}, {"hours_waited": 23.9}),
    ("hours_since_round", "gt", 168, {"hours_since_round": 169.0}, {"hours_since_round": 1.0}),
    ("num_of_samples", "gt", 2, {}, {"num_of_samples": 2}),
]


@pytest.mark.parametrize(("metric", "operator", "threshold", "holds", "fails"), METRICS)
def test_lll01_metric_conditions(metric, operator, threshold, holds, fails):
    """LLL-01: each metric by itself, instead of the count; one that nobody knows never holds."""
    condition = ConditionSection(metric=metric, operator=operator, threshold=threshold)
    section = TriggerSection(conditions=(condition,))
    assert begins(section, Facts(**{"num_of_samples": 3, **holds}))
    assert not begins(section, Facts(**{"num_of_samples": 3, **fails}))
    if metric != "num_of_samples":
        verdict = judge(section, Facts(num_of_samples=99), at("12:00"), min_examples=1)
        assert not verdict.begins and verdict.reasons == (f"{metric} is not known",)


def test_lll01_so_many_samples_of_a_class():
    """LLL-01: a round begins when five new buses wait, however few pictures that is."""
    condition = ConditionSection(metric="class_samples", class_name="bus", threshold=5)
    section = TriggerSection(conditions=(condition,))
    assert begins(section, Facts(num_of_samples=5, class_samples={"bus": 5}))
    assert not begins(section, Facts(num_of_samples=50, class_samples={"bus": 4}))


def test_lll01_any_or_all_of_the_conditions():
    """LLL-01: with the reasons that did it, or that are missing."""
    conditions = (
        ConditionSection(threshold=20),
        ConditionSection(metric="mean_novelty", threshold=0.6),
    )
    facts = Facts(num_of_samples=4, mean_novelty=0.8)
    some = judge(TriggerSection(conditions=conditions), facts, at("12:00"), min_examples=1)
    every = judge(
        TriggerSection(conditions=conditions, combine="all"), facts, at("12:00"), min_examples=1
    )
    assert some.begins and some.reasons == ("mean_novelty 0.8 >= 0.6",)
    assert not every.begins and every.reasons == ("num_of_samples 4 not >= 20",)
    assert begins(
        TriggerSection(conditions=conditions, combine="all"),
        Facts(num_of_samples=20, mean_novelty=0.8),
    )


def test_lll01_the_timer_holds_back_what_conditions_would_begin():
    """LLL-01: it belongs to any and to all."""
    section = TriggerSection(
        timer=TimerSection(start="22:00", end="06:00"), conditions=(ConditionSection(threshold=1),)
    )
    verdict = judge(section, Facts(num_of_samples=9), at("12:00"), min_examples=1)
    assert verdict.reasons == ("12:00 UTC is not between 22:00 and 06:00",)


def test_lll01_an_operators_word_counts_at_any_hour_but_needs_an_example():
    """LLL-01: manual."""
    section = TriggerSection(
        timer=TimerSection(start="22:00", end="06:00"), conditions=(ConditionSection(threshold=99),)
    )
    assert begins(section, Facts(num_of_samples=1), is_asked=True)
    assert not begins(section, Facts(num_of_samples=0), is_asked=True)


def test_lll01_sednas_fields_are_accepted_as_they_are():
    """LLL-01: `trainSpec.trigger` of a manifest, word for word."""
    section = TriggerSection.model_validate(
        {
            "checkPeriodSeconds": 60,
            "timer": {"start": "02:00", "end": "20:00"},
            "condition": {"operator": ">", "threshold": 500, "metric": "num_of_samples"},
        }
    )
    assert begins(section, Facts(num_of_samples=501))
    assert not begins(section, Facts(num_of_samples=500))
    assert not begins(section, Facts(num_of_samples=501), at("21:00"))
    words = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "eq": "==", "ne": "!="}
    for word, sign in words.items():
        for value in (1.0, 2.0, 3.0):
            assert COMPARISONS[word](value, 2.0) == COMPARISONS[sign](value, 2.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"timer": {"start": "8:00", "end": "20:00"}},
        {"timer": {"start": "25:00", "end": "20:00"}},
        {"timer": {"start": "08:00"}},
        {"condition": {"metric": "mood", "threshold": 1}},
        {"condition": {"operator": "about", "threshold": 1}},
        {"condition": {"metric": "class_samples", "threshold": 1}},
        {"condition": {"class_name": "bus", "threshold": 1}},
        {"combine": "most"},
    ],
)
def test_what_is_no_trigger_is_refused(wrong):
    with pytest.raises(ValidationError):
        TriggerSection.model_validate(wrong)
