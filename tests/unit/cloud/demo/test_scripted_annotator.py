"""The scripted annotator corrects as a person would, and only what is wrong."""

import threading
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from annotation.draft_regions import DraftMode, DraftShapes, regions_from_mask
from annotation.regions import mask_from_regions
from annotation.tasks import task_json
from cloud.demo.scripted_annotator import ScriptedAnnotator, corrected
from lifelong.records.label_map import CITYSCAPES
from tests.builders import SMALL_MAP, a_mask, a_pre_annotation
from tests.fakes_label_studio import FakeStudio
from tests.unit.annotation.maps import label_maps


@settings(max_examples=100, deadline=None)
@given(label_maps(), st.integers(0, 2**32 - 1), st.sampled_from(["brush", "polygons"]))
def test_whatever_the_draft_was_the_result_is_the_truth(
    truth: NDArray[np.uint8], seed: int, mode: DraftMode
) -> None:
    draft = np.where(np.random.default_rng(seed).random(truth.shape) < 0.1, 3, truth)
    regions = regions_from_mask(draft.astype(np.uint8), CITYSCAPES, shapes=DraftShapes(mode=mode))
    result, _ = corrected(regions, truth, CITYSCAPES)
    painted = mask_from_regions(result, CITYSCAPES, size=truth.shape, where="x")  # type: ignore[arg-type]
    assert np.array_equal(painted, truth)


def test_right_classes_keep_their_regions_and_gone_ones_lose_them() -> None:
    truth = np.array([[0, 0, 1, 1]], dtype=np.uint8)
    draft = np.array([[0, 0, 1, 2]], dtype=np.uint8)
    result, touched = corrected(
        regions_from_mask(draft, SMALL_MAP, shapes=DraftShapes(mode="brush")), truth, SMALL_MAP
    )
    assert touched == 2
    assert [region["id"] == "draft-0" for region in result] == [True, False]


def test_a_perfect_draft_is_submitted_as_it_is() -> None:
    regions = regions_from_mask(a_mask(1), SMALL_MAP, shapes=DraftShapes(mode="polygons"))
    assert corrected(regions, a_mask(1), SMALL_MAP) == (regions, 0)


def test_what_nobody_can_say_is_skipped_and_an_outage_is_waited_for() -> None:
    studio = FakeStudio()
    project = studio.create_project("Cornerloop", "", "")
    draft = a_pre_annotation(1)
    body = task_json(
        draft, a_mask(1), image_url="", label_map=SMALL_MAP, shapes=DraftShapes(mode="brush")
    )
    studio.import_tasks(project, [body])
    seen: list[Mapping[str, str]] = []
    stop = threading.Event()

    def truth(told: Mapping[str, str]) -> None:
        seen.append(told)
        stop.set()

    annotator = ScriptedAnnotator(studio, project, SMALL_MAP, truth)
    studio.is_up = False
    worker = threading.Thread(target=annotator.run, args=(stop, 0.01))
    worker.start()
    assert not stop.wait(0.1)  # it is away
    studio.is_up = True
    assert stop.wait(60)
    worker.join()
    assert seen[0]["condition"] == "day"
    assert seen[0]["cornerloop_sample"] == draft.sample_id
    assert studio.round_tasks(project, 1)[0].skipped == 1


@pytest.mark.parametrize("broken", ["unicorn", ""])
def test_a_draft_that_cannot_be_read_is_painted_anew(broken: str) -> None:
    regions = regions_from_mask(a_mask(1), SMALL_MAP, shapes=DraftShapes(mode="brush"))
    regions[0]["value"]["brushlabels"] = [broken]
    result, _ = corrected(regions, a_mask(1), SMALL_MAP)
    painted = mask_from_regions(result, SMALL_MAP, size=(48, 64), where="x")
    assert np.array_equal(painted, a_mask(1))
