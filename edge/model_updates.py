"""Model updates: watch the release pointer, fetch and verify a bundle, keep it on this node's disk.

On the disk, under the node's state: `models/{version_id}.bundle` for the running and the previous
model, `models/installed.json` saying which is which, `models/refused.json` listing releases that
this node will not fetch again. A release is named by the SHA-256 of the pointer's bytes, so that
releasing the same version anew gives it a new chance.
"""

import json
import logging
from dataclasses import dataclass
from pathlib import Path

from lifelong.errors import LabelMapError, LifelongError, ObjectNotFoundError, RecordError
from lifelong.links.durable_files import write_whole
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage
from lifelong.model_bundle import ModelBundle, read_bundle
from lifelong.records.ids import VersionId, sha256_hex
from lifelong.records.keys import CURRENT_RELEASE
from lifelong.records.model_versions import Release
from lifelong.records.wire import from_json, json_object, to_json

logger = logging.getLogger(__name__)

REFUSALS_KEPT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A verified bundle and the release that brought it."""

    release: str  # SHA-256 of the pointer's bytes, 64 hex digits
    bundle: ModelBundle


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What lies on this node's disk: `models/installed.json`."""

    running: VersionId
    running_release: str
    previous: VersionId | None
    previous_release: str


class ModelUpdates:
    """What to run: released in storage, or kept from before on the disk.

    Args of the constructor: `label_map_digest` is that of this node's configuration; a bundle
    with other classes is refused.
    """

    def __init__(
        self, storage: Storage, folder: Path, label_map_digest: str, journal: Journal
    ) -> None:
        self._storage = storage
        self._folder = folder
        self._digest = label_map_digest
        self._journal = journal
        folder.mkdir(parents=True, exist_ok=True)
        self._refused = self._refused_before()

    def newer_than(self, running: VersionId | None) -> Offer | None:
        """The released model if it is another than `running` and was not refused before.

        A bundle that fails its checks is refused here: journal event `model.refused`.

        Raises:
            StorageError: storage cannot be reached or refuses; nothing is known then.
        """
        try:
            pointer = self._storage.get(CURRENT_RELEASE)
        except ObjectNotFoundError:
            return None  # nothing is released yet
        name = sha256_hex(pointer)
        if name in self._refused:
            return None
        version = "unknown"
        try:
            release = from_json(Release, pointer, CURRENT_RELEASE)
            version = release.version_id
            if release.version_id == running:
                return None
            return Offer(release=name, bundle=fetched(self._storage, release, self._digest))
        except (RecordError, ObjectNotFoundError) as error:
            self.refuse(name, VersionId(version), str(error))
            return None

    def refuse(self, release: str, version_id: VersionId, reason: str) -> None:
        """Never fetch this release again, and say why in the journal."""
        logger.warning("refused model %s: %s", version_id, reason)
        self._journal.event("model.refused", version_id=version_id, reason=reason)
        self._refused = {**self._refused, release: reason}
        newest = dict(list(self._refused.items())[-REFUSALS_KEPT:])
        try:
            write_whole(self._folder / "refused.json", _plain_json(newest))
        except OSError as error:
            logger.warning("the refusal is not on the disk, only in memory: %s", error)

    def on_disk(self) -> list[Offer]:
        """The running model, then the previous one; what is broken or foreign is left out."""
        installed = self._installed()
        if installed is None:
            return []
        offers = []
        for version_id, release in (
            (installed.running, installed.running_release),
            (installed.previous, installed.previous_release),
        ):
            if version_id is None:
                continue
            path = self._path(version_id)
            try:
                bundle = read_bundle(path.read_bytes(), str(path))
                check_label_map(bundle, self._digest, str(path))
            except (OSError, RecordError) as error:
                logger.warning("the kept model %s cannot be used: %s", version_id, error)
                continue
            offers.append(Offer(release=release, bundle=bundle))
        return offers

    def keep(self, running: Offer, previous: Offer | None) -> None:
        """Keep both on the disk for a restart without network; older ones go.

        A full disk is reported and not fatal: the model runs from memory.
        """
        installed = Installed(
            running=running.bundle.version_id,
            running_release=running.release,
            previous=previous.bundle.version_id if previous else None,
            previous_release=previous.release if previous else "",
        )
        try:
            for offer in (running, previous):
                if offer is not None and not self._path(offer.bundle.version_id).exists():
                    write_whole(self._path(offer.bundle.version_id), offer.bundle.to_bytes())
            write_whole(self._folder / "installed.json", to_json(installed))
            for path in self._folder.glob("*.bundle"):
                if path.stem not in {installed.running, installed.previous}:
                    path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("model %s runs but is not on the disk: %s", installed.running, error)

    def _path(self, version_id: VersionId) -> Path:
        return self._folder / f"{version_id}.bundle"

    def _installed(self) -> Installed | None:
        path = self._folder / "installed.json"
        try:
            return from_json(Installed, path.read_bytes(), str(path))
        except FileNotFoundError:
            return None
        except (OSError, LifelongError) as error:
            logger.warning("which model ran before is not known: %s", error)
            return None

    def _refused_before(self) -> dict[str, str]:
        path = self._folder / "refused.json"
        try:
            refused = json_object(path.read_bytes(), str(path)).get("refused", {})
            return {str(name): str(reason) for name, reason in dict(refused).items()}
        except FileNotFoundError:
            return {}
        except (OSError, LifelongError, ValueError, TypeError) as error:
            logger.warning("earlier refusals are not known: %s", error)
            return {}


def fetched(storage: Storage, release: Release, label_map_digest: str) -> ModelBundle:
    """The bundle that a release names, verified from the file down to its classes.

    Raises:
        StorageError: it cannot be fetched, or there is none.
        RecordError: truncated, damaged, another version, or made for other classes.
    """
    data = storage.get(release.bundle_key, sha256=release.sha256)
    bundle = read_bundle(data, release.bundle_key)
    if bundle.version_id != release.version_id:
        raise RecordError(
            f"{release.bundle_key}: holds version {bundle.version_id}, "
            f"the release names {release.version_id}"
        )
    check_label_map(bundle, label_map_digest, release.bundle_key)
    return bundle


def check_label_map(bundle: ModelBundle, label_map_digest: str, where: str) -> None:
    """Refuse a bundle whose classes are not this node's.

    Raises:
        LabelMapError: names `where` and both digests.
    """
    digest = bundle.manifest.label_map.digest
    if digest != label_map_digest:
        raise LabelMapError(
            f"{where}: made for label map {digest}, this node runs {label_map_digest}; "
            "check `label_map` in the configuration of both sides"
        )


def _plain_json(refused: dict[str, str]) -> bytes:
    return json.dumps({"schema": 1, "refused": refused}, indent=1).encode()
