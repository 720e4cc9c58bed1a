"""INT-02, INT-08, INT-10: SAMs of torch behind the port for clicks, equal to their authors' own."""

import threading

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor

from cloud.assist.embedding_files import EmbeddingFiles, EmbeddingKey
from cloud.assist.interactive_model import go_on
from cloud.preannotation.interactive_sam import InteractiveSam, prompts_of
from cloud.preannotation.sam.segment_anything_model import SegmentAnythingModel
from cloud.preannotation.sam.tiny import build_tiny_sam, load_tiny_sam
from lifelong.errors import ModelBusyError, PromptError
from lifelong.records.prompts import Box, Point, Prompt
from tests.unit.cloud.assist.engine_stubs import together
from tests.unit.cloud.preannotation.sam.conftest import (  # noqa: F401 - fixtures
    mini_hq,
    mini_sam2,
    one_thread,
    sam,
)
from tools.seeded_sams import picture

WEIGHTS = "0123" * 16

# As Label Studio's percents make them: no whole pixels.
RECORDED = {
    "point": Prompt(points=(Point(61.7391304, 33.1875),)),
    "negative point": Prompt(points=(Point(40.03, 20.9), Point(100.6, 70.01, is_positive=False))),
    "five points": Prompt(points=tuple(Point(20.3 * n + 0.1, 15.7 * n) for n in range(1, 6))),
    "box": Prompt(boxes=(Box(13.3333333, 9.1, 101.9, 80.77),)),
    "box and points": Prompt(
        points=(Point(50.123456789, 40.987654321), Point(90, 60.5, is_positive=False)),
        boxes=(Box(30.25, 20.5, 120.125, 77.7),),
    ),
    "mask": Prompt(),
    "mask and point": Prompt(points=(Point(70.07, 44.4),)),
    "mask, box and points": Prompt(
        points=(Point(61.7, 33.2), Point(30, 30, is_positive=False)),
        boxes=(Box(13.3, 9.1, 101.9, 80.8),),
    ),
}


def random_sam():
    torch.manual_seed(8)
    return build_tiny_sam()


@pytest.fixture(scope="module")
def network():
    return random_sam()


@pytest.fixture(scope="module")
def model(network):
    return interactive(SegmentAnythingModel(network, name="random", device="cpu"))


def interactive(promptable, **more):
    said = {"weights_digest": WEIGHTS, "precision": "float32", "device": "cpu"} | more
    return InteractiveSam(promptable, **said)


@pytest.mark.parametrize("several", [True, False])
@pytest.mark.parametrize("said", list(RECORDED))
@pytest.mark.parametrize("shape", [(90, 140), (140, 90), (333, 500)])
def test_int_02_recorded_prompts_are_answered_as_by_sam_predictor(
    model, network, said, several, shape
):
    """INT-02: the same tensors, logits and masks as the authors' predictor, on equal weights."""
    image = np.resize(picture(), (*shape, 3))
    prompt = RECORDED[said]
    previous = None
    if "mask" in said:
        previous = np.random.default_rng(5).normal(size=(64, 64)).astype(np.float32)
    predictor = SamPredictor(network)
    predictor.set_image(image)
    masks, quality, low_res = predictor.predict(
        point_coords=np.array([(p.x, p.y) for p in prompt.points]) if prompt.points else None,
        point_labels=np.array([int(p.is_positive) for p in prompt.points])
        if prompt.points
        else None,
        box=np.array([(b.x0, b.y0, b.x1, b.y1) for b in prompt.boxes]) if prompt.boxes else None,
        mask_input=None if previous is None else previous[None],
        multimask_output=several,
    )

    embedded = model.embed(image)
    decoded = model.decode(embedded, prompt, previous=previous, several=several)
    logits = model.enlarge(decoded.low_res, embedded)

    np.testing.assert_array_equal(decoded.low_res, low_res)
    np.testing.assert_array_equal(decoded.predicted_iou, quality)
    np.testing.assert_array_equal(logits > 0, masks)
    assert logits.dtype == decoded.low_res.dtype == decoded.predicted_iou.dtype == np.float32


def test_int_02_what_sam_cannot_take_is_refused_in_words(model):
    embedded = model.embed(picture())
    with pytest.raises(PromptError, match="neither a point nor a box; click"):
        model.decode(embedded, Prompt(), previous=None, several=False)
    with pytest.raises(PromptError, match="2 boxes in one prompt"):
        prompts_of(Prompt(boxes=(Box(0, 0, 1, 1),) * 2), None)


def test_int_08_embeddings_come_without_a_copy_and_keep_nothing_else_alive(model):
    embedded = model.embed(picture())

    (array,) = embedded.arrays.values()
    assert array.shape == (1, 160, 16, 16)
    assert embedded.nbytes == array.nbytes == 4 * 160 * 256
    features = model._embedding(embedded).features
    assert features.data_ptr() == array.ctypes.data  # and back


@pytest.mark.parametrize("several", [True, False])
def test_int_08_every_sam_answers_the_same_from_the_disk(sam, several, tmp_path):  # noqa: F811
    """Features of HQ-SAM and SAM 2 are several tensors; all of them survive."""
    model = interactive(sam)
    embedded = model.embed(picture())
    files = EmbeddingFiles(tmp_path, limit_bytes=1 << 30)
    key = EmbeddingKey("a" * 64, model.digest)
    files.write(key, embedded)
    prompt = Prompt(points=(Point(30, 20),))

    found = files.read(key)

    assert set(found.arrays) == set(embedded.arrays)
    answer = model.decode(embedded, prompt, several=several)
    again = model.decode(found, prompt, several=several)
    np.testing.assert_array_equal(answer.low_res, again.low_res)
    large = model.enlarge(again.low_res, found)
    assert large.shape == (len(answer.low_res), *picture().shape[:2])
    hint = model.hint(large[0] > 0, found)
    assert hint.shape == answer.low_res.shape[1:]
    refined = model.decode(found, prompt, previous=hint, several=False)
    assert np.isfinite(refined.low_res).all()


def test_int_08_whatever_changes_an_embedding_changes_the_digest(network):
    promptable = SegmentAnythingModel(network, name="random", device="cpu")
    other_name = SegmentAnythingModel(network, name="other", device="cpu")
    digests = {
        interactive(promptable).digest,
        interactive(promptable, precision="bfloat16").digest,
        interactive(promptable, weights_digest="4567" * 16).digest,
        interactive(other_name).digest,
    }

    assert len(digests) == 4
    assert interactive(promptable, takes_masks=False).digest in digests
    assert all(len(digest) == 64 for digest in digests)


def test_int_08_a_half_precision_encoder_leaves_the_decoder_as_it_is(network):
    whole = interactive(SegmentAnythingModel(network, name="whole", device="cpu"))
    half = interactive(
        SegmentAnythingModel(network, name="half", device="cpu", precision="bfloat16_encoder")
    )
    embedded, rounded = whole.embed(picture()), half.embed(picture())
    prompt = Prompt(points=(Point(30, 20),))

    answers = [model.decode(embedded, prompt, several=True) for model in (whole, half)]

    np.testing.assert_array_equal(answers[0].low_res, answers[1].low_res)
    np.testing.assert_array_equal(answers[0].predicted_iou, answers[1].predicted_iou)
    (exact,), (other,) = embedded.arrays.values(), rounded.arrays.values()
    assert other.dtype == np.float32
    assert not np.array_equal(exact, other)
    np.testing.assert_allclose(other, exact, atol=0.05 * np.abs(exact).max())


def test_int_27_an_encoder_pauses_between_layers_of_its_own_thread_only(model):
    paused = []

    def pause():
        paused.append(threading.current_thread().name)

    model.embed(picture(), pause=pause)
    layers = len(paused)
    together(2, lambda number: model.embed(picture(), pause=pause if number else go_on))

    assert layers > 20
    assert len(paused) == 2 * layers
    assert len(set(paused)) == 2


def test_int_27_an_encoder_can_be_ended_between_layers(model):
    steps = []

    def pause():
        steps.append(1)
        if len(steps) == 5:
            raise ModelBusyError("cancelled")

    with pytest.raises(ModelBusyError):
        model.embed(picture(), pause=pause)

    assert len(steps) == 5
    whole = model.embed(picture())
    np.testing.assert_array_equal(whole.arrays["image"], model.embed(picture()).arrays["image"])


def test_int_10_threads_together_answer_as_one_alone():
    """INT-10 with the shipped tiny SAM: masks and embeddings of eight threads, bit for bit."""
    shipped = interactive(
        SegmentAnythingModel(load_tiny_sam(), name="tiny_sam", device="cpu"), takes_masks=False
    )
    images = [np.roll(picture(), 17 * n, axis=1)[: 60 + 4 * n] for n in range(8)]
    places = [Point(11.0 * n + 5, 7.0 * n + 3) for n in range(8)]

    def answer(embedded, point):
        decoded = shipped.decode(embedded, Prompt(points=(point,)), several=True)
        return shipped.enlarge(decoded.low_res, embedded) > 0

    embedded = [shipped.embed(image) for image in images]
    alone = {(i, p): answer(embedded[i], places[p]) for i in range(8) for p in range(8)}

    def annotator(seed):
        order = np.random.default_rng(seed).permutation(64)[:12].tolist()
        answers = [((n // 8, n % 8), answer(embedded[n // 8], places[n % 8])) for n in order]
        return shipped.embed(images[seed]).arrays["image"], answers

    for number, (array, answers) in enumerate(together(8, annotator)):
        np.testing.assert_array_equal(array, embedded[number].arrays["image"])
        for key, masks in answers:
            np.testing.assert_array_equal(masks, alone[key])
