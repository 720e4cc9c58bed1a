"""Bring weights into the store, checked on arrival; what is not the known file is not kept.

A hash is known from the catalogue, from an earlier pull, from the source's own record, or from
the hub's answer; the first of these that knows it decides.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cloud.weights.catalogue import CatalogueEntry
from cloud.weights.records import (
    FileRecord,
    PullRecord,
    file_record,
    md5_of,
    read_record,
    record_path,
    write_record,
)
from cloud.weights.sources import Source
from cloud.weights.store import WHOLE_WEIGHTS, filename_of, place_of, shards_of
from cloud.weights.transfer import forget
from lifelong.errors import ChecksumError, ModelLoadError
from lifelong.links.durable_files import sync_folder

# What transformers may ask of a folder besides the weights; what a source lacks is not needed.
_SMALL_FILES = (
    "preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json",
    "tokenizer_config.json", "tokenizer.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "vocab.txt", "merges.txt", "generation_config.json",
)  # fmt: skip
_ONEFORMER_DATASET = "shi-labs/oneformer_demo"
# A file's name, bytes so far, bytes in all or None.
Tell = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """What a pull did."""

    place: Path
    fetched: tuple[str, ...]  # names of files that were brought
    kept: tuple[str, ...]  # names of files that were there already, unchanged
    notes: tuple[str, ...]  # what people should know


def pull(entry: CatalogueEntry, folder: Path, source: Source, tell: Tell) -> Pulled:
    """Bring one model into the store at `folder`, or find that it is there.

    Raises:
        ModelLoadError: not there, refused or not reachable; says what to do.
        ChecksumError: other bytes than the known ones; they are not kept.
        CorruptRecordError: the record of an earlier pull cannot be read.
    """
    try:
        return _Pull(entry, folder, source, tell).run()
    except OSError as error:
        raise ModelLoadError(
            f"{entry.name}: cannot be kept in {folder} ({error}); free space or name another "
            "folder with --weights-path; what has arrived is kept"
        ) from error


class _Pull:
    """One model on its way into a store."""

    def __init__(self, entry: CatalogueEntry, folder: Path, source: Source, tell: Tell) -> None:
        self._entry, self._folder, self._source, self._tell = entry, folder, source, tell
        self._place = place_of(entry, folder)
        record = read_record(record_path(entry, folder))
        self._recorded = dict(record.files) if record else {}
        self._files: dict[str, FileRecord] = {}
        self._fetched: list[str] = []
        self._notes: list[str] = []

    def run(self) -> Pulled:
        if self._entry.kind == "file":
            self._need(filename_of(self._entry))
        else:
            self._bring_folder()
        if not self._entry.sha256:
            self._notes.append(
                f"{self._entry.name}: its SHA-256 is not in the catalogue; what came is recorded, "
                "and a later pull must bring the same"
            )
        write_record(
            record_path(self._entry, self._folder),
            PullRecord(
                name=self._entry.name,
                source=self._entry.source,
                revision=self._entry.revision,
                pulled_at=datetime.now(UTC).replace(microsecond=0),
                pulled_from=self._source.named(self._entry),
                files=self._files,
            ),
        )
        return Pulled(
            place=self._place,
            fetched=tuple(self._fetched),
            kept=tuple(name for name in self._files if name not in self._fetched),
            notes=tuple(self._notes),
        )

    def _bring_folder(self) -> None:
        """Weights come last: a folder that has them is one that can be loaded."""
        self._need("config.json")
        for name in _SMALL_FILES:
            self._bring(name)
        self._bring_class_names()
        for whole in WHOLE_WEIGHTS:
            index = f"{whole}.index.json"
            if not self._bring(whole):
                if not self._bring(index):
                    continue
                path = self._place / index
                for shard in shards_of(path.read_bytes(), str(path)):
                    self._need(shard)
            if whole != WHOLE_WEIGHTS[0]:
                self._notes.append(
                    f"{self._entry.name}: no safetensors there, so it is {whole}, a pickle; it is "
                    "loaded with weights_only=True"
                )
            return
        raise self._absent(" or ".join(WHOLE_WEIGHTS))

    def _bring_class_names(self) -> None:
        """OneFormer's processor wants a list of classes that lies in a data set on the hub."""
        for processor in ("preprocessor_config.json", "processor_config.json"):
            wish = self._image_processor(processor)
            name = wish.get("class_info_file")
            if isinstance(name, str) and name == Path(name).name:
                dataset = wish.get("repo_path") or _ONEFORMER_DATASET
                self._need(name, path=f"datasets/{dataset}/{name}")
                return

    def _image_processor(self, name: str) -> dict[str, Any]:
        path = self._place / name
        try:
            says = json.loads(path.read_bytes()) if path.is_file() else {}
        except ValueError as error:
            raise ModelLoadError(f"{path}: not JSON ({error}); pull again") from error
        inner = says.get("image_processor", says)
        return inner if isinstance(inner, dict) else {}

    def _need(self, name: str, *, path: str | None = None) -> None:
        if not self._bring(name, path=path):
            raise self._absent(path or name)

    def _bring(self, name: str, *, path: str | None = None) -> bool:
        """Have one file in its place, checked; False if nobody has it."""
        target = self._place if self._entry.kind == "file" else self._place / name
        known = self._known(name)
        if target.is_file():
            found = file_record(target)
            if known in (None, found.sha256):
                self._files[name] = found
                return True
            self._notes.append(f"{target} had changed on disk and was brought again")
        arrived = self._source.fetch(
            self._entry, path or name, target, lambda done, of: self._tell(name, done, of)
        )
        if arrived is None:
            return False
        known = known or self._source.known_sha256(self._entry, name) or arrived.sha256
        try:
            found = self._checked(name, arrived.part, known)
        except ChecksumError:
            forget(arrived.part)
            raise
        _settle(arrived.part, target)
        self._files[name] = found
        self._fetched.append(name)
        return True

    def _is_published(self, name: str) -> bool:
        """Do the catalogue's size and hashes speak of this file?"""
        return self._entry.kind == "file" or name == WHOLE_WEIGHTS[0]

    def _known(self, name: str) -> str | None:
        if self._is_published(name) and self._entry.sha256:
            return self._entry.sha256
        recorded = self._recorded.get(name)
        return recorded.sha256 if recorded else None

    def _checked(self, name: str, part: Path, known: str | None) -> FileRecord:
        found = file_record(part)
        size = self._entry.size if self._is_published(name) else None
        md5 = self._entry.md5 if self._is_published(name) else None
        if known is not None and found.sha256 != known:
            raise self._changed(name, f"SHA-256 {known}", f"{found.sha256} ({found.size} bytes)")
        begins = self._entry.sha256_begins if self._is_published(name) else None
        if begins is not None and not found.sha256.startswith(begins):
            raise self._changed(name, f"SHA-256 {begins}…", f"{found.sha256}")
        if size is not None and found.size != size:
            raise self._changed(name, f"{size} bytes", f"{found.size} bytes")
        if known is None and md5 is not None and md5_of(part) != md5:
            raise self._changed(name, f"MD5 {md5}", md5_of(part))
        if name.endswith(".json") and not _is_json(part):
            raise self._changed(name, "JSON", "something else, perhaps a page for people")
        return found

    def _changed(self, name: str, expected: str, came: str) -> ChecksumError:
        why = (
            "the source is damaged or not what it says"
            if self._is_published(name) and self._entry.sha256
            else "if its publisher has really changed it, remove "
            f"{record_path(self._entry, self._folder)} and pull again"
        )
        return ChecksumError(
            f"{self._entry.name}: {name} from {self._source.named(self._entry)}: expected "
            f"{expected}, came {came}; nothing of it is kept; {why}"
        )

    def _absent(self, what: str) -> ModelLoadError:
        return ModelLoadError(
            f"{self._entry.name}: {self._source.named(self._entry)} has no {what} of "
            f"{self._entry.source}; docs/weights.md shows how a mirror or folder is laid out"
        )


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except ValueError:
        return False
    return True


def _settle(part: Path, target: Path) -> None:
    """A checked part becomes the file, whole or not at all."""
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(target)
    forget(part)
    sync_folder(target.parent)
