"""The bridge to Sedna's Dataset: corrected samples as lines of its txt index, files beside it.

    images/0123456789abcdef.jpg masks/0123456789abcdef.png

Sedna treats the index as append-only: it remembers how many lines it has read, cuts what is new
by `trainProb`, and counts blank lines and comments as samples, too. So lines are never taken out,
each sample has one, and all of a round come in one write. The index is replaced whole, by a new
file in a folder or by a conditional put in a bucket: a reader never meets half a line, nor a line
whose pictures are missing.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from lifelong.errors import (
    ObjectChangedError,
    ObjectExistsError,
    ObjectNotFoundError,
    StorageError,
)
from lifelong.links.durable_files import remove_whole, write_whole
from lifelong.links.sedna import sednas_account
from lifelong.links.storage import Storage, open_storage
from lifelong.records.samples import Sample, Split

TRIES = 5  # while somebody else writes the index, too
PADDING = "# counted by Sedna and read by nobody, so that its cut leaves one line to train on"


class DatasetFiles(Protocol):
    """Where a Dataset's files lie."""

    def read(self, name: str) -> tuple[bytes, str]:
        """A file, and a mark that is another one after each write; (b"", "") without one."""

    def replace(self, name: str, data: bytes, mark: str) -> bool:
        """Write a file whole; False: it is not the one that was read with `mark` any more."""

    def put(self, name: str, data: bytes) -> None:
        """Write a file whole."""

    def remove(self, name: str) -> bool:
        """Remove a file; False: there was none."""


def open_dataset(place: Path | str) -> DatasetFiles:
    """The files under `job.dataset_path`.

    A bucket is opened as Sedna's account where the environment names one (`S3_ENDPOINT_URL` …).
    """
    if isinstance(place, Path):
        return FolderDataset(place)
    return BucketDataset(open_storage(place, account=sednas_account(os.environ)))


class FolderDataset:
    """A folder that Sedna's controller reads in place.

    Every method raises OSError when the disk is full or gone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str) -> tuple[bytes, str]:
        """As the port says; the mark is made of inode, time and size."""
        path = self._folder / name
        try:
            return path.read_bytes(), _mark(path)
        except FileNotFoundError:
            return b"", ""

    def replace(self, name: str, data: bytes, mark: str) -> bool:
        """As the port says; who appends between look and rename loses a line."""
        path = self._folder / name
        if (_mark(path) if path.exists() else "") != mark:
            return False
        self.put(name, data)
        return True

    def put(self, name: str, data: bytes) -> None:
        """As the port says."""
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_bytes() != data:
            write_whole(path, data)

    def remove(self, name: str) -> bool:
        """As the port says."""
        return remove_whole(self._folder / name)


class BucketDataset:
    """A prefix of a bucket; every method raises StorageError as `Storage` does."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def read(self, name: str) -> tuple[bytes, str]:
        """As the port says."""
        try:
            return self._storage.read_marked(name)
        except ObjectNotFoundError:
            return b"", ""

    def replace(self, name: str, data: bytes, mark: str) -> bool:
        """As the port says; the bucket looks and writes at once."""
        try:
            if mark:
                self._storage.put_if_unchanged(name, data, mark)
            else:
                self._storage.put_if_absent(name, data)
        except (ObjectChangedError, ObjectExistsError):
            return False
        return True

    def put(self, name: str, data: bytes) -> None:
        """As the port says."""
        self._storage.put(name, data)

    def remove(self, name: str) -> bool:
        """As the port says."""
        existed = self._storage.exists(name)
        self._storage.delete(name)
        return existed


def append_to_index(
    storage: Storage,
    place: Path | str,
    index: str,
    samples: Sequence[Sample],
    *,
    train_share: float = 1.0,
) -> int:
    """Append `images/… masks/…` lines, each sample once; pictures and masks first.

    Lines come in the order of `samples`: those that train first, as Sedna cuts them. Where its
    cut (`train_share` of the new lines, rounded down) would leave none to train on, and Sedna
    would never begin, comment lines follow that it counts and nobody reads.

    Args:
        place: `job.dataset_path`.
        train_share: the manifest's trainProb, 0 .. 1.

    Returns:
        How many samples were new.

    Raises:
        StorageError: somebody else rewrites the index all the time; or as `Storage` says.
        OSError: the folder's disk is full or gone.
    """
    files = open_dataset(place)
    present: set[str] = set()
    added = 0

    def grown(text: str) -> str:
        nonlocal added
        known = {line.strip() for line in text.split("\n")}
        new = [sample for sample in samples if line_of(sample) not in known]
        added = len(new)
        if not new:
            return text
        for sample in new:
            if sample.sample_id not in present:
                _put_files(files, sample, storage)
                present.add(sample.sample_id)
        lines = [line_of(sample) for sample in new]
        if any(sample.split is Split.TRAIN for sample in new):
            lines += [PADDING] * padding(len(lines), train_share)
        # A line that somebody left without its end is ended, never taken out.
        joint = "" if not text or text.endswith("\n") else "\n"
        return text + joint + "".join(f"{line}\n" for line in lines)

    rewrite_index(files, index, grown)
    return added


def rewrite_index(files: DatasetFiles, index: str, change: Callable[[str], str]) -> bool:
    """Change the index, again when somebody else wrote it meanwhile; False: nothing to change.

    Raises:
        StorageError: somebody else rewrites it all the time.
    """
    for _ in range(TRIES):
        data, mark = files.read(index)
        text = data.decode("utf-8", "surrogateescape")
        changed = change(text)
        if changed == text:
            return False
        if files.replace(index, changed.encode("utf-8", "surrogateescape"), mark):
            return True
    raise StorageError(f"{index}: somebody else writes the Dataset's index all the time")


def line_of(sample: Sample) -> str:
    """A sample's line; both paths are relative to the index's folder."""
    return f"images/{sample.sample_id}.jpg masks/{sample.sample_id}.png"


def padding(lines: int, train_share: float) -> int:
    """How many lines Sedna must count beside these, to have one that trains.

    It takes int(trainProb * n) of n new lines:

    >>> padding(1, 0.9), padding(8, 0.9), padding(3, 0.25)
    (1, 0, 1)
    """
    more = 0
    while int(train_share * (lines + more)) < 1:
        more += 1
    return more


def _put_files(files: DatasetFiles, sample: Sample, storage: Storage) -> None:
    image, mask = line_of(sample).split(" ")
    files.put(image, storage.get(sample.image_key, sha256=sample.image_sha256))
    files.put(mask, storage.get(sample.mask_key, sha256=sample.mask_sha256))


def _mark(path: Path) -> str:
    stat = path.stat()
    return f"{stat.st_ino} {stat.st_mtime_ns} {stat.st_size}"
