"""Links that break: storage that is cut at a byte, and a TCP road to a real server that is."""

import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field

from obstore.store import LocalStore

from lifelong.errors import StorageUnavailableError
from lifelong.links.storage import Storage


class CutStorage(Storage):
    """Carries so many bytes, then writes what came over of the object at hand, and is dead.

    Harsher than a folder or S3, which keep an object whole or not at all.
    """

    def __init__(self, folder: str, bytes_left: int) -> None:
        super().__init__(LocalStore(prefix=folder, mkdir=True), folder)
        self._left: int | None = bytes_left

    @property
    def is_dead(self) -> bool:
        """Has the link been cut?"""
        return self._left is not None and self._left < 0

    def put(self, key: str, data: bytes) -> None:
        """As `Storage.put`, up to the cut."""
        super().put(key, self._carried(key, data))
        self._check(key)

    def put_if_absent(self, key: str, data: bytes) -> None:
        """As `Storage.put_if_absent`, up to the cut."""
        super().put_if_absent(key, self._carried(key, data))
        self._check(key)

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        """As `Storage.get`; what is read counts, too."""
        self._check(key)
        data = super().get(key, sha256=sha256)
        self._carried(key, data)
        self._check(key)
        return data

    def size(self, key: str) -> int | None:
        """As `Storage.size`."""
        self._check(key)
        return super().size(key)

    def delete(self, key: str) -> None:
        """As `Storage.delete`."""
        self._check(key)
        super().delete(key)

    def _carried(self, key: str, data: bytes) -> bytes:
        self._check(key)
        if self._left is None:
            return data
        self._left -= len(data)
        return data if self._left >= 0 else data[: self._left]

    def _check(self, key: str) -> None:
        if self.is_dead:
            raise StorageUnavailableError(f"{self.url}/{key}: the link was cut")


@dataclass
class CutRoad:
    """A TCP proxy on loopback that closes everything after so many bytes, until it is mended."""

    host: str
    port: int  # of the server behind it
    cut_after: int | None = None  # bytes, both ways together; None: never
    carried: int = 0
    is_cut: bool = False
    _sockets: list[socket.socket] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def arm(self, cut_after: int) -> None:
        """Cut so many bytes from now."""
        with self._lock:
            self.cut_after, self.carried, self.is_cut = cut_after, 0, False

    def mend(self) -> None:
        """Carry everything from now on."""
        with self._lock:
            self.cut_after, self.is_cut = None, False

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()
        self._close_all()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.is_cut:
                client.close()
                continue
            try:
                server = socket.create_connection((self.host, self.port))
            except OSError:
                client.close()
                continue
            with self._lock:
                self._sockets += [client, server]
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(4096):
                target.sendall(self._allowed(data))
                if self.is_cut:
                    break
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._sockets = [s for s in self._sockets if s not in (source, target)]
        if self.is_cut:
            self._close_all()

    def _allowed(self, data: bytes) -> bytes:
        with self._lock:
            if self.cut_after is None:
                return data
            if self.is_cut:
                return b""
            room = self.cut_after - self.carried
            self.carried += len(data)
            self.is_cut = len(data) > room
            return data[: max(room, 0)]

    def _close_all(self) -> None:
        with self._lock:
            sockets, self._sockets = self._sockets, []
        for end in sockets:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
