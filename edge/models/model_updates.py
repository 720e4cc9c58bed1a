"""Model updates: watch what is released, believe only what is signed, fetch and verify a bundle.

On the disk, under the node's state: `models/` with the running and the previous model
(`kept_models.py`), what was refused (`refusals.py`), and chunks of a fetch under way
(`bundle_fetch.py`). A release is named by the SHA-256 of its bytes, so that releasing the
same version anew gives it a new chance.
"""

import logging
import threading
from dataclasses import replace
from pathlib import Path

from edge.models.bundle_fetch import BundleFetch, Fetched
from edge.models.kept_models import Kept, KeptModels, Offer
from edge.models.probation import ProbationMark
from edge.models.refusals import Refusal, Refusals
from edge.models.trust import Trust
from lifelong.errors import (
    ChecksumError,
    CorruptRecordError,
    LabelMapError,
    ModelError,
    ObjectNotFoundError,
    OlderModelError,
    OtherVersionError,
    RecordError,
    ReplayedReleaseError,
    RevokedKeyError,
    SignatureError,
    StorageError,
    UnsignedError,
)
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage, checked_key
from lifelong.model_bundle import ModelBundle, read_bundle
from lifelong.onnx_layout import refuse_foreign_files
from lifelong.records.ids import EdgeId, VersionId, sha256_hex
from lifelong.records.keys import CURRENT_RELEASE, STAGED_RELEASE
from lifelong.records.model_versions import Release
from lifelong.records.wire import from_json
from lifelong.staging import release_for

logger = logging.getLogger(__name__)

LOOKS_BETWEEN_RINGS = 30  # while releases stay as they are; a new one looks for a ring at once


class ModelUpdates:
    """What to run: released in storage, or kept from before on the disk.

    Args of the constructor: `label_map_digest` is that of this node's configuration, a bundle
    with other classes is refused; `trust` says whose releases are believed; `edge_id` decides
    whether this node is among the share of a staged release ("": never).
    """

    def __init__(
        self,
        storage: Storage,
        folder: Path,
        label_map_digest: str,
        journal: Journal,
        *,
        trust: Trust,
        edge_id: EdgeId = EdgeId(""),
    ) -> None:
        self._storage = storage
        self._digest = label_map_digest
        self._journal = journal
        self._trust = trust
        self._edge_id = edge_id
        self._kept = KeptModels(folder)
        self._refusals = Refusals(folder, journal, label_map_digest)
        self._fetch = BundleFetch(storage, self._kept)
        self._running: Offer | None = None
        self._previous: Offer | None = None
        self._pointers: tuple[bytes | None, bytes | None] = (None, None)
        self._looks = 0
        self._lock = threading.RLock()  # the frame loop keeps models, the look for news doubts them
        # What runs on trial, and what answers beside it before that; see `ProbationMark`.
        self.probation = ProbationMark(folder / "probation.json")
        self.canary = ProbationMark(folder / "canary.json")

    @property
    def running_release(self) -> Release | None:
        """The release that brought the running model; None without one."""
        return self._running.record if self._running else None

    @property
    def refused(self) -> Refusal | None:
        """The last refusal, also of an earlier life of this node."""
        return self._refusals.newest

    @property
    def doubt(self) -> str:
        """Why the running model should be replaced although it runs; empty when it need not."""
        return self._running.doubt if self._running else ""

    def newer_than(self, running: VersionId | None) -> Offer | None:
        """The released model if it is another than `running` and was not refused before.

        What fails its checks is refused here: journal event `model.refused`.

        Raises:
            StorageError: storage cannot be reached or refuses; nothing is known then.
        """
        # In this order: between the two a promotion or a roll-back writes the current one first.
        staged = self._read(STAGED_RELEASE)
        current = self._read(CURRENT_RELEASE)
        self._look_for_keys((current, staged))
        for_all = self._believed(current, CURRENT_RELEASE)
        for_some = self._believed(staged, STAGED_RELEASE)
        chosen = release_for(self._edge_id, for_all, for_some)
        if chosen is None:  # nothing is released yet, or nothing that can be believed
            return self._unreleased(running)
        pointer = current if chosen is for_all else staged
        assert pointer is not None
        name = sha256_hex(pointer)
        try:
            return self._offered(chosen, name, pointer, running)
        except (RecordError, ModelError, ObjectNotFoundError) as error:
            self._refusals.add(name, chosen.version_id, error, ring=self._trust.serial)
            return None

    def refuse(self, release: str, version_id: VersionId, error: Exception) -> None:
        """Never fetch this release again, and say why in the journal."""
        self._refusals.add(release, version_id, error, ring=self._trust.serial)

    def was_refused(self, offer: Offer) -> bool:
        """Was the release of a kept model refused since?"""
        return self._refusals.stands(offer.release, self._trust.serial)

    def on_disk(self) -> list[Offer]:
        """The running model, then the previous one; what is broken or foreign is left out.

        One whose key was revoked since comes last and with a doubt: a node without any model
        would be worth less than one whose model has worked so far.
        """
        offers = [offer for kept in self._kept.all() if (offer := self._verified(kept))]
        return sorted(offers, key=lambda offer: bool(offer.doubt))

    def keep(self, running: Offer, previous: Offer | None) -> None:
        """Keep both on the disk for a restart without network; older ones go.

        A full disk is reported and not fatal: the model runs from memory.
        """
        with self._lock:
            self._running, self._previous = running, previous
            self._kept.keep(running, previous)

    def runs(self, running: Offer, previous: Offer | None) -> None:
        """Say what runs after a start from the disk; nothing is written."""
        with self._lock:
            self._running, self._previous = running, previous

    def _read(self, key: str) -> bytes | None:
        try:
            return self._storage.get(key)
        except ObjectNotFoundError:
            return None

    def _look_for_keys(self, pointers: tuple[bytes | None, bytes | None]) -> None:
        self._looks += 1
        if pointers != self._pointers or self._looks >= LOOKS_BETWEEN_RINGS:
            self._trust.refresh(self._storage)
            self._pointers, self._looks = pointers, 0
            self._doubt_running()

    def _doubt_running(self) -> None:
        """A key may have been revoked while its model runs: say so, and let it run."""
        running = self._running
        if running is None or not running.pointer:
            return
        doubt = ""
        try:
            self._trust.release(running.pointer, "the running model's release")
        except RecordError as error:
            doubt = f"model {running.bundle.version_id} runs on, but {error}"
        if doubt != running.doubt:
            if doubt:
                self._journal.event(
                    "model.doubted", version_id=running.bundle.version_id, reason=doubt
                )
            with self._lock:
                if self._running is running:
                    self._running = replace(running, doubt=doubt)

    def _believed(self, pointer: bytes | None, key: str) -> Release | None:
        """The release that these bytes hold; None when there is none or it was refused."""
        if pointer is None:
            return None
        name = sha256_hex(pointer)
        if self._refusals.stands(name, self._trust.serial):
            return None
        try:
            return self._trust.release(pointer, key)
        except RecordError as error:
            self._refusals.add(name, _version_in(pointer), error, ring=self._trust.serial)
            return None

    def _offered(
        self, release: Release, name: str, pointer: bytes, running: VersionId | None
    ) -> Offer | None:
        """The release's bundle; None when it runs already.

        Raises:
            RecordError, ModelError, ObjectNotFoundError: why it is refused.
            StorageError: the link, not the release, is at fault.
        """
        is_older = release.number < self._refusals.highest
        if release.version_id == running:
            if not is_older:
                self._refusals.believed(release.number)
                self._renew(release, name, pointer)
            return None
        if is_older:
            raise ReplayedReleaseError(
                f"release {release.number} is older than release {self._refusals.highest}, "
                "which this node has accepted; somebody put an old pointer back"
            )
        self._refusals.believed(release.number)
        self._refuse_older(release)
        try:
            checked_key(release.bundle_key)
            checked_key(release.version_id)
        except StorageError as error:
            raise CorruptRecordError(str(error)) from error
        came = self._fetched(release)
        bundle = verified_bundle(came.data, release, self._digest)
        self._journal.event(
            "model.fetched",
            version_id=bundle.version_id,
            bytes=len(came.data),
            transferred=came.transferred,
            objects=came.chunks,
        )
        return Offer(release=name, bundle=bundle, pointer=pointer)

    def _fetched(self, release: Release) -> Fetched:
        """The bundle file that a release names; a node with another source asks that first."""
        return self._fetch.fetch(release)

    def _unreleased(self, running: VersionId | None) -> Offer | None:
        """What to run while there is no release to believe; an ordinary node waits for one."""
        return None

    def _refuse_older(self, release: Release) -> None:
        now = self._running.record if self._running else None
        if now is not None and release.round_number < now.round_number and not release.is_rollback:
            raise OlderModelError(
                f"release {release.number}: version {release.version_id} comes from round "
                f"{release.round_number}, this node runs one from round {now.round_number}; "
                "`cornerloop rollback` releases an earlier version on purpose"
            )

    def _renew(self, release: Release, name: str, pointer: bytes) -> None:
        """The running version was released anew, perhaps with another key: keep that release."""
        running = self._running
        if running is None or running.pointer == pointer:
            return
        with self._lock:
            if release.sha256 == running.bundle.sha256 and self._running is running:
                renewed = replace(running, release=name, pointer=pointer, doubt="")
                self.keep(renewed, self._previous)

    def _verified(self, kept: Kept) -> Offer | None:
        """A model of the disk, if it is whole and what its release promised."""
        doubt = ""
        where = str(kept.path)
        try:
            try:
                release = self._kept_release(kept)
            except RevokedKeyError as error:
                doubt = f"model {kept.version_id} runs on, but {error}"
                release = from_json(Release, kept.pointer, where)
            data = kept.path.read_bytes()
            if release is None:
                bundle = read_bundle(data, where)
                check_bundle(bundle, kept.version_id, self._digest, where)
            else:
                bundle = verified_bundle(data, release, self._digest)
        except (OSError, RecordError, ModelError) as error:
            logger.warning("the kept model %s cannot be used: %s", kept.version_id, error)
            if isinstance(error, SignatureError):
                self._refusals.add(kept.release, kept.version_id, error, ring=self._trust.serial)
            return None
        return Offer(release=kept.release, bundle=bundle, pointer=kept.pointer, doubt=doubt)

    def _kept_release(self, kept: Kept) -> Release | None:
        if kept.pointer:
            release = self._trust.release(kept.pointer, str(kept.path))
            if sha256_hex(kept.pointer) != kept.release:
                raise CorruptRecordError(f"{kept.path}: kept with another release than it names")
            return release
        if self._trust.accepts_unsigned:
            return None
        raise UnsignedError(
            f"{kept.path}: kept without its release's signature; it is fetched anew"
        )


def verified_bundle(data: bytes, release: Release, label_map_digest: str) -> ModelBundle:
    """The bundle that a release names, verified from the file down to its classes.

    Raises:
        RecordError: truncated, damaged, another version, or made for other classes.
        ModelLoadError: it points at other files.
    """
    where = release.bundle_key
    if sha256_hex(data) != release.sha256:
        raise ChecksumError(f"{where}: not the file that release {release.number} names")
    bundle = read_bundle(data, where)
    check_bundle(bundle, release.version_id, label_map_digest, where)
    return bundle


def check_bundle(
    bundle: ModelBundle, version_id: VersionId, label_map_digest: str, where: str
) -> None:
    """Is this bundle the version that somebody promised, and may it run on this node?

    Raises:
        OtherVersionError, LabelMapError: another version, or made for other classes.
        ModelLoadError: it points at other files.
    """
    if bundle.version_id != version_id:
        raise OtherVersionError(
            f"{where}: holds version {bundle.version_id}, the release names {version_id}"
        )
    digest = bundle.manifest.label_map.digest
    if digest != label_map_digest:
        raise LabelMapError(
            f"{where}: made for label map {digest}, this node runs {label_map_digest}; "
            "check `label_map` in the configuration of both sides"
        )
    refuse_foreign_files(bundle.onnx, where)


def _version_in(pointer: bytes) -> VersionId:
    """What a release that is not believed says it is, for the journal; not to be relied on."""
    try:
        return from_json(Release, pointer, "").version_id
    except RecordError:
        return VersionId("unknown")
