"""PRE-07: boxes to masks to classes; the detector and the SAM are recorded answers."""

import numpy as np
import pytest
import torch

from cloud.preannotation.sam.promptable import Embedding
from cloud.preannotation.text_detectors import FoundBoxes
from cloud.preannotation.text_prompts import TextPromptDrafter, class_table, without_doubles
from lifelong.errors import ConfigError, ModelOutputError
from lifelong.records.label_map import CITYSCAPES

CAR, PERSON = CITYSCAPES.id_of("car"), CITYSCAPES.id_of("person")
IMAGE = np.zeros((40, 60, 3), np.uint8)


def found_boxes(*rows):
    """(box, score, phrase, prompt) rows as a detector's answer."""
    return FoundBoxes(
        boxes=torch.tensor([row[0] for row in rows], dtype=torch.float32).reshape(-1, 4),
        scores=torch.tensor([row[1] for row in rows], dtype=torch.float32),
        phrases=tuple(row[2] for row in rows),
        prompts=tuple(row[3] for row in rows),
    )


class Recorded:
    """A detector that answers what was recorded."""

    name = "recorded"

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    def find(self, image, prompts, *, box_threshold=None, text_threshold=None):
        self.asked.append(prompts)
        return self.answer

    def check(self, prompts):
        pass


class BoxSam:
    """A SAM whose mask is the box itself, cut to whole pixels."""

    name, stability_offset, encoder = "box_sam", 1.0, torch.nn.Identity()

    def __init__(self, predicted_iou=0.5):
        self.calls, self._iou = [], predicted_iou

    def embed(self, images):
        return [Embedding(height=i.shape[0], width=i.shape[1], features=None) for i in images]

    def ask(self, embedding, prompts, *, several):
        self.calls.append((len(prompts.boxes), several))
        self._boxes = prompts.boxes
        return self

    @property
    def predicted_iou(self):
        return torch.full((len(self._boxes), 1), self._iou)

    def low_res(self, wanted):
        assert bool(wanted.all())
        return self._boxes.reshape(-1, 2, 2)

    def enlarge(self, low_res, embedding):
        logits = torch.full((len(low_res), embedding.height, embedding.width), -9.0)
        for number, box in enumerate(low_res.reshape(-1, 4).int().tolist()):
            logits[number, box[1] : box[3], box[0] : box[2]] = 9.0
        return logits


def drafter(answer, prompts=None, **changes):
    table = class_table(prompts or {"car": "car", "man": "person"}, CITYSCAPES)
    return TextPromptDrafter(Recorded(answer), BoxSam(), table, **changes)


def test_pre_07_each_prompt_paints_its_class_and_its_phrase_is_kept():
    answer = found_boxes(
        ([0, 0, 30, 20], 0.9, "car", "car"), ([40, 10, 50, 30], 0.6, "old man", "man")
    )
    one = drafter(answer)
    draft = one.draft(IMAGE)
    assert one._detector.asked == [("car", "man")]
    assert one._sam.calls == [(2, False)]  # all boxes in one call, one mask each
    assert [(r.class_name, r.class_id) for r in draft.regions] == [
        ("car", CAR), ("old man", PERSON),
    ]  # fmt: skip
    assert draft.regions[1].class_proposals == ("old man", "man")
    assert draft.regions[1].score == pytest.approx(0.6 * 0.5)
    assert (draft.mask == CAR).sum() == 600
    assert (draft.mask == PERSON).sum() == 200
    assert set(np.unique(draft.mask)) == {CAR, PERSON, 255}
    assert (one.proposed_by, one.labelled_by) == ("box_sam", "recorded")


def test_pre_07_nothing_found_is_a_mask_of_255_and_no_error():
    one = drafter(found_boxes())
    draft = one.draft(IMAGE)
    assert (draft.mask == 255).all()
    assert (draft.regions, draft.score, one._sam.calls) == ((), 0.0, [])


def test_pre_07_words_of_several_prompts_are_kept_as_unknown_and_never_painted():
    draft = drafter(found_boxes(([0, 0, 30, 20], 0.9, "car man", None))).draft(IMAGE)
    (region,) = draft.regions
    assert (region.class_id, region.class_name) == (None, "car man")
    assert (draft.mask == 255).all()


def test_pre_07_a_box_without_lit_words_is_unknown():
    draft = drafter(found_boxes(([0, 0, 30, 20], 0.9, "", None))).draft(IMAGE)
    assert draft.regions[0].class_name == "unknown"


def test_pre_07_the_small_lies_on_the_large_however_sure_the_large_is():
    answer = found_boxes(
        ([10, 10, 20, 20], 0.4, "man", "man"), ([0, 0, 60, 40], 0.99, "car", "car")
    )
    draft = drafter(answer).draft(IMAGE)
    assert [region.class_name for region in draft.regions] == ["car", "man"]
    assert (draft.mask == PERSON).sum() == 100


def test_a_class_covered_altogether_is_told():
    answer = found_boxes(
        ([0, 0, 20, 20], 0.9, "car", "car"), ([0, 0, 20, 10], 0.5, "man", "man"),
        ([0, 10, 20, 20], 0.5, "man", "man"),
    )  # fmt: skip
    assert drafter(answer).draft(IMAGE).erased == (CAR,)


def test_pre_07_boxes_of_different_prompts_for_one_thing_are_one():
    answer = found_boxes(
        ([0, 0, 20, 20], 0.5, "car", "car"),
        ([0, 0, 20, 19], 0.8, "taxi", "taxi"),
        ([30, 0, 50, 20], 0.4, "car", "car"),
        ([30, 0, 50, 20], 0.9, "car taxi", None),  # means nothing: never displaces the car
        ([5, 5, 5, 9], 0.9, "car", "car"),  # no area
    )
    kept = without_doubles(answer, nms_iou=0.7)
    assert sorted(kept.phrases) == ["car", "taxi"]
    assert kept.scores.tolist() == pytest.approx([0.8, 0.4])
    assert len(without_doubles(answer, nms_iou=0.99).boxes) == 3


def test_a_sam_that_answers_a_box_with_nothing_leaves_no_region():
    answer = found_boxes(([3.2, 3.2, 3.6, 3.6], 0.9, "car", "car"))  # no whole pixel
    assert drafter(answer).draft(IMAGE).regions == ()


def test_a_sam_that_answers_nan_is_reported():
    one = drafter(found_boxes(([0, 0, 30, 20], 0.9, "car", "car")))
    one._sam.enlarge = lambda low_res, embedding: torch.full((1, 40, 60), float("nan"))
    with pytest.raises(ModelOutputError, match="box_sam"):
        one.draft(IMAGE)


def test_pre_07_the_table_is_normalised():
    table = class_table({"Parked-Car.": "car", "a  MAN": "person"}, CITYSCAPES)
    assert table == {"parked car": CAR, "a man": PERSON}


@pytest.mark.parametrize(
    ("prompts", "says"),
    [
        ({}, "empty; say what to look for"),
        ({"lorry": "lorry"}, r"prompts\.lorry: the label map has no class 'lorry'; it has road"),
        ({"?!": "car"}, "holds no word"),
        ({"Van": "car", "van.": "truck"}, "means 'truck' and 'car'; a prompt means one class"),
    ],
)
def test_pre_07_ops_03_a_wrong_table_is_refused_by_key(prompts, says):
    with pytest.raises(ConfigError, match=says):
        class_table(prompts, CITYSCAPES)
