"""ANN-04: where the draft is unsure is shown beside the picture."""

import numpy as np

from cloud.preannotation.drafting import Draft
from cloud.preannotation.unsure_picture import unsure_picture


def _draft(confidence: float, mask_id: int = 0) -> Draft:
    return Draft(
        mask=np.full((4, 6), mask_id, dtype=np.uint8),
        confidence=np.full((4, 6), confidence, dtype=np.float32),
        regions=(),
        erased=(),
    )


def test_what_is_sure_stays_grey_and_what_is_not_turns_orange() -> None:
    image = np.full((4, 6, 3), (200, 100, 50), dtype=np.uint8)
    sure, half, unsure = (unsure_picture(image, _draft(c))[0, 0] for c in (1.0, 0.5, 0.0))
    assert sure.tolist() == [124, 124, 124]
    assert unsure.tolist() == [219, 156, 12]  # nine tenths of orange
    assert sure[2] > half[2] > unsure[2]


def test_pixels_without_a_class_are_unsure_whatever_was_said_of_them() -> None:
    image = np.zeros((4, 6, 3), dtype=np.uint8)
    nobody_knows = unsure_picture(image, _draft(1.0, mask_id=255))
    assert nobody_knows[0, 0].tolist() == [207, 143, 0]


def test_a_confidence_out_of_range_is_no_colour_out_of_range() -> None:
    image = np.full((4, 6, 3), 255, dtype=np.uint8)
    assert unsure_picture(image, _draft(1.7))[0, 0].tolist() == [255, 255, 255]
    assert unsure_picture(image, _draft(-3.0)).dtype == np.uint8
