"""How a picture comes, by the kind of its address: here uploads, the web, the address itself.

A source fetches the file, or says that it is still the one that was fetched before; for how long
nobody needs to ask again is the source's to say. `local_files.py` and `picture_buckets.py`
have the other two.
"""

import base64
import binascii
import math
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote, unquote, urlsplit

from annotation.assist.access import ProjectAccess
from annotation.assist.addresses import Address
from annotation.assist.downloads import Download, Downloads, too_large, unreachable
from annotation.assist.studio_files import StudioFiles
from lifelong.errors import PictureAccessError

# After that long a file of the web or of a bucket is asked for once more, by its mark.
FRESH_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A picture of a task of a project."""

    address: Address
    task_id: int | None
    project: ProjectAccess


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A file; `data` is None where it is still the one with the mark that was given."""

    data: bytes | None = field(repr=False)
    mark: str  # another one when the file is another; "" where nothing tells
    fresh_s: float  # how long it may be taken for unchanged without asking


class Source(Protocol):
    """One kind of address."""

    def fetch(self, wanted: Wanted, mark: str) -> Fetched:
        """The file.

        Raises:
            PictureAccessError: it cannot be had; `retryable` where it may be later.
        """


class Uploads:
    """What people uploaded to Label Studio; a name is never given twice."""

    def __init__(self, files: StudioFiles) -> None:
        self._files = files

    def fetch(self, wanted: Wanted, mark: str) -> Fetched:
        name, file = wanted.address.name, wanted.address.place
        answer = self._files.get(f"data/upload/{quote(file)}", name=name, project=wanted.project)
        # An upload that it does not know is an error 500 there. It may lie in a bucket, too.
        if answer.status in {404, 500}:
            path = f"storage-data/uploaded/?filepath={quote(f'upload/{file}')}"
            with suppress(PictureAccessError):  # that way it refuses what it does not know
                second = self._files.get(path, name=name, project=wanted.project)
                answer = second if second.status == 200 else answer
        if answer.status in {404, 500}:
            raise PictureAccessError(
                f"{name}: Label Studio has no such upload (it answered {answer.status}); was the "
                "file deleted, or is the task from another Label Studio?"
            )
        return fetched(answer, name, "", math.inf)


class Web:
    """Any other server, asked without a token of Label Studio's."""

    def __init__(self, downloads: Downloads) -> None:
        self._downloads = downloads

    def fetch(self, wanted: Wanted, mark: str) -> Fetched:
        name, project = wanted.address.name, wanted.project
        parts = urlsplit(wanted.address.place)
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        if not user:
            user, password = project.login, project.password
        authorization = ""
        if user:
            pair = base64.b64encode(f"{user}:{password}".encode()).decode()
            authorization = f"Basic {pair}"
        answer = self._downloads.get(
            wanted.address.place, name=name, authorization=authorization, mark=mark
        )
        if answer.status in {401, 403}:
            why = (
                "it does not take the log-in that the project has for its data"
                if user
                else "it asks for a log-in, or the address's signature has run out"
            )
            raise PictureAccessError(
                f"{name}: {answer.origin} answered {answer.status}: {why}; set the log-in of the "
                "project's task data in Label Studio, or renew the address"
            )
        missing = f"{answer.origin} has no such file; correct the task's data"
        return fetched(answer, name, missing, FRESH_S)


class Inline:
    """The picture stands in the address itself."""

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes

    def fetch(self, wanted: Wanted, mark: str) -> Fetched:
        name = wanted.address.name
        encoded = "".join(wanted.address.place.partition(",")[2].split())
        if len(encoded) > self._max_bytes * 4 // 3 + 4:
            raise too_large(name, self._max_bytes)
        try:
            data = base64.b64decode(unquote(encoded), validate=True)
        except (binascii.Error, ValueError):
            raise PictureAccessError(f"{name}: no base64; correct the task's data") from None
        return Fetched(data=data, mark="", fresh_s=math.inf)


def fetched(answer: Download, name: str, missing: str, fresh_s: float) -> Fetched:
    """A server's answer as a file.

    Raises:
        PictureAccessError: it is none.
    """
    if answer.status == 304:
        return Fetched(data=None, mark=answer.mark, fresh_s=fresh_s)
    if answer.status in {404, 410}:
        raise PictureAccessError(f"{name}: {missing}")
    if answer.status == 429 or answer.status >= 500:
        raise unreachable(f"{name}: {answer.origin} answered {answer.status}; try again later")
    if answer.status != 200:
        raise PictureAccessError(f"{name}: {answer.origin} answered {answer.status}, no picture")
    if answer.content_type == "text/html":
        raise PictureAccessError(
            f"{name}: {answer.origin} answered a web page and not a picture; is there a log-in "
            "before it, or is the address that of a page?"
        )
    return Fetched(data=answer.data, mark=answer.mark, fresh_s=fresh_s)


def also_said(error: PictureAccessError, name: str, said: str) -> PictureAccessError:
    """The failure of a second way, with what the first one said."""
    told = PictureAccessError(f"{name}: {said}{str(error).removeprefix(f'{name}: ')}")
    told.retryable = error.retryable
    return told
