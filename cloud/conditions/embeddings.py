"""Embeddings of pictures by one model version: the edge's own, kept ones, or made here.

Embeddings of two versions cannot be compared. Where an example was judged by another model than
the incumbent, its picture is looked at again by the incumbent; the answer is kept in storage under
`embeddings/{sample}/{version}.json`, so that this happens once.
"""

import logging

import numpy as np
from numpy.typing import NDArray

from lifelong.errors import CorruptRecordError, ModelError, ObjectNotFoundError, RecordError
from lifelong.links.storage import Storage
from lifelong.model_bundle import ModelBundle
from lifelong.records.ids import SampleId, VersionId
from lifelong.records.keys import image_key
from lifelong.records.novelty import Familiarity
from lifelong.records.pixels import image_from_bytes
from lifelong.records.wire import dumps, json_object
from lifelong.segmenter import EMBEDDING, OnnxSegmenter

logger = logging.getLogger(__name__)

EMBEDDINGS = "embeddings"
_SCHEMA = 1

Row = NDArray[np.float32]  # (D,)


class Embeddings:
    """Of the pictures of one model version.

    A picture that cannot be read has none, and is tried again by the next process.
    """

    def __init__(self, storage: Storage, bundle: ModelBundle) -> None:
        self._storage = storage
        self._bundle = bundle
        self._length = _length_of(bundle.manifest.familiarity)
        self._rows: dict[SampleId, Row] = {}
        self._unreadable: set[SampleId] = set()
        self._segmenter: OnnxSegmenter | None = None  # made when a picture must be looked at

    @property
    def version_id(self) -> VersionId:
        """Whose embeddings these are."""
        return self._bundle.version_id

    @property
    def familiarity(self) -> Familiarity:
        """What that model was trained for."""
        return self._bundle.manifest.familiarity

    def take(self, sample_id: SampleId, version_id: VersionId, given: tuple[float, ...]) -> bool:
        """Use what an edge sent, if it is of this version; True when the embedding is known."""
        if sample_id in self._rows:
            return True
        if version_id != self.version_id or len(given) != self._length or not given:
            return False
        row = np.array(given, dtype=np.float32)
        if not np.isfinite(row).all():
            return False
        self._rows[sample_id] = row
        return True

    def of(self, sample_id: SampleId, key: str = "") -> Row | None:
        """(D,) float32; None when the model describes nothing, or the picture cannot be read.

        Args:
            key: where the picture lies; "" where the inbox puts admitted ones.
        """
        if not self._length or sample_id in self._unreadable:
            return None
        if not self.knows(sample_id):
            made = self._made(sample_id, key or image_key(sample_id))
            if made is None:
                self._unreadable.add(sample_id)
                return None
            self._rows[sample_id] = made
        return self._rows[sample_id]

    def knows(self, sample_id: SampleId) -> bool:
        """Is the embedding here, so that the picture need not be looked at?"""
        if sample_id not in self._rows:
            kept = self._kept(sample_id)
            if kept is None:
                return False
            self._rows[sample_id] = kept
        return True

    def _made(self, sample_id: SampleId, key: str) -> Row | None:
        try:
            image = image_from_bytes(self._storage.get(key), key)
            if self._segmenter is None:
                self._segmenter = OnnxSegmenter(self._bundle, threads=1)
            (answer,) = self._segmenter.outputs(image, (EMBEDDING,))
        except (ObjectNotFoundError, RecordError, ModelError) as error:
            logger.warning("sample %s is of no condition: %s", sample_id, error)
            return None
        row: Row = answer[0].astype(np.float32)
        if row.shape != (self._length,) or not np.isfinite(row).all():
            return None
        self._storage.put(
            _key(sample_id, self.version_id),
            dumps({"schema": _SCHEMA, "embedding": [round(float(value), 6) for value in row]}),
        )
        return row

    def _kept(self, sample_id: SampleId) -> Row | None:
        key = _key(sample_id, self.version_id)
        try:
            body = json_object(self._storage.get(key), key)
            row: Row = np.array(body["embedding"], dtype=np.float32)
            fits = body.get("schema") == _SCHEMA and row.shape == (self._length,)
        except ObjectNotFoundError:
            return None
        except (CorruptRecordError, KeyError, TypeError, ValueError) as error:
            logger.warning("%s cannot be read (%r); the picture is looked at again", key, error)
            return None
        return row if fits and bool(np.isfinite(row).all()) else None


def _key(sample_id: SampleId, version_id: VersionId) -> str:
    return f"{EMBEDDINGS}/{sample_id}/{version_id}.json"


def _length_of(familiarity: Familiarity) -> int:
    """Numbers of an embedding; 0 when the model brings no prototypes, or uneven ones."""
    lengths = {len(row) for row in familiarity.prototypes.values()}
    return lengths.pop() if len(lengths) == 1 else 0
