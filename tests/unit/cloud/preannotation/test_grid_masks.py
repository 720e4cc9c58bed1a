"""PRE-09, PRE-10: the grid of clicks finds what SamAutomaticMaskGenerator finds, bit for bit."""

import warnings
from dataclasses import asdict, replace
from functools import partial

import numpy as np
import pytest
import torch
from segment_anything import SamAutomaticMaskGenerator, SamPredictor
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from segment_anything.utils.amg import generate_crop_boxes

from cloud.demo.scenes import draw_scene
from cloud.preannotation.grid_masks import (
    SSA_SETTINGS,
    GridProposer,
    GridSettings,
    crops_of,
    cut_off,
    grid_of,
)
from cloud.preannotation.region_masks import mask_from_rle
from cloud.preannotation.sam.promptable import Prompts
from cloud.preannotation.sam.segment_anything_model import SegmentAnythingModel
from cloud.preannotation.sam.tiny import build_tiny_sam, load_tiny_sam
from lifelong.errors import ShapeError

SETTINGS = GridSettings(
    points_per_side=5,
    points_per_batch=16,
    pred_iou_thresh=0.7,
    stability_score_thresh=0.85,
    box_nms_thresh=1.0,  # no duplicates are dropped: more to compare
    min_mask_region_area=0,
)


@pytest.fixture(scope="module")
def tiny():
    return load_tiny_sam()


def random_tiny(seed=0):
    torch.manual_seed(seed)
    return with_opinions(build_tiny_sam())


def random_vit(seed=0):
    """segment-anything's own image encoder and decoder, with few dimensions."""
    torch.manual_seed(seed)
    encoder = ImageEncoderViT(
        img_size=128,
        patch_size=16,
        embed_dim=32,
        depth=2,
        num_heads=2,
        out_chans=32,
        use_rel_pos=True,
        window_size=4,
        global_attn_indexes=(1,),
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
    )
    prompts = PromptEncoder(
        embed_dim=32, image_embedding_size=(8, 8), input_image_size=(128, 128), mask_in_chans=16
    )
    decoder = MaskDecoder(
        num_multimask_outputs=3,
        transformer=TwoWayTransformer(depth=2, embedding_dim=32, mlp_dim=64, num_heads=4),
        transformer_dim=32,
    )
    return with_opinions(Sam(encoder, prompts, decoder).eval())


def with_opinions(sam):
    """Random heads call every mask equally bad: theirs shall differ, around 0.8."""
    last = sam.mask_decoder.iou_prediction_head.layers[-1]
    with torch.no_grad():
        last.weight.mul_(20)
        last.bias.fill_(0.8)
    return sam


def generated(sam, image, settings, offset):
    generator = SamAutomaticMaskGenerator(
        sam,
        output_mode="uncompressed_rle",
        stability_score_offset=offset,
        **asdict(settings),
    )
    with warnings.catch_warnings():
        # segment-anything puts tensors into numpy arrays the way numpy 1 liked it.
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        return [
            (
                tuple(one["segmentation"]["counts"]),
                one["predicted_iou"],
                one["stability_score"],
                tuple(one["bbox"]),
                tuple(one["point_coords"][0]),
                tuple(one["crop_box"]),
            )
            for one in generator.generate(np.ascontiguousarray(image))
        ]


def proposed(sam, image, settings, offset, crop_batch=1):
    model = SegmentAnythingModel(sam, name="sam", device="cpu", stability_offset=offset)
    found = GridProposer(model, settings, crop_batch=crop_batch).propose(image)
    assert (found.height, found.width) == image.shape[:2]
    return [
        (
            tuple(rle["counts"]),
            float(found.predicted_iou[n]),
            float(found.stability[n]),
            (int(x0), int(y0), int(x1 - x0), int(y1 - y0)),
            tuple(found.points[n].tolist()),
            tuple(found.crop_boxes[n].tolist()),
        )
        for n, (rle, (x0, y0, x1, y1)) in enumerate(zip(found.rles, found.boxes, strict=True))
    ]


def assert_same_masks(sam, image, settings, offset):
    expected = generated(sam, image, settings, offset)

    assert proposed(sam, image, settings, offset) == expected
    assert expected  # else nothing was compared
    return expected


@pytest.mark.parametrize(
    ("size", "changes"),
    [
        ((96, 144), {}),
        ((144, 96), {"crop_n_layers": 1, "min_mask_region_area": 100, "box_nms_thresh": 0.9}),
        ((61, 97), {"crop_n_layers": 1, "min_mask_region_area": 30, "pred_iou_thresh": 0.4}),
        ((90, 90), {"pred_iou_thresh": 0.0, "min_mask_region_area": 100}),
        ((200, 300), {"stability_score_thresh": 0.95, "box_nms_thresh": 0.5}),
        ((80, 120), {"crop_n_layers": 2, "crop_overlap_ratio": 0.2, "crop_nms_thresh": 0.9}),
    ],
)
def test_pre_09_masks_equal_segment_anythings_with_the_shipped_weights(tiny, size, changes):
    """PRE-09, PRE-10: masks, scores, boxes, points, crops and their order, on the CPU."""
    image = draw_scene(12, "clear", *size).image

    assert_same_masks(tiny, image, replace(SETTINGS, **changes), offset=0.25)


@pytest.mark.parametrize("seed", [0, 1])
def test_pre_09_masks_equal_segment_anythings_with_random_weights(seed):
    image = draw_scene(seed, "rain", 70, 110).image
    settings = replace(
        SETTINGS,
        crop_n_layers=1,
        min_mask_region_area=20,
        pred_iou_thresh=0.8,
        stability_score_thresh=0.3,
        points_per_batch=7,
        crop_nms_thresh=1.0,
    )

    assert_same_masks(random_tiny(seed), image, settings, offset=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("min_area", [0, 100])
def test_pre_09_masks_equal_segment_anythings_with_a_small_vit(min_area):
    image = draw_scene(5, "clear", 300, 200).image
    settings = replace(
        SETTINGS,
        points_per_side=16,
        crop_n_layers=1,
        min_mask_region_area=min_area,
        pred_iou_thresh=0.8,
        stability_score_thresh=0.3,
    )

    assert_same_masks(random_vit(), image, settings, offset=0.01)


def test_a_picture_of_one_pixel_is_a_picture(tiny):
    settings = replace(SETTINGS, pred_iou_thresh=0.0, stability_score_thresh=0.0)

    assert_same_masks(tiny, np.full((1, 1, 3), 90, np.uint8), settings, offset=0.25)


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (3, 2)])
def test_crops_of_the_smallest_pictures_are_never_without_a_pixel(tiny, size):
    settings = replace(SETTINGS, crop_n_layers=2, pred_iou_thresh=0.0, points_per_side=1)

    found = proposed(tiny, np.zeros((*size, 3), np.uint8), settings, offset=0.25)

    assert all(width > 0 and height > 0 for *_, (_, _, width, height) in found)


def test_masks_without_a_pixel_are_kept_where_no_threshold_forbids_it():
    sam = build_tiny_sam()
    with torch.no_grad():  # every logit becomes 0: no pixel is above, stability is 0 / all
        for head in sam.mask_decoder.output_hypernetworks_mlps:
            head.layers[-1].weight.zero_()
            head.layers[-1].bias.zero_()
    settings = replace(SETTINGS, pred_iou_thresh=0.0, stability_score_thresh=0.0, points_per_side=2)

    found = proposed(sam, np.zeros((30, 40, 3), np.uint8), settings, offset=0.25)
    expected = generated(sam, np.zeros((30, 40, 3), np.uint8), settings, offset=0.25)

    assert [one[:3] for one in found] == [one[:3] for one in expected]
    # An empty mask has no box: here it ends before it begins, there it is the first pixel.
    assert {one[0] for one in found} == {(1200,)}
    assert {one[3] for one in found} == {(0, 0, -1, -1)}


@pytest.mark.parametrize("crop_n_layers", [0, 1])
@pytest.mark.parametrize("thresholds", [(1.5, 0.0), (0.0, 1.5)])
def test_no_mask_above_the_thresholds_is_no_error(tiny, crop_n_layers, thresholds):
    iou, stability = thresholds
    settings = replace(
        SETTINGS,
        points_per_side=2,
        crop_n_layers=crop_n_layers,
        pred_iou_thresh=iou,
        stability_score_thresh=stability,
    )

    assert proposed(tiny, draw_scene(1, "fog", 60, 80).image, settings, offset=0.25) == []


def test_pre_19_crops_that_are_encoded_together_find_the_same(tiny):
    """PRE-19: up to rounding, as a batch may be computed in another order."""
    image = draw_scene(12, "clear", 96, 144).image
    settings = replace(SETTINGS, points_per_side=3, crop_n_layers=1)

    apart, together = (proposed(tiny, image, settings, 0.25, crop_batch=n) for n in (1, 5))

    assert len(apart) == len(together) > 0
    for one, other in zip(apart, together, strict=True):
        assert one[1] == pytest.approx(other[1], abs=1e-4)
        assert one[4:] == other[4:]
        a, b = (
            mask_from_rle({"size": [96, 144], "counts": list(counts)})
            for counts in (one[0], other[0])
        )
        assert (a & b).sum() / (a | b).sum() > 0.99


def test_pre_10_batches_answered_at_once_find_the_same_in_the_same_order(tiny):
    """PRE-10: however many cores there are; and torch has as many threads as before."""
    image = draw_scene(12, "clear", 96, 144).image
    settings = replace(SETTINGS, points_per_batch=6)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        model = SegmentAnythingModel(tiny, name="tiny", device="cpu", stability_offset=0.25)
        one, three = (
            GridProposer(model, settings, crop_batch=1, workers=workers).propose(image)
            for workers in (1, 3)
        )
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)

    assert len(one) > 0
    assert one.points.tolist() == three.points.tolist()
    assert one.predicted_iou.tolist() == pytest.approx(three.predicted_iou.tolist(), abs=1e-5)


@pytest.mark.parametrize("size", [(1024, 2048), (333, 517), (40, 30)])
@pytest.mark.parametrize("layers", [0, 1, 3])
def test_crops_are_those_of_segment_anything(size, layers):
    settings = replace(SSA_SETTINGS, crop_n_layers=layers)

    found = [(list(crop.box), crop.layer) for crop in crops_of(size[0], size[1], settings)]

    boxes, numbers = generate_crop_boxes(size, layers, settings.crop_overlap_ratio)
    assert found == list(zip(boxes, numbers, strict=True))


def test_a_grid_too_coarse_for_a_layer_still_has_one_click():
    settings = replace(SETTINGS, points_per_side=1, crop_n_points_downscale_factor=2)

    assert grid_of(3, settings).tolist() == [[0.5, 0.5]]


@pytest.mark.parametrize(
    ("box", "cut"),
    [
        ((21, 30, 60, 60), False),
        ((20, 30, 60, 60), True),  # exactly as far as the tolerance
        ((30, 30, 80, 60), True),
        ((30, 5, 60, 60), False),  # the crop's upper edge is the picture's
    ],
)
def test_a_mask_near_an_edge_of_its_crop_is_cut_off(box, cut):
    # A crop of 100 x 100 pixels at x = 100, y = 0 of a picture of 400 x 300.
    assert cut_off(torch.tensor([box]), (100, 0, 200, 100), (300, 400)).tolist() == [cut]


def test_ssa_settings_are_those_of_its_closed_set_script():
    assert (SSA_SETTINGS.points_per_side, SSA_SETTINGS.crop_n_layers) == (64, 1)
    assert (SSA_SETTINGS.pred_iou_thresh, SSA_SETTINGS.stability_score_thresh) == (0.86, 0.92)
    assert (SSA_SETTINGS.min_mask_region_area, SSA_SETTINGS.points_per_batch) == (100, 64)


@pytest.fixture(scope="module")
def clicked(tiny):
    """A picture known to segment-anything's predictor, and to ours."""
    image = draw_scene(7, "clear", 90, 140).image
    predictor = SamPredictor(tiny)
    predictor.set_image(image)
    model = SegmentAnythingModel(tiny, name="tiny", device="cpu")
    (embedding,) = model.embed([image])
    return predictor, model, embedding


@pytest.mark.parametrize("several", [True, False])
@pytest.mark.parametrize("kinds", ["p", "b", "m", "pb", "pbm", "bm"])
def test_pre_09_prompts_of_every_kind_are_answered_as_segment_anything_answers_them(
    clicked, kinds, several
):
    predictor, model, embedding = clicked
    rng = np.random.default_rng(1)
    points = rng.uniform(0, 90, (1, 3, 2)).astype(np.float32)
    labels = np.array([[1, 0, 1]])
    box = np.array([[10.5, 20.0, 100.25, 80.0]], dtype=np.float32)
    mask = rng.normal(size=(1, 1, 64, 64)).astype(np.float32)

    expected, quality, low_res = predictor.predict(
        point_coords=points[0] if "p" in kinds else None,
        point_labels=labels[0] if "p" in kinds else None,
        box=box if "b" in kinds else None,
        mask_input=mask[0] if "m" in kinds else None,
        multimask_output=several,
        return_logits=True,
    )
    answers = model.ask(
        embedding,
        Prompts(
            points=torch.from_numpy(points) if "p" in kinds else None,
            point_labels=torch.from_numpy(labels) if "p" in kinds else None,
            boxes=torch.from_numpy(box) if "b" in kinds else None,
            low_res_masks=torch.from_numpy(mask) if "m" in kinds else None,
        ),
        several=several,
    )

    found = answers.low_res(torch.ones_like(answers.predicted_iou, dtype=torch.bool))
    assert answers.predicted_iou.numpy().tolist() == [quality.tolist()]
    assert (found.numpy() == low_res).all()
    # torch rounds one picture of one channel in another way than three; see `enlarge`.
    np.testing.assert_allclose(model.enlarge(found, embedding).numpy(), expected, atol=2e-4)


def test_only_wanted_masks_are_made(clicked):
    _, model, embedding = clicked
    points = torch.rand((5, 1, 2)) * 90
    answers = model.ask(
        embedding,
        Prompts(points=points, point_labels=torch.ones((5, 1), dtype=torch.int64)),
        several=True,
    )
    every = answers.low_res(torch.ones((5, 3), dtype=torch.bool)).reshape(5, 3, 64, 64)

    for wanted in [
        torch.eye(5, 3) > 0,
        torch.zeros((5, 3)) > 0,
        torch.eye(5, 3)[[4, 4, 0, 4, 4]] > 0,
    ]:
        found = answers.low_res(wanted)
        assert torch.equal(found, every[wanted])
        assert model.enlarge(found, embedding).shape == (int(wanted.sum()), 90, 140)


def test_bfloat16_answers_nearly_the_same_in_float32(tiny):
    image = draw_scene(7, "clear", 90, 140).image
    prompts = Prompts(
        points=torch.tensor([[[70.0, 80.0]], [[20.0, 60.0]]]),
        point_labels=torch.ones((2, 1), dtype=torch.int64),
    )
    found = []
    for precision in ("float32", "bfloat16"):
        model = SegmentAnythingModel(tiny, name="t", device="cpu", precision=precision)
        (embedding,) = model.embed([image])
        answers = model.ask(embedding, prompts, several=False)
        low_res = answers.low_res(torch.ones((2, 1), dtype=torch.bool))
        assert embedding.features.dtype == low_res.dtype == answers.predicted_iou.dtype
        assert low_res.dtype == torch.float32
        found.append((low_res > 0).numpy())

    exact, rough = found
    assert (exact & rough).sum() / (exact | rough).sum() > 0.9
    assert not np.array_equal(exact, np.zeros_like(exact))


@pytest.mark.parametrize(
    "image",
    [np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)],
)
def test_what_is_no_picture_is_refused(tiny, image):
    with pytest.raises(ShapeError, match="expected"):
        SegmentAnythingModel(tiny, name="tiny", device="cpu").embed([image])


def test_points_without_labels_are_refused(clicked):
    _, model, embedding = clicked
    with pytest.raises(ShapeError, match="labels"):
        model.ask(embedding, Prompts(points=torch.zeros((1, 1, 2))), several=True)
