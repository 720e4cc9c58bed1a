"""LLL-06: a Label Studio project after a change of the classes."""

import xml.etree.ElementTree as ElementTree

import pytest

from annotation.labeling_config import (
    ERASER,
    classes_of,
    labeling_config,
    tools_for,
    with_labels_added,
)
from annotation.project import ensure_project
from lifelong.errors import ProjectMismatchError
from lifelong.labels.map_changes import change_classes
from lifelong.labels.map_history import LabelMapHistory
from lifelong.records.label_map import LabelMap
from tests.fakes_label_studio import FakeStudio

BEFORE = LabelMap(("road", "car", "bus", "sky"), ((1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 4)))
CHANGE = change_classes(BEFORE, add={"tram": ("bus",)}, rename={"car": "motor"}, remove=["sky"])
AFTER = CHANGE.after
HISTORY = LabelMapHistory(AFTER, [CHANGE])
OTHERS = HISTORY.other_names(AFTER)


def labels(config: str, tag: str) -> list[str]:
    found = ElementTree.fromstring(config).iter(tag)
    values = [label.get("value", "") for control in found for label in control.iter("Label")]
    return [value for value in values if value != ERASER]


def test_lll_06_names_of_other_label_maps_and_what_they_are_now():
    assert OTHERS == {"car": "motor", "sky": ""}
    assert HISTORY.other_names(BEFORE) == {"motor": "car", "tram": "bus"}


def test_lll_06_a_project_gets_the_new_labels_and_keeps_those_that_open_tasks_use():
    studio = FakeStudio()
    project = ensure_project(studio, "Cornerloop", BEFORE).project_id
    found = ensure_project(studio, "Cornerloop", AFTER, OTHERS)
    assert found.project_id == project
    config = studio.projects[project].label_config
    for tag in ("BrushLabels", "PolygonLabels", "RectangleLabels", "KeyPointLabels"):
        assert labels(config, tag) == ["road", "car", "bus", "sky", "motor", "tram"]
    assert found.tools.label_of("motor") == "motor"
    again = ensure_project(studio, "Cornerloop", AFTER, OTHERS)
    assert again == found
    assert studio.projects[project].label_config == config


def test_lll_06_what_is_painted_with_an_old_label_counts_as_what_it_became():
    config = with_labels_added(labeling_config(BEFORE), AFTER)
    assert classes_of(config, AFTER, OTHERS) == {
        "road": "road", "bus": "bus", "motor": "motor", "tram": "tram", "car": "motor",
    }  # fmt: skip
    # In a task from before the change, read with its own classes.
    assert classes_of(config, BEFORE, HISTORY.other_names(BEFORE)) == {
        "road": "road", "car": "car", "bus": "bus", "sky": "sky", "motor": "car", "tram": "bus",
    }  # fmt: skip


def test_lll_06_without_a_recorded_change_a_foreign_project_is_refused_as_ever():
    studio = FakeStudio()
    project = ensure_project(studio, "Cornerloop", BEFORE).project_id
    before = studio.projects[project].label_config
    with pytest.raises(ProjectMismatchError, match="'motor', 'tram'"):
        ensure_project(studio, "Cornerloop", AFTER)
    stranger = LabelMap(("lane", "kerb"), ((1, 1, 1), (2, 2, 2)))
    with pytest.raises(ProjectMismatchError, match="unknown classes"):
        ensure_project(studio, "Cornerloop", stranger, {})
    assert studio.projects[project].label_config == before


def test_lll_06_what_is_no_project_of_labels_stays_as_it_is():
    assert with_labels_added("<View", AFTER) == "<View"
    whole = labeling_config(AFTER)
    assert with_labels_added(whole, AFTER) == whole
    tools_for(whole, AFTER, "title")
