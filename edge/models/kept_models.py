"""The models on this node's disk: the running and the previous one, for a start without network.

`{version_id}.bundle` for both, and `installed.json` saying which is which, each with the release
that brought it, signature and all: what lies here is verified again at every start.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lifelong.errors import LifelongError
from lifelong.links.durable_files import write_whole
from lifelong.model_bundle import ModelBundle
from lifelong.records.ids import VersionId, sha256_hex
from lifelong.records.model_versions import Release
from lifelong.records.wire import from_json, to_json

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A verified bundle and the release that brought it."""

    release: str  # SHA-256 of the release's bytes, 64 hex digits
    bundle: ModelBundle
    pointer: bytes = b""  # those bytes; empty when an earlier version of this program kept it
    # Why nobody should trust it any more: its key was revoked after it had run here.
    doubt: str = ""

    @property
    def record(self) -> Release | None:
        """What the release says; None when its bytes were not kept."""
        return from_json(Release, self.pointer, "the kept release") if self.pointer else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What lies on this node's disk: `installed.json`."""

    running: VersionId
    running_release: str
    previous: VersionId | None
    previous_release: str
    running_pointer: str = ""  # the release itself, as text; empty: not kept
    previous_pointer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One model on the disk, not verified yet."""

    version_id: VersionId
    release: str
    pointer: bytes
    path: Path


class KeptModels:
    """Reads and writes the folder; a full disk is reported and never fatal."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def all(self) -> list[Kept]:
        """The running model, then the previous one, as they are written down."""
        installed = self._installed()
        if installed is None:
            return []
        named = (
            (installed.running, installed.running_release, installed.running_pointer),
            (installed.previous, installed.previous_release, installed.previous_pointer),
        )
        return [
            Kept(
                version_id=version_id,
                release=release,
                pointer=pointer.encode(),
                path=self._path(version_id),
            )
            for version_id, release, pointer in named
            if version_id is not None
        ]

    def keep(self, running: Offer, previous: Offer | None) -> None:
        """Keep both for the next start; older ones go.

        Bundles first, then the record that names them: a kill in between leaves the old pair.
        """
        installed = Installed(
            running=running.bundle.version_id,
            running_release=running.release,
            running_pointer=running.pointer.decode(),
            previous=previous.bundle.version_id if previous else None,
            previous_release=previous.release if previous else "",
            previous_pointer=previous.pointer.decode() if previous else "",
        )
        try:
            for offer in (running, previous):
                if offer is not None and not self._is_whole(offer.bundle):
                    write_whole(self._path(offer.bundle.version_id), offer.bundle.to_bytes())
            write_whole(self.folder / "installed.json", to_json(installed))
            for path in self.folder.glob("*.bundle"):
                if path.stem not in {installed.running, installed.previous}:
                    path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("model %s runs but is not on the disk: %s", installed.running, error)

    def files(self) -> Iterator[bytes]:
        """The bundle files that can be read, whatever they hold."""
        for path in sorted(self.folder.glob("*.bundle")):
            try:
                yield path.read_bytes()
            except OSError as error:
                logger.warning("a kept model cannot be read: %s", error)

    def _is_whole(self, bundle: ModelBundle) -> bool:
        try:
            return sha256_hex(self._path(bundle.version_id).read_bytes()) == bundle.sha256
        except OSError:
            return False

    def _path(self, version_id: VersionId) -> Path:
        return self.folder / f"{version_id}.bundle"

    def _installed(self) -> Installed | None:
        path = self.folder / "installed.json"
        try:
            return from_json(Installed, path.read_bytes(), str(path))
        except FileNotFoundError:
            return None
        except (OSError, LifelongError) as error:
            logger.warning("which model ran before is not known: %s", error)
            return None
