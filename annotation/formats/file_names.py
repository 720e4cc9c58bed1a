"""What pictures are called in a layout: folders folded into the name, and no two files the same.

A layout without sub-folders writes "/" as "__". So that every flat name comes from one name only,
an underscore beside another one or beside "/" is written "%5F", and a "%" that would then read as
one of ours "%25"; all other names stay as they are:

    front/0001.jpg     front__0001.jpg
    a_b.jpg            a_b.jpg
    a__b.jpg           a%5F%5Fb.jpg
    50%25.jpg          50%2525.jpg
"""

import re
import sqlite3
import unicodedata
from collections.abc import Iterable
from contextlib import closing

from lifelong.errors import CorruptRecordError

_ESCAPED = re.compile(r"%(?=25|5F)|(?<=[_/])_|_(?=[_/])|/")
_READ = re.compile(r"%25|%5F|__")
_WRITTEN = {"%": "%25", "_": "%5F", "/": "__"}
_MEANT = {"%25": "%", "%5F": "_", "__": "/"}


def flat_name(name: str) -> str:
    """A picture's name without folders; different names stay different.

    Raises:
        CorruptRecordError: not a relative name, see `checked_name`.
    """
    return _ESCAPED.sub(lambda found: _WRITTEN[found.group()], checked_name(name))


def original_name(flat: str) -> str:
    """The name that `flat_name` made `flat` of."""
    return _READ.sub(lambda found: _MEANT[found.group()], flat)


def checked_name(name: str) -> str:
    """The name itself, if it stays below the folder that it is written to.

    Raises:
        CorruptRecordError: absolute, with empty parts, "." or "..", or with control characters.
    """
    parts = name.split("/")
    if any(part in {"", ".", ".."} for part in parts) or any(ord(sign) < 32 for sign in name):
        raise CorruptRecordError(
            f"picture {name!r}: a name is relative, with '/' between folders and without '..'"
        )
    return name


def stem_of(name: str) -> str:
    """The name without its last suffix: "a.b/c.d.jpg" -> "a.b/c.d"."""
    folder, slash, last = name.rpartition("/")
    stem, dot, _ = last.rpartition(".")
    return f"{folder}{slash}{stem if dot and stem else last}"


def suffix_of(name: str) -> str:
    """The last suffix with its dot, "" without one."""
    return name[len(stem_of(name)) :]


def refuse_twins(files: Iterable[tuple[str, str]]) -> None:
    """Refuse two pictures that would write the same file, also where case makes no difference, nor
    whether "é" is one sign or two (NFC, NFD).

    Args:
        files: (file or stem, name of the picture); kept on disk, not in memory.

    Raises:
        CorruptRecordError: names both pictures and the file.
    """
    with closing(sqlite3.connect("")) as seen:  # "": a file that goes when it is closed
        seen.execute("CREATE TABLE files (file TEXT PRIMARY KEY, name TEXT) WITHOUT ROWID")
        for file, name in files:
            try:
                seen.execute("INSERT INTO files VALUES (?, ?)", (_as_seen(file), name))
            except sqlite3.IntegrityError:
                query = "SELECT name FROM files WHERE file = ?"
                (twin,) = seen.execute(query, (_as_seen(file),)).fetchone()
                raise CorruptRecordError(
                    f"pictures {twin!r} and {name!r} both become {file!r} in this format; "
                    "rename one of them"
                ) from None


def _as_seen(file: str) -> str:
    """Equal for names that the file systems of Windows or macOS take for one."""
    return unicodedata.normalize("NFC", file).casefold()
