"""An export: every picture of a source in one format, with a manifest; killed, it goes on.

The same source in the same format gives the same bytes, however often the work was cut off and
however many processes did it. What cannot be exported is an error that names it, or with `skip` a
line in `report.json`; it is never a picture without labels.
"""

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from annotation.exports.files import REPORT, ExportFolder
from annotation.exports.images import ImageShelf
from annotation.exports.lock import locked
from annotation.exports.manifest import ExportIdentity, check_same, write_manifest
from annotation.exports.picture_items import Item, LeftOut, Refused, Source
from annotation.exports.scene_splits import SplitPlan, split_scenes
from annotation.exports.state import FOLDER, ExportState, FileRow, PictureRow
from annotation.exports.workers import Converted, Job, conversions
from annotation.formats.writing import Indexed, Writer
from lifelong.errors import ConfigError, LifelongError, RecordError
from lifelong.records.label_map import LabelMap

_COMMIT_EVERY = 64  # pictures


@dataclass(slots=True, kw_only=True)
class ExportReport:
    """What an export did; it grows while the export goes on."""

    exported: int = 0
    kept: int = 0  # done before the export was cut off
    failed: int = 0
    seconds: float = 0.0
    left_out: dict[str, int] = field(default_factory=dict)  # why -> number
    warnings: tuple[str, ...] = ()
    sides: dict[str, tuple[int, int]] = field(default_factory=dict)  # pictures, scenes of each


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportPlan:
    """How a source becomes an export."""

    identity: ExportIdentity
    label_map: LabelMap
    split: SplitPlan = field(default_factory=SplitPlan)
    images: ImageShelf = field(default_factory=lambda: ImageShelf(mode="none"))
    workers: int = 1
    skip: bool = False


Progress = Callable[[ExportReport], None]


class ExportRun:
    """One export into one folder."""

    def __init__(self, source: Source, writer: Writer, out: Path, plan: ExportPlan) -> None:
        self._source, self._writer, self._plan = source, writer, plan
        self._out, self._folder = out, ExportFolder(out)
        self._report = ExportReport()
        self._pending = 0

    def run(self, progress: Progress = lambda report: None) -> ExportReport:
        """Export everything that is not exported yet.

        Raises:
            ConfigError: the folder holds something else, or another export.
            RecordError, LabelMapError …: a picture cannot be exported and `skip` is not asked for;
                names the task. What is done so far stays.
        """
        check_empty_or_ours(self._out)
        try:
            return self._run(progress)
        except sqlite3.Error as error:
            raise ConfigError(
                f"{self._out}: the export cannot keep its state ({error}); is the disk full?"
            ) from error

    def _run(self, progress: Progress) -> ExportReport:
        began = time.monotonic()
        with locked(self._out / FOLDER), ExportState(self._out) as state:
            check_same(state, self._plan.identity, self._out)
            self._folder.clear_workshop()
            state.begin_again()
            if not self._plan.split.is_trivial:
                self._report.warnings = self._decide_sides(state)
            jobs = self._jobs(state)
            found = conversions(self._source, self._writer, jobs, self._plan.workers)
            with closing(found):  # or processes would wait for the end of this one
                for job, result in found:
                    self._keep(state, job, result)
                    progress(self._report)
            self._write_index(state)
            self._report.left_out = state.left_out()
            self._report.sides = {
                side: (sum(scenes.values()), len(scenes)) for side, scenes in state.sides().items()
            }
            self._report.seconds = round(time.monotonic() - began, 3)
            self._write_report(state)
            write_manifest(
                self._folder, state, self._plan.identity, self._plan.label_map,
                self._report.warnings,
            )  # fmt: skip
        return self._report

    def _decide_sides(self, state: ExportState) -> tuple[str, ...]:
        """Every scene to its side, before the first picture is written: a look at all names."""
        for item in self._source.items():
            if isinstance(item, Item):
                self._add(state, item)
        splits = split_scenes(state.scenes(), self._plan.split)
        state.put(splits.side_of, lambda name: self._redo(state, name))
        state.commit()
        return splits.warnings

    def _jobs(self, state: ExportState) -> Iterator[Job]:
        """What is still to do, in the source's order."""
        for item in self._source.items():
            if isinstance(item, LeftOut):
                state.leave_out(item.why)
            elif isinstance(item, Refused):
                self._fail(state, item.where, "", item.error)
            elif (row := self._add(state, item)) is not None:
                if row.done and self._folder.holds(state.files_of(row.name)):
                    self._report.kept += 1
                    continue
                if row.done:
                    self._redo(state, row.name)
                yield Job(item=item, split=row.split)

    def _add(self, state: ExportState, item: Item) -> PictureRow | None:
        """The item's row; None when its name is taken or its scene cannot be told."""
        row = state.picture(item.name)
        if row is not None and row.source == item.where:
            return row
        try:
            base = item.base or item.name
            scene = self._plan.split.scene_of(base, item.scene)
            state.add(item.name, item.where, scene, item.split or "train")
        except ConfigError:
            raise
        except LifelongError as error:
            self._fail(state, item.where, item.name, str(error))
            return None
        return state.picture(item.name)

    def _redo(self, state: ExportState, name: str) -> None:
        self._folder.remove(state.files_of(name))
        state.forget(name)

    def _keep(self, state: ExportState, job: Job, result: Converted) -> None:
        """Write what a picture became, then say so in the state."""
        item = job.item
        try:
            if result.entry is None:
                raise RecordError(result.error)
            image = self._plan.images.find(item, result.image, result.size)
            entry = result.entry
            where_to = {path: entry.files[path] for path in sorted(entry.files)}
            for path in [*where_to, *([entry.image_path] if entry.image_path else [])]:
                self._check_free(state, path, item)
            files = [self._folder.write(path, (data,)) for path, data in where_to.items()]
            if entry.image_path is not None and image is not None:
                files.append(self._folder.place(entry.image_path, image, self._plan.images))
        except LifelongError as error:
            self._fail(state, item.where, item.name, str(error))
            return
        about = {
            "annotator": result.annotator,
            "model_version": result.model_version,
            "size": list(result.size),
        }
        state.done(item.name, files, entry.record, about)
        self._report.exported += 1
        self._pending += 1
        if self._pending >= _COMMIT_EVERY:
            state.commit()
            self._pending = 0

    def _check_free(self, state: ExportState, path: str, item: Item) -> None:
        owner = state.owner(self._folder.checked(path, item.where))
        if owner is not None and owner != item.name:
            raise RecordError(
                f"{item.where}: {item.name!r} and {owner!r} would both be written as {path!r}; "
                "rename one of them"
            )

    def _fail(self, state: ExportState, where: str, name: str, error: str) -> None:
        if not self._plan.skip:
            raise RecordError(f"{error}  (nothing is lost: correct it and run the same command "
                              "again, or leave out such pictures with --skip)")  # fmt: skip
        state.fail(where, name, error)
        self._report.failed = state.failed()

    def _write_index(self, state: ExportState) -> None:
        """The files about all pictures, always anew: they are small, or streamed."""

        def stream() -> Iterator[Indexed]:
            for row in state.pictures():
                yield Indexed(name=row.name, split=row.split, record=row.record)

        state.commit()
        earlier = state.files_of("")
        state.forget_index_files()
        written: list[FileRow] = []
        for path, pieces in self._writer.index(stream):
            owner = state.owner(self._folder.checked(path, "index"))
            if owner:
                raise RecordError(f"{owner}: {path!r} is a file about all pictures; rename it")
            written.append(self._folder.write(path, pieces))
            state.add_index_file(written[-1])
        paths = {file.path for file in written}
        self._folder.remove(file for file in earlier if file.path not in paths)
        state.commit()

    def _write_report(self, state: ExportState) -> None:
        """What did not become a picture, and why; streamed, for it may be everything."""

        def pieces() -> Iterator[bytes]:
            head = {
                "pictures": state.count(),
                "left_out": self._report.left_out,
                "warnings": list(self._report.warnings),
            }
            yield json.dumps(head, ensure_ascii=False, indent=1)[:-2].encode()
            yield b',\n "failures": ['
            comma = b"\n"
            for source, name, error in state.failures():
                told = {"source": source, "name": name, "error": error}
                yield comma + b"  " + json.dumps(told, ensure_ascii=False).encode()
                comma = b",\n"
            yield b"\n ]\n}\n"

        self._folder.write(REPORT, pieces())


def check_empty_or_ours(out: Path) -> None:
    """
    Raises:
        ConfigError: the folder holds something, but no export.
    """
    try:
        foreign = out.exists() and not (out / FOLDER).is_dir() and any(out.iterdir())
    except OSError as error:
        raise ConfigError(f"{out}: not a folder that can be written to ({error})") from error
    if foreign:
        raise ConfigError(
            f"{out}: not empty, and no export of Cornerloop's; name an empty or a new folder"
        )
