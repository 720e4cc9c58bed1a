"""The one road between edge and cloud: objects under keys, in a folder, a bucket or memory.

`obstore` does the work; this module owns our keys, our errors, and the checks on put and get.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit
from urllib.request import url2pathname

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotFoundError,
    NotModifiedError,
    PreconditionError,
)
from obstore.store import LocalStore, MemoryStore, ObjectStore, S3Store, from_url

from lifelong.errors import (
    ChecksumError,
    ConfigError,
    ObjectChangedError,
    ObjectExistsError,
    ObjectNameError,
    ObjectNotFoundError,
    StorageError,
    StorageUnavailableError,
)
from lifelong.records.ids import sha256_hex

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import ClientConfig, RetryConfig

_KEY = re.compile(r"(?!.*(?:^|/)\.{1,2}(?:/|$))[^/\\\x00-\x1f]+(?:/[^/\\\x00-\x1f]+)*\Z")
# For a link that is dead without saying so. The second bounds one request, the largest as well; an
# upload has parts, so that each fits in over a slow line.
_TIMEOUTS: "ClientConfig" = {
    "connect_timeout": timedelta(seconds=10),
    "timeout": timedelta(seconds=120),
    "read_timeout": timedelta(seconds=30),  # without a byte
}
# Our own retry (`lifelong/links/retry.py`) decides; two quick tries bridge a hiccup.
_RETRIES: "RetryConfig" = {"max_retries": 2, "retry_timeout": timedelta(seconds=180)}

_DEBUG_TAIL = re.compile(r"\s*Debug source:.*", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An object as a listing tells of it, without a look at its bytes."""

    key: str
    size: int  # bytes
    modified: datetime  # UTC, by the store's clock
    mark: str  # another one after each write


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Account:
    """Whose bucket an `s3://` URL means, when it is not the storage's own account."""

    endpoint: str  # http(s)://host:port; "": that of AWS
    access_key_id: str
    secret_access_key: str = field(repr=False)


class Storage:
    """Objects under keys like `inbox/edge-1/0123456789abcdef/image.jpg`.

    Every method raises StorageUnavailableError when storage cannot be reached (worth a retry)
    and StorageError when it refuses.
    """

    def __init__(self, store: ObjectStore, url: str) -> None:
        self._store = store
        self.url = url

    def put(self, key: str, data: bytes) -> None:
        """Write an object whole, replacing what was there."""
        with _translated(self.url, key):
            _put(self._store, checked_key(key), data, "overwrite")

    def put_if_absent(self, key: str, data: bytes) -> None:
        """Write an object whole if there is none under `key`.

        Raises:
            ObjectExistsError: there is one already; it is left as it is.
        """
        with _translated(self.url, key):
            _put(self._store, checked_key(key), data, "create")

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        """Read an object whole, and check it when `sha256` (64 hex digits) is given.

        Raises:
            ObjectNotFoundError: there is none.
            ChecksumError: the bytes are not the promised ones.
        """
        with _translated(self.url, key):
            data = bytes(obstore.get(self._store, checked_key(key)).bytes())
        if sha256 is not None and sha256_hex(data) != sha256:
            raise ChecksumError(
                f"{self.url}/{key}: SHA-256 is {sha256_hex(data)[:12]}…, its record promises "
                f"{sha256[:12]}…; the object was damaged or replaced"
            )
        return data

    def read_marked(self, key: str) -> tuple[bytes, str]:
        """Read an object whole, with a mark that is another one after each write.

        Raises:
            ObjectNotFoundError: there is none.
        """
        with _translated(self.url, key):
            found = obstore.get(self._store, checked_key(key))
            return bytes(found.bytes()), str(found.meta["e_tag"] or "")

    def read_if_changed(self, key: str, mark: str, *, max_bytes: int) -> tuple[bytes, str] | None:
        """An object and its mark as `read_marked`; None where it still has the mark `mark`.

        Args:
            mark: "" for none yet.
            max_bytes: what is larger is not read.

        Raises:
            ObjectNotFoundError: there is none.
            StorageError: it is larger.
        """
        with _translated(self.url, key):
            try:
                options: GetOptions = {"if_none_match": mark} if mark else {}
                found = obstore.get(self._store, checked_key(key), options=options)
            except NotModifiedError:
                return None
            data = bytearray()
            for piece in found.stream(min_chunk_size=1 << 20):
                data += piece
                if len(data) > max_bytes:
                    raise StorageError(f"{self.url}/{key}: more than {max_bytes} bytes")
            return bytes(data), str(found.meta["e_tag"] or "")

    def put_if_unchanged(self, key: str, data: bytes, mark: str) -> None:
        """Replace the object that `read_marked` read.

        A bucket checks and writes at once; in a folder somebody may slip in between.

        Raises:
            ObjectChangedError: it was written, or removed, since.
        """
        with _translated(self.url, key):
            if isinstance(self._store, LocalStore):
                if self.read_marked(key)[1] != mark:
                    raise ObjectChangedError(f"{self.url}/{key}: changed since it was read")
                _put(self._store, checked_key(key), data, "overwrite")
            else:
                obstore.put(self._store, checked_key(key), data, mode={"e_tag": mark})

    def size(self, key: str) -> int | None:
        """Bytes of an object, or None when there is none."""
        try:
            with _translated(self.url, key):
                return int(obstore.head(self._store, checked_key(key))["size"])
        except ObjectNotFoundError:
            return None

    def exists(self, key: str) -> bool:
        """Is there an object under `key`?"""
        return self.size(key) is not None

    def keys(self, prefix: str) -> Iterator[str]:
        """All keys under the folder `prefix` (without a trailing slash), in sorted order."""
        with _translated(self.url, prefix):
            listed = [
                str(entry["path"])
                for batch in obstore.list(self._store, prefix=checked_key(prefix))
                for entry in batch
            ]
        return iter(sorted(listed))

    def entries(self, prefix: str) -> list[Entry]:
        """What one listing tells of all objects under the folder `prefix`, sorted by key."""
        with _translated(self.url, prefix):
            found = [
                Entry(
                    key=str(entry["path"]),
                    size=int(entry["size"]),
                    modified=entry["last_modified"],
                    mark=entry["e_tag"] or f"{entry['last_modified'].isoformat()} {entry['size']}",
                )
                for batch in obstore.list(self._store, prefix=checked_key(prefix))
                for entry in batch
            ]
        return sorted(found, key=lambda entry: entry.key)

    def folders(self, prefix: str) -> list[str]:
        """Names of the folders directly under `prefix`, sorted."""
        with _translated(self.url, prefix):
            found = obstore.list_with_delimiter(self._store, prefix=checked_key(prefix))
        return sorted(str(path).rsplit("/", 1)[-1] for path in found["common_prefixes"])

    def rooms(self) -> list[str]:
        """Names of the folders at the top, sorted."""
        with _translated(self.url, ""):
            found = obstore.list_with_delimiter(self._store)
        return sorted(str(path).split("/", 1)[0] for path in found["common_prefixes"])

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens when there is none."""
        try:
            with _translated(self.url, key):
                obstore.delete(self._store, checked_key(key))
        except ObjectNotFoundError:
            return

    def move(self, source: str, target: str) -> None:
        """Copy an object under another key, then remove it from the first one."""
        self.put(target, self.get(source))
        self.delete(source)


def open_storage(url: str, *, account: S3Account | None = None) -> Storage:
    """Open the store that `url` names: a folder path, `file://`, `s3://`, `gs://`, `az://`
    or `memory://`.

    S3 settings come from the environment as AWS tools set it (`AWS_ENDPOINT_URL`,
    `AWS_ACCESS_KEY_ID` …), and where those are silent as Sedna does (`S3_ENDPOINT_URL`,
    `ACCESS_KEY_ID`, `SECRET_ACCESS_KEY`): in a worker's pod the latter may be the account of
    Sedna's own URLs and the former that of our storage.

    Args:
        account: for `s3://`, instead of what the environment says.

    Raises:
        ConfigError: not a URL of a store we can open.
    """
    scheme = urlsplit(url).scheme
    try:
        if scheme == "memory":
            return Storage(MemoryStore(), url)
        if scheme == "s3":
            return Storage(_s3(url, account or _own_account()), url)
        if scheme in {"gs", "az"}:
            return Storage(from_url(url, client_options=_TIMEOUTS, retry_config=_RETRIES), url)
        if scheme in {"", "file"} or len(scheme) == 1:  # one letter: a Windows drive
            folder = Path(url2pathname(urlsplit(url).path) if scheme == "file" else url).absolute()
            # A folder without files goes: a listing would walk through all that ever were.
            store = LocalStore(prefix=folder, mkdir=True, automatic_cleanup=True)
            return Storage(store, folder.as_uri())
    except (BaseError, ValueError, OSError) as error:
        raise ConfigError(f"storage {url!r}: {_first_line(error)}") from error
    raise ConfigError(
        f"storage {url!r}: use a folder, file://, s3://bucket/prefix, gs://, az:// or memory://"
    )


def _put(
    store: ObjectStore, key: str, data: bytes, mode: Literal["create", "overwrite"], tries: int = 5
) -> None:
    for left in range(tries - 1, -1, -1):
        try:
            obstore.put(store, key, data, mode=mode)
            return
        except BaseError as error:
            # On a local folder: somebody has removed a last file, and with it the folder that
            # this put had just made.
            if left == 0 or "Unable to create dir" not in str(error):
                raise


def checked_key(key: str) -> str:
    """Refuse keys that are empty, absolute or could climb out of the store.

    Raises:
        StorageError: names the key.
    """
    if not _KEY.match(key):
        raise StorageError(f"storage key {key!r}: relative, without empty, '.' or '..' parts")
    return key


def _own_account() -> S3Account | None:
    """The storage's own account as the environment has it; None: obstore reads `AWS_…` itself."""
    own = os.environ
    if own.get("AWS_ACCESS_KEY_ID") or own.get("AWS_ENDPOINT_URL"):
        if not own.get("AWS_ACCESS_KEY_ID") and own.get("ACCESS_KEY_ID"):  # its keys, that server
            return _sednas_account(own["AWS_ENDPOINT_URL"])
        return None
    endpoint = own.get("S3_ENDPOINT_URL", "")
    return _sednas_account(endpoint) if endpoint or own.get("ACCESS_KEY_ID") else None


def _sednas_account(endpoint: str) -> S3Account:
    return S3Account(
        endpoint=endpoint,
        access_key_id=os.environ.get("ACCESS_KEY_ID", ""),
        secret_access_key=os.environ.get("SECRET_ACCESS_KEY", ""),
    )


def _s3(url: str, account: S3Account | None) -> S3Store:
    parts = urlsplit(url)
    prefix = parts.path.strip("/") or None
    endpoint = account.endpoint if account else os.environ.get("AWS_ENDPOINT_URL", "")
    if endpoint and "://" not in endpoint:
        endpoint = f"https://{endpoint}"
    options: dict[str, str] = {}
    if endpoint:
        options["endpoint"] = endpoint.rstrip("/")
    if account and account.access_key_id:
        options["access_key_id"] = account.access_key_id
        options["secret_access_key"] = account.secret_access_key
    if endpoint and not os.environ.get("AWS_REGION"):
        options["region"] = "us-east-1"
    return S3Store(
        parts.netloc,
        prefix=prefix,
        config=options,  # type: ignore[arg-type]
        client_options={
            **_TIMEOUTS,
            "allow_http": endpoint.startswith("http://"),
        },
        retry_config=_RETRIES,
    )


def _first_line(error: BaseException) -> str:
    return _DEBUG_TAIL.sub("", str(error)).strip().splitlines()[0] if str(error) else repr(error)


class _translated:  # noqa: N801 - reads as a phrase: `with _translated(url, key)`
    """Turn obstore's exceptions into ours at this border."""

    def __init__(self, url: str, key: str) -> None:
        self._where = f"{url}/{key}"

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, NotFoundError | FileNotFoundError | NotADirectoryError):
            raise ObjectNotFoundError(f"{self._where}: no such object") from error
        if isinstance(error, PreconditionError):
            raise ObjectChangedError(f"{self._where}: changed since it was read") from error
        if isinstance(error, AlreadyExistsError):
            raise ObjectExistsError(f"{self._where}: there is one already") from error
        if isinstance(error, BaseError):
            line = _first_line(error)
            if "invalid path" in line:  # it will not go away by itself either
                raise ObjectNameError(f"{self._where}: {line}; remove that object") from error
            # Wrong credentials will not heal by themselves; a dead link or a full disk may.
            if type(error).__name__ in {"UnauthenticatedError", "PermissionDeniedError"}:
                raise StorageError(f"{self._where}: {line}; check the credentials") from error
            raise StorageUnavailableError(f"{self._where}: {line}") from error
        if isinstance(error, OSError):
            raise StorageUnavailableError(f"{self._where}: {error}") from error
        if isinstance(error, ValueError):
            raise StorageError(f"{self._where}: {_first_line(error)}") from error
