"""From a hard example in storage to its draft in storage."""

import numpy as np
import pytest

from cloud.preannotation.mask_proposals import NoProposer
from cloud.preannotation.preannotator import MAX_REGIONS, Preannotator
from cloud.preannotation.region_masks import (
    proposals_from_rles,
    rle_from_mask,
    rles_from_pieces,
)
from lifelong.errors import ChecksumError, ImageError, ObjectNotFoundError
from lifelong.links.storage import open_storage
from lifelong.records.ids import RoundNumber, sha256_hex
from lifelong.records.pixels import mask_from_png
from tests.builders import HEIGHT, WIDTH, a_hard_example, a_jpeg


class LeftHalfProposer:
    name = "left half"

    def propose(self, image):
        mask = np.zeros(image.shape[:2], dtype=bool)
        mask[:, : WIDTH // 2] = True
        return proposals_from_rles(
            [rle_from_mask(mask)], height=HEIGHT, width=WIDTH, predicted_iou=[0.9], stability=[0.8]
        )


class MostlyRoadLabeler:
    """Car in the first quarter of the columns, road elsewhere, both at 0.6."""

    name = "mostly road"

    def label(self, image):
        scores = np.full((3, *image.shape[:2]), 0.2, dtype=np.float32)
        scores[0] = 0.6
        scores[1, :, : WIDTH // 8] = 0.6
        scores[0, :, : WIDTH // 8] = 0.2
        return scores


@pytest.fixture
def storage(tmp_path):
    return open_storage(str(tmp_path / "storage"))


def stored(storage, seed=0, data=None, **changes):
    data = a_jpeg(seed) if data is None else data
    example = a_hard_example(seed, image_sha256=sha256_hex(data), **changes)
    storage.put(example.image_key, data)
    return example


def test_a_draft_is_stored_and_described(storage):
    example = stored(storage)

    draft = Preannotator(storage, LeftHalfProposer(), MostlyRoadLabeler()).annotate(
        example, RoundNumber(3)
    )

    assert draft.mask_key == f"drafts/3/{example.sample_id}.png"
    mask = mask_from_png(storage.get(draft.mask_key), draft.mask_key)
    # A quarter of the left half is car: the vote makes all of it road.
    assert (mask == 0).all()
    assert (draft.proposed_by, draft.labelled_by) == ("left half", "mostly road")
    assert (draft.height, draft.width) == (HEIGHT, WIDTH)
    assert draft.attributes == example.attributes
    (region,) = draft.regions
    assert region.class_id == 0
    assert region.box == (0, 0, WIDTH // 2 - 1, HEIGHT - 1)
    assert region.vote_share == pytest.approx(0.75)
    assert region.score == pytest.approx(0.75 * 0.9 * 0.8 * 0.6, rel=1e-5)
    assert draft.score == pytest.approx(region.score)


def test_without_masks_the_draft_is_the_semantic_answer(storage):
    draft = Preannotator(storage, NoProposer(), MostlyRoadLabeler()).annotate(
        stored(storage), RoundNumber(1)
    )

    mask = mask_from_png(storage.get(draft.mask_key), draft.mask_key)
    assert (mask[:, : WIDTH // 8] == 1).all()
    assert (mask[:, WIDTH // 8 :] == 0).all()
    assert draft.regions == ()
    assert draft.score == pytest.approx(0.6)


def test_a_record_names_only_the_largest_of_very_many_regions(storage):
    class PixelProposer:
        name = "pixels"

        def propose(self, image):
            pieces = np.arange(1, HEIGHT * WIDTH + 1).reshape(HEIGHT, WIDTH)
            return proposals_from_rles(rles_from_pieces(pieces), height=HEIGHT, width=WIDTH)

    draft = Preannotator(storage, PixelProposer(), MostlyRoadLabeler()).annotate(
        stored(storage), RoundNumber(1)
    )

    assert len(draft.regions) == MAX_REGIONS
    assert draft.score == pytest.approx(0.6)


def test_drafting_twice_writes_the_same_bytes(storage):
    preannotator = Preannotator(storage, LeftHalfProposer(), MostlyRoadLabeler())
    example = stored(storage)

    first = preannotator.annotate(example, RoundNumber(1))
    before = storage.get(first.mask_key)

    assert first == preannotator.annotate(example, RoundNumber(1))
    assert before == storage.get(first.mask_key)


def test_a_replaced_picture_is_not_drafted(storage):
    example = a_hard_example(0)
    storage.put(example.image_key, a_jpeg(1))

    with pytest.raises(ChecksumError):
        Preannotator(storage, NoProposer(), MostlyRoadLabeler()).annotate(example, RoundNumber(1))


def test_a_missing_picture_is_named(storage):
    with pytest.raises(ObjectNotFoundError, match=r"image\.jpg"):
        Preannotator(storage, NoProposer(), MostlyRoadLabeler()).annotate(
            a_hard_example(0), RoundNumber(1)
        )


def test_bytes_that_are_no_picture_are_refused(storage):
    example = stored(storage, data=b"not a picture")

    with pytest.raises(ImageError):
        Preannotator(storage, NoProposer(), MostlyRoadLabeler()).annotate(example, RoundNumber(1))
