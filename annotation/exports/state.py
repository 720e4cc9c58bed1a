"""What an export has done so far, in a database inside its folder: names, files, records.

Nothing that grows with the number of pictures is kept in memory. A row is written after the files
it speaks of, and files are checked against it when a killed export goes on.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lifelong.errors import ConfigError, RecordError

FOLDER = ".cornerloop"
_DATABASE = "export.sqlite"
_PAGE = 500

_TABLES = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS pictures (
    name TEXT PRIMARY KEY, source TEXT NOT NULL, scene TEXT NOT NULL, split TEXT NOT NULL,
    done INTEGER NOT NULL DEFAULT 0, record TEXT, about TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (
    path TEXT PRIMARY KEY, picture TEXT NOT NULL, sha256 TEXT NOT NULL, size INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS files_of_picture ON files (picture);
CREATE TABLE IF NOT EXISTS failures (
    source TEXT PRIMARY KEY, name TEXT NOT NULL, error TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS left_out (why TEXT PRIMARY KEY, number INTEGER NOT NULL);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRow:
    """A file of the export."""

    path: str
    sha256: str
    size: int  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureRow:
    """A picture of the export; what it became when it is done."""

    name: str
    source: str  # "task 7", a file
    scene: str
    split: str
    done: bool = False
    record: Mapping[str, object] = field(default_factory=dict)
    about: Mapping[str, object] = field(default_factory=dict)  # annotator, model, pixels


class ExportState:
    """The database; close it, or use it as a context."""

    def __init__(self, out: Path) -> None:
        """
        Raises:
            ConfigError: it cannot be made or opened.
        """
        self._path = out / FOLDER / _DATABASE
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(self._path)
            self._base.executescript(
                # Files are checked again when an export goes on, so a lost row costs work only.
                f"PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; {_TABLES}"
            )
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(
                f"{self._path}: cannot be opened ({error}); an export needs a folder it may write "
                "to"
            ) from error

    def __enter__(self) -> "ExportState":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Commit, and put everything into one file."""
        self._base.commit()
        self._base.execute("PRAGMA journal_mode=DELETE")
        self._base.close()

    def commit(self) -> None:
        """What was written so far stays."""
        self._base.commit()

    def told(self, name: str) -> str | None:
        """A word that was kept, or None."""
        row = self._base.execute("SELECT value FROM about WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def tell(self, name: str, value: str) -> None:
        """Keep a word."""
        self._base.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (name, value))

    def picture(self, name: str) -> PictureRow | None:
        """One picture, or None."""
        row = self._base.execute(f"{_SELECT} WHERE name = ?", (name,)).fetchone()
        return None if row is None else _picture(row)

    def add(self, name: str, source: str, scene: str, split: str) -> None:
        """A picture that shall be exported.

        Raises:
            RecordError: another one has that name; names both.
        """
        self._base.execute(
            "INSERT OR IGNORE INTO pictures (name, source, scene, split) VALUES (?, ?, ?, ?)",
            (name, source, scene, split),
        )
        there = self._base.execute("SELECT source FROM pictures WHERE name = ?", (name,)).fetchone()
        if there[0] != source:
            raise RecordError(
                f"{source}: its picture is called {name!r}, as that of {there[0]}; one would "
                "overwrite the other"
            )

    def done(
        self,
        picture: str,
        files: Sequence[FileRow],
        record: Mapping[str, object],
        about: Mapping[str, object],
    ) -> None:
        """A picture's files lie in their place."""
        self._base.executemany(
            "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)",
            [(file.path, picture, file.sha256, file.size) for file in files],
        )
        self._base.execute(
            "UPDATE pictures SET done = 1, record = ?, about = ? WHERE name = ?",
            (_packed(record), _packed(about), picture),
        )

    def forget(self, picture: str) -> None:
        """A picture that must be done again."""
        self._base.execute("UPDATE pictures SET done = 0 WHERE name = ?", (picture,))
        self._base.execute("DELETE FROM files WHERE picture = ?", (picture,))

    def owner(self, path: str) -> str | None:
        """The picture that a file belongs to, None when there is no such file."""
        row = self._base.execute("SELECT picture FROM files WHERE path = ?", (path,)).fetchone()
        return None if row is None else str(row[0])

    def files_of(self, picture: str) -> list[FileRow]:
        """The files of a picture, by path; those about all pictures belong to ""."""
        rows = self._base.execute(
            "SELECT path, sha256, size FROM files WHERE picture = ? ORDER BY path", (picture,)
        )
        return [FileRow(path=p, sha256=s, size=n) for p, s, n in rows]

    def add_index_file(self, file: FileRow) -> None:
        """A file about all pictures."""
        self._base.execute(
            "INSERT OR REPLACE INTO files VALUES (?, '', ?, ?)", (file.path, file.sha256, file.size)
        )

    def forget_index_files(self) -> None:
        """The files about all pictures are made anew."""
        self._base.execute("DELETE FROM files WHERE picture = ''")

    def fail(self, source: str, name: str, error: str) -> None:
        """A picture that cannot be exported."""
        self._base.execute(
            "INSERT OR REPLACE INTO failures VALUES (?, ?, ?)", (source, name, error)
        )
        self._base.execute(
            "DELETE FROM pictures WHERE name = ? AND source = ? AND done = 0", (name, source)
        )

    def leave_out(self, why: str) -> None:
        """One more that rightly becomes no picture."""
        self._base.execute(
            "INSERT INTO left_out VALUES (?, 1) "
            "ON CONFLICT (why) DO UPDATE SET number = number + 1",
            (why,),
        )

    def begin_again(self) -> None:
        """Failures and what was left out are counted anew; what is done stays."""
        self._base.execute("DELETE FROM failures")
        self._base.execute("DELETE FROM left_out")

    def left_out(self) -> dict[str, int]:
        """Reason -> number."""
        rows = self._base.execute("SELECT why, number FROM left_out ORDER BY why")
        return {str(why): int(number) for why, number in rows}

    def failures(self) -> Iterator[tuple[str, str, str]]:
        """(source, name, error) of what failed, by source."""
        query = "SELECT source, name, error FROM failures WHERE source > ?"
        for source, name, error in self._pages(query, "source"):
            yield str(source), str(name), str(error)

    def pictures(self) -> Iterator[PictureRow]:
        """Every picture that is done, by name; rows may change while this runs."""
        for row in self._pages(f"{_SELECT} WHERE done = 1 AND name > ?", "name"):
            yield _picture(row)

    def files(self) -> Iterator[FileRow]:
        """Every file, by path."""
        for row in self._pages("SELECT path, sha256, size FROM files WHERE path > ?", "path"):
            yield FileRow(path=str(row[0]), sha256=str(row[1]), size=int(str(row[2])))

    def failed(self) -> int:
        """Pictures that could not be exported."""
        return int(self._base.execute("SELECT count(*) FROM failures").fetchone()[0])

    def count(self) -> int:
        """Pictures that are done."""
        return int(self._base.execute("SELECT count(*) FROM pictures WHERE done = 1").fetchone()[0])

    def scenes(self) -> dict[str, int]:
        """Scene -> pictures, done or not."""
        rows = self._base.execute("SELECT scene, count(*) FROM pictures GROUP BY scene")
        return {str(scene): int(number) for scene, number in rows}

    def sides(self) -> dict[str, dict[str, int]]:
        """Side -> scene -> pictures that are done."""
        found: dict[str, dict[str, int]] = {}
        rows = self._base.execute(
            "SELECT split, scene, count(*) FROM pictures WHERE done = 1 "
            "GROUP BY split, scene ORDER BY split, scene"
        )
        for split, scene, number in rows:
            found.setdefault(split, {})[scene] = int(number)
        return found

    def put(self, side_of: Mapping[str, str], redo: Callable[[str], None]) -> None:
        """Put scenes on their sides; pictures that move to another one are done again.

        Args:
            redo: told the name of each of them.
        """
        for scene, side in side_of.items():
            moved = self._base.execute(
                "SELECT name FROM pictures WHERE scene = ? AND split <> ? AND done = 1",
                (scene, side),
            ).fetchall()
            for (name,) in moved:
                redo(name)
            self._base.execute("UPDATE pictures SET split = ? WHERE scene = ?", (side, scene))

    def _pages(self, query: str, key: str) -> Iterator[tuple[object, ...]]:
        """Rows in pages, beginning after the last row's first column."""
        last: object = ""
        while rows := self._base.execute(
            f"{query} ORDER BY {key} LIMIT {_PAGE}", (last,)
        ).fetchall():
            yield from rows
            last = rows[-1][0]


_SELECT = "SELECT name, source, scene, split, done, record, about FROM pictures"


def _picture(row: Sequence[object]) -> PictureRow:
    name, source, scene, split, done, record, about = row
    return PictureRow(
        name=str(name),
        source=str(source),
        scene=str(scene),
        split=str(split),
        done=bool(done),
        record=json.loads(str(record)) if record else {},
        about=json.loads(str(about)) if about else {},
    )


def _packed(value: Mapping[str, object]) -> str:
    return json.dumps(dict(value), ensure_ascii=False, sort_keys=True)
