"""PRE-09: what every SAM of this room keeps of the port's promises."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cloud.preannotation.sam.hq import HqSam
from cloud.preannotation.sam.promptable import Prompts
from cloud.preannotation.sam.sam2 import Sam2
from lifelong.errors import ShapeError
from tools.seeded_sams import picture

PLACES = torch.tensor([[[30.0, 20.0]], [[80.5, 35.25]], [[139.0, 89.0]]])
LABELS = torch.ones((3, 1), dtype=torch.int64)
CORNERS = torch.tensor([[60.0, 20.0, 99.0, 49.0], [5.0, 40.0, 70.0, 88.0]])
CLICKS = Prompts(points=PLACES, point_labels=LABELS)
BOXES = Prompts(boxes=CORNERS)


def everything(sam, embedding, prompts, *, several=True):
    answers = sam.ask(embedding, prompts, several=several)
    return answers, answers.low_res(torch.ones_like(answers.predicted_iou, dtype=torch.bool))


@pytest.fixture(scope="session")
def embedding(sam):
    return sam.embed([picture()])[0]


@pytest.mark.parametrize(
    "fixture", ["mini_hq", "mini_sam2", pytest.param("mobile_sam", marks=pytest.mark.slow)]
)
def test_pre_09_a_batch_of_unequal_pictures_is_embedded_as_one_by_one(fixture, request):
    sam = request.getfixturevalue(fixture)
    pictures = [picture(), np.ascontiguousarray(picture().transpose(1, 0, 2)[:77])]

    together = sam.embed(pictures)

    for image, from_batch in zip(pictures, together, strict=True):
        assert (from_batch.height, from_batch.width) == image.shape[:2]
        _, masks = everything(sam, from_batch, BOXES)
        _, alone = everything(sam, sam.embed([image])[0], BOXES)
        torch.testing.assert_close(masks, alone, atol=2e-4, rtol=0)
    assert sam.embed([]) == []


@pytest.mark.parametrize("shape", [(90, 140), (140, 90), (7, 300), (1, 1)])
def test_masks_have_the_size_of_the_picture(sam, shape):
    image = np.resize(picture(), (*shape, 3))
    embedding = sam.embed([image])[0]
    prompts = Prompts(boxes=torch.tensor([[0.0, 0.0, shape[1], shape[0]]]))

    answers, masks = everything(sam, embedding, prompts)

    logits = sam.enlarge(masks, embedding)
    assert logits.shape == (answers.predicted_iou.numel(), *shape)
    assert logits.dtype == torch.float32
    assert torch.isfinite(logits).all()
    assert sam.enlarge(masks[:0], embedding).shape == (0, *shape)


def test_prompts_are_pixels_of_the_picture_whatever_its_size(sam, embedding):
    """The same features said to be twice as large, asked at doubled places."""
    doubled = replace(embedding, height=2 * embedding.height, width=2 * embedding.width)
    for prompts, twice in (
        (CLICKS, replace(CLICKS, points=PLACES * 2)),
        (BOXES, replace(BOXES, boxes=CORNERS * 2)),
    ):
        _, masks = everything(sam, embedding, prompts)
        _, same = everything(sam, doubled, twice)
        _, other = everything(sam, doubled, prompts)

        # Scaled sizes are rounded to whole pixels, so places may differ by a fraction of one.
        assert (masks - same).abs().mean() < 0.2 * (masks - other).abs().mean()


def test_each_axis_is_scaled_by_itself(mini_sam2):
    """SAM 2 squeezes pictures: the far corner is the far corner of the square."""
    embedding = mini_sam2.embed([picture()])[0]
    corner = Prompts(boxes=torch.tensor([[0.0, 0.0, embedding.width, embedding.height]]))
    square = replace(embedding, height=1024, width=1024)

    _, masks = everything(mini_sam2, embedding, corner)
    _, same = everything(mini_sam2, square, Prompts(boxes=torch.tensor([[0.0, 0, 1024, 1024]])))

    torch.testing.assert_close(masks, same)


def test_one_mask_where_not_several(sam, embedding):
    answers, masks = everything(sam, embedding, CLICKS, several=False)

    assert answers.predicted_iou.shape == (3, 1)
    assert len(masks) == 3


@pytest.mark.parametrize(
    ("fixture", "count"), [("mini_hq", 1), ("mini_sam2", 3), ("mobile_sam", 3)]
)
def test_three_masks_where_several_but_of_hq_sam_one(fixture, count, request):
    """As the original HQ-SAM: the best of three, joined with its fine mask."""
    sam = request.getfixturevalue(fixture)

    answers = sam.ask(sam.embed([picture()])[0], CLICKS, several=True)

    assert answers.predicted_iou.shape == (3, count)


def test_only_wanted_masks_come_row_by_row(sam, embedding):
    answers, all_masks = everything(sam, embedding, CLICKS)
    wanted = torch.zeros_like(answers.predicted_iou, dtype=torch.bool)
    wanted[0, 0] = wanted[2, -1] = True

    masks = answers.low_res(wanted)

    torch.testing.assert_close(masks, all_masks[wanted.flatten()], atol=1e-5, rtol=0)
    nothing = answers.low_res(torch.zeros_like(wanted))
    assert nothing.shape == (0, *all_masks.shape[1:])


def test_many_prompts_are_answered_as_few_are(sam, embedding):
    """More than are up-scaled at once."""
    many = Prompts(points=PLACES.repeat(6, 1, 1), point_labels=LABELS.repeat(6, 1))

    few, _ = everything(sam, embedding, CLICKS)
    answers, masks = everything(sam, embedding, many)

    count = few.predicted_iou.shape[1]
    assert len(masks) == 18 * count
    torch.testing.assert_close(masks[: 3 * count], masks[-3 * count :], atol=1e-4, rtol=0)
    torch.testing.assert_close(answers.predicted_iou[:3], few.predicted_iou, atol=1e-5, rtol=0)


def test_an_earlier_answer_alone_is_a_prompt(sam, embedding):
    _, first = everything(sam, embedding, CLICKS, several=False)

    answers, again = everything(sam, embedding, Prompts(low_res_masks=first[:, None]))

    assert len(answers.predicted_iou) == 3
    assert not torch.equal(again[0], again[1])


def test_an_unstable_single_mask_of_sam_2_gives_way_to_the_best_of_three(mini_sam2):
    embedding = mini_sam2.embed([picture()])[0]
    decoder = mini_sam2._network.mask_decoder
    several, masks = everything(mini_sam2, embedding, CLICKS)
    before = decoder.dynamic_multimask_stability_thresh
    try:
        decoder.dynamic_multimask_stability_thresh = 1.1  # nothing is stable
        unstable, best = everything(mini_sam2, embedding, CLICKS, several=False)
        decoder.dynamic_multimask_stability_thresh = 0.0  # everything is
        stable, single = everything(mini_sam2, embedding, CLICKS, several=False)
    finally:
        decoder.dynamic_multimask_stability_thresh = before

    numbers = several.predicted_iou.argmax(dim=1)
    torch.testing.assert_close(unstable.predicted_iou[:, 0], several.predicted_iou.amax(dim=1))
    torch.testing.assert_close(
        best, masks.view(3, 3, *masks.shape[1:])[torch.arange(3), numbers], atol=1e-5, rtol=0
    )
    assert not torch.equal(stable.predicted_iou, unstable.predicted_iou)
    assert not torch.equal(single, best)


@pytest.mark.parametrize(("fixture", "kind"), [("mini_hq", HqSam), ("mini_sam2", Sam2)])
def test_half_precision_answers_in_float32_and_nearly_the_same(fixture, kind, request):
    sam = request.getfixturevalue(fixture)
    half = kind(sam._network, name="half", device="cpu", precision="bfloat16")

    whole, masks = everything(sam, sam.embed([picture()])[0], BOXES, several=False)
    rough, rough_masks = everything(half, half.embed([picture()])[0], BOXES, several=False)

    assert rough.predicted_iou.dtype == rough_masks.dtype == torch.float32
    assert not torch.equal(masks, rough_masks)
    assert torch.corrcoef(torch.stack([masks.flatten(), rough_masks.flatten()]))[0, 1] > 0.98
    torch.testing.assert_close(rough.predicted_iou, whole.predicted_iou, atol=0.1, rtol=0)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 3), np.float32),
        np.zeros((0, 8, 3), np.uint8),
    ],
)
def test_what_is_no_picture_is_refused(sam, image):
    with pytest.raises(ShapeError, match=r"expected \(H, W, 3\) uint8"):
        sam.embed([image])


@pytest.mark.parametrize(
    "prompts",
    [
        Prompts(),
        Prompts(points=PLACES),
        Prompts(point_labels=LABELS),
        replace(CLICKS, boxes=CORNERS),
    ],
)
def test_prompts_that_do_not_fit_together_are_refused(sam, embedding, prompts):
    with pytest.raises(ShapeError, match="prompts"):
        sam.ask(embedding, prompts, several=True)
