"""Which parts the whole state has, by what the configuration says, and in which order they are
read.

The loop writes bytes first, records second, pointers last. Reading goes the other way: what
points at something is read before what it points at is listed, so that everything which a copied
pointer names was there when its turn came. An inbox is read before the places where the service
moves a delivery to: what is gone from it when its turn comes is found there.
"""

import os
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from annotation.assist.credentials import FILE as ASSIST_PASSWORD
from cloud.backup.places import (
    PRIVATE,
    FilePlace,
    FolderPlace,
    ObjectPlace,
    Place,
    StoragePlace,
)
from lifelong.config import Config
from lifelong.errors import ConfigError
from lifelong.links.sedna import sednas_account
from lifelong.links.storage import Storage, open_storage
from lifelong.records.keys import (
    ADMISSIONS,
    CHUNKS,
    CURRENT_RELEASE,
    EDGES,
    ESCALATIONS,
    FORGETTING,
    INBOX,
    LABEL_MAPS,
    ROLLOUTS,
    STAGED_RELEASE,
)

# In storage, what points before what is pointed at; every other room comes after them.
FIRST = (
    INBOX,
    FORGETTING,
    "rounds",
    ROLLOUTS,
    CURRENT_RELEASE,
    "progress",
    "releases",
    "keys",
    ADMISSIONS,
    LABEL_MAPS,
    "kb/log",
)
# What is made again by itself, or is of no use to another life: rooms, with the reason.
NOT_TAKEN = {
    "lease": "a restored service takes a lease of its own",
    "training_lease": "a restored worker takes a lease of its own",
    "doctor": "written and removed by `cornerloop doctor`",
    "restore": "the mark of a restore",
    ESCALATIONS: "questions that nobody waits for any more",
    "embeddings": "made anew when they are asked for",
    CHUNKS: "made anew with the next release",
    "kb/checkpoints": "made anew from the log",
}
_NOT_TAKEN_KEYS = re.compile(r"models/[^/]+\.chunks\.json\Z")  # lists of chunks
OF_NODES = (INBOX, EDGES)  # what nodes write without asking
# Files and folders that the configuration names and that nobody can make anew.
_NAMED = (
    "label_map",
    "holdouts",
    "review.audit_path",
    "preannotation.ontology",
    "preannotation.calibration",
)
RING = "ring.json"  # public keys, beside the secret one
_FOLDER_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}\Z")


def is_not_taken(key: str) -> bool:
    """Is this object of storage left out of a backup?"""
    if key == STAGED_RELEASE or _NOT_TAKEN_KEYS.match(key):
        return True  # a restored release ends a roll-out, so that nobody is to try it
    return any(key == room or key.startswith(f"{room}/") for room in NOT_TAKEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of the state and where it lies."""

    name: str
    place: Place
    where: str  # for people


def storage_part(storage: Storage) -> Part:
    """What lies in storage."""
    place = StoragePlace(
        storage, first=FIRST, without=is_not_taken, not_spoiled=(*OF_NODES, *NOT_TAKEN)
    )
    return Part(name="storage", place=place, where=storage.url)


def parts_of(
    config: Config,
    config_path: Path,
    storage: Storage,
    *,
    with_signing_key: bool,
    folders: Mapping[str, Path],
    known: Container[str] = (),
) -> list[Part]:
    """Every part in the order of reading; folders of the job first, since its state is what points
    at lines of the index.

    Args:
        folders: by the name that `--folder` gave it.
        known: names of the parts of a backup that is to be put back: they tell a file from a
            folder while neither is there.
    """
    dataset = config.job.dataset_path
    index = config.job.index
    found = [_folder(f"folder-{name}", path) for name, path in folders.items()]
    # Before storage: the witness in it points at the newest entry of the audit log.
    found.append(_folder("access", config.web.access_path, PRIVATE))
    # The index is what points; its pictures are read after storage.
    lines, pictures = _dataset(dataset, index)
    found.append(Part(name="index", place=lines, where=f"{dataset}/{index}"))
    found.append(storage_part(storage))
    found.append(Part(name="dataset", place=pictures, where=str(dataset)))
    if config.annotation_folder is not None:
        found.append(_folder("annotation", config.annotation_folder))
    found.append(_folder("journal", config.journal_path))
    found.append(_file("assist", config.journal_path.parent / ASSIST_PASSWORD, PRIVATE))
    found += _named(config, known)
    key = config.releases.signing_key
    if key is not None:
        found.append(_file("ring", key.with_name(RING)))
        if with_signing_key:
            found.append(_file("signing-key", key, PRIVATE))
    found.append(_file("config", config_path))
    return found


def read_folders(given: Sequence[str]) -> dict[str, Path]:
    """`NAME=DIR` as the command line has it.

    Raises:
        ConfigError: another form, or a name twice.
    """
    found: dict[str, Path] = {}
    for word in given:
        name, equals, path = word.partition("=")
        if not equals or not path or not _FOLDER_NAME.match(name) or name in found:
            raise ConfigError(
                f"--folder {word!r}: write NAME=DIR, each name once, of small letters, digits, '-'"
            )
        found[name] = Path(path).absolute()
    return found


def _folder(name: str, path: Path, mode: int | None = None) -> Part:
    return Part(name=name, place=FolderPlace(path, mode=mode), where=str(path))


def _file(name: str, path: Path, mode: int | None = None) -> Part:
    return Part(name=name, place=FilePlace(path, mode=mode), where=str(path))


def _named(config: Config, known: Container[str]) -> Iterator[Part]:
    for dotted in _NAMED:
        value: object = config
        for name in dotted.split("."):
            value = getattr(value, name, None)
        if isinstance(value, Path):
            name = f"named-folder-{dotted}"
            is_folder = value.is_dir() or name in known
            yield _folder(name, value) if is_folder else _file(f"named-file-{dotted}", value)


def _dataset(place: Path | str, index: str) -> tuple[Place, Place]:
    def is_index(key: str) -> bool:
        return key == index

    if isinstance(place, Path):
        return FilePlace(place / index), FolderPlace(place, without=is_index)
    bucket = open_storage(place, account=sednas_account(os.environ))
    return ObjectPlace(bucket, index), StoragePlace(bucket, without=is_index)
