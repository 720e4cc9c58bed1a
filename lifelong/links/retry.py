"""Backoff with jitter for errors that say `retryable`; sleep and randomness are arguments."""

import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from lifelong.errors import LifelongError

T = TypeVar("T")


def delays(
    *,
    first_s: float = 0.5,
    factor: float = 2.0,
    longest_s: float = 60.0,
    random_: random.Random | None = None,
) -> Iterator[float]:
    """Seconds to wait before each further try: exponential, capped, drawn from the upper half.

    So the nodes of a fleet that lost the same link do not come back in step, and none at once.
    """
    source = random_ or random.Random()
    ceiling = first_s
    while True:
        yield source.uniform(ceiling / 2, ceiling)
        ceiling = min(ceiling * factor, longest_s)


def with_retries(
    action: Callable[[], T],
    *,
    tries: int,
    waits: Iterator[float] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Call `action` until it succeeds, at most `tries` times; only `retryable` errors are retried.

    Raises:
        LifelongError: the last one, or the first that is not worth a retry.
    """
    pauses = waits or delays()
    for attempt in range(1, tries + 1):
        try:
            return action()
        except LifelongError as error:
            if not error.retryable or attempt == tries:
                raise
            sleep(next(pauses))
    raise ValueError(f"tries must be at least 1, got {tries}")
