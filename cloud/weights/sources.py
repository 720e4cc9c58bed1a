"""Where a model's files may lie: at its publisher, on a mirror of it, or in a folder.

A mirror or folder is laid out like a store (FILE, ORGANISATION/NAME/FILE) or like the hub
(ORGANISATION/NAME/resolve/REVISION/FILE); docs/weights.md shows both.
"""

import os
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from cloud.weights.catalogue import HUB_ENDPOINT, CatalogueEntry
from cloud.weights.records import read_record, record_path
from cloud.weights.transfer import Arrived, FolderFiles, Progress, WebFiles
from lifelong.errors import ModelLoadError

_YES = {"1", "true", "yes", "on"}


class Source(Protocol):
    """Somebody who has files of models."""

    def named(self, entry: CatalogueEntry) -> str:
        """Where an entry's bytes come from, for its record."""

    def fetch(
        self, entry: CatalogueEntry, path: str, target: Path, progress: Progress
    ) -> Arrived | None:
        """Bring a file to its part beside `target`; None if it is not there.

        Args:
            path: the file's name; for the hub's data sets `datasets/ORGANISATION/NAME/FILE`.
        """

    def known_sha256(self, entry: CatalogueEntry, name: str) -> str | None:
        """What the source's own record says of a file."""


class Publisher:
    """Whoever the catalogue names; the hub's address may be changed by HF_ENDPOINT.

    Raises:
        ModelLoadError: HF_HUB_OFFLINE says that there is no network.
    """

    def __init__(self, files: WebFiles) -> None:
        if os.environ.get("HF_HUB_OFFLINE", "").lower() in _YES:
            raise ModelLoadError(
                "HF_HUB_OFFLINE is set, so nothing is pulled from the network; "
                "name a folder or mirror with --from, or unset it"
            )
        self._files = files
        self._hub = os.environ.get("HF_ENDPOINT", HUB_ENDPOINT).rstrip("/")

    def named(self, entry: CatalogueEntry) -> str:
        """See `Source`."""
        if entry.kind == "hub":
            return f"{self._hub}/{entry.source}"
        return entry.source.replace(HUB_ENDPOINT, self._hub, 1)

    def fetch(
        self, entry: CatalogueEntry, path: str, target: Path, progress: Progress
    ) -> Arrived | None:
        """See `Source`."""
        address = self.named(entry)
        if entry.kind == "hub":
            address = f"{self._hub}/{_on_hub(entry, path)}"
        return self._files.fetch(address, target, progress)

    def known_sha256(self, entry: CatalogueEntry, name: str) -> str | None:
        """See `Source`; a publisher keeps no record of ours."""
        return None


class WebMirror:
    """A server with the same files."""

    def __init__(self, address: str, files: WebFiles) -> None:
        self._address, self._files = address.rstrip("/"), files

    def named(self, entry: CatalogueEntry) -> str:
        """See `Source`."""
        return self._address

    def fetch(
        self, entry: CatalogueEntry, path: str, target: Path, progress: Progress
    ) -> Arrived | None:
        """See `Source`."""
        for candidate in _layouts(entry, path):
            arrived = self._files.fetch(f"{self._address}/{candidate}", target, progress)
            if arrived is not None:
                return arrived
        return None

    def known_sha256(self, entry: CatalogueEntry, name: str) -> str | None:
        """See `Source`; a record from the same server would prove nothing."""
        return None


class FolderMirror:
    """A folder with the same files, for instance another store on a stick.

    Raises:
        ModelLoadError: there is no such folder.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ModelLoadError(
                f"{folder}: no such folder; --from takes a folder, or an address http(s)://…"
            )
        self._folder, self._files = folder, FolderFiles()

    def named(self, entry: CatalogueEntry) -> str:
        """See `Source`."""
        return str(self._folder)

    def fetch(
        self, entry: CatalogueEntry, path: str, target: Path, progress: Progress
    ) -> Arrived | None:
        """See `Source`; the folder may also be the model's own."""
        itself = entry.kind == "hub" and (self._folder / "config.json").is_file()
        own = [path.rpartition("/")[2]] if itself else []
        for candidate in (*own, *_layouts(entry, path)):
            arrived = self._files.fetch(self._folder / candidate, target, progress)
            if arrived is not None:
                return arrived
        return None

    def known_sha256(self, entry: CatalogueEntry, name: str) -> str | None:
        """See `Source`: a stick's record finds out what the stick has spoilt."""
        record = read_record(record_path(entry, self._folder))
        return record.files[name].sha256 if record and name in record.files else None


def source_of(mirror: str | None, files: WebFiles) -> Source:
    """The publisher, or the mirror or folder that `--from` names.

    Raises:
        ModelLoadError: no such folder, or offline without one.
    """
    if mirror is None:
        return Publisher(files)
    if mirror.startswith(("http://", "https://")):
        return WebMirror(mirror, files)
    return FolderMirror(Path(mirror).expanduser())


def _on_hub(entry: CatalogueEntry, path: str) -> str:
    """The hub's own layout."""
    if path.startswith("datasets/"):
        dataset, _, name = path.rpartition("/")
        return f"{dataset}/resolve/main/{name}"
    return f"{entry.source}/resolve/{quote(entry.revision, safe='')}/{path}"


def _layouts(entry: CatalogueEntry, path: str) -> list[str]:
    """A store's layout first, then the hub's."""
    if entry.kind == "hub":
        name = path.rpartition("/")[2]
        return [f"{entry.source}/{name}", path, _on_hub(entry, path)]
    if entry.source.startswith(HUB_ENDPOINT):
        return [path, entry.source.removeprefix(f"{HUB_ENDPOINT}/")]
    return [path]
