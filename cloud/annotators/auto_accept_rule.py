"""When a draft is sure enough to become a label without a person: thresholds and their proof.

Two numbers speak for a draft: how sure the drafter is of it, and how far the edge's own model,
which is another network and did not see the draft, gives the same classes. The thresholds for
both are found where people have corrected drafts: there the share of wrong pixels is known. Pure
functions; `cloud/annotators/auto_accept.py` acts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from lifelong.errors import ShapeError
from lifelong.judging.error_bounds import alarm_level, lower_bound, upper_bound
from lifelong.records.ids import RoundNumber, SampleId
from lifelong.records.label_map import IGNORE_INDEX

CONFIDENCE = 0.95  # of every bound
# The candidates, from the strictest: so many of the drafts, the least sure ones, stay out.
_LEFT_OUT = (0.5, 0.25, 0.0)
# On average so many audited drafts pass, while all is well, until the alarm sounds for nothing.
ALARM = 200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A draft that a person has looked at, and what was wrong with it."""

    sample_id: SampleId
    round_number: RoundNumber
    drafted_by: str  # the models
    confidence: float  # 0 .. 1, mean over the draft's pixels
    agreement: float  # 0 .. 1, share of its pixels with the class that the edge's model gave
    wrong: float  # 0 .. 1, share of its pixels that the person changed
    audited: bool  # it was sure enough, and a person looked all the same
    at: datetime  # UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptRule:
    """The thresholds, and the evidence they stand on."""

    number: int  # from 1
    drafted_by: str  # the rule holds for drafts of these models alone
    min_confidence: float
    min_agreement: float
    pictures: int  # of the evidence, those that the rule would have accepted
    of: int  # all of the evidence
    error_rate: float  # of those pictures: mean share of wrong pixels
    at_most: float  # upper bound of it, by CONFIDENCE
    max_error_rate: float  # what was wanted
    at: datetime  # UTC

    def accepts(self, *, drafted_by: str, confidence: float, agreement: float) -> bool:
        """Is such a draft sure enough?"""
        return (
            drafted_by == self.drafted_by
            and confidence >= self.min_confidence
            and agreement >= self.min_agreement
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRate:
    """What audits measured; shares of pixels."""

    audits: int
    mean: float | None  # None without an audit
    at_least: float  # lower and upper bound, each by CONFIDENCE
    at_most: float
    alarm: float  # the rule ends when this reaches ALARM


def fitted_rule(
    evidence: Sequence[Evidence], *, number: int, max_error_rate: float, at: datetime
) -> AcceptRule | None:
    """The loosest thresholds that the evidence allows; None while it allows none.

    Candidates take their thresholds from quantiles of both numbers over the evidence, without a
    look at what was wrong, and are tested from the strictest on, each only when the one before it
    has passed: so no candidate's chance adds to another's (fixed sequence testing; Angelopoulos
    et al. 2021, "Learn then test"). One passes when, by CONFIDENCE, at most `max_error_rate` of
    the pixels of the drafts it accepts are wrong.

    Args:
        evidence: of drafts by the same models, none chosen by an earlier rule.
    """
    if not evidence:
        return None
    sure = np.array([one.confidence for one in evidence])
    agreed = np.array([one.agreement for one in evidence])
    wrong = np.array([one.wrong for one in evidence])
    best = None
    for left_out in _LEFT_OUT:
        least_sure = float(np.quantile(sure, left_out))
        least_agreed = float(np.quantile(agreed, left_out))
        inside = wrong[(sure >= least_sure) & (agreed >= least_agreed)]
        at_most = upper_bound(inside.tolist(), CONFIDENCE)
        if not inside.size or at_most > max_error_rate:
            break
        best = AcceptRule(
            number=number,
            drafted_by=evidence[0].drafted_by,
            min_confidence=least_sure,
            min_agreement=least_agreed,
            pictures=int(inside.size),
            of=len(evidence),
            error_rate=float(inside.mean()),
            at_most=at_most,
            max_error_rate=max_error_rate,
            at=at,
        )
    return best


def measured(audits: Sequence[Evidence], max_error_rate: float) -> ErrorRate:
    """What the audits of one rule say, oldest first."""
    wrong = [one.wrong for one in audits]
    return ErrorRate(
        audits=len(wrong),
        mean=float(np.mean(wrong)) if wrong else None,
        at_least=lower_bound(wrong, CONFIDENCE),
        at_most=upper_bound(wrong, CONFIDENCE),
        alarm=alarm_level(wrong, max_error_rate),
    )


def is_broken(rate: ErrorRate, max_error_rate: float) -> bool:
    """Do audits say that more pixels are wrong than was wanted: ever since, or lately?"""
    return rate.at_least > max_error_rate or rate.alarm >= ALARM


def same_class_share(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Share of the pixels that both masks give the same class, 0 .. 1; 255 agrees with nothing.

    Raises:
        ShapeError: the masks differ in size.
    """
    if first.shape != second.shape:
        raise ShapeError(f"masks of {first.shape} and {second.shape} cannot be compared")
    same = (first == second) & (first != IGNORE_INDEX)
    return float(same.mean()) if same.size else 0.0


def wrong_share(draft: NDArray[np.uint8], said: NDArray[np.uint8]) -> float:
    """Share of a draft's pixels to which a person gave another class; 255 by either counts only
    where the other one names a class.

    Raises:
        ShapeError: the masks differ in size.
    """
    if draft.shape != said.shape:
        raise ShapeError(f"masks of {draft.shape} and {said.shape} cannot be compared")
    return float((draft != said).mean()) if draft.size else 0.0
