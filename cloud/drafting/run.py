"""Drafts for a whole folder: what is done stays done, what fails is told, the rest goes on."""

import json
import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cloud.drafting.draft_manifest import write_draft_manifest
from cloud.drafting.raw_pictures import RawPicture, Shard, raw_pictures, share_of
from cloud.drafting.records import (
    DraftRecord,
    Failure,
    done_before,
    read_record,
    report_path,
    settings_digest,
)
from cloud.drafting.workers import DraftWorkers, Finished
from lifelong.errors import ConfigError
from lifelong.links.durable_files import write_whole
from lifelong.records.label_map import LabelMap
from lifelong.records.wire import to_plain
from lifelong.sections.drafting import PreannotationSection

logger = logging.getLogger(__name__)

Progress = Callable[["RunReport", int], None]


@dataclass(slots=True, kw_only=True)
class RunReport:
    """What a run did; it grows while the run goes on."""

    pictures: int  # of this run's share
    settings: str
    skipped: int = 0  # done before, with these settings
    drafted: int = 0
    empty: int = 0  # drafts, skipped ones too, without one pixel of a class
    seconds: float = 0.0
    failures: list[Failure]
    erased_classes: Counter[str]  # class -> drafts it was erased from
    unknown_names: Counter[str]  # words that mean no class -> drafts they occurred in
    warnings: list[str]

    @property
    def done(self) -> int:
        return self.skipped + self.drafted + len(self.failures)


class DraftingRun:
    """One call of `cornerloop preannotate`."""

    def __init__(
        self, folder: Path, dataset: Path, section: PreannotationSection, label_map: LabelMap, *,
        workers: int = 1, shard: Shard | None = None, resume: bool = True, with_png: bool = True,
        max_empty_share: float = 0.2,
    ) -> None:  # fmt: skip
        self._folder, self._dataset = folder, dataset
        self._section, self._label_map = section, label_map
        self._workers, self._shard = workers, shard or Shard()
        self._resume, self._with_png = resume, with_png
        self._max_empty_share = max_empty_share
        self._pool: DraftWorkers | None = None
        self._records: list[DraftRecord] = []  # of this share, also of what was done before
        self._stopping = False

    def run(self, progress: Progress = lambda report, workers: None) -> RunReport:
        """Draft what is not done yet; the report lies in the data set too.

        Raises:
            ConfigError: no pictures, or the data set cannot be written.
            ModelLoadError: the models cannot be loaded.
        """
        pictures = share_of(raw_pictures(self._folder, without=self._own_folder()), self._shard)
        report = RunReport(
            pictures=len(pictures),
            settings=settings_digest(self._section, self._label_map),
            failures=[],
            erased_classes=Counter(),
            unknown_names=Counter(),
            warnings=[],
        )
        began = time.monotonic()
        self._prepare(pictures)

        def finished(one: Finished) -> None:
            self._count(report, one, skipped=False)
            report.seconds = round(time.monotonic() - began, 3)
            progress(report, self._workers)

        todo = []
        for picture in pictures:
            if self._stopping:
                break
            if self._resume and self._is_done(picture, report):
                progress(report, self._workers)
            else:
                todo.append(picture)
        self._kept_name_check(todo)
        try:
            if todo and not self._stopping:
                self._draft(todo, report.settings, finished)
        finally:
            report.seconds = round(time.monotonic() - began, 3)
            report.warnings = warnings_of(report, self._section, self._max_empty_share)
            self._keep(report)
        if report.done == report.pictures:  # of a run that was stopped the next one writes it
            write_draft_manifest(
                self._dataset, self._folder, self._records, self._section, self._label_map,
                self._shard, failed=len(report.failures), warnings=report.warnings,
            )  # fmt: skip
        return report

    def stop(self) -> None:
        """End the run soon; what is drafted stays."""
        self._stopping = True
        if self._pool is not None:
            self._pool.stop()

    def _draft(
        self, todo: Sequence[RawPicture], settings: str, finished: Callable[[Finished], None]
    ) -> None:
        number = min(self._workers, len(todo))
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()

        def setup(place: int) -> dict[str, object]:
            return {
                "section": self._section.model_dump(mode="json"),
                "names": list(self._label_map.names),
                "colours": [list(colour) for colour in self._label_map.colours],
                "dataset": str(self._dataset.absolute()),
                "settings": settings,
                "with_png": self._with_png,
                "threads": max(1, (cores or 1) // number),
                "place": place,
            }

        with DraftWorkers(number, setup) as self._pool:
            # A stop from now on reaches the workers; one from before only left its mark.
            if not self._stopping:
                self._pool.draft(todo, finished)

    def _own_folder(self) -> Path:
        """What lies in the folder of pictures and is ours: a data set in it, or its drafts."""
        folder, dataset = self._folder.resolve(), self._dataset.resolve()
        if dataset != folder and dataset.is_relative_to(folder):
            return self._folder / dataset.relative_to(folder)
        return self._dataset / "ssa_output"

    def _is_done(self, picture: RawPicture, report: RunReport) -> bool:
        try:
            record = done_before(self._dataset, picture, report.settings)
        except OSError:
            return False  # drafting it will say what is wrong
        if record is not None:
            self._count(report, record, skipped=True)
        return record is not None

    def _count(self, report: RunReport, one: Finished, *, skipped: bool) -> None:
        if isinstance(one, Failure):
            report.failures.append(one)
            return
        self._records.append(one)
        report.skipped += skipped
        report.drafted += not skipped
        report.empty += not one.class_pixels
        report.erased_classes.update(one.erased_classes)
        report.unknown_names.update(one.unknown_names)

    def _prepare(self, pictures: Sequence[RawPicture]) -> None:
        """Folders, and the pictures where seed 003's tools look for them."""
        try:
            raw = self._dataset / "raw_data"
            (self._dataset / "ssa_output").mkdir(parents=True, exist_ok=True)
            (self._dataset / ".cornerloop").mkdir(exist_ok=True)
            raw.mkdir(exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"{self._dataset}: cannot be written ({error}); name a folder you may write to"
            ) from error
        if self._folder.resolve() == raw.resolve():
            return
        for picture in pictures:
            if self._stopping:
                return
            try:
                _linked(picture.path, raw / picture.name)
            except OSError as error:
                # Drafting it will say so too, if it cannot be read at all.
                logger.warning("%s is not in raw_data: %s", picture.name, error)

    def _kept_name_check(self, todo: Sequence[RawPicture]) -> None:
        """Drafts of other pictures must not be painted over by this folder's.

        Raises:
            ConfigError: a draft of that name is of another picture; names both.
        """
        for picture in todo:
            record = read_record(self._dataset, picture.draft)
            if record is not None and record.image != picture.name:
                raise ConfigError(
                    f"{self._dataset}: draft {picture.draft} is of {record.image}, and would be "
                    f"replaced by that of {picture.name}; take another --out"
                )

    def _keep(self, report: RunReport) -> None:
        told = {
            "shard": [self._shard.index, self._shard.count],
            "settings": report.settings,
            "pictures": report.pictures,
            "drafted": report.drafted,
            "skipped": report.skipped,
            "empty": report.empty,
            "seconds": report.seconds,
            "failures": [to_plain(failure) for failure in report.failures],
            "erased_classes": dict(report.erased_classes.most_common()),
            "unknown_names": dict(report.unknown_names.most_common()),
            "warnings": report.warnings,
        }
        body = json.dumps(told, indent=1, ensure_ascii=False).encode()
        write_whole(report_path(self._dataset, self._shard), body)


def warnings_of(
    report: RunReport, section: PreannotationSection, max_empty_share: float
) -> list[str]:
    """What an operator should hear loudly: drafts without a class, and why that may be."""
    drafts = report.drafted + report.skipped
    told = []
    if drafts and report.empty / drafts > max_empty_share:
        told.append(
            f"{report.empty} of {drafts} drafts have no pixel of any class. "
            f"{_likely_cause(report, section)}"
        )
    if report.erased_classes:
        most = ", ".join(f"{name} ({n})" for name, n in report.erased_classes.most_common(5))
        told.append(
            f"classes that the vote painted over altogether, and in how many drafts: {most}. "
            "`vote: {erased_classes: keep}` gives them their pixels back"
        )
    return told


def _likely_cause(report: RunReport, section: PreannotationSection) -> str:
    most = ", ".join(repr(name) for name, _ in report.unknown_names.most_common(5))
    if most and section.method == "text_prompts":
        return (
            f"Likely cause: words of several prompts ran together ({most}); raise "
            f"preannotation.text_prompts.text_threshold ({section.text_prompts.text_threshold}), "
            "or ask for less in one run"
        )
    if most:
        return (
            f"Likely cause: the ontology knows no class for what was found ({most}); add these "
            "words to the file that `preannotation.ontology` names"
        )
    if section.method == "text_prompts":
        return (
            "Likely cause: nothing was found for these prompts; say them in simpler words, or "
            f"lower preannotation.text_prompts.box_threshold ({section.text_prompts.box_threshold})"
        )
    if section.method == "open_vocabulary":
        return (
            "Likely cause: the mask branch proposed nothing; lower "
            f"preannotation.masks.pred_iou_thresh ({section.masks.pred_iou_thresh}) or take "
            "another mask branch"
        )
    return (
        "Likely cause: the semantic model's classes are not the label map's; look at its names, "
        "and give an ontology"
    )


def _linked(source: Path, target: Path) -> None:
    """The same file under another name where the disk can do that, else a copy."""
    if target.exists() and (target.samefile(source) or _same_stamp(source, target)):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _same_stamp(one: Path, other: Path) -> bool:
    a, b = one.stat(), other.stat()
    return (a.st_size, a.st_mtime_ns) == (b.st_size, b.st_mtime_ns)


def exit_code_of(report: RunReport, max_failed: float = 0.0) -> int:
    """0: every picture has its draft, but for a share of failures that is accepted; 1: some have
    none, or the run was stopped."""
    accepted = len(report.failures) <= max_failed * report.pictures
    return 0 if accepted and report.done == report.pictures else 1
