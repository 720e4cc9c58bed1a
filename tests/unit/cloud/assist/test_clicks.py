"""INT-02, INT-23: what is asked of a decoder, and that nobody else's questions change an answer."""

import itertools

import numpy as np
import pytest

from annotation.assist.segmenter import Wish
from cloud.assist.clicks import Clicks
from cloud.assist.drawn_hints import padded_hint, spoken_hint, squeezed_hint
from cloud.assist.interactive_model import Decoded, Embedded
from cloud.assist.prompt_checks import one_box_each
from lifelong.errors import ModelOutputError, PromptError
from lifelong.records.prompts import Box, Point, Prompt
from tests.unit.cloud.assist.engine_stubs import StubModel, together

EMBEDDED = Embedded(6, 8, {"image": np.full((1, 4), 5, np.float32)})
A, B, C = Point(1, 1), Point(2, 2, is_positive=False), Point(3, 3)
BOX = Box(0, 0, 4, 4)


class Refining(StubModel):
    """Its logits are a number that all that was asked before went into."""

    def __init__(self):
        super().__init__(takes_masks=True)

    def decode(self, embedded, prompt, *, previous=None, several):
        self.decoded.append((prompt, previous, several))
        before = 0.0 if previous is None else float(previous.sum())
        value = np.sin(7 * before + 3 * len(prompt.points) + 100 * len(prompt.boxes) + several)
        count = 3 if several else 1
        values = value + np.arange(count)
        low_res = np.broadcast_to(values[:, None, None], (count, 2, 2)).astype(np.float32)
        return Decoded(low_res, np.array([0.5, 0.9, 0.7][:count], np.float32))

    def enlarge(self, low_res, embedded):
        return np.repeat(np.repeat(low_res, 3, axis=1), 4, axis=2)


def wish(*points, boxes=(), candidates=1, drawn=None):
    return Wish(prompt=Prompt(points=points, boxes=boxes), candidates=candidates, drawn=drawn)


def ask(clicks, model, asked, picture="a" * 64):
    return clicks.answer(model, EMBEDDED, picture, asked)


def asked_of(model):
    return [(len(p.points), len(p.boxes), previous is not None, several)
            for p, previous, several in model.decoded]  # fmt: skip


def test_int_23_every_further_point_follows_the_logits_of_those_before():
    model, clicks = Refining(), Clicks()

    ask(clicks, model, wish(A, B, C))

    assert asked_of(model) == [(1, 0, False, True), (2, 0, True, False), (3, 0, True, False)]
    # The best by predicted IoU went on: the second of the three.
    first = Refining().decode(EMBEDDED, Prompt(points=(A,)), several=True)
    np.testing.assert_array_equal(model.decoded[1][1], first.low_res[1])


def test_int_23_a_further_click_costs_one_decoder_pass():
    model, clicks = Refining(), Clicks()

    for points in ((A,), (A, B), (A, B, C)):
        before = len(model.decoded)
        ask(clicks, model, wish(*points))
        assert len(model.decoded) == before + 1

    ask(clicks, model, wish(C, boxes=(BOX,)))  # the box alone, then with its point
    assert asked_of(model)[-2:] == [(0, 1, False, False), (1, 1, True, False)]


def test_int_23_the_answer_does_not_depend_on_who_asked_before():
    """INT-10, INT-23: fresh or after any other questions, in one thread or in eight."""
    questions = [
        wish(*points, boxes=boxes, candidates=candidates)
        for points in ((A,), (A, B), (A, C), (B, A), (A, B, C))
        for boxes in ((), (BOX,))
        for candidates in (1, 3)
    ]
    alone = [ask(Clicks(), Refining(), question) for question in questions]
    shared, model = Clicks(kept_bytes=64), Refining()  # so few that most are decoded anew

    def annotator(seed):
        order = np.random.default_rng(seed).permutation(len(questions) * 5) % len(questions)
        return [(number, ask(shared, model, questions[number])) for number in order]

    for number, answer in itertools.chain.from_iterable(together(8, annotator)):
        np.testing.assert_array_equal(answer.masks, alone[number].masks)
        np.testing.assert_array_equal(answer.scores, alone[number].scores)


def test_int_23_another_picture_or_model_has_logits_of_its_own():
    model, other, clicks = Refining(), Refining(), Clicks()
    other.digest = "6" * 64
    ask(clicks, model, wish(A))

    ask(clicks, model, wish(A, B), picture="b" * 64)
    ask(clicks, other, wish(A, B))

    assert [len(model.decoded), len(other.decoded)] == [3, 2]


def test_int_23_what_is_not_part_of_the_thing_cannot_be_the_first_answer():
    model = Refining()

    ask(Clicks(), model, wish(B, A))

    assert asked_of(model) == [(2, 0, False, False)]


def test_int_23_a_model_that_never_learnt_masks_is_asked_once():
    model = StubModel()

    ask(Clicks(), model, wish(A, B, C))

    assert asked_of(model) == [(3, 0, False, False)]


def test_int_23_one_point_is_vague_a_box_is_not():
    model = StubModel()

    ask(Clicks(), model, wish(A))
    ask(Clicks(), model, wish(boxes=(BOX,)))
    ask(Clicks(), model, wish(A, boxes=(BOX,)))
    three = ask(Clicks(), model, wish(boxes=(BOX,), candidates=3))

    assert [several for _, _, several in model.decoded] == [True, False, False, True]
    assert three.scores.tolist() == pytest.approx([0.9, 0.7, 0.5])


def test_int_02_several_boxes_are_one_object_of_several_prompts():
    inside, beside, away = Point(1, 2), Point(7, 5), Point(7, 1, is_positive=False)
    boxes = (BOX, Box(5, 4, 6, 6))

    parts = one_box_each(Prompt(points=(inside, beside, away), boxes=boxes))

    assert parts == (
        Prompt(points=(inside, away), boxes=(boxes[0],)),
        Prompt(points=(away,), boxes=(boxes[1],)),
        Prompt(points=(beside, away)),
    )
    model = StubModel()
    answer = ask(Clicks(), model, wish(boxes=boxes))
    assert len(model.decoded) == 2
    assert answer.masks.shape == (1, 6, 8)
    singles = [ask(Clicks(), StubModel(), wish(boxes=(box,))).masks for box in boxes]
    np.testing.assert_array_equal(answer.masks, singles[0] | singles[1])


def test_int_02_a_drawn_hint_is_a_mask_prompt_where_masks_were_learnt():
    drawn = np.zeros((6, 8), bool)
    drawn[1:4, 2:6] = True
    model = Refining()

    ask(Clicks(), model, wish(drawn=drawn))
    ask(Clicks(), model, wish(A, drawn=drawn))

    (box_alone, hint, _), (point, same, _) = model.decoded
    assert box_alone == Prompt(boxes=(Box(2, 1, 6, 4),))
    assert point == Prompt(points=(A,))
    np.testing.assert_array_equal(hint, padded_hint(drawn, 8))
    np.testing.assert_array_equal(same, hint)


def test_int_02_a_drawn_hint_is_a_point_and_a_box_where_they_were_not():
    drawn = np.zeros((60, 80), bool)
    drawn[10:40, 20:60] = True
    drawn[24, 21:23] = False

    alone = spoken_hint(drawn, Prompt())
    beside = spoken_hint(drawn, Prompt(points=(B,)))

    (deepest,) = alone.points
    assert alone.boxes == (Box(20, 10, 60, 40),)
    assert 24 <= deepest.y <= 26
    assert 35 <= deepest.x <= 46
    assert beside.boxes == ()
    assert beside.points == (deepest, B)
    with pytest.raises(PromptError, match="nothing is drawn"):
        spoken_hint(np.zeros((5, 5), bool), Prompt())


def test_int_02_hints_lie_where_the_model_looks():
    drawn = np.zeros((50, 100), bool)
    drawn[:25, 50:] = True  # the upper right quarter

    padded, squeezed = padded_hint(drawn, 16), squeezed_hint(drawn, 16)

    assert padded.shape == squeezed.shape == (16, 16)
    assert padded.dtype == squeezed.dtype == np.float32
    np.testing.assert_array_equal(padded[:4, 8:] > 0, True)
    assert (padded > 0).sum() == 4 * 8
    np.testing.assert_array_equal(squeezed[:8, 8:] > 0, True)
    assert (squeezed > 0).sum() == 8 * 8


def test_ops_03_a_model_that_answers_nan_is_not_believed():
    class Broken(StubModel):
        def decode(self, embedded, prompt, *, previous=None, several):
            good = super().decode(embedded, prompt, previous=previous, several=several)
            return Decoded(good.low_res, np.full_like(good.predicted_iou, np.nan))

    with pytest.raises(ModelOutputError, match="its weights are bad"):
        ask(Clicks(), Broken(), wish(A))


def test_int_11_kept_logits_are_bounded_and_keep_nothing_else_alive():
    model, clicks = Refining(), Clicks(kept_bytes=5 * 16)
    for number in range(50):
        ask(clicks, model, wish(Point(number, 1)))

    assert len(clicks._kept) == 5
    assert all(logits.base is None for logits in clicks._kept.values())
