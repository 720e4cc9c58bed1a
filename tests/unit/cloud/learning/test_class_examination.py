"""LLL-06: two models of different classes, compared on the classes that both know."""

from dataclasses import dataclass

import numpy as np
import pytest

from cloud.learning.class_examination import examined, rules_for, with_classes_told
from lifelong.config import Config
from lifelong.errors import LabelMapChangeError
from lifelong.gate import decide
from lifelong.labels.map_changes import change_classes
from lifelong.labels.map_history import LabelMapHistory
from lifelong.labels.readings import LabelReader
from lifelong.records.ids import VersionId
from lifelong.records.label_map import LabelMap
from lifelong.records.pixels import Prediction

BEFORE = LabelMap(("road", "car", "bus", "sky"), ((1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 4)))
CHANGE = change_classes(BEFORE, add={"tram": ("bus",)}, remove=["sky"])
AFTER = CHANGE.after  # road 0, car 1, bus 2, tram 3
READER = LabelReader(LabelMapHistory(AFTER, [CHANGE]))
RULES = Config().gate
IMAGE = np.zeros((2, 6, 3), dtype=np.uint8)


def a_mask(*ids: int) -> np.ndarray:
    return np.array([ids, ids], dtype=np.uint8)


@dataclass
class Answers:
    """A model that knows one mask by heart."""

    version: str
    mask: np.ndarray

    def segment(self, image: np.ndarray) -> Prediction:
        plane = np.ones(self.mask.shape, dtype=np.float32)
        return Prediction(
            mask=self.mask,
            confidence=plane,
            entropy=plane,
            margin=plane,
            version_id=VersionId(self.version),
        )


def sat(candidate: np.ndarray, incumbent: np.ndarray, truth: np.ndarray):
    return examined(
        Answers("new", candidate), (Answers("old", incumbent), BEFORE),
        {"day": [(IMAGE, truth)] * 20}, READER,
    )  # fmt: skip


def verdict(reports):
    decision = decide(
        reports.compared, reports.incumbent, rules_for(reports, RULES), earlier=["day"]
    )
    return with_classes_told(decision, reports)


TRUTH = a_mask(0, 0, 1, 2, 3, 3)  # with present labels
OLD_TRUTH = READER.read(a_mask(0, 0, 1, 2, 2, 2), BEFORE.digest, "here")
AS_BEFORE = a_mask(0, 0, 1, 2, 2, 2)  # the incumbent calls trams buses


@pytest.mark.parametrize("truth", [TRUTH, OLD_TRUTH], ids=["present labels", "old labels"])
def test_lll_06_who_learned_the_new_class_and_kept_the_old_ones_is_accepted(truth):
    reports = sat(a_mask(0, 0, 1, 2, 3, 3), AS_BEFORE, truth)
    assert reports.compared.tasks["day"].iou == {"road": 1.0, "car": 1.0, "bus": 1.0}
    assert reports.incumbent.tasks["day"].iou == reports.compared.tasks["day"].iou
    found = verdict(reports)
    assert found.accepted, found.reasons
    notes = "\n".join(found.notes)
    assert "classes: add tram: older labels call it bus, or nothing" in notes
    assert "classes: remove sky" in notes
    if truth is TRUTH:
        assert reports.candidate.tasks["day"].iou["tram"] == 1.0
        assert "tram: new, IoU 100.0 on 20 images of day" in notes
    else:
        assert "tram: new, and no hold-out shows it" in notes


def test_lll_06_who_lost_an_old_class_to_the_new_one_is_refused():
    """Every bus is called a tram: present labels say that this is wrong."""
    reports = sat(a_mask(0, 0, 1, 3, 3, 3), AS_BEFORE, TRUTH)
    assert reports.compared.tasks["day"].iou["bus"] == 0.0
    assert not verdict(reports).accepted


def test_lll_06_a_new_class_that_takes_old_pixels_is_no_excuse():
    reports = sat(a_mask(3, 3, 1, 2, 3, 3), AS_BEFORE, TRUTH)
    found = verdict(reports)
    assert not found.accepted
    reports = sat(a_mask(3, 3, 1, 2, 3, 3), AS_BEFORE, OLD_TRUTH)
    assert not verdict(reports).accepted  # old labels say road, and road was never a tram


def test_lll_06_who_learned_none_of_the_new_classes_must_gain_like_anybody():
    reports = sat(AS_BEFORE, AS_BEFORE, TRUTH)
    assert rules_for(reports, RULES) is RULES
    assert not verdict(reports).accepted


def test_lll_06_an_answer_without_a_name_is_wrong_and_not_left_out():
    reports = sat(a_mask(0, 0, 1, 2, 3, 3), a_mask(3, 0, 1, 2, 2, 2), TRUTH)  # road as sky
    assert reports.incumbent.tasks["day"].iou["road"] == 0.5


def test_lll_06_one_label_map_is_the_plain_examination():
    reader = LabelReader(LabelMapHistory(BEFORE))
    reports = examined(
        Answers("new", AS_BEFORE), (Answers("old", AS_BEFORE), BEFORE),
        {"day": [(IMAGE, AS_BEFORE)]}, reader,
    )  # fmt: skip
    assert reports.change is None
    assert rules_for(reports, RULES) is RULES
    assert reports.candidate.tasks["day"].miou == reports.incumbent.tasks["day"].miou == 1.0
    decision = decide(reports.compared, reports.incumbent, RULES, earlier=[])
    assert with_classes_told(decision, reports) is decision
    alone = examined(Answers("new", AS_BEFORE), None, {"day": [(IMAGE, AS_BEFORE)]}, reader)
    assert alone.incumbent is None and alone.change is None


def test_lll_06_an_incumbent_of_unknown_classes_is_an_error():
    stranger = LabelMap(("lane", "kerb"), ((1, 1, 1), (2, 2, 2)))
    with pytest.raises(LabelMapChangeError, match="no change is recorded"):
        examined(
            Answers("new", AS_BEFORE), (Answers("old", AS_BEFORE), stranger),
            {"day": [(IMAGE, TRUTH)]}, READER,
        )  # fmt: skip
