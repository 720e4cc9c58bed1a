"""Bundles in pieces beside the whole ones, so that nodes fetch only what they have not.

`models/{version}.chunks.json` lists what `chunks/{sha256}` hold; equal pieces of two versions
are one object. The list comes last, so that what it names is there.
"""

from collections.abc import Set as AbstractSet

from lifelong.bundle_chunks import chunk_list, pieces
from lifelong.errors import ObjectNotFoundError, RecordError
from lifelong.links.storage import Storage
from lifelong.model_bundle import ModelBundle
from lifelong.records.chunk_list import ChunkList
from lifelong.records.ids import VersionId
from lifelong.records.keys import CHUNKS, chunk_key, chunk_list_key
from lifelong.records.wire import from_json, to_json

_LIST_END = ".chunks.json"


def publish_chunks(storage: Storage, bundle: ModelBundle) -> ChunkList:
    """Lay out a bundle's pieces that are not there yet, then its list; safe to repeat."""
    data = bundle.to_bytes()
    listed = chunk_list(bundle, data)
    for chunk, piece in zip(listed.chunks, pieces(bundle, data), strict=True):
        if storage.size(chunk_key(chunk.sha256)) != chunk.size:
            storage.put(chunk_key(chunk.sha256), piece)
    wanted = to_json(listed)
    key = chunk_list_key(bundle.version_id)
    try:
        if storage.get(key) == wanted:
            return listed
    except ObjectNotFoundError:
        pass
    storage.put(key, wanted)
    return listed


def collect_chunks(storage: Storage, kept: AbstractSet[VersionId]) -> int:
    """Remove lists of other versions than these, then pieces that no list names; says how many.

    A node that fetches one of them at this moment takes the whole bundle instead.
    """
    named: set[str] = set()
    for key in [key for key in storage.keys("models") if key.endswith(_LIST_END)]:
        if VersionId(key.removeprefix("models/").removesuffix(_LIST_END)) not in kept:
            storage.delete(key)
            continue
        try:
            listed = from_json(ChunkList, storage.get(key), key)
        except RecordError:
            storage.delete(key)  # useless to everybody; the next release of it writes it anew
            continue
        named |= {chunk_key(chunk.sha256) for chunk in listed.chunks}
    unnamed = [key for key in storage.keys(CHUNKS) if key not in named]
    for key in unnamed:
        storage.delete(key)
    return len(unnamed)
