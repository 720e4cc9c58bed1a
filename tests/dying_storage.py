"""A storage whose process dies in the middle of its work."""

from collections.abc import Callable

from lifelong.errors import StorageUnavailableError
from lifelong.links.storage import Storage


class Dying(Storage):
    """Storage whose process dies at its n-th write or removal, before or after it."""

    def __init__(self, real: Storage, at: int, *, after: bool) -> None:
        super().__init__(real._store, real.url)
        self.left, self.after = at, after

    def _doing(self, act: Callable[[], None]) -> None:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise StorageUnavailableError("killed before")
        act()
        if self.left == 0:
            raise StorageUnavailableError("killed after")

    def put(self, key: str, data: bytes) -> None:
        self._doing(lambda: Storage.put(self, key, data))

    def put_if_absent(self, key: str, data: bytes) -> None:
        self._doing(lambda: Storage.put_if_absent(self, key, data))

    def delete(self, key: str) -> None:
        self._doing(lambda: Storage.delete(self, key))
