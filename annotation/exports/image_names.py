"""What a picture is called, told from where Label Studio says its image lies.

A reference becomes a relative name with "/" between folders, and different files get different
names: hyphens, spaces, percent signs, folders and any script are kept. Names come from outside,
so none of them may leave the folder that it is written below.

    /data/local-files/?d=park/a%20b.jpg      park/a b.jpg   (below the document root)
    /data/upload/3/0a1b2c3d-my-cat.jpg       my-cat.jpg     (Label Studio's own prefix goes)
    s3://bucket/front/1.jpg                  front/1.jpg    (keys are not escaped)
    https://host/pictures/a%2Bb.jpg          pictures/a+b.jpg
    C:\\data\\1.jpg                            data/1.jpg
"""

import base64
import binascii
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from lifelong.errors import RecordError

_LOCAL_FILES = "/data/local-files/"
_UPLOADED = r"(?:(?:.*/)?data/|/)?upload/[0-9]+/"
_UPLOAD = re.compile(rf"{_UPLOADED}(?:[0-9a-f]{{8}}-)?(?P<name>[^/]+)\Z")
_PREFIXED_UPLOAD = re.compile(rf"{_UPLOADED}(?P<name>[^/]+)\Z")
_RESOLVED = re.compile(r"(?:.*)/tasks/[0-9]+/(?:resolve|presign)/?\Z")
_BUCKETS = frozenset({"s3", "gs", "azure-blob", "azure_blob", "r2", "abfss"})
_DRIVE = re.compile(r"[A-Za-z]:(?=/|\Z)")
_LONGEST_PART = 240  # bytes; file systems take 255, and formats add endings
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageNames:
    """How references become names in one conversion."""

    below: str = ""  # folders that are left out at the beginning, e.g. "park/raw_data"
    keep_upload_prefix: bool = False  # two uploads of one name stay apart

    def name_of(self, reference: str, where: str) -> str:
        """The name of the image that `reference` leads to.

        Args:
            where: e.g. "task 7", for errors.

        Raises:
            RecordError: nothing in it can be a name, or it would leave its folder.
        """
        path = path_of_reference(
            reference, where, keep_upload_prefix=self.keep_upload_prefix, as_upload=True
        )
        return safe_name(self.shortened(path), where)

    def shortened(self, path: str) -> str:
        """A path without the folders that are left out."""
        below = self.below.replace("\\", "/").strip("/")
        return path.removeprefix(f"{below}/") if below else path


def path_of_reference(
    reference: str, where: str, *, keep_upload_prefix: bool = False, as_upload: bool = False
) -> str:
    """The path inside a reference, relative and safe; where the file lies below its root.

    Args:
        as_upload: an upload is its bare name; else its place below the media folder.

    Raises:
        RecordError: as `ImageNames.name_of`.
    """
    if not reference or reference.startswith("data:"):
        raise RecordError(
            f"{where}: its image is {'inside the task' if reference else 'not told'}, so it has "
            "no name; import images by address, or leave the task out"
        )
    scheme, separator, rest = reference.partition("://")
    if separator and scheme.lower() in _BUCKETS:
        return safe_name(rest.partition("/")[2], where)
    try:
        parts = urlsplit(reference) if separator or reference.startswith("/") else None
    except ValueError as error:
        raise RecordError(f"{where}: {reference!r} is no address ({error})") from error
    if parts is not None and parts.path.endswith(_LOCAL_FILES):
        # Label Studio reads the query as Django does: "+" is a space.
        found = parse_qs(parts.query, keep_blank_values=True, errors="surrogateescape").get("d")
        return safe_name(found[0] if found else "", where)
    if parts is not None and _RESOLVED.match(parts.path):
        inner = parse_qs(parts.query).get("fileuri", [""])[0]
        return path_of_reference(
            _decoded(inner, where), where,
            keep_upload_prefix=keep_upload_prefix, as_upload=as_upload,
        )  # fmt: skip
    is_address = bool(separator) and scheme.lower() in {"http", "https"}
    path = unquote(parts.path) if parts is not None and is_address else reference
    if scheme.lower() == "file" and parts is not None:
        path = unquote(parts.path)
    path = path.replace("\\", "/")
    upload = (_PREFIXED_UPLOAD if keep_upload_prefix else _UPLOAD).match(unquote(path))
    if upload is None:
        return safe_name(path, where)
    if as_upload:
        return safe_name(upload["name"], where)
    whole = unquote(path)
    return safe_name(whole[whole.rindex("upload/") :], where)


def safe_name(path: str, where: str) -> str:
    """A relative path with "/" that stays below any folder it is joined to.

    Leading slashes, drive letters and empty parts go; ".." is refused, not resolved.

    Raises:
        RecordError: "..", nothing left, not Unicode, control characters or a part too long.
    """
    path = path.replace("\\", "/")
    parts = [part for part in _DRIVE.sub("", path.lstrip("/")).split("/") if part not in {"", "."}]
    if not parts:
        raise RecordError(f"{where}: {path!r} names no file")
    if ".." in parts:
        raise RecordError(f"{where}: {path!r} would leave its folder; '..' is never followed")
    name = "/".join(parts)
    if _CONTROL.search(name):
        raise RecordError(f"{where}: {name!r} has control characters in it; rename the file")
    try:
        longest = max(len(part.encode()) for part in parts)
    except UnicodeEncodeError as error:
        raise RecordError(f"{where}: {name!r} is not Unicode; rename the file") from error
    if longest > _LONGEST_PART:
        raise RecordError(
            f"{where}: {name[:60]!r}… has a part of {longest} bytes, at most {_LONGEST_PART} fit"
        )
    return name


def stem_of(name: str) -> str:
    """A name without its suffix, folders kept: "a.b/c.d.jpg" -> "a.b/c.d"."""
    path = PurePosixPath(name)
    return path.with_suffix("").as_posix() if path.suffix else name


def renamed(name: str, addition: str) -> str:
    """A name with something more before its suffix: ("a/1.jpg", "-x") -> "a/1-x.jpg"."""
    return f"{stem_of(name)}{addition}{PurePosixPath(name).suffix}"


def _decoded(text: str, where: str) -> str:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=False).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise RecordError(f"{where}: its image address cannot be decoded ({error})") from error
