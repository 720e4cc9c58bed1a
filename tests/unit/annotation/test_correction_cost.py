"""ANN-09: what a correction took, region by region and class by class."""

import numpy as np
import pytest

from annotation.draft_regions import DraftShapes, regions_from_mask
from annotation.regions import Region, labelled_patches
from annotation.review.correction_cost import cost_by_class, costs_from_events, summed
from lifelong.errors import CorruptRecordError
from lifelong.records.samples import ClassCost, CorrectionCost
from lifelong.records.wire import to_plain
from tests.builders import SMALL_MAP


def scene() -> np.ndarray:
    mask = np.zeros((40, 60), dtype=np.uint8)
    mask[5:15, 5:20] = 1
    mask[20:35, 30:50] = 1
    mask[5:20, 40:50] = 2
    return mask


def pieces(regions: list[Region]):
    return tuple(labelled_patches(regions, SMALL_MAP, size=(40, 60), where="test")[0])


def drawn(mask: np.ndarray) -> list[Region]:
    shapes = DraftShapes(mode="polygons", tolerance=0.0, by_class={})
    return regions_from_mask(mask, SMALL_MAP, shapes=shapes)


def cost(before: list[Region], after: list[Region], shown: np.ndarray, made: np.ndarray):
    return cost_by_class(
        shown,
        made,
        before=pieces(before),
        after=pieces(after),
        label_map=SMALL_MAP,
        seconds=40.0,
    )


def counts(of_class: ClassCost) -> tuple[int, int, int]:
    return (of_class.regions_touched, of_class.regions_added, of_class.regions_deleted)


def test_ann_09_an_untouched_draft_costs_a_look() -> None:
    draft = drawn(scene())
    found = cost(draft, draft, scene(), scene())
    assert all(counts(one) == (0, 0, 0) for one in found.values())
    assert all(one.pixels_added == one.pixels_removed == 0 for one in found.values())
    # Nothing changed: seconds go by what was looked at.
    assert sum(one.seconds or 0 for one in found.values()) == pytest.approx(40.0, abs=0.01)
    assert (found["road"].seconds or 0) > (found["car"].seconds or 0)


def test_ann_09_region_ids_tell_what_was_done_and_origin_is_not_believed() -> None:
    draft = drawn(scene())
    cars = [r for r in draft if r["value"]["polygonlabels"] == ["car"]]
    person = next(r for r in draft if r["value"]["polygonlabels"] == ["person"])
    # A corner was dragged; Label Studio still says "prediction".
    dragged: Region = {**cars[0], "origin": "prediction"}
    points = [list(point) for point in dragged["value"]["points"]]  # type: ignore[attr-defined]
    points[0] = [0.0, 0.0]
    dragged["value"] = {**dragged["value"], "points": points}
    renamed: Region = {**person, "value": {**person["value"], "polygonlabels": ["car"]}}
    new: Region = {**cars[1], "id": "new"}
    kept = [r for r in draft if r not in (*cars, person)]
    made = scene()
    found = cost(draft, [*kept, dragged, renamed, new], scene(), made)
    assert counts(found["car"]) == (1, 1, 1)  # dragged; drawn anew; the old one gone
    assert counts(found["person"]) == (1, 0, 0)  # renamed: the draft's person was wrong
    assert counts(found["road"]) == (0, 0, 0)


def test_ann_09_a_browser_that_writes_the_same_shape_otherwise_touched_nothing() -> None:
    draft = drawn(scene())
    again: list[Region] = [
        {**r, "value": {**r["value"], "closed": True, "extra": 1}, "origin": "prediction-changed"}
        for r in draft
    ]
    assert all(counts(one) == (0, 0, 0) for one in cost(draft, again, scene(), scene()).values())


def test_ann_09_seconds_are_shared_by_the_pixels_that_changed() -> None:
    made = scene()
    made[5:15, 5:20] = 2  # 150 pixels: a car that is a person
    found = cost([], [], scene(), made)
    assert (found["person"].pixels_added, found["person"].pixels_removed) == (150, 0)
    assert (found["car"].pixels_added, found["car"].pixels_removed) == (0, 150)
    assert (found["car"].seconds, found["person"].seconds) == (20.0, 20.0)
    assert found["road"].seconds == 0.0
    erased = scene()
    erased[5:15, 5:20] = 255
    found = cost([], [], scene(), erased)
    assert found["car"].pixels_removed == 150
    assert found["car"].seconds == 40.0


def a_cost(seconds: float | None, *, with_draft: bool = True, by: str = "a+b") -> CorrectionCost:
    one = ClassCost(
        pixels_added=3,
        pixels_removed=1,
        regions_touched=1,
        regions_added=0,
        regions_deleted=2,
        seconds=seconds,
    )
    return CorrectionCost(
        annotation_id=1,
        annotator="anna",
        drafted_by=by,
        with_draft=with_draft,
        seconds=seconds,
        pixels=100,
        classes={"car": one},
    )


def test_ann_09_sums_are_kept_apart_by_model_version_and_by_draft() -> None:
    told = summed([a_cost(10.0), a_cost(None), a_cost(4.0, by="c+d")])
    first, second = told["classes"]
    assert (first["drafted_by"], first["annotations"], first["pixels_added"]) == ("a+b", 2, 6)
    assert (first["regions_deleted"], first["seconds"]) == (4, 10.0)
    assert second["drafted_by"] == "c+d"
    assert told["seconds"]["with_draft"] == {"annotations": 2, "mean": 7.0}
    assert told["seconds"]["without_draft"] == {"annotations": 0, "mean": None}
    assert told["seconds"]["saved_share"] is None  # not measured
    told = summed([a_cost(10.0), a_cost(40.0, with_draft=False)])
    assert told["seconds"]["saved_share"] == 0.75
    assert len(told["classes"]) == 2


def test_ann_09_of_a_sample_pulled_twice_the_last_counts() -> None:
    def event(seconds: float, sample: str) -> dict[str, object]:
        return {
            "event": "annotation.pulled",
            "sample_id": sample,
            "round_number": 1,
            "costs": [to_plain(a_cost(seconds))],
        }

    other = {"event": "task.pushed", "sample_id": "x", "round_number": 1}
    old = {"event": "annotation.pulled", "sample_id": "o", "round_number": 1}  # of an older version
    replayed = costs_from_events([event(9.0, "x"), other, old, event(5.0, "x"), event(1.0, "y")])
    assert [one.seconds for one in replayed] == [5.0, 1.0]
    broken = event(9.0, "x") | {"costs": [{"annotator": 7}]}
    with pytest.raises(CorruptRecordError, match="sample x"):
        costs_from_events([broken])
