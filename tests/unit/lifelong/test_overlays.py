"""UX-07, UX-08: one function lays colours over pictures, and nobody's pixels get no class's."""

import numpy as np

from lifelong.overlays import hatched, overlay
from lifelong.records.label_map import CITYSCAPES


def test_ux_08_an_overlay_is_six_tenths_colour_over_four_tenths_picture() -> None:
    image = np.full((1, 2, 3), 100, dtype=np.uint8)
    mask = np.array([[0, 13]], dtype=np.uint8)  # road, car
    assert overlay(image, mask, CITYSCAPES).tolist() == [[[117, 78, 117], [40, 40, 125]]]


def test_ux_08_lines_between_classes_and_what_nobody_knows_as_it_is() -> None:
    image = np.full((4, 4, 3), 100, np.uint8)
    mask = np.full((4, 4), 255, np.uint8)
    mask[:2] = 13
    shown = overlay(image, mask, CITYSCAPES, opacity=0.5, unknown="as it is", outlined=True)
    assert shown[0, 0].tolist() == [50, 50, 121]
    assert shown[2, 0].tolist() == [33, 33, 33]  # the line between the two
    assert shown[3, 0].tolist() == [100, 100, 100]


def test_ux_07_unknown_and_foreign_ids_are_hatched_and_never_a_class() -> None:
    image = np.full((16, 16, 3), 100, np.uint8)
    for nobody in (255, 19, 200):  # 19 classes: 19 is foreign
        shown = overlay(image, np.full((16, 16), nobody, np.uint8), CITYSCAPES)
        tones = {tuple(pixel) for pixel in shown.reshape(-1, 3).tolist()}
        assert tones == {(100, 100, 100), (208, 208, 208), (30, 30, 30)}


def test_ux_08_a_hatch_leaves_the_given_picture_and_all_else_alone() -> None:
    image = np.full((4, 4, 3), 100, np.uint8)
    where = np.zeros((4, 4), dtype=bool)
    assert (hatched(image, where) == image).all()
    where[0, 0] = True
    shown = hatched(image, where)
    assert shown[0, 0].tolist() == [208, 208, 208]
    assert (shown.reshape(-1, 3)[1:] == 100).all()
    assert (image == 100).all()
