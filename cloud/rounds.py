"""Rounds as storage keeps them: `rounds/{number}.json`, rewritten at each step."""

from lifelong.links.storage import Storage
from lifelong.records.ids import RoundNumber
from lifelong.records.rounds import Round
from lifelong.records.wire import from_json, to_json

ROUNDS = "rounds"
FIRST = RoundNumber(0)  # of what the first model was made with; it went through no job


class Rounds:
    """Reads and writes rounds; only the holder of the lease writes."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._over: dict[str, Round] = {}  # ended rounds change only when something is forgotten

    def all(self) -> list[Round]:
        """Every round, oldest first."""
        return [self._read(key) for key in self._storage.keys(ROUNDS)]

    def save(self, round_: Round) -> None:
        """Write a round."""
        self._storage.put(self._key(round_.number), to_json(round_))
        self._over.pop(self._key(round_.number), None)

    def get(self, number: RoundNumber) -> Round:
        """One round.

        Raises:
            ObjectNotFoundError: there is none of that number.
        """
        return self._read(self._key(number))

    def _read(self, key: str) -> Round:
        if key not in self._over:
            round_ = from_json(Round, self._storage.get(key), key)
            if not round_.is_over:
                return round_
            self._over[key] = round_
        return self._over[key]

    @staticmethod
    def _key(number: RoundNumber) -> str:
        return f"{ROUNDS}/{number:06d}.json"
