"""When does Sedna's local controller begin a training round? Its rules, exactly, as functions.

Effective trigger = timer (if given) and condition. `checkPeriodSeconds` is read by Sedna and
thrown away. The clock is UTC, as in the local controller's container.
"""

from datetime import UTC, datetime

from lifelong.judging.comparisons import COMPARISONS, is_within

METRIC = "num_of_samples"  # the only one that Sedna offers


def condition_holds(metric: str, operator: str, threshold: float, train_lines: int) -> bool:
    """Is the condition true for so many waiting training lines?

    A metric or an operator that Sedna does not know never fires; nobody is told.

    >>> condition_holds("num_of_samples", ">=", 2.0000001, 2)
    True
    """
    compare = COMPARISONS.get(operator)
    return metric == METRIC and compare is not None and compare(float(train_lines), threshold)


def timer_holds(start: str, end: str, now: datetime) -> bool:
    """Is the wall clock within the hours "HH:MM"? `now` has a time zone.

    >>> timer_holds("22:00", "06:00", datetime(2026, 1, 1, 23, 30, tzinfo=UTC))
    True
    """
    return is_within(start, end, now.astimezone(UTC).strftime("%H:%M"))


def lines_to_fire(metric: str, operator: str, threshold: float, train_prob: float) -> int:
    """How many new index lines make the trigger fire when none waits; 0: no number does.

    Of n lines that arrive together the first int(trainProb · n) count.

    >>> lines_to_fire("num_of_samples", ">", 100, 0.8)
    127
    """
    for count in range(1, 100_001):
        train = int(train_prob * count)
        if train >= 1 and condition_holds(metric, operator, threshold, train):
            return count
    return 0
