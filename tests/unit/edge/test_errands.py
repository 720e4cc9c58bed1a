"""Errands: one slow job at a time, and a failure that is told."""

import logging
import threading

from edge.errands import Errand


def test_a_second_job_is_not_started_while_one_is_under_way():
    gate, ran = threading.Event(), []
    errand = Errand("test")

    def slow() -> None:
        gate.wait(60)
        ran.append("slow")

    assert errand.start(slow)
    assert errand.is_under_way
    assert not errand.start(lambda: ran.append("never"))
    assert not errand.wait(0.01)
    gate.set()
    assert errand.wait(60)
    assert errand.start(lambda: ran.append("next"))
    assert errand.wait(60)
    assert ran == ["slow", "next"]


def test_a_job_that_fails_is_logged_and_the_next_one_runs(caplog):
    errand, ran = Errand("uploads"), []

    def broken() -> None:
        raise RuntimeError("a bug")

    with caplog.at_level(logging.ERROR):
        errand.start(broken)
        assert errand.wait(60)
    assert "uploads failed" in caplog.text
    errand.start(lambda: ran.append(1))
    assert errand.wait(60)
    assert ran == [1]
