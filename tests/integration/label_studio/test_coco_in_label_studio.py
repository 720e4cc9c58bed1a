"""COCO into a real Label Studio and out again: the same instances, the same pixels."""

import json
from contextlib import closing
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from pycocotools.coco import COCO

from annotation.formats.coco import CocoInstances
from annotation.formats.coco_reading import label_map_from_coco, pictures_from_coco
from annotation.formats.label_studio_json import tasks_from_export
from annotation.formats.studio_writer import StudioTasks
from annotation.label_studio import LabelStudio
from annotation.label_studio_server import LabelStudioServer
from annotation.labelled_pictures import LabelledPicture, picture_from_annotation
from annotation.studio_tasks import latest_submitted
from lifelong.records.label_map import LabelMap
from tests.unit.annotation.formats.pictures import THINGS, drawn_picture, run_writer

pytestmark = [
    pytest.mark.integration,
    # pycocotools 2.0.11 decodes in a way that numpy 2 warns of.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]


def coco_of(pictures: list[LabelledPicture], label_map: LabelMap, path: Path) -> COCO:
    writer = CocoInstances(label_map=label_map)
    files, _ = run_writer(writer, {"train": pictures})
    path.write_bytes(files["annotations/instances_train.json"])
    return COCO(str(path))


@pytest.mark.parametrize("kind", ["annotations", "predictions"])
def test_cnv_11_coco_goes_through_a_real_label_studio_without_loss(
    label_studio_server: LabelStudioServer,
    tmp_path: Path,
    kind: Literal["annotations", "predictions"],
) -> None:
    """Classes and colours from the file, tasks and config imported, JSON exported, COCO again."""
    label_studio_server.start()
    before = coco_of(
        [drawn_picture("a.jpg"), drawn_picture("b c.jpg")], THINGS, tmp_path / "1.json"
    )
    label_map = label_map_from_coco(tmp_path / "1.json")
    assert label_map.names == THINGS.names and label_map.things == THINGS.things
    pictures = list(pictures_from_coco(tmp_path / "1.json", label_map))
    files, _ = run_writer(StudioTasks(label_map=label_map, kind=kind), {"train": pictures})
    with closing(LabelStudio(label_studio_server.url, label_studio_server.token, 60.0)) as studio:
        config = files["labeling_config.xml"].decode()
        project = studio.create_project(f"From COCO, {kind}", config, "")
        studio.import_tasks(project, json.loads(files["tasks_train.json"]))
        if kind == "predictions":  # somebody submits the drafts as they are
            for task in studio.open_tasks(project):
                (full,) = studio.full_tasks(project, [task.task_id])
                studio.create_annotation(
                    task.task_id,
                    full.predictions[0].regions,
                    seconds=1.0,
                    parent_prediction=full.predictions[0].prediction_id,
                )
        exported = tasks_from_export(studio.export(project, "JSON"), "export")
    after = []
    for task in exported:
        annotation = latest_submitted(task)
        assert annotation is not None
        name = str(task.meta["name"])
        after.append(picture_from_annotation(name, task, annotation, label_map))
    again = coco_of(sorted(after, key=lambda one: one.name), label_map, tmp_path / "2.json")
    assert [one["file_name"] for one in again.dataset["images"]] == ["a.jpg", "b c.jpg"]
    first, second = before.dataset["annotations"], again.dataset["annotations"]
    assert len(first) == len(second) == 10
    for one, other in zip(first, second, strict=True):
        for key in ("id", "image_id", "category_id", "area", "bbox", "iscrowd"):
            assert one[key] == other[key], key
        assert np.array_equal(before.annToMask(one), again.annToMask(other))
