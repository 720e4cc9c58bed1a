"""INT-26: every SAM's embedding as a map of features over its picture."""

import numpy as np
import pytest

from cloud.assist.embedding_views import view_of
from cloud.assist.finders import Seen
from cloud.assist.interactive_model import go_on
from cloud.assist.likeness import EmbeddingLikeness
from cloud.demo.scenes import CONDITIONS, draw_layers, photograph_layers
from cloud.preannotation.interactive_sam import InteractiveSam
from cloud.preannotation.sam.by_name import promptable_from
from lifelong.records.label_map import CITYSCAPES
from lifelong.sections.drafting import MasksSection


def interactive(model):
    return InteractiveSam(model, weights_digest="0" * 64, precision="float32", device="cpu")


@pytest.mark.parametrize("size", [(60, 100), (100, 60), (90, 90)])
def test_int_26_places_of_cells_are_the_pictures_whether_it_is_padded_or_squeezed(sam, size):
    model = interactive(sam)
    embedded = model.embed(np.zeros((*size, 3), np.uint8))
    view = view_of(model, embedded)
    rows, columns = view.valid.any(axis=1).sum(), view.valid.any(axis=0).sum()
    half = np.zeros(size, bool)
    half[:, size[1] // 2 :] = True
    share = view.pooled(view.fine_coverage(model.hint(half, embedded)))
    for row, column in [(1, 1), (rows - 2, columns - 2), (rows // 2, columns // 3)]:
        place = view.place_of(row, column)
        assert place.x == pytest.approx((column + 0.5) * size[1] / columns, abs=size[1] / columns)
        assert place.y == pytest.approx((row + 0.5) * size[0] / rows, abs=size[0] / rows)
        if abs(place.x - size[1] / 2) > size[1] / columns:
            assert share[row, column] == pytest.approx(float(place.x > size[1] / 2), abs=0.01)
    found = EmbeddingLikeness().find_like(
        Seen(digest="", model=model, embedded=embedded, pixels=lambda: half, pause=go_on),
        half, label="x",
    )  # fmt: skip
    assert all((one.mask & half).sum() <= 0.4 * one.mask.sum() for one in found)


def test_int_26_the_shipped_sam_sees_which_cells_are_cars_like_the_example():
    """Seeds nothing was calibrated on. What its decoder makes of a click there is another matter:
    docs/assist.md has the figures."""
    model = interactive(
        promptable_from(MasksSection(type="tiny"), device="cpu", precision="float32")
    )
    car, areas = CITYSCAPES.id_of("car"), []
    for seed in range(930_000, 930_012):
        layers = draw_layers(seed)
        image = photograph_layers(layers, seed, CONDITIONS[seed % len(CONDITIONS)])
        numbers = [int(one) for one in np.unique(layers.instance[layers.mask == car]) if one]
        example = max((layers.instance == one for one in numbers), key=np.sum, default=None)
        if example is None:
            continue
        embedded = model.embed(image)
        view = view_of(model, embedded)

        def share(mask, view=view, embedded=embedded):
            return view.pooled(view.fine_coverage(model.hint(mask, embedded)))

        own, others = share(example), share((layers.mask == car) & ~example)
        looked_at = view.valid & (own < 0.1) & ((others > 0.5) | (others < 0.05))
        similar, is_car = view.similarity(view.looks(own))[looked_at], others[looked_at] > 0.5
        if is_car.any():
            above = similar[is_car][:, None] > similar[~is_car][None]
            areas.append(above.mean())
    assert len(areas) >= 5
    assert np.mean(areas) > 0.93
