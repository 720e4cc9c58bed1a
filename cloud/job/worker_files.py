"""What a Sedna worker reads and writes besides storage: index lines in, one bundle file out.

Every place may be a path in this container or an `s3://` URL, with Sedna's account and not ours.
"""

import errno
import secrets
import time
from pathlib import Path

from lifelong.errors import ObjectNotFoundError, SednaError, StorageError, StorageUnavailableError
from lifelong.links.durable_files import sync_folder, write_synced
from lifelong.links.storage import S3Account, open_storage

# The only name that Sedna's controllers look for; the content is our bundle, never a pickle.
OUTPUT_NAME = "index.pkl"
LONGEST_LINE = 64 * 2**10  # bytes; Sedna's controller stops reading an index at a longer one
STALE_S = 3600.0  # after which an unfinished file is nobody's any more
# They do not heal by themselves, as a full disk may.
_FOR_GOOD = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST})


def write_output(output_url: str, data: bytes, *, s3: S3Account | None = None) -> str:
    """Put a bundle where Sedna expects this round's model; answers its URL.

    The folder does not exist yet in Sedna's local mode, or is that of an earlier round 1 after
    a restart of Sedna; the file appears whole or not at all. The same bytes change nothing.

    Raises:
        SednaError: it cannot be written, now and later.
        StorageUnavailableError: it cannot be written for now.
    """
    if "://" in output_url:
        open_storage(output_url, account=s3).put(OUTPUT_NAME, data)
        return f"{output_url}/{OUTPUT_NAME}"
    path = _output_folder(output_url) / OUTPUT_NAME
    try:
        if not path.exists() or path.read_bytes() != data:
            _replace(path, data)
        _clear(path.parent)
    except OSError as error:
        raise _not_written(output_url, error) from error
    return str(path)


def check_output(output_url: str, *, s3: S3Account | None = None) -> None:
    """Before hours of work: can its outcome be written?

    Raises:
        SednaError: no, now and later.
        StorageError: the bucket refuses, or is not there for now.
    """
    if "://" in output_url:
        storage = open_storage(output_url, account=s3)
        try:
            storage.put("trial", b"")
        except ObjectNotFoundError as error:
            raise SednaError(f"{output_url}: there is no such bucket") from error
        storage.delete("trial")
        return
    folder = _output_folder(output_url)
    trial = folder / f".{OUTPUT_NAME}.{secrets.token_hex(4)}"
    try:
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise _not_written(output_url, error) from error


def read_model(url: str, *, s3: S3Account | None = None) -> bytes:
    """A bundle file that another worker of this job wrote.

    Raises:
        SednaError: it is not there.
    """
    if "://" in url:
        folder, _, name = url.rpartition("/")
        try:
            return open_storage(folder, account=s3).get(name)
        except ObjectNotFoundError as error:
            raise SednaError(f"{url}: there is no such object") from error
    try:
        return Path(url).read_bytes()
    except OSError as error:
        raise SednaError(f"{url}: cannot be read ({error.strerror})") from error


def index_lines(url: str, *, s3: S3Account | None = None) -> list[str]:
    """Distinct sample lines of a Dataset index; blank and `#` lines are passed over.

    Sedna counts those as samples and repeats eval lines round after round. Lines longer than
    64 KiB are no samples: its controller stops reading there.

    Raises:
        SednaError: there is no such index.
    """
    lines = (line.strip() for line in read_model(url, s3=s3).splitlines())
    kept = (
        line.decode("utf-8", errors="replace")
        for line in lines
        if line and not line.startswith(b"#") and len(line) <= LONGEST_LINE
    )
    return list(dict.fromkeys(kept))


def _output_folder(output_url: str) -> Path:
    folder = Path(output_url)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_written(output_url, error) from error
    return folder


def _replace(path: Path, data: bytes) -> None:
    # A name of its own: two pods may be at the same work, each of them process number 1.
    temporary = path.with_name(f".{OUTPUT_NAME}.{secrets.token_hex(4)}")
    try:
        write_synced(temporary, data)
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _clear(folder: Path) -> None:
    """What a killed worker left unfinished."""
    for path in folder.glob(f".{OUTPUT_NAME}.*"):
        if time.time() - path.stat().st_mtime > STALE_S:
            path.unlink(missing_ok=True)


def _not_written(output_url: str, error: OSError) -> StorageError | SednaError:
    words = f"{output_url}: this round's model cannot be written ({error.strerror})"
    if error.errno in _FOR_GOOD:
        return SednaError(
            f"{words}; Sedna makes the folder above it for root alone: let the worker run as "
            "root, or change the folder's owner"
        )
    return StorageUnavailableError(words)
