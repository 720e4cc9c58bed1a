"""What the address of a task's picture means: which kind it is, and which file of that kind.

Label Studio hands out `/data/upload/…` for uploads, `/data/local-files/?d=…` for local files and
`/tasks/N/resolve/?fileuri=…` for object storage, each with or without its own host before it;
tasks that were imported hold http(s), s3, gs, azure-blob and data addresses as well.
"""

import base64
import binascii
import posixpath
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import parse_qs, unquote, urlsplit

from annotation.assist.hosts import Origin, web_place
from lifelong.errors import PictureAccessError

_LONGEST = 8192  # characters; presigned addresses have two thousand
_LONGEST_NAME = 200
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
# A password with a "/" in it looks like a host with a strange port.
_AUTHORITY = re.compile(r"[^:]*(?::\d*)?(?:[?#].*)?\Z|\[[^\]]*\](?::\d*)?(?:[?#].*)?\Z", re.DOTALL)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# Before each of them may stand the sub-path that Label Studio is served under.
_UPLOAD = re.compile(r"(?:/[\w.-]+)*?/(?:data/)?upload/(?P<file>\d+/[^/].*)\Z")
_LOCAL = re.compile(r"(?:/[\w.-]+)*?/data/local-files/?\Z")
_STORED = re.compile(r"(?:/[\w.-]+)*?/storage-data/uploaded/?\Z")
_RESOLVED = re.compile(r"(?:/[\w.-]+)*?/(?P<owner>(?:tasks|projects)/\d+)/(?:resolve|presign)/?\Z")
_BUCKET = re.compile(
    r"(?P<scheme>[a-z0-9-]+)://(?P<bucket>[A-Za-z0-9][A-Za-z0-9._-]*)/(?P<key>.+)\Z"
)
_INLINE = re.compile(r"(?P<kind>data:image/[\w.+-]+)(?:;[\w.=+-]+)*;base64,")
_KINDS = (
    "Label Studio's own (/data/upload/…, /data/local-files/?d=…), http://, https://, s3://, gs://, "
    "azure-blob:// and data:image/…;base64"
)


class Kind(StrEnum):
    """Who has the file."""

    UPLOAD = "upload"  # Label Studio, under a name that it gives only once
    LOCAL_FILE = "local file"  # the disk of Label Studio
    BUCKET = "bucket"  # object storage
    WEB = "web"
    INLINE = "inline"  # the address itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a picture is; two addresses of the same file are equal in kind and place."""

    kind: Kind
    # Of an upload `7/abc-cat.jpg`, of a local file its path below the document root, of a bucket
    # `s3://bucket/key` (of Azure `az://container/key`), else the address itself.
    place: str = field(repr=False)
    name: str  # for people and logs: without credentials, signatures and the bytes of the picture
    owner: str = ""  # `tasks/7` or `projects/3`: through whose storages Label Studio finds it


def parse_address(text: str, own: Collection[Origin] = ()) -> Address:
    """Read what a task's data says of its picture.

    Args:
        own: where Label Studio is and what it calls itself; elsewhere `/data/upload/…` is an
            address of the web like any other.

    Raises:
        PictureAccessError: nothing that pictures are fetched from.
    """
    text = text.strip()
    if not text:
        raise PictureAccessError("the task's picture has an empty address; correct the task's data")
    inline = _INLINE.match(text)
    if inline:
        name = f"{inline['kind']} ({len(text)} characters)"
        return Address(kind=Kind.INLINE, place=text, name=name)
    name = shown_name(text)
    if len(text) > _LONGEST:
        raise PictureAccessError(f"{name}: the address has {len(text)} characters; at most 8192")
    if _UNPRINTABLE.search(text):
        raise PictureAccessError(f"{name}: the address holds control characters; correct the task")
    found = _SCHEME.match(text)
    reader = _READERS.get(found[1].lower()) if found else _relative
    if reader is None:
        raise PictureAccessError(
            f"{name}: not an address that pictures are fetched from; use one of {_KINDS}"
        )
    return reader(text, name, own)


def shown_name(text: str) -> str:
    """An address as people may see it: no user, password, query signature or fragment."""
    found = _SCHEME.match(text)
    start = ""
    if found:
        if found[1].lower() == "data":
            return "data:…"
        start = f"{found[0]}//" if text.startswith("//", found.end()) else found[0]
        # The host is what follows the last "@", were there a "#" or "?" in the password, too.
        host, slash, path = text[len(start) :].partition("/")
        host = host.rpartition("@")[2]
        if not _AUTHORITY.match(host):
            return f"{start}…"
        text = host + slash + path
    # What stands behind "?" of a key in a bucket belongs to the key, but may be a signature, too.
    shown, mark, _ = text.partition("#")[0].partition("?")
    return _short(start + shown + (mark and "?…"))


def _short(text: str) -> str:
    text = _UNPRINTABLE.sub("�", text)
    half = _LONGEST_NAME // 2
    return text if len(text) <= _LONGEST_NAME else f"{text[:half]}…{text[-half:]}"


def _relative(text: str, name: str, _own: Collection[Origin]) -> Address:
    found = None if text.startswith("//") else _of_studio("/" + text.lstrip("/"), name)
    if found is None:
        raise PictureAccessError(
            f"{name}: not an address that Label Studio gives to pictures; use one of {_KINDS}"
        )
    return found


def _web(text: str, name: str, own: Collection[Origin]) -> Address:
    place = web_place(text, name)
    if any(place.origin.is_like(origin) for origin in own):
        parts = urlsplit(text)
        found = _of_studio(parts.path + (f"?{parts.query}" if parts.query else ""), name)
        if found is not None:
            return found
    return Address(kind=Kind.WEB, place=text.partition("#")[0], name=name)


def _of_studio(text: str, name: str) -> Address | None:
    """One of Label Studio's own picture addresses, None where it is none."""
    path, _, query = text.partition("#")[0].partition("?")
    if found := _UPLOAD.match(path):
        return _upload(unquote(found["file"]))
    if _STORED.match(path):
        file = _parameter(query, "filepath", name)
        if not file.startswith("upload/"):
            raise PictureAccessError(f"{name}: not an uploaded picture; correct the task's data")
        return _upload(file.removeprefix("upload/"))
    if _LOCAL.match(path):
        return _local_file(_parameter(query, "d", name))
    if found := _RESOLVED.match(path):
        uri = _stored_uri(_parameter(query, "fileuri", name), name)
        reader = _READERS.get(uri.partition(":")[0].lower())
        if reader is not _bucket:
            raise PictureAccessError(f"{shown_name(uri)}: not an address of object storage")
        stored = _bucket(uri, shown_name(uri), ())
        return Address(kind=stored.kind, place=stored.place, name=stored.name, owner=found["owner"])
    return None


def _upload(file: str) -> Address:
    name = _short(f"/data/upload/{file}")
    parts = file.split("/")
    if {"", ".", ".."} & set(parts) or not parts[0].isdigit() or _UNPRINTABLE.search(file):
        raise PictureAccessError(f"{name}: climbs out of the uploads; correct the task's data")
    return Address(kind=Kind.UPLOAD, place=file, name=name)


def _local_file(path: str) -> Address:
    name = _short(f"/data/local-files/?d={path}")
    # As Label Studio reads it, but that it is never asked for what climbs.
    if ".." in path.split("/") or _UNPRINTABLE.search(path):
        raise PictureAccessError(
            f"{name}: climbs out of the folder that local files are served from; correct the task"
        )
    place = posixpath.normpath(path).lstrip("/")
    if place in {"", "."}:
        raise PictureAccessError(f"{name}: names a folder, not a file; correct the task's data")
    return Address(kind=Kind.LOCAL_FILE, place=place, name=name)


def _bucket(text: str, name: str, _own: Collection[Origin]) -> Address:
    scheme, colon, rest = text.partition(":")
    scheme = {"azure-blob": "az"}.get(scheme.lower(), scheme.lower())
    found = _BUCKET.match(scheme + colon + rest)
    if found is None or {"", ".", ".."} & set(found["key"].split("/")):
        raise PictureAccessError(f"{name}: expected {scheme}://bucket/path/of/a/picture")
    return Address(kind=Kind.BUCKET, place=found[0], name=name)


def _parameter(query: str, key: str, name: str) -> str:
    """The last of the parameters with that name, as Django takes it."""
    values = parse_qs(query).get(key)
    if not values:
        raise PictureAccessError(f"{name}: has no {key!r} that says which file; correct the task")
    return values[-1]


def _stored_uri(given: str, name: str) -> str:
    """What `fileuri` holds: base64 with "-" and "_", or, of older versions, quoted."""
    try:
        uri = base64.b64decode(given.encode("ascii"), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError, ValueError):
        uri = unquote(given)
    if _UNPRINTABLE.search(uri):
        raise PictureAccessError(f"{name}: its fileuri cannot be read; correct the task's data")
    return uri


_READERS: dict[str, Callable[[str, str, Collection[Origin]], Address]] = {
    "http": _web,
    "https": _web,
    "s3": _bucket,
    "gs": _bucket,
    "az": _bucket,
    "azure-blob": _bucket,
}
