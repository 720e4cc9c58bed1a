"""A hard example to its draft in storage: load the picture, draft, store, describe."""

import numpy as np

from cloud.preannotation.drafting import Draft, Drafter
from cloud.preannotation.unsure_picture import unsure_picture
from lifelong.links.storage import Storage
from lifelong.records.ids import RoundNumber
from lifelong.records.keys import draft_key, unsure_key
from lifelong.records.label_map import IGNORE_INDEX, LabelMap
from lifelong.records.pixels import image_from_bytes, jpeg_from_image, png_from_mask
from lifelong.records.samples import HardExample, PreAnnotation, RegionScore
from lifelong.regions import connected_pieces

MAX_REGIONS = 200  # of one record


class Preannotator:
    """Drafts masks for people to correct."""

    def __init__(self, storage: Storage, drafter: Drafter, label_map: LabelMap) -> None:
        self._storage, self._drafter, self._label_map = storage, drafter, label_map

    def annotate(self, example: HardExample, round_number: RoundNumber) -> PreAnnotation:
        """Draft one mask and store it at `drafts/{round}/{sample_id}.png`, and beside it a
        picture that shows where it is unsure.

        Repeating it writes the same bytes under the same key.

        Raises:
            ObjectNotFoundError, ChecksumError, ImageError: the example's picture is not there, not
                the promised one, or no picture.
            ModelOutputError: a model answered nonsense.
        """
        data = self._storage.get(example.image_key, sha256=example.image_sha256)
        image = image_from_bytes(data, example.image_key)
        draft = self._drafter.draft(image)
        key = draft_key(round_number, example.sample_id)
        self._storage.put(key, png_from_mask(draft.mask))
        shown = unsure_key(round_number, example.sample_id)
        self._storage.put(shown, jpeg_from_image(unsure_picture(image, draft)))
        return PreAnnotation(
            sample_id=example.sample_id,
            round_number=round_number,
            image_key=example.image_key,
            mask_key=key,
            height=image.shape[0],
            width=image.shape[1],
            score=draft.score,
            proposed_by=self._drafter.proposed_by,
            labelled_by=self._drafter.labelled_by,
            regions=region_scores(draft),
            attributes=example.attributes,
            erased_classes=tuple(self._label_map.names[class_id] for class_id in draft.erased),
            unsure_key=shown,
            label_map_digest=self._label_map.digest,
        )


def region_scores(draft: Draft) -> tuple[RegionScore, ...]:
    """The draft's connected pieces, largest first, each as sure as its pixels are on average.

    Of more than `MAX_REGIONS` pieces the smallest are left out, but never a class altogether.
    """
    pieces = connected_pieces(draft.mask)
    if not len(pieces):
        return ()
    labels = pieces.labels.ravel()
    areas = np.bincount(labels, minlength=len(pieces))
    sums = np.bincount(labels, draft.confidence.ravel(), minlength=len(pieces))
    known = np.flatnonzero(pieces.class_ids != IGNORE_INDEX)
    by_area = known[np.argsort(-areas[known], kind="stable")]
    largest_of_class = np.unique(pieces.class_ids[by_area], return_index=True)[1]
    first = np.zeros(by_area.size, dtype=bool)
    first[largest_of_class] = True
    # Every class's largest piece comes before all second ones; then the record is cut.
    chosen = np.sort(np.argsort(~first, kind="stable")[:MAX_REGIONS])
    return tuple(
        RegionScore(
            class_id=int(pieces.class_ids[piece]),
            area=int(areas[piece]),
            box=(x0, y0, x1, y1),
            score=float(np.clip(sums[piece] / areas[piece], 0.0, 1.0)),
        )
        for piece in by_area[chosen]
        for x0, y0, x1, y1 in [pieces.boxes[piece].tolist()]
    )
