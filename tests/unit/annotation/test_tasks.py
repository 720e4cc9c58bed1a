"""A draft as a task, and what is wrong with a task's annotation (CNV-04)."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from annotation.draft_regions import DraftShapes
from annotation.label_studio import LabelStudio
from annotation.studio_tasks import studio_task
from annotation.tasks import carries, mask_from_annotation, task_json
from lifelong.errors import ConfigError, CorruptRecordError, LabelMapError, ShapeError
from lifelong.records.samples import RegionScore
from tests.builders import SMALL_MAP, a_mask, a_pre_annotation


def test_ann_02_a_task_carries_our_ids_the_attributes_and_the_draft() -> None:
    box = (0, 0, 9, 9)
    draft = a_pre_annotation(
        3,
        round_number=4,
        attributes={"site": "north-gate", "condition": "night"},
        regions=(
            RegionScore(class_id=1, area=30, box=box, score=0.5),
            RegionScore(class_id=1, area=10, box=box, score=0.9),
        ),
    )
    body = task_json(
        draft, a_mask(3), image_url="/x.jpg", label_map=SMALL_MAP, shapes=DraftShapes(mode="brush")
    )
    assert body["data"] == {
        "image": "/x.jpg",
        "cornerloop_sample": draft.sample_id,
        "cornerloop_round": 4,
        "cornerloop_note": "",
        "cornerloop_prompt": "",
        "cornerloop_unsure": "/x.jpg",  # no picture of doubts: the plain one
    }
    assert body["meta"] == {"site": "north-gate", "condition": "night"}
    prediction = body["predictions"][0]  # type: ignore[index]
    assert prediction["model_version"] == "round-4"
    scores = {region["id"]: region.get("score") for region in prediction["result"]}
    assert scores == {"draft-0": None, "draft-1": 0.6, "draft-2": None}


def test_pre_14_each_polygon_is_as_sure_as_its_piece() -> None:
    """PRE-14: two pieces of one class, one sure, one not; Label Studio gets each score."""
    mask = np.zeros((20, 30), dtype=np.uint8)
    mask[2:8, 2:8] = 1
    mask[10:18, 12:28] = 1
    draft = a_pre_annotation(
        3,
        height=20,
        width=30,
        regions=(
            RegionScore(class_id=0, area=436, box=(0, 0, 29, 19), score=0.97),
            RegionScore(class_id=1, area=128, box=(12, 10, 27, 17), score=0.9),
            RegionScore(class_id=1, area=36, box=(2, 2, 7, 7), score=0.2),
        ),
    )
    body = task_json(
        draft, mask, image_url="", label_map=SMALL_MAP, shapes=DraftShapes(mode="polygons")
    )
    found = [
        (region["value"]["polygonlabels"][0], region["score"])
        for region in body["predictions"][0]["result"]  # type: ignore[index]
    ]
    background, thing = SMALL_MAP.names[0], SMALL_MAP.names[1]
    assert sorted(found) == sorted([(background, 0.97), (thing, 0.9), (thing, 0.2)])


def test_pre_16_the_annotator_is_told_what_the_draft_lost() -> None:
    """PRE-16: classes that were seen and are nowhere in the draft."""
    draft = a_pre_annotation(3, erased_classes=("pole", "traffic sign"))
    body = task_json(
        draft, a_mask(3), image_url="", label_map=SMALL_MAP, shapes=DraftShapes(mode="brush")
    )
    assert body["meta"]["erased_classes"] == "pole, traffic sign"  # type: ignore[index]


def test_a_draft_of_another_size_or_label_map_is_refused() -> None:
    draft = a_pre_annotation(3)
    with pytest.raises(ShapeError, match=draft.mask_key):
        task_json(
            draft,
            a_mask(3)[1:],
            image_url="",
            label_map=SMALL_MAP,
            shapes=DraftShapes(mode="brush"),
        )
    foreign = np.full_like(a_mask(3), 9)
    with pytest.raises(LabelMapError):
        task_json(
            draft, foreign, image_url="", label_map=SMALL_MAP, shapes=DraftShapes(mode="brush")
        )


def test_cnv_04_an_annotation_without_regions_names_task_and_annotation() -> None:
    body = {"id": 7, "data": {}, "annotations": [{"id": 9, "result": [{"value": None}]}]}
    task = studio_task(body, str)
    prompts_only = replace(task.annotations[0], regions=())
    with pytest.raises(ShapeError, match="task 7, annotation 9"):
        mask_from_annotation(task, prompts_only, SMALL_MAP, size=(2, 2))
    with pytest.raises(CorruptRecordError, match="task 7, annotation 9"):
        mask_from_annotation(task, task.annotations[0], SMALL_MAP, size=(2, 2))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"cornerloop_sample": "a", "cornerloop_round": 1}, True),
        ({"cornerloop_sample": "a", "cornerloop_round": "1"}, True),
        ({"cornerloop_sample": "a", "cornerloop_round": 2}, False),
        ({"cornerloop_sample": "b", "cornerloop_round": 1}, False),
        ({}, False),
    ],
)
def test_a_task_is_known_by_its_data(data: dict[str, object], expected: bool) -> None:
    assert carries(data, "a", 1) is expected


def test_times_without_a_zone_are_utc_and_nonsense_is_no_time() -> None:
    body = {"id": 1, "annotations": [{"id": 1, "updated_at": "2026-03-01T12:00:00"}]}
    assert studio_task(body, str).annotations[0].at == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert studio_task({"id": 1, "updated_at": "noon"}, str).updated_at is None


def test_a_task_without_an_id_is_refused() -> None:
    with pytest.raises(CorruptRecordError, match="task without an id"):
        studio_task({"data": {}}, str)


@pytest.mark.parametrize("url", ["", "label-studio:8080", "ftp://host", "http://"])
def test_an_address_that_is_no_url_is_a_config_error(url: str) -> None:
    with pytest.raises(ConfigError, match=r"label_studio\.url"):
        LabelStudio(url, "token", 1.0)


def test_a_missing_token_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="token_env"):
        LabelStudio("http://127.0.0.1:8080", "", 1.0)
