"""The model file that Sedna deploys: `<outputDir>/deploy/index.pkl`, believed only when whole.

Sedna's controller copies over the old file without truncating it and not in one step, and anybody
on its network can make it copy. So a file counts when its first bytes, its length and its checksum
say so; what follows the bundle is the tail of an older one and is passed over. A file that is not
whole may be on its way: it is looked at again.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lifelong.errors import CorruptRecordError, LifelongError, SednaError, StorageUnavailableError
from lifelong.links.journal import Journal
from lifelong.links.storage import S3Account, Storage, open_storage
from lifelong.model_bundle import MAGIC, MAX_PAYLOAD, ModelBundle, read_bundle
from lifelong.records.ids import VersionId

logger = logging.getLogger(__name__)

LOOKS_AT_BROKEN = 5  # at a broken file that does not change any more
_LARGEST = MAX_PAYLOAD + 2**20  # bytes, with the header


@dataclass(frozen=True, slots=True)
class Deployed:
    """A whole bundle, as the last look found it; its bytes are not kept in memory."""

    version_id: VersionId
    sha256: str  # of the bundle's own bytes, without a tail


class DeployedFile:
    """Looks at the deployed file; reads it only when it has changed."""

    def __init__(self, url: str, journal: Journal, *, s3: S3Account | None = None) -> None:
        """Args: `url` is a path in this container or `s3://bucket/…/deploy/index.pkl`.

        Raises:
            SednaError: neither.
        """
        self.url = url
        self._journal = journal
        self._file = _opened(url, s3)
        self._mark: str | None = None  # before the first look
        self._found: Deployed | None = None
        self._looks_left = 0
        self._told = ""

    def look(self) -> Deployed | None:
        """What is deployed now; None: nothing, or nothing whole, which the journal says once.

        Raises:
            StorageUnavailableError: the bucket cannot be reached for now.
        """
        mark = self._file.mark()
        if mark != self._mark:
            self._mark, self._looks_left = mark, LOOKS_AT_BROKEN
        elif self._found is not None or self._looks_left <= 0:
            return self._found
        self._looks_left -= 1
        self.read()
        return self._found

    def read(self) -> ModelBundle | None:
        """The bundle itself.

        Raises:
            StorageUnavailableError: the bucket cannot be reached for now.
        """
        self._found = None
        try:
            bundle = read_bundle(self._file.bytes(), self.url)
        except StorageUnavailableError:
            raise
        except LifelongError as error:
            self._refuse(str(error))
            return None
        self._found = Deployed(bundle.version_id, bundle.sha256)
        self._told = ""
        return bundle

    def _refuse(self, reason: str) -> None:
        if reason != self._told:
            logger.warning("the deployed model is not taken: %s", reason)
            self._journal.event("deployed.refused", url=self.url, reason=reason)
        self._told = reason


@dataclass(frozen=True, slots=True)
class _File:
    """A way to look at one file and to read it."""

    mark: Callable[[], str]  # another one after each change; "" without a file
    bytes: Callable[[], bytes]


def _opened(url: str, s3: S3Account | None) -> _File:
    if "://" not in url:
        path = Path(url)
        return _File(lambda: _mark_of(path), lambda: _bytes_of(path))
    parts = url.rsplit("/", 2)
    if not url.startswith("s3://") or len(parts[0]) <= len("s3://"):
        raise SednaError(f"MODEL_URLS: {url} is neither a path nor s3://bucket/folder/index.pkl")
    storage, key = open_storage(parts[0], account=s3), "/".join(parts[1:])
    return _File(lambda: _mark_in(storage, key), lambda: _get(storage, key))


def _mark_of(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError:
        return ""
    return f"{stat.st_ino} {stat.st_mtime_ns} {stat.st_size}"


def _bytes_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            first = file.read(len(MAGIC))
            if first != MAGIC:  # whatever it is, it need not fit into memory
                return first
            if path.stat().st_size > _LARGEST:
                raise CorruptRecordError(f"{path}: larger than any bundle")
            return first + file.read()
    except OSError as error:
        raise SednaError(f"{path}: cannot be read ({error.strerror})") from error


def _mark_in(storage: Storage, key: str) -> str:
    found = [entry for entry in storage.entries(key.rsplit("/", 1)[0]) if entry.key == key]
    return found[0].mark if found else ""


def _get(storage: Storage, key: str) -> bytes:
    if (storage.size(key) or 0) > _LARGEST:
        raise CorruptRecordError(f"{storage.url}/{key}: larger than any bundle")
    return storage.get(key)
