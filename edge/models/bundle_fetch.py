"""Fetch a released bundle: only the chunks this node has not, whole where there is no list.

Fetched chunks lie in `chunks/` until the bundle is whole, so that a cut link or a restart costs
one chunk and not all. Whatever is joined must have the SHA-256 that the release names.
"""

import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge.models.kept_models import KeptModels
from lifelong.bundle_chunks import pieces
from lifelong.errors import ChecksumError, LifelongError, ObjectNotFoundError, RecordError
from lifelong.links.durable_files import write_whole
from lifelong.links.storage import Storage
from lifelong.model_bundle import MAX_PAYLOAD, read_bundle
from lifelong.records.chunk_list import Chunk, ChunkList
from lifelong.records.ids import sha256_hex
from lifelong.records.keys import chunk_key, chunk_list_key
from lifelong.records.model_versions import Release
from lifelong.records.wire import from_json

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A bundle file as its release names it, and what it cost."""

    data: bytes
    transferred: int  # bytes that came over the link
    chunks: int  # objects that did; 1 when the whole file came


class BundleFetch:
    """Brings bundles here over `storage`, with what `kept` already has."""

    def __init__(self, storage: Storage, kept: KeptModels) -> None:
        self._storage = storage
        self._kept = kept
        self._folder = kept.folder / "chunks"

    def fetch(self, release: Release) -> Fetched:
        """The bundle file that a release names.

        Raises:
            StorageError: it cannot be fetched, or there is none; what came already is kept.
            ChecksumError: it is not the file that the release names.
        """
        found = self._by_chunks(release)
        if found is None:
            found = self._whole(release)
        self._clear(keep=frozenset())
        return found

    def _whole(self, release: Release) -> Fetched:
        try:
            data = self._storage.get(release.bundle_key, sha256=release.sha256)
        except ChecksumError:
            # A refusal is for good: a byte that the link turned over deserves a second look.
            data = self._storage.get(release.bundle_key, sha256=release.sha256)
        return Fetched(data=data, transferred=len(data), chunks=1)

    def _by_chunks(self, release: Release) -> Fetched | None:
        """None: there is no list, or what it says does not give the file."""
        key = chunk_list_key(release.version_id)
        try:
            listed = self._storage.get(key)
            parts = from_json(ChunkList, listed, key)
        except ObjectNotFoundError:
            return None
        except RecordError as error:
            logger.warning("the list of chunks is not used: %s", error)
            return None
        if parts.version_id != release.version_id or parts.size > MAX_PAYLOAD:
            return None
        self._clear(keep=frozenset(chunk.sha256 for chunk in parts.chunks))
        try:
            return self._joined(parts, release.sha256, len(listed))
        except (ObjectNotFoundError, ChecksumError) as error:
            logger.warning("chunks do not give version %s: %s", release.version_id, error)
            return None

    def _joined(self, parts: ChunkList, sha256: str, cost: int) -> Fetched:
        here = self._present()
        came: dict[str, bytes] = {}
        for chunk in parts.chunks:
            if chunk.sha256 not in here and chunk.sha256 not in came:
                came[chunk.sha256] = self._fetched(chunk)
        data = b"".join(here.get(c.sha256) or came[c.sha256] for c in parts.chunks)
        if sha256_hex(data) != sha256:
            raise ChecksumError(f"the joined chunks are not the file of SHA-256 {sha256[:12]}…")
        cost += sum(map(len, came.values()))
        return Fetched(data=data, transferred=cost, chunks=len(came))

    def _fetched(self, chunk: Chunk) -> bytes:
        key = chunk_key(chunk.sha256)
        data = self._storage.get(key, sha256=chunk.sha256)
        try:
            self._folder.mkdir(exist_ok=True)
            write_whole(self._folder / chunk.sha256, data)
        except OSError as error:
            logger.warning("a chunk is not on the disk, only in memory: %s", error)
        return data

    def _present(self) -> Mapping[str, bytes]:
        """Chunks by hash: of the bundles on the disk, and of a fetch that was cut."""
        found: dict[str, bytes] = {}
        for data in self._kept.files():
            try:
                bundle = read_bundle(data, "a kept model")
            except LifelongError:
                continue  # damaged: its pieces are not what they were
            found |= {sha256_hex(piece): piece for piece in pieces(bundle, data)}
        for path in self._leftovers():
            try:
                data = path.read_bytes()
            except OSError:
                continue
            if sha256_hex(data) == path.name:  # the disk may have cut it
                found[path.name] = data
        return found

    def _clear(self, *, keep: frozenset[str]) -> None:
        """Chunks of a fetch that was given up for another release must not pile up."""
        for path in self._leftovers():
            if path.name not in keep:
                with contextlib.suppress(OSError):
                    path.unlink()

    def _leftovers(self) -> list[Path]:
        try:
            return sorted(self._folder.iterdir())
        except OSError:
            return []
