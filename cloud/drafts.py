"""Drafts that were made stay made: a service that died in the middle of a round goes on."""

from cloud.loop import PreAnnotator
from lifelong.errors import ObjectNotFoundError
from lifelong.links.storage import Storage
from lifelong.records.ids import RoundNumber
from lifelong.records.samples import HardExample, PreAnnotation
from lifelong.records.wire import from_json, to_json


class KeptDrafts:
    """A pre-annotator that asks the real one only for what is not in storage yet."""

    def __init__(self, storage: Storage, real: PreAnnotator) -> None:
        self._storage = storage
        self._real = real

    def annotate(self, example: HardExample, round_number: RoundNumber) -> PreAnnotation:
        """The draft of an example; its record lies at `drafts/{round}/{sample}.json`.

        The record is written after the mask, so a record means that the mask is there.
        """
        key = f"drafts/{round_number}/{example.sample_id}.json"
        try:
            return from_json(PreAnnotation, self._storage.get(key), key)
        except ObjectNotFoundError:
            draft = self._real.annotate(example, round_number)
        self._storage.put(key, to_json(draft))
        return draft
