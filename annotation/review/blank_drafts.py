"""Tasks that people get without a draft, so that the seconds that drafts save are measured."""

import hashlib
from dataclasses import replace

import numpy as np

from lifelong.links.storage import Storage
from lifelong.records.ids import SampleId
from lifelong.records.label_map import IGNORE_INDEX
from lifelong.records.pixels import png_from_mask
from lifelong.records.samples import PreAnnotation


def is_blank(sample_id: SampleId, share: float) -> bool:
    """Does this sample go out without its draft? The same answer whenever it is asked.

    The sample's own id decides, so the choice has nothing to do with what is in the picture.

    >>> [is_blank("0123456789abcdef", share) for share in (0.0, 1.0)]
    [False, True]
    """
    digest = hashlib.sha256(f"without a draft: {sample_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def blanked(draft: PreAnnotation, storage: Storage) -> PreAnnotation:
    """The draft as an empty one of the same size.

    An empty prediction, not none at all: Label Studio asks a connected model for a draft when a
    task without a prediction is opened.
    """
    key = f"drafts/blank-{draft.height}x{draft.width}.png"
    if not storage.exists(key):
        empty = np.full((draft.height, draft.width), IGNORE_INDEX, dtype=np.uint8)
        storage.put(key, png_from_mask(empty))
    return replace(draft, mask_key=key, regions=(), erased_classes=(), unsure_key="")
