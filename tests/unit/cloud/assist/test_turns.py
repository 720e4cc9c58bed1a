"""INT-27: bounded threads; a click goes before words, those before what is embedded beforehand."""

import threading

import pytest

from cloud.assist.turns import Level
from cloud.assist.work_book import WorkBook
from lifelong.errors import ModelBusyError, PromptError
from tests.unit.cloud.assist.engine_stubs import PATIENCE_S, together


def begin(book, kind="click"):
    return book.begin(kind, "a picture")


class HeldUp:
    """Something to compute that pauses until it is let go, and says when it began."""

    def __init__(self, name, order):
        self.name, self.order = name, order
        self.begun, self.go = threading.Event(), threading.Event()
        self.steps = 0

    def __call__(self, pause):
        self.order.append(self.name)
        self.begun.set()
        while not self.go.wait(0.001):
            pause()
            self.steps += 1
        pause()
        return self.name


def test_int_27_each_level_has_its_own_threads_whoever_asks(turns, book):
    names = together(
        12,
        lambda _: turns.do(
            Level.DECODE, lambda _pause: threading.current_thread().name, begin(book)
        ),
    )

    assert set(names) == {"assist-decode-0"}


def test_int_27_a_click_is_decoded_while_a_picture_is_embedded_beforehand(turns, book):
    order = []
    ahead = HeldUp("ahead", order)
    turns.submit(Level.PREFETCH, ahead, begin(book, "embed"))
    assert ahead.begun.wait(PATIENCE_S)

    answer = turns.do(Level.DECODE, lambda _pause: "mask", begin(book))

    assert answer == "mask"
    assert not ahead.go.is_set()  # nobody waited for it
    ahead.go.set()


def test_int_27_the_lower_pauses_while_a_higher_is_at_work(turns, book):
    order = []
    ahead, click = HeldUp("ahead", order), HeldUp("click", order)
    slow = turns.submit(Level.PREFETCH, ahead, ahead_work := begin(book, "embed"))
    assert ahead.begun.wait(PATIENCE_S)
    fast = turns.submit(Level.CLICK, click, click_work := begin(book))
    assert click.begun.wait(PATIENCE_S)
    ahead.go.set()  # could end now, were it not for the click

    before = click.steps
    while click.steps < before + 50:
        pass
    assert not slow.has_ended

    click.go.set()
    assert turns.wait(fast, click_work) == "click"
    assert turns.wait(slow, ahead_work) == "ahead"


def test_int_27_somebody_who_joins_makes_it_more_urgent(turns, book):
    order = []
    first, wanted, last = (HeldUp(name, order) for name in ("first", "wanted", "last"))
    turns.submit(Level.PREFETCH, first, begin(book))
    assert first.begun.wait(PATIENCE_S)
    turns.submit(Level.PREFETCH, last, begin(book))
    turn = turns.submit(Level.PREFETCH, wanted, begin(book))

    click = begin(book)
    assert turns.join(turn, click, Level.CLICK)
    wanted.go.set()

    assert turns.wait(turn, click) == "wanted"  # though the two that came before it go on
    assert order == ["first", "wanted"]
    first.go.set()
    last.go.set()


def test_int_27_cancelled_before_its_turn_is_never_begun(turns, book):
    order = []
    first, second = HeldUp("first", order), HeldUp("second", order)
    turns.submit(Level.CLICK, first, begin(book))
    assert first.begun.wait(PATIENCE_S)
    work = begin(book)
    turn = turns.submit(Level.CLICK, second, work)

    assert book.cancel(work.work_id)
    with pytest.raises(ModelBusyError, match="a picture: cancelled; ask again"):
        turns.wait(turn, work)
    assert not turns.join(turn, begin(book), Level.CLICK)  # who comes now begins anew

    first.go.set()
    turns.close()
    assert order == ["first"]


def test_int_27_an_error_reaches_who_asked_and_the_thread_goes_on(turns, book):
    def fails(_pause):
        raise PromptError("outside the picture")

    with pytest.raises(PromptError, match="outside the picture"):
        turns.do(Level.DECODE, fails, begin(book))

    assert turns.do(Level.DECODE, lambda _pause: 5, begin(book)) == 5


def test_int_27_what_follows_an_answer_may_fail_and_nobody_waits_for_it(turns, book, caplog):
    def after():
        raise RuntimeError("no room")

    work = begin(book)
    turn = turns.submit(Level.CLICK, lambda _pause: 5, work, after=after)

    assert turns.wait(turn, work) == 5
    assert turns.do(Level.CLICK, lambda _pause: 6, begin(book)) == 6
    assert "no room" in caplog.text


def test_int_27_what_ended_is_kept_for_a_while_and_bounded():
    now = [1000.0]
    book = WorkBook(clock=lambda: now[0])
    embed = book.begin("embed", "project 5", total=3)
    embed.done = 1
    assert [item.state for item in book.items()] == ["waiting"]
    for number in range(200):
        now[0] += 1
        book.end_by(book.begin("click", f"picture {number}"), None)
    book.end_by(embed, PromptError("what went wrong, and what to do"))

    items = book.items()

    assert len(items) == 51  # clicks do not push out what else ended
    assert [item.subject for item in items[:2]] == ["picture 199", "picture 198"]
    (failed,) = [item for item in items if item.kind == "embed"]
    assert (failed.state, failed.done, failed.total) == ("failed", 1, 3)
    assert failed.words == "what went wrong, and what to do"
    assert not book.cancel(failed.work_id)
    now[0] += 601
    assert book.items() == []
