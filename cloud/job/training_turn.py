"""One training at a time: Sedna may start two train pods for one round, and one is enough.

A lease of its own says whose turn it is, beside the service's. It saves work and memory; that
both pods end with the same candidate is the knowledge base's doing, which knows one a round.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cloud.lease import Lease
from lifelong.errors import LeaseLostError, LifelongError
from lifelong.links.journal import utc_now
from lifelong.links.storage import Storage

logger = logging.getLogger(__name__)

ROOM = "training_lease"


@contextmanager
def training_turn(
    storage: Storage,
    seconds: float,
    *,
    is_settled: Callable[[], bool],
    on_wait: Callable[[], None] = lambda: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[bool]:
    """Wait for the turn, and keep it while the body runs.

    Args:
        seconds: after which a silent holder is taken for dead.
        is_settled: need nobody train any more? Then the body gets False.
        on_wait: called once when another one trains.
    """
    lease = Lease(storage, seconds, utc_now, room=ROOM)
    is_told = False
    while not lease.hold():
        if is_settled():
            yield False
            return
        if not is_told:
            on_wait()
            is_told = True
        sleep(min(2.0, seconds / 4))
    ended = threading.Event()
    renewal = threading.Thread(target=_renew, args=(lease, seconds / 4, ended), daemon=True)
    renewal.start()
    try:
        yield not is_settled()
    finally:
        ended.set()
        renewal.join()
        _hand_back(lease)


def _hand_back(lease: Lease) -> None:
    try:
        lease.release()
    except LifelongError as error:  # it ends by itself, and the work is done
        logger.warning("the turn to train is not handed back: %s", error)


def _renew(lease: Lease, pause: float, ended: threading.Event) -> None:
    while not ended.wait(pause):
        try:
            lease.hold()
        except LeaseLostError as error:
            # This process slept for longer than its lease. What it trains is still good: the
            # first candidate that is recorded counts, whoever trained it.
            logger.warning("the training goes on, but %s", error)
            return
        except LifelongError as error:
            logger.warning("the turn to train is not renewed for now: %s", error)
