"""Drafts that were made stay made: a service that died in the middle of a round goes on."""

from collections.abc import Callable

from cloud.loop import PreAnnotator
from lifelong.errors import ObjectNotFoundError
from lifelong.links.storage import Storage
from lifelong.records.ids import RoundNumber
from lifelong.records.samples import HardExample, PreAnnotation
from lifelong.records.wire import from_json, to_json


class KeptDrafts:
    """A pre-annotator that asks the real one only for what is not in storage yet."""

    def __init__(
        self,
        storage: Storage,
        real: PreAnnotator,
        *,
        is_present: Callable[[str], bool] = lambda _digest: True,
    ) -> None:
        """Args: `is_present` says of a label map's digest whether drafts of it are still good."""
        self._storage = storage
        self._real = real
        self._is_present = is_present

    def annotate(self, example: HardExample, round_number: RoundNumber) -> PreAnnotation:
        """The draft of an example; its record lies at `drafts/{round}/{sample}.json`.

        The record is written after the mask, so a record means that the mask is there. A draft of
        classes that have changed since is made anew.
        """
        key = f"drafts/{round_number}/{example.sample_id}.json"
        try:
            kept = from_json(PreAnnotation, self._storage.get(key), key)
            if self._is_present(kept.label_map_digest):
                return kept
        except ObjectNotFoundError:
            pass
        draft = self._real.annotate(example, round_number)
        self._storage.put(key, to_json(draft))
        return draft
