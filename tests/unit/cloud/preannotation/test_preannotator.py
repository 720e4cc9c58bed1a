"""From a hard example in storage to its draft in storage."""

import numpy as np
import pytest

from cloud.preannotation.closed_set import ClosedSetDrafter
from cloud.preannotation.confidence import Calibration
from cloud.preannotation.drafting import Draft
from cloud.preannotation.mask_proposals import NoProposer
from cloud.preannotation.preannotator import MAX_REGIONS, Preannotator, region_scores
from cloud.preannotation.region_masks import (
    proposals_from_rles,
    rle_from_mask,
)
from lifelong.errors import ChecksumError, ImageError, ObjectNotFoundError
from lifelong.links.storage import open_storage
from lifelong.records.ids import RoundNumber, sha256_hex
from lifelong.records.label_map import LabelMap
from lifelong.records.pixels import mask_from_png
from lifelong.sections.drafting import VoteSection
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


LABELS = LabelMap(
    names=("road", "car", "pole"), colours=((128, 64, 128), (0, 0, 142), (153, 153, 153))
)


def preannotator(storage, proposer, **settings):
    drafter = ClosedSetDrafter(proposer, MostlyRoadLabeler(), LABELS, **settings)
    return Preannotator(storage, drafter, LABELS)


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

    draft = preannotator(storage, LeftHalfProposer()).annotate(example, RoundNumber(3))

    assert draft.mask_key == f"drafts/3/{example.sample_id}.png"
    mask = mask_from_png(storage.get(draft.mask_key), draft.mask_key)
    # A quarter of the left half is car: the vote makes all of it road.
    assert (mask == 0).all()
    assert (draft.proposed_by, draft.labelled_by) == ("left half", "mostly road")
    assert (draft.height, draft.width) == (HEIGHT, WIDTH)
    assert draft.attributes == example.attributes
    (region,) = draft.regions  # one connected piece
    assert (region.class_id, region.area) == (0, HEIGHT * WIDTH)
    assert region.box == (0, 0, WIDTH - 1, HEIGHT - 1)
    # Left: margin 0.75 - 0.25, the mask's own scores, and 0.6 or 0.2 for road; right: no mask.
    left, right = 0.5 * 0.9 * 0.8 * (0.75 * 0.6 + 0.25 * 0.2), 0.6
    assert draft.score == pytest.approx((left + right) / 2, rel=1e-4)
    assert region.score == pytest.approx(draft.score)
    assert draft.erased_classes == ("car",)


def test_without_masks_the_draft_is_the_semantic_answer(storage):
    draft = preannotator(storage, NoProposer()).annotate(stored(storage), RoundNumber(1))

    mask = mask_from_png(storage.get(draft.mask_key), draft.mask_key)
    assert (mask[:, : WIDTH // 8] == 1).all()
    assert (mask[:, WIDTH // 8 :] == 0).all()
    assert [region.class_id for region in draft.regions] == [0, 1]
    assert draft.score == pytest.approx(0.6)
    assert draft.erased_classes == ()


def test_pre_14_scores_are_calibrated(storage):
    """PRE-14: raw scores are products of four numbers, and mean nothing by themselves."""
    curve = Calibration(raw=(0.0, 0.5), right=(0.4, 0.9))

    draft = preannotator(storage, LeftHalfProposer(), calibration=curve).annotate(
        stored(storage), RoundNumber(1)
    )

    left = 0.4 + 0.5 * (0.5 * 0.9 * 0.8 * 0.5) / 0.5
    assert draft.score == pytest.approx((left + 0.6) / 2, rel=1e-4)


def test_pre_16_a_class_given_back_is_in_the_draft(storage):
    """PRE-16: `vote: {erased_classes: keep}`."""
    example = stored(storage)
    keeping = preannotator(storage, LeftHalfProposer(), vote=VoteSection(erased_classes="keep"))

    draft = keeping.annotate(example, RoundNumber(1))

    mask = mask_from_png(storage.get(draft.mask_key), draft.mask_key)
    assert (mask[:, : WIDTH // 8] == 1).all()
    assert draft.erased_classes == ()


def test_pre_17_both_branches_see_rgb_and_ssas_order_on_demand(storage):
    """PRE-17: RGB by default; `ssa_compat` hands over BGR as SSA does."""
    image = np.zeros((4, 5, 3), dtype=np.uint8)
    image[..., 0] = 200  # red
    seen = []

    class Watching(MostlyRoadLabeler):
        def label(self, image):
            seen.append(image[0, 0].tolist())
            return super().label(image)

    class Proposing(NoProposer):
        def propose(self, image):
            seen.append(image[0, 0].tolist())
            return super().propose(image)

    for bgr in (False, True):
        ClosedSetDrafter(Proposing(), Watching(), LABELS, bgr=bgr).draft(image)

    assert seen == [[200, 0, 0], [200, 0, 0], [0, 0, 200], [0, 0, 200]]


def test_a_record_names_the_largest_of_very_many_regions_and_every_class():
    mask = np.indices((40, 40)).sum(axis=0).astype(np.uint8) % 2  # a chess board
    mask[20:, 20:] = 0
    mask[0, 0] = 2
    draft = Draft(mask=mask, confidence=np.full(mask.shape, 0.25, np.float32), regions=())

    regions = region_scores(draft)

    assert len(regions) == MAX_REGIONS
    assert {region.class_id for region in regions} == {0, 1, 2}
    areas = [region.area for region in regions]
    assert areas == sorted(areas, reverse=True)
    assert all(region.score == pytest.approx(0.25) for region in regions)


def test_pixels_of_no_class_are_no_region():
    mask = np.full((3, 4), 255, dtype=np.uint8)
    mask[1, 1] = 1
    draft = Draft(mask=mask, confidence=np.zeros(mask.shape, np.float32), regions=())

    (region,) = region_scores(draft)

    assert (region.class_id, region.area, region.box) == (1, 1, (1, 1, 1, 1))


def test_drafting_twice_writes_the_same_bytes(storage):
    drafting = preannotator(storage, LeftHalfProposer())
    example = stored(storage)

    first = drafting.annotate(example, RoundNumber(1))
    before = storage.get(first.mask_key)

    assert first == drafting.annotate(example, RoundNumber(1))
    assert before == storage.get(first.mask_key)


def test_a_replaced_picture_is_not_drafted(storage):
    example = a_hard_example(0)
    storage.put(example.image_key, a_jpeg(1))

    with pytest.raises(ChecksumError):
        preannotator(storage, NoProposer()).annotate(example, RoundNumber(1))


def test_a_missing_picture_is_named(storage):
    with pytest.raises(ObjectNotFoundError, match=r"image\.jpg"):
        preannotator(storage, NoProposer()).annotate(a_hard_example(0), RoundNumber(1))


def test_bytes_that_are_no_picture_are_refused(storage):
    example = stored(storage, data=b"not a picture")

    with pytest.raises(ImageError):
        preannotator(storage, NoProposer()).annotate(example, RoundNumber(1))
