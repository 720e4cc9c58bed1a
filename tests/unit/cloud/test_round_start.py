"""LLL-01: triggers in the loop: by storage, pictures and nodes, and by an operator's word."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from cloud.round_start import RoundStart, ask_for_round
from lifelong.config import RoundsSection
from lifelong.errors import LabelMapError
from lifelong.links.journal import Journal
from lifelong.links.storage import open_storage
from lifelong.records.edge_health import EdgeHealth
from lifelong.records.ids import RoundNumber
from lifelong.records.pixels import png_from_mask
from lifelong.records.rounds import RoundState
from lifelong.sections.trigger import ConditionSection, TimerSection, TriggerSection
from tests.builders import NOON, SMALL_MAP, a_hard_example, a_jpeg, a_round


class Clock:
    def __init__(self):
        self.now = NOON

    def __call__(self):
        return self.now


@pytest.fixture
def storage():
    return open_storage("memory://")


def a_start(storage, folder, clock=None, **trigger):
    return RoundStart(
        rules=RoundsSection(min_examples=3, trigger=TriggerSection(**trigger)),
        storage=storage,
        label_map=SMALL_MAP,
        journal=Journal(folder, "cloud"),
        now=clock or Clock(),
    )


def waiting(count, **changes):
    return [replace(a_hard_example(seed), **changes) for seed in range(count)]


def collecting(example):
    return a_round(RoundState.COLLECTING, incumbent=example.version_id)


def test_lll01_the_count_is_of_the_incumbents_own_doubts(storage, tmp_path):
    """LLL-01: leftovers of earlier models begin no round."""
    start, examples = a_start(storage, tmp_path), waiting(3)
    assert start.begins(collecting(examples[0]), examples, [])
    assert not start.begins(collecting(examples[0]), examples[:2], [])
    other = replace(collecting(examples[0]), incumbent="00000000000000ff")
    assert not start.begins(other, examples, [])


def test_lll01_the_oldest_has_waited_long_enough(storage, tmp_path):
    """LLL-01: a time window that the wait opens; the clock is moved by hand."""
    clock, examples = Clock(), waiting(1)
    condition = ConditionSection(metric="hours_waited", threshold=24)
    start = a_start(storage, tmp_path, clock, conditions=(condition,))
    clock.now = examples[0].captured_at + timedelta(hours=23)
    assert not start.begins(collecting(examples[0]), examples, [])
    clock.now += timedelta(hours=1)
    assert start.begins(collecting(examples[0]), examples, [])
    clock.now = examples[0].captured_at - timedelta(hours=9)  # a node's clock runs ahead
    assert not start.begins(collecting(examples[0]), examples, [])


def test_lll01_pictures_that_show_a_class_are_counted(storage, tmp_path):
    """LLL-01: by the mask of the edge; a picture that cannot be read counts for none."""
    examples = waiting(3)
    for example, class_id in zip(examples, (1, 1, 0), strict=True):
        storage.put(example.image_key, a_jpeg(0))
        mask = np.zeros((48, 64), dtype=np.uint8)
        mask[:9] = class_id
        storage.put(example.mask_key, png_from_mask(mask))
    for threshold, expected in ((2, True), (3, False)):
        condition = ConditionSection(metric="class_samples", class_name="car", threshold=threshold)
        start = a_start(storage, tmp_path, conditions=(condition,))
        assert start.begins(collecting(examples[0]), examples, []) is expected
    lost = [*examples, replace(a_hard_example(9), image_key="gone.jpg", mask_key="gone.png")]
    assert not start.begins(collecting(examples[0]), lost, [])


def test_a_class_that_is_none_is_refused_at_the_start(storage, tmp_path):
    condition = ConditionSection(metric="class_samples", class_name="unicorn", threshold=1)
    with pytest.raises(LabelMapError, match="unicorn"):
        a_start(storage, tmp_path, conditions=(condition,))


def test_lll01_novelty_agreement_and_the_last_round(storage, tmp_path):
    """LLL-01: what is not known holds nothing up for ever under `any`."""
    examples = waiting(2, novelty=0.9)
    conditions = (
        ConditionSection(metric="mean_novelty", threshold=0.8),
        ConditionSection(metric="draft_agreement", operator="<", threshold=0.5),
        ConditionSection(metric="hours_since_round", threshold=1),
    )
    clock = Clock()
    some = a_start(storage, tmp_path, clock, conditions=conditions)
    every = a_start(storage, tmp_path, clock, conditions=conditions, combine="all")
    assert some.begins(collecting(examples[0]), examples, [])
    assert not every.begins(collecting(examples[0]), examples, [])
    before = a_round(RoundState.REFUSED, entered={"refused": NOON})
    clock.now = NOON + timedelta(hours=2)
    assert not every.begins(collecting(examples[0]), examples, [before]), "nobody annotated"


def test_lll01_nodes_that_drift(storage, tmp_path, monkeypatch):
    """LLL-01: an alarm in a node's own report."""
    condition = ConditionSection(metric="drift_alarms", threshold=1)
    start, examples = a_start(storage, tmp_path, conditions=(condition,)), waiting(1)
    assert not start.begins(collecting(examples[0]), examples, [])
    seen = type("Seen", (), {"health": None})()
    seen.health = type("Health", (), {"alarms": {"entropy": "stability index 0.4"}})()
    assert "alarms" in EdgeHealth.__dataclass_fields__
    monkeypatch.setattr(start._edges, "look", lambda: [seen])
    assert start.begins(collecting(examples[0]), examples, [])


def test_lll01_an_operators_word_begins_the_open_round_and_no_other(storage, tmp_path):
    """LLL-01: through storage, while the service runs; outside the hours, and once."""
    start = a_start(storage, tmp_path, timer=TimerSection(start="22:00", end="06:00"))
    examples = waiting(1)
    round_ = collecting(examples[0])
    assert not start.begins(round_, examples, [])
    assert ask_for_round(storage, [round_], NOON, "olga") == round_.number
    assert start.begins(round_, examples, [])
    assert not start.begins(round_, [], []), "there is nothing to begin with"
    following = replace(round_, number=RoundNumber(round_.number + 1))
    assert not start.begins(following, examples, [])


@pytest.mark.parametrize(
    ("state", "expected"), [(RoundState.ANNOTATING, 2), (RoundState.RELEASED, 2), (None, 1)]
)
def test_a_word_while_a_round_is_under_way_holds_for_the_next(storage, state, expected):
    rounds = [] if state is None else [a_round(state, number=RoundNumber(1))]
    assert ask_for_round(storage, rounds, NOON, "olga") == expected
    assert ask_for_round(storage, rounds, NOON, "olga") == expected, "twice is once"


def test_what_began_a_round_stands_in_the_journal(storage, tmp_path):
    start, examples = a_start(storage, tmp_path), waiting(3)
    for _ in range(3):
        start.begins(collecting(examples[0]), examples, [])
    journal = "".join(path.read_text() for path in (tmp_path / "cloud").iterdir())
    assert journal.count("round.triggered") == 1
    assert "num_of_samples 3 >= 3" in journal
