"""UX-08: difference maps, worked out by hand on masks of four by four pixels."""

import numpy as np
import pytest
from numpy.typing import NDArray

from cloud.monitor.difference_maps import (
    CHANGES,
    ERRORS,
    HEAT,
    HOTTEST,
    DifferenceMap,
    changes,
    errors,
    heat,
    paint_heat,
)
from lifelong.errors import ShapeError
from lifelong.records.colours import distances

X = 255


def mask(*rows: list[int]) -> NDArray[np.uint8]:
    return np.array(rows, dtype=np.uint8)


BEFORE = mask([0, 0, 1, 1], [0, 0, 1, 1], [2, 2, X, X], [2, 2, X, X])
AFTER = mask([0, 0, 1, 1], [0, 1, 1, X], [2, 2, 2, X], [0, 0, X, X])
TRUTH = mask([0, 1, 1, 1], [0, 1, 0, 1], [2, 2, 2, X], [2, 2, 2, X])


def test_ux_08_what_became_of_each_pixel() -> None:
    found = changes(BEFORE, AFTER)
    assert found.codes.tolist() == [[0, 0, 0, 0], [0, 1, 0, 3], [0, 0, 2, 4], [1, 1, 4, 4]]
    assert found.shares() == {
        "same": 8 / 16, "changed": 3 / 16, "gained": 1 / 16, "lost": 1 / 16, "ignored": 3 / 16
    }  # fmt: skip


def test_ux_08_which_errors_vanished_and_which_came() -> None:
    found = errors(BEFORE, AFTER, TRUTH)
    assert found.codes.tolist() == [[0, 3, 0, 0], [0, 1, 3, 2], [0, 0, 1, 4], [2, 2, 3, 4]]
    assert found.shares() == {
        "right": 6 / 16, "mended": 2 / 16, "broken": 3 / 16, "wrong": 3 / 16, "ignored": 2 / 16
    }  # fmt: skip


def test_ux_08_the_picture_of_a_map_is_what_its_legend_says() -> None:
    painted = changes(BEFORE, AFTER).paint()
    assert painted.shape == (4, 4, 3)
    for place, kind in {(1, 1): 1, (2, 2): 2, (1, 3): 3}.items():
        assert tuple(painted[place].tolist()) == CHANGES[kind].colour
    assert painted[0, 0].tolist() == [232, 232, 232]
    dark = np.zeros((4, 4, 3), dtype=np.uint8)
    assert changes(BEFORE, AFTER).paint(dark)[0, 0].tolist() == [174, 174, 174]
    unknown = changes(np.full((16, 16), X, np.uint8), np.full((16, 16), X, np.uint8)).paint()
    assert len({tuple(pixel) for pixel in unknown.reshape(-1, 3).tolist()}) == 3, "hatched"


@pytest.mark.parametrize("kinds", [CHANGES, ERRORS])
def test_ux_08_every_eye_tells_the_kinds_apart(kinds: tuple[object, ...]) -> None:
    colours = [kind.colour for kind in kinds if kind.colour is not None]  # type: ignore[attr-defined]
    apart = distances(np.array([*colours, (232, 232, 232)], dtype=np.float64))
    assert apart[~np.eye(len(apart), dtype=bool)].min() > 0.1


def test_ux_08_masks_of_different_sizes_are_not_compared() -> None:
    with pytest.raises(ShapeError, match="cannot be compared"):
        changes(BEFORE, BEFORE[:2])
    with pytest.raises(ShapeError, match="cannot be compared"):
        errors(BEFORE, AFTER, TRUTH[:, :2])
    with pytest.raises(ShapeError, match="codes up to 9"):
        DifferenceMap(codes=np.full((1, 1), 9, np.uint8), kinds=CHANGES)


def test_ux_08_heat_is_the_share_of_known_pixels_that_changed() -> None:
    found = heat([changes(BEFORE, AFTER), changes(BEFORE, BEFORE)], 2, 2)
    # Quarters of the first map: one of four changed, one lost, two changed, one gained of two
    # that are known; of the second none, and its last quarter is not known at all.
    assert found.tolist() == [[1 / 8, 1 / 8], [2 / 8, 1 / 1]]
    nobody = np.full((4, 4), X, np.uint8)
    assert np.isnan(heat([changes(nobody, nobody)], 2, 2)).all()


def test_ux_08_heat_is_painted_from_dark_to_light_and_hatched_where_nobody_knows() -> None:
    shares = np.array([[0.0, HOTTEST, 1.0]], dtype=np.float32)
    assert [tuple(pixel) for pixel in paint_heat(shares)[0].tolist()] == [
        HEAT[0],
        HEAT[-1],
        HEAT[-1],
    ]
    unknown = paint_heat(np.full((16, 16), np.nan, dtype=np.float32))
    assert len({tuple(pixel) for pixel in unknown.reshape(-1, 3).tolist()}) == 3
