"""LLL-06: a folder of hold-outs says which classes its masks hold, or is refused."""

import json

import numpy as np
import pytest
from PIL import Image

from lifelong.errors import LabelMapChangeError
from lifelong.evaluation import read_holdouts
from lifelong.labels.map_changes import change_classes
from lifelong.labels.map_history import LabelMapHistory
from lifelong.labels.readings import LabelReader
from lifelong.read_labels import painted_with, read_as_present
from lifelong.records.label_map import LabelMap

BEFORE = LabelMap(("road", "car", "bus"), ((1, 1, 1), (2, 2, 2), (3, 3, 3)))
CHANGE = change_classes(BEFORE, add={"tram": ()}, remove=["road"])


@pytest.fixture
def folder(tmp_path):
    for task in ("day", "night"):
        place = tmp_path / task / "eval"
        (place / "images").mkdir(parents=True)
        (place / "train_ids").mkdir()
        Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(place / "images" / "a.png")
        mask = np.array([[0, 1, 2], [255, 1, 0]], np.uint8)
        Image.fromarray(mask).save(place / "train_ids" / "a.png")
    return tmp_path


def mark(place, label_map):
    classes = [{"name": name} for name in label_map.names]
    (place / "label_map.json").write_text(json.dumps({"classes": classes}))


def masks(folder, history):
    found = read_holdouts(folder)
    painted = painted_with(found, folder)
    reader = LabelReader(history.with_others(painted.values()))
    holdouts = read_as_present(found, painted, reader)
    return {task: [mask.tolist() for _, mask in one] for task, one in holdouts.items()}


def test_lll_06_without_changes_masks_are_of_the_present_classes(folder):
    assert masks(folder, LabelMapHistory(BEFORE))["day"] == [[[0, 1, 2], [255, 1, 0]]]


def test_lll_06_after_a_change_a_silent_folder_is_refused_and_never_misread(folder):
    history = LabelMapHistory(CHANGE.after, [CHANGE])
    with pytest.raises(LabelMapChangeError, match=r"day.*label_map\.json"):
        masks(folder, history)
    mark(folder / "day", BEFORE)
    with pytest.raises(LabelMapChangeError, match="night"):
        masks(folder, history)


def test_lll_06_the_nearest_file_counts(folder):
    mark(folder, BEFORE)
    mark(folder / "night" / "eval", CHANGE.after)
    found = masks(folder, LabelMapHistory(CHANGE.after, [CHANGE]))
    assert found["day"] == [[[255, 0, 1], [255, 0, 255]]]
    assert found["night"] == [[[0, 1, 2], [255, 1, 0]]]


def test_lll_06_a_folder_in_another_order_is_read_in_ours_without_any_change(folder):
    mark(folder, LabelMap(("bus", "car", "road"), BEFORE.colours))
    assert masks(folder, LabelMapHistory(BEFORE))["day"] == [[[2, 1, 0], [255, 1, 2]]]


def test_lll_06_one_hold_out_alone_is_known_by_the_file_above_all_of_them(folder):
    mark(folder, BEFORE)
    history = LabelMapHistory(CHANGE.after, [CHANGE])
    assert masks(folder / "day" / "eval", history)["eval"] == [[[255, 0, 1], [255, 0, 255]]]


def test_lll_06_a_flat_folder_may_say_it_too(folder):
    flat = folder / "day" / "eval"
    mark(flat, BEFORE)
    assert list(masks(flat, LabelMapHistory(CHANGE.after, [CHANGE]))) == ["eval"]
