"""The pictures of tasks: who has seen one needs neither fetch nor hash it again.

For each address it is remembered what its file hashes to, with a mark that tells whether the file
is still that one; so a second click on a picture costs a look at a file's date, or nothing. The
files themselves are kept for a moment only: whoever asked for the hash may want the pixels next.
"""

import io
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from annotation.assist.access import AccessTokens, ProjectAccess, Studio
from annotation.assist.addresses import Kind, parse_address
from annotation.assist.downloads import Connector, Downloads, connected
from annotation.assist.hosts import HostGate, Origin, Resolver, by_the_system, web_place
from annotation.assist.local_files import LocalFiles
from annotation.assist.picture_buckets import Buckets
from annotation.assist.picture_sources import Inline, Source, Uploads, Wanted, Web
from annotation.assist.segmenter import Picture
from annotation.assist.studio_files import StudioFiles
from lifelong.errors import ImageError, LifelongError, PictureAccessError
from lifelong.links.storage import Storage, open_storage
from lifelong.records.ids import sha256_hex
from lifelong.records.pixels import FORMATS, image_from_bytes
from lifelong.sections.assist import AssistSection

_KNOWN = 10_000  # addresses; some hundred bytes each
_HELD = 8  # files, and together no more bytes than one picture may have
_STALE_S = 60.0  # a server that is away is asked again after that long

_Key = tuple[str, ...]
_Landed = tuple[str, bytes | None]  # digest, and the file where it was fetched


@dataclass(frozen=True, slots=True)
class _Known:
    """What is remembered of an address."""

    digest: str
    mark: str
    fresh_until: float  # by the clock; before it nobody is asked


class Pictures:
    """Pictures by their addresses; every method may be called from many threads at once."""

    def __init__(
        self,
        studio: Studio,
        section: AssistSection,
        *,
        resolve: Resolver = by_the_system,
        connect: Connector = connected,
        open_: Callable[[str], Storage] = open_storage,
        environ: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            resolve, connect: the network, for tests.
            open_: opens `s3://bucket` and its like with the account that `environ` names.
        """
        max_bytes = section.max_picture_mib << 20
        gate = HostGate(own=studio.origin, private_hosts=section.private_hosts, resolve=resolve)
        downloads = Downloads(gate, max_bytes=max_bytes, connect=connect, clock=clock)
        files = StudioFiles(studio, downloads, AccessTokens(studio, downloads, clock))
        self._sources: Mapping[Kind, Source] = {
            Kind.UPLOAD: Uploads(files),
            Kind.LOCAL_FILE: LocalFiles(studio.local_files_root, files, max_bytes=max_bytes),
            Kind.BUCKET: Buckets(files, max_bytes=max_bytes, open_=open_, environ=environ),
            Kind.WEB: Web(downloads),
            Kind.INLINE: Inline(max_bytes=max_bytes),
        }
        self._studio = studio
        self._clock = clock
        self._max_held = max_bytes
        self._lock = threading.Lock()
        self._known: OrderedDict[_Key, _Known] = OrderedDict()
        self._held: OrderedDict[str, bytes] = OrderedDict()  # by digest, the oldest first
        self._flights: dict[tuple[_Key, bool], Future[_Landed]] = {}

    def picture(self, address: str, *, task_id: int | None, project: ProjectAccess) -> Picture:
        """The picture at an address of a task's data; nothing is fetched yet.

        Raises:
            PictureAccessError: nothing that pictures are fetched from.
        """
        parsed = parse_address(address, self._own(project))
        return _TaskPicture(self, Wanted(address=parsed, task_id=task_id, project=project))

    def digest(self, wanted: Wanted) -> str:
        """SHA-256 of the file, hex; fetched where it is not known or may have changed.

        Raises:
            PictureAccessError: it cannot be fetched.
        """
        key = _key(wanted)
        with self._lock:
            known = self._known.get(key)
        if known is not None and self._clock() < known.fresh_until:
            return known.digest
        return self._alone(key, wanted, whole=False)[0]

    def encoded(self, wanted: Wanted, digest: str) -> bytes:
        """The file with that digest.

        Raises:
            PictureAccessError: it cannot be fetched, or is another one by now.
        """
        held = self._taken(digest)
        if held is not None:
            return held
        now, data = self._alone(_key(wanted), wanted, whole=True)
        if data is None or now != digest:
            raise PictureAccessError(
                f"{wanted.address.name}: the file was replaced just now; click again"
            )
        return data

    def _own(self, project: ProjectAccess) -> list[Origin]:
        """Where addresses are Label Studio's: as configured, and as it calls itself."""
        own = [self._studio.origin]
        if project.hostname:
            # A sub-path alone, or nonsense: then only the configured one is recognised.
            with suppress(PictureAccessError):
                own.append(web_place(project.hostname, "hostname").origin)
        return own

    def _alone(self, key: _Key, wanted: Wanted, *, whole: bool) -> _Landed:
        """Digest and bytes after a fetch that everybody who asks meanwhile waits for, and shares.

        Args:
            whole: the bytes are needed, even if the file has not changed.
        """
        with self._lock:
            flight = self._flights.get((key, whole))
            is_ours = flight is None
            if flight is None:
                flight = self._flights[key, whole] = Future()
        if not is_ours:
            return _result(flight)
        try:
            flight.set_result(self._fetch(key, wanted, whole=whole))
        except BaseException as error:
            flight.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._flights[key, whole]
        return flight.result()

    def _fetch(self, key: _Key, wanted: Wanted, *, whole: bool) -> _Landed:
        with self._lock:
            known = self._known.get(key)
        mark = known.mark if known is not None and not whole else ""
        try:
            fetched = self._sources[wanted.address.kind].fetch(wanted, mark)
        except PictureAccessError as error:
            if known is None or whole or not error.retryable:
                raise
            # Nobody's work stops because a file server is away for a moment.
            self._learn(key, replace(known, fresh_until=self._clock() + _STALE_S))
            return known.digest, None
        until = self._clock() + fetched.fresh_s
        if fetched.data is None:
            if known is None:
                raise PictureAccessError(f"{wanted.address.name}: no file was sent; try again")
            self._learn(key, replace(known, fresh_until=until))
            return known.digest, None
        digest = sha256_hex(fetched.data)
        self._learn(key, _Known(digest, fetched.mark, until))
        self._hold(digest, fetched.data)
        return digest, fetched.data

    def _learn(self, key: _Key, known: _Known) -> None:
        with self._lock:
            self._known[key] = known
            self._known.move_to_end(key)
            if len(self._known) > _KNOWN:
                self._known.popitem(last=False)

    def _hold(self, digest: str, data: bytes) -> None:
        with self._lock:
            self._held[digest] = data
            self._held.move_to_end(digest)
            while len(self._held) > 1 and (
                len(self._held) > _HELD
                or sum(len(held) for held in self._held.values()) > self._max_held
            ):
                self._held.popitem(last=False)

    def _taken(self, digest: str) -> bytes | None:
        with self._lock:
            if digest in self._held:
                self._held.move_to_end(digest)
            return self._held.get(digest)


class _TaskPicture:
    """A `Picture`; once its digest was told, it stays that picture or says that it is gone."""

    def __init__(self, pictures: Pictures, wanted: Wanted) -> None:
        self._pictures = pictures
        self._wanted = wanted
        self._digest = ""

    @property
    def digest(self) -> str:
        if not self._digest:
            self._digest = self._pictures.digest(self._wanted)
        return self._digest

    @property
    def name(self) -> str:
        return self._wanted.address.name

    def pixels(self) -> NDArray[np.uint8]:
        return picture_pixels(self._pictures.encoded(self._wanted, self.digest), self.name)


def picture_pixels(data: bytes, name: str) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB, upright, of a file that anybody may have made.

    Raises:
        ImageError: not of a format that is read here, damaged, or too many pixels.
    """
    try:
        Image.open(io.BytesIO(data), formats=FORMATS).close()
    except Exception:
        # Whatever a parser of foreign bytes raises; what it quotes of them is nobody's business.
        raise ImageError(
            f"{name}: no picture that is read here ({', '.join(FORMATS)}) in {len(data)} bytes; "
            "does the address lead to a picture?"
        ) from None
    return image_from_bytes(data, name)


def _key(wanted: Wanted) -> _Key:
    address, project = wanted.address, wanted.project
    if address.kind is Kind.INLINE:  # as large as its picture
        return (address.kind, sha256_hex(address.place.encode()))
    if address.kind is Kind.WEB:  # with another log-in it may be another file
        return (address.kind, address.place, project.login, project.password)
    return (address.kind, address.place)


def _result(flight: Future[_Landed]) -> _Landed:
    try:
        return flight.result()
    except LifelongError as error:
        # One of its own for each thread: a traceback is written into the error that is raised.
        told = type(error)(*error.args)
        told.retryable = error.retryable
        raise told from None
