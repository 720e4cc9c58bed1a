"""Publish a bundle, move the pointer, roll back.

`releases/{number}.json` is written once, by put-if-absent; `releases/current.json` is a copy of
the newest one for everybody. A staged release stands in the history like any other, with the
share of the fleet that tries it; `releases/staged.json` points at it until it is promoted or
withdrawn. The history decides: when history and pointer disagree (a crash in between), the next
look mends the pointer. After a restore numbers go on above a floor: `cloud/releasing/floor.py`.
"""

import difflib
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from cloud.releasing.bundle_chunks import collect_chunks, publish_chunks
from cloud.releasing.floor import read_floor
from cloud.releasing.signing_keys import SignerSource
from lifelong.errors import (
    ChangedMeanwhileError,
    ObjectExistsError,
    ObjectNotFoundError,
    RecordError,
)
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage
from lifelong.model_bundle import ModelBundle, read_bundle
from lifelong.onnx_layout import refuse_foreign_files
from lifelong.records.ids import RoundNumber, VersionId
from lifelong.records.keys import CURRENT_RELEASE, STAGED_RELEASE, bundle_key
from lifelong.records.model_versions import Release
from lifelong.records.wire import from_json, to_json

VERSIONS_IN_CHUNKS = 4  # the newest so many can be fetched in pieces
_HISTORY = re.compile(r"releases/\d{6,}\.json\Z")


class Releases:
    """The history of what edges were told to run."""

    def __init__(
        self,
        storage: Storage,
        journal: Journal,
        now: Callable[[], datetime],
        signer: SignerSource = lambda: None,
    ) -> None:
        """`signer` is asked once a release; None: it is not signed."""
        self._storage = storage
        self._journal = journal
        self._now = now
        self._signer = signer

    def history(self) -> list[Release]:
        """All releases, oldest first."""
        return [from_json(Release, self._storage.get(key), key) for key in self._history_keys()]

    def current(self) -> Release | None:
        """The newest release, staged or not: what rounds learn from; None before the first one."""
        keys = self._history_keys()
        return from_json(Release, self._storage.get(keys[-1]), keys[-1]) if keys else None

    def for_everybody(self) -> Release | None:
        """The newest release that is not for a share of the fleet only."""
        for key in reversed(self._history_keys()):
            release = from_json(Release, self._storage.get(key), key)
            if release.share >= 1.0:
                return release
        return None

    def incumbent(self) -> ModelBundle | None:
        """The released bundle, verified."""
        release = self.current()
        return self.bundle(release.version_id) if release else None

    def bundle(self, version_id: VersionId) -> ModelBundle:
        """A version's bundle, verified.

        Raises:
            RecordError: there is no such version, or its bundle is damaged.
        """
        key = bundle_key(version_id)
        try:
            bundle = read_bundle(self._storage.get(key), key)
        except ObjectNotFoundError as error:
            raise RecordError(f"no bundle of version {version_id!r} in storage") from error
        if bundle.version_id != version_id:
            raise RecordError(f"{key}: holds version {bundle.version_id}")
        return bundle

    def publish(
        self,
        version_id: VersionId,
        round_number: RoundNumber,
        why: str,
        *,
        share: float = 1.0,
        is_rollback: bool = False,
        after: int | None = None,
    ) -> Release:
        """Make a version the current release; repeating the last call changes nothing.

        Args:
            share: below 1.0 it is only entered in the history; `show_staged` is what nodes see.
            after: only if this is still the newest release's number; None: whatever it is.

        Raises:
            RecordError: its bundle is missing or damaged; the pointer stays where it is.
            ChangedMeanwhileError: another release is the newest by now.
        """
        bundle = self.bundle(version_id)
        refuse_foreign_files(bundle.onnx, bundle_key(version_id))
        last = self.current()
        _refuse_other(last, after)
        is_same = last and _is_same(last, version_id, round_number, is_staged=share < 1.0)
        # What a restore brought back has a number that nodes have passed: they would not take it.
        if last and is_same and last.number > read_floor(self._storage).number:
            self._point_at(last)
            return last
        return self._enter(
            bundle, round_number, why, share=share, is_rollback=is_rollback, after=after
        )

    def sign_anew(self, why: str) -> Release:
        """Release what everybody runs once more, signed by the present key.

        Raises:
            RecordError: nothing is released, or a roll-out is under way.
        """
        last = self.for_everybody()
        if last is None:
            raise RecordError("nothing is released yet, so there is nothing to sign anew")
        if self._storage.exists(STAGED_RELEASE):
            raise RecordError("a roll-out is under way; sign anew when it is over, or roll back")
        return self._enter(
            self.bundle(last.version_id), last.round_number, why, is_rollback=last.is_rollback
        )

    def go_on_above_floor(self, why: str) -> Release | None:
        """Release what everybody runs with a number that nodes have not seen; safe to repeat.

        Returns:
            The release; None when nothing was released yet.

        Raises:
            RecordError, ConfigError: its bundle is missing, or it cannot be signed here.
        """
        last = self.for_everybody()
        if last is None:
            return None
        if last.number > read_floor(self._storage).number:
            self._point_at(last)
            return last
        return self._enter(self.bundle(last.version_id), last.round_number, why, is_rollback=True)

    def _enter(
        self,
        bundle: ModelBundle,
        round_number: RoundNumber,
        why: str,
        *,
        share: float = 1.0,
        is_rollback: bool = False,
        after: int | None = None,
    ) -> Release:
        """Write one more release: chunks, history, pointer, in this order."""
        version_id, floor = bundle.version_id, read_floor(self._storage)
        publish_chunks(self._storage, bundle)
        while True:
            last = self.current()
            _refuse_other(last, after)  # also when somebody took the number a moment ago
            release = self._signed(
                Release(
                    number=max(last.number if last else 0, floor.number) + 1,
                    version_id=version_id,
                    bundle_key=bundle_key(version_id),
                    sha256=bundle.sha256,
                    label_map_digest=bundle.manifest.label_map.digest,
                    round_number=round_number,
                    released_at=self._now(),
                    why=why,
                    is_rollback=is_rollback or round_number <= floor.round_number > 0,
                    share=share,
                )
            )
            try:
                self._storage.put_if_absent(f"releases/{release.number:06d}.json", to_json(release))
            except ObjectExistsError:
                continue
            self._point_at(release)
            self._collect()
            self._journal.event(
                "release.published",
                version_id=version_id,
                number=release.number,
                why=why,
                share=share,
                key_id=release.key_id,
            )
            return release

    def show_staged(self, number: int, share: float) -> None:
        """Let so much of the fleet see a staged release of the history; safe to repeat.

        Raises:
            ObjectNotFoundError: the history has no such number.
        """
        key = f"releases/{number:06d}.json"
        staged = self._signed(replace(from_json(Release, self._storage.get(key), key), share=share))
        self._put_if_other(STAGED_RELEASE, staged)

    def withdraw_staged(self) -> None:
        """No node is to try anything any more; nothing happens when none is."""
        self._storage.delete(STAGED_RELEASE)

    def roll_back(self, version_id: VersionId, who: str, *, after: int | None = None) -> Release:
        """Make an earlier version current again, as a new entry of the history.

        Args:
            after: number of the newest release as `who` saw it; see `publish`.

        Raises:
            RecordError: the version was never released.
            ChangedMeanwhileError: another release is the newest by now.
        """
        earlier = [release for release in self.history() if release.version_id == version_id]
        if not earlier:
            known = list(dict.fromkeys(r.version_id for r in self.history()))
            near = difflib.get_close_matches(version_id, known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise RecordError(
                f"version {version_id!r} was never released; {hint}released: "
                f"{', '.join(known) or 'none'}"
            )
        return self.publish(
            version_id,
            earlier[-1].round_number,
            f"rolled back by {who}",
            is_rollback=True,
            after=after,
        )

    def check_signing(self) -> None:
        """Could a release be signed here and now?

        Raises:
            ConfigError: the configured key cannot be opened, or nodes would not believe it.
        """
        self._signer()

    def _signed(self, release: Release) -> Release:
        signer = self._signer()
        return (
            replace(release, key_id="", signature="") if signer is None else signer.release(release)
        )

    def _collect(self) -> None:
        """Chunks of the last few versions are kept; older ones can still be fetched whole."""
        kept: set[VersionId] = set()
        for key in reversed(self._history_keys()):
            kept.add(from_json(Release, self._storage.get(key), key).version_id)
            if len(kept) == VERSIONS_IN_CHUNKS:
                break
        collect_chunks(self._storage, kept)

    def _history_keys(self) -> list[str]:
        return [key for key in self._storage.keys("releases") if _HISTORY.match(key)]

    def _point_at(self, release: Release) -> None:
        if release.share >= 1.0:
            self._put_if_other(CURRENT_RELEASE, release)

    def _put_if_other(self, key: str, release: Release) -> None:
        wanted = to_json(release)
        try:
            if self._storage.get(key) == wanted:
                return
        except ObjectNotFoundError:
            pass
        self._storage.put(key, wanted)


def _refuse_other(last: Release | None, after: int | None) -> None:
    if after is None or (last is not None and last.number == after):
        return
    newest = f"{last.number} ({last.why})" if last else "none"
    raise ChangedMeanwhileError(
        f"the newest release is {newest} by now, and not number {after} as when this was decided; "
        "nothing was done: look again"
    )


def _is_same(
    last: Release, version_id: VersionId, round_number: RoundNumber, *, is_staged: bool
) -> bool:
    return (last.version_id, last.round_number, last.share < 1.0) == (
        version_id,
        round_number,
        is_staged,
    )
