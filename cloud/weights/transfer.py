"""Bytes of one file from a web server or a folder, resumed where an earlier try broke off.

What has arrived lies in NAME.part until somebody has checked it. A part that was begun by an
earlier command goes on only if the server still has the same file (its ETag, kept beside it).
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from lifelong.errors import ModelLoadError

# (bytes so far, bytes in all or None)
Progress = Callable[[int, int | None], None]
_CHUNK = 1 << 20
_SHA256_DIGITS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A file that has arrived, and what its sender says of it."""

    part: Path
    sha256: str | None  # as the hub announces it


def part_of(target: Path) -> Path:
    """Where a file lies until it is checked."""
    return target.with_name(f"{target.name}.part")


def forget(part: Path) -> None:
    """Remove a part and what is known about it."""
    part.unlink(missing_ok=True)
    _etag_path(part).unlink(missing_ok=True)


class WebFiles:
    """Files by their address; a connection that breaks is taken up again where it broke."""

    def __init__(self, client: httpx.Client, *, attempts: int = 6, pause: float = 1.0) -> None:
        """Args:
        pause: seconds before the second attempt; each further pause is twice as long.
        """
        self._client, self._attempts, self._pause = client, attempts, pause

    def fetch(self, address: str, target: Path, progress: Progress) -> Arrived | None:
        """Bring a file to `part_of(target)`; None if the server has no such file.

        Raises:
            ModelLoadError: refused, or not reachable after several attempts; what has arrived
                stays for the next command.
        """
        trouble: Exception | None = None
        for attempt in range(self._attempts):
            if attempt:
                time.sleep(self._pause * 2 ** (attempt - 1))
            try:
                return self._try(address, target, progress)
            except httpx.HTTPStatusError as error:
                if error.response.status_code < 500:
                    raise ModelLoadError(
                        f"{address}: refused with {error.response.status_code}; check the name, "
                        "accept the model's terms there, or pull with --from MIRROR_OR_FOLDER"
                    ) from error
                trouble = error
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                trouble = error
        raise ModelLoadError(
            f"{address}: not reachable after {self._attempts} attempts ({trouble}); what has "
            "arrived is kept: run the same again, or pull with --from MIRROR_OR_FOLDER"
        ) from trouble

    def _try(self, address: str, target: Path, progress: Progress) -> Arrived | None:
        part = part_of(target)
        headers = {"Accept-Encoding": "identity", **_resume(part)}
        with self._client.stream("GET", address, headers=headers) as response:
            if response.status_code == httpx.codes.NOT_FOUND:
                return None
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                if response.headers.get("Content-Range") == f"bytes */{part.stat().st_size}":
                    return Arrived(part=part, sha256=None)  # it had all arrived before
                forget(part)
                raise httpx.ReadError("the part on disk is of another file")
            response.raise_for_status()
            _take(response, part, progress)
            return Arrived(part=part, sha256=_announced_sha256(response))


class FolderFiles:
    """Files of a folder, e.g. on a stick."""

    def fetch(self, path: Path, target: Path, progress: Progress) -> Arrived | None:
        """Copy a file to `part_of(target)`; None if there is no such file.

        Raises:
            ModelLoadError: it cannot be read.
        """
        if not path.is_file():
            return None
        part = part_of(target)
        part.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(path, part)
        except OSError as error:
            raise ModelLoadError(f"{path}: cannot be copied to {part} ({error})") from error
        progress(part.stat().st_size, part.stat().st_size)
        return Arrived(part=part, sha256=None)


def _etag_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def _resume(part: Path) -> dict[str, str]:
    """Headers that ask for the rest of a part, if the file is still the same."""
    etag = _etag_path(part)
    if not part.is_file() or not etag.is_file() or part.stat().st_size == 0:
        return {}
    return {"Range": f"bytes={part.stat().st_size}-", "If-Range": etag.read_text()}


def _take(response: httpx.Response, part: Path, progress: Progress) -> None:
    """Write an answer behind what is there (206) or from the start (200)."""
    part.parent.mkdir(parents=True, exist_ok=True)
    goes_on = response.status_code == httpx.codes.PARTIAL_CONTENT
    begun = part.stat().st_size if goes_on else 0
    answered = response.headers.get("Content-Range", "")
    if goes_on and not answered.startswith(f"bytes {begun}-"):
        forget(part)
        raise httpx.ReadError(f"asked for bytes from {begun} on, was sent {answered!r}")
    if not goes_on:
        forget(part)
        _keep_validator(response, part)
    length = response.headers.get("Content-Length")
    total = begun + int(length) if length else None
    with part.open("ab" if goes_on else "wb") as file:
        arrived = begun
        for chunk in response.iter_raw(_CHUNK):
            file.write(chunk)
            arrived += len(chunk)
            progress(arrived, total)


def _keep_validator(response: httpx.Response, part: Path) -> None:
    """Only a strong ETag, or else a date, proves that the rest belongs to the beginning."""
    etag = response.headers.get("ETag", "")
    validator = etag if etag and not etag.startswith("W/") else ""
    validator = validator or response.headers.get("Last-Modified", "")
    if validator:
        _etag_path(part).write_text(validator)


def _announced_sha256(response: httpx.Response) -> str | None:
    """The hub answers with a redirect that names the SHA-256 of a large file."""
    for answer in (*response.history, response):
        tag: str = answer.headers.get("X-Linked-Etag", "").strip('"')
        if len(tag) == _SHA256_DIGITS:
            return tag
    return None
