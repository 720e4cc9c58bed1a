"""UX-10: what many corrections took and what drafts saved, replayed and worked out by hand."""

import math

import pytest

from annotation.review.correction_cost import costs_from_events, summed
from annotation.review.cost_sums import Compared, CostSums, Spread, added, spread_of, sums_of, told
from lifelong.records.samples import ClassCost, CorrectionCost
from lifelong.records.wire import to_plain


def a_cost(
    seconds: float | None,
    edits: int,
    *,
    draft: bool = True,
    who: str = "ada",
    by: str = "sam+seg",
    added: int = 10,
) -> CorrectionCost:
    """`edits` regions touched of one class, "car"."""
    of_class = ClassCost(
        pixels_added=added,
        pixels_removed=2,
        regions_touched=edits,
        regions_added=0,
        regions_deleted=0,
        seconds=seconds,
    )
    return CorrectionCost(
        annotation_id=1,
        annotator=who,
        drafted_by=by,
        with_draft=draft,
        seconds=seconds,
        pixels=100,
        classes={"car": of_class},
    )


# With drafts 10, 20 and 30 s and 1, 2 and 3 edits; without 40 and 60 s, 8 and 12 edits.
REPLAY = (
    a_cost(10.0, 1),
    a_cost(20.0, 2, who="béla"),
    a_cost(30.0, 3),
    a_cost(40.0, 8, draft=False),
    a_cost(60.0, 12, draft=False, who="béla"),
)


def test_ux_10_seconds_and_edits_with_and_without_a_draft_by_hand() -> None:
    compared = sums_of(REPLAY).of()
    assert compared.with_draft.seconds == Spread(3, 20.0, 200.0)
    assert compared.without_draft.seconds == Spread(2, 50.0, 200.0)
    assert (compared.with_draft.edits.mean, compared.without_draft.edits.mean) == (2.0, 10.0)
    assert compared.saved_share == pytest.approx(0.6)  # 1 - 20 / 50
    assert compared.saved_seconds == pytest.approx(30.0)
    assert compared.with_draft.changed_share == pytest.approx(0.1)  # 30 of 300 pixels


def test_ux_10_the_interval_of_time_saved_by_hand() -> None:
    # s1² = 100, n1·m1² = 3 · 400; s0² = 200, n0·m0² = 2 · 2500: parts 1/12 and 1/25.
    # Degrees of freedom (1/12 + 1/25)² / (1/288 + 1/625) = 2.999, whose t(0.975) is 3.183.
    half = 3.183 * math.sqrt(1 / 12 + 1 / 25)
    low, high = sums_of(REPLAY).of().saved_interval or (0.0, 0.0)
    assert low == pytest.approx(1 - 0.4 * math.exp(half), abs=1e-3)  # -0.223
    assert high == pytest.approx(1 - 0.4 * math.exp(-half), abs=1e-3)  # 0.869
    assert low < 0.0 < high  # five pictures prove nothing, and it says so


def test_ux_10_the_interval_of_a_mean_is_students() -> None:
    low, high = spread_of([10.0, 20.0, 30.0]).interval() or (0.0, 0.0)
    half = 4.302653 * math.sqrt(100.0 / 3)  # t(0.975) with 2 degrees of freedom
    assert low == pytest.approx(20 - half)
    assert high == pytest.approx(20 + half)
    assert spread_of([10.0]).interval() is None
    assert Spread().known_mean is None


@pytest.mark.parametrize(
    ("costs", "share", "has_interval"),
    [
        ([], None, False),
        ([a_cost(10.0, 1)], None, False),  # nothing to compare with
        ([a_cost(10.0, 1), a_cost(None, 9, draft=False)], None, False),  # nobody measured
        ([a_cost(10.0, 1), a_cost(40.0, 9, draft=False)], 0.75, False),  # once each
        ([a_cost(50.0, 1), a_cost(40.0, 9, draft=False)], -0.25, False),  # drafts cost time
        ([a_cost(10.0, 1)] * 2 + [a_cost(40.0, 9, draft=False)] * 2, 0.75, True),  # no scatter
    ],
)
def test_ux_10_time_saved_is_told_only_where_it_was_measured(
    costs: list[CorrectionCost], share: float | None, has_interval: bool
) -> None:
    compared = sums_of(costs).of()
    assert compared.saved_share == (None if share is None else pytest.approx(share))
    assert (compared.saved_interval is not None) == has_interval
    if has_interval:
        assert list(compared.saved_interval or ()) == pytest.approx([0.75, 0.75])


def test_ux_10_sums_of_parts_are_the_sums_of_the_whole() -> None:
    whole, parts = sums_of(REPLAY), added([sums_of(REPLAY[:2]), sums_of(REPLAY[2:]), CostSums()])
    assert whole.annotators == parts.annotators == ("ada", "béla")
    assert whole.classes == parts.classes
    for kind, work in whole.work.items():
        assert parts.work[kind].seconds.mean == pytest.approx(work.seconds.mean)
        assert parts.work[kind].seconds.squares == pytest.approx(work.seconds.squares)
        assert parts.work[kind].annotations == work.annotations
    assert isinstance(parts.of(), Compared)
    assert parts.of(annotator="béla").with_draft.seconds == Spread(1, 20.0, 0.0)
    assert parts.of(drafted_by="other").both.annotations == 0


def test_ux_10_a_replayed_journal_tells_what_its_events_say() -> None:
    events = [
        {
            "event": "annotation.pulled",
            "sample_id": f"{number:016x}",
            "round_number": 1,
            "costs": [to_plain(cost)],
        }
        for number, cost in enumerate(REPLAY)
    ]
    figures = summed(costs_from_events(events))
    assert figures["seconds"]["with_draft"] == {"annotations": 3, "mean": 20.0}
    assert figures["seconds"]["without_draft"] == {"annotations": 2, "mean": 50.0}
    assert figures["seconds"]["saved_share"] == 0.6
    assert figures["seconds"]["saved_interval"][0] < 0.6 < figures["seconds"]["saved_interval"][1]
    assert figures["edits"]["without_draft"] == {"annotations": 2, "mean": 10.0}
    assert figures["annotators"]["ada"]["with_draft"]["seconds"] == 20.0
    assert figures["annotators"]["béla"]["saved_share"] == pytest.approx(1 - 20 / 60, abs=1e-4)
    assert figures["models"]["sam+seg"]["without_draft"]["edits"] == 10.0
    assert figures == told(sums_of(REPLAY))
