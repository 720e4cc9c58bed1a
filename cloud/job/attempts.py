"""How often a worker began the same work and was never heard of again.

A pod that is killed for memory leaves no error behind, and kubelet starts it again for ever.
After so many beginnings that came no further than the one before, the work counts as failed.
"""

import json

from lifelong.errors import LifelongError, ObjectNotFoundError
from lifelong.links.storage import Storage
from lifelong.records.ids import RoundNumber
from lifelong.records.wire import json_object

MOST = 5  # beginnings without progress


class Attempts:
    """Counts the beginnings of one kind of work, `progress/attempts-{stage}-{round}.json`."""

    def __init__(self, storage: Storage, stage: str) -> None:
        self._storage = storage
        self._stage = stage

    def begin(self, number: RoundNumber, progress: int = 0) -> bool:
        """Count one more beginning; False: there were too many already.

        Args:
            progress: how far the one before came; when that is further than at its own
                beginning, counting starts anew.
        """
        before, reached = self._read(number)
        count = 1 if progress > reached else before + 1
        if count > MOST:
            return False
        state = {"schema": 1, "attempts": count, "progress": max(progress, reached)}
        self._storage.put(self._key(number), json.dumps(state).encode())
        return True

    def done(self, number: RoundNumber) -> None:
        """The work came to an end; nothing is counted any more."""
        self._storage.delete(self._key(number))

    def _read(self, number: RoundNumber) -> tuple[int, int]:
        key = self._key(number)
        try:
            state = json_object(self._storage.get(key), key)
            return int(state["attempts"]), int(state["progress"])
        except ObjectNotFoundError:
            return 0, 0
        except (LifelongError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, LifelongError) and error.retryable:
                raise
            return 0, 0

    def _key(self, number: RoundNumber) -> str:
        return f"progress/attempts-{self._stage}-{number:06d}.json"
