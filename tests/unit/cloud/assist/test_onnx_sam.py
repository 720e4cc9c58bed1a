"""INT-13, INT-14, INT-15: the exported SAM answers clicks as torch does, and needs no torch."""

import json
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from cloud.assist.encoder_pictures import encoder_input
from cloud.assist.interactive_model import Embedded
from cloud.assist.onnx_sam import encoder_points, load_onnx_sam
from cloud.assist.onnx_sam_folder import described_file
from cloud.demo.scenes import CONDITIONS, draw_scene
from cloud.preannotation.interactive_sam import InteractiveSam, prompts_of
from cloud.preannotation.sam.promptable import Embedding
from cloud.preannotation.sam.segment_anything_model import SegmentAnythingModel
from cloud.preannotation.sam.tiny import load_tiny_sam
from lifelong.errors import ConfigError, ModelLoadError, PromptError, ShapeError
from lifelong.records.prompts import Box, Point, Prompt
from tests.exported_sams import exported_small_vit, exported_tiny

SIZES = [
    (1, 1), (2, 999), (17, 1023), (37, 501), (501, 37), (64, 64), (100, 101), (255, 257),
    (256, 256), (333, 777), (360, 480), (480, 360), (600, 800), (720, 1280), (777, 776),
    (900, 901), (1024, 512), (1080, 1920), (1000, 3000), (3000, 1000),
]  # fmt: skip
KINDS = ("point", "points", "box", "mixed")
# Of the largest logit; what two libraries differ by that add the same numbers in other orders.
ROUNDING = 1e-5


@pytest.fixture(scope="module")
def by_torch():
    sam = SegmentAnythingModel(load_tiny_sam(), name="tiny_sam", device="cpu")
    return InteractiveSam(sam, weights_digest="0", precision="float32", device="cpu")


@pytest.fixture(scope="module")
def by_onnx():
    return load_onnx_sam(exported_tiny(), device="cpu")


@pytest.fixture
def folder(tmp_path):
    """A copy of the export, to be damaged."""
    return shutil.copytree(exported_tiny(), tmp_path / "exported")


def scene(number, height, width):
    drawn = Image.fromarray(draw_scene(number, CONDITIONS[number % 5]).image)
    return np.asarray(drawn.resize((width, height), Image.Resampling.BILINEAR))


def prompt_of(kind, number, height, width):
    rng = np.random.default_rng([number, KINDS.index(kind)])

    def point(positive=True):
        return Point(float(rng.uniform(0, width)), float(rng.uniform(0, height)), positive)

    (x0, x1), (y0, y1) = (np.sort(rng.uniform(0, side, 2)).tolist() for side in (width, height))
    box, centre = Box(x0, y0, x1, y1), Point((x0 + x1) / 2, (y0 + y1) / 2)
    return {
        "point": Prompt(points=(point(),)),
        "points": Prompt(points=(point(), point(), point(False))),
        "box": Prompt(boxes=(box,)),
        "mixed": Prompt(points=(centre, point(False)), boxes=(box,)),
    }[kind]


@pytest.mark.parametrize("size", SIZES)
def test_int_13_every_pixel_is_decided_as_by_torch(size, by_torch, by_onnx):
    """INT-13, INT-14: 0 differing pixels but where torch itself is undecided, which it is of its
    own answers with another number of threads too: logits within rounding of 0."""
    number = SIZES.index(size)
    image = scene(number, *size)
    known, seen = by_torch.embed(image), by_onnx.embed(image)
    assert (seen.height, seen.width) == size

    for kind in KINDS:
        prompt = prompt_of(kind, number, *size)
        wanted = by_torch.decode(known, prompt, several=True)
        given = by_onnx.decode(seen, prompt, several=True)

        largest = max(1.0, float(np.abs(wanted.low_res).max()))
        assert np.abs(given.low_res - wanted.low_res).max() <= ROUNDING * largest, kind
        np.testing.assert_allclose(given.predicted_iou, wanted.predicted_iou, atol=1e-5)
        theirs, ours = by_torch.enlarge(wanted.low_res, known), by_onnx.enlarge(given.low_res, seen)
        differing = (ours > 0) != (theirs > 0)
        assert not (differing & (np.abs(theirs) > ROUNDING * largest)).any(), kind
        assert np.count_nonzero(differing) <= 1e-5 * differing.size, kind


@pytest.mark.parametrize("size", SIZES)
def test_int_13_what_is_made_of_picture_and_prompt_is_torchs_to_the_last_bit(
    size, by_torch, by_onnx
):
    model, says = by_torch._model, by_onnx.description
    image = scene(3, *size)

    prepared = encoder_input(image, side=says.side, mean=says.mean, std=says.std)

    assert np.array_equal(prepared[0], model._prepared(image).numpy())
    embedding = Embedding(height=size[0], width=size[1], features=None)
    for kind in KINDS:
        prompt = prompt_of(kind, 5, *size)
        points, labels = encoder_points(prompt, size, says.side)
        scaled = model._scaled(embedding, prompts_of(prompt, None))
        parts = [np.zeros((0, 2), np.float32)]
        if scaled["points"] is not None:
            parts.append(scaled["points"][0].numpy()[0])
        if scaled["points"] is not None and scaled["boxes"] is None:
            parts.append(np.zeros((1, 2), np.float32))
        if scaled["boxes"] is not None:
            parts.append(scaled["boxes"].numpy().reshape(2, 2))
        assert np.array_equal(points, np.concatenate(parts))
        assert len(labels) == len(points)


def test_int_13_no_pixel_of_equal_logits_differs(by_torch, by_onnx):
    """Enlarging is exact; two threads, because with one torch rounds three masks its own way."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for number, size in enumerate(SIZES):
            embedded = by_onnx.embed(scene(number, *size))
            low_res = by_onnx.decode(
                embedded, prompt_of("mixed", number, *size), several=True
            ).low_res
            theirs = by_torch.enlarge(low_res, embedded)
            differing = (by_onnx.enlarge(low_res, embedded) > 0) != (theirs > 0)
            assert np.count_nonzero(differing) == 0, size
    finally:
        torch.set_num_threads(before)


def test_int_14_points_boxes_both_and_masks(by_torch, by_onnx):
    image = scene(1, 360, 480)
    known, seen = by_torch.embed(image), by_onnx.embed(image)
    mask = by_torch.decode(known, Prompt(boxes=(Box(100, 50, 300, 250),)), several=False).low_res[0]
    prompts = {
        "one point": Prompt(points=(Point(240.5, 180.25),)),
        "many points": Prompt(points=tuple(Point(7.0 * n, 5.0 * n, n % 3 > 0) for n in range(40))),
        "a negative point alone": Prompt(points=(Point(10.0, 10.0, False),)),
        "a box": Prompt(boxes=(Box(100, 50, 300, 250),)),
        "a box with points": Prompt(points=(Point(200, 90),), boxes=(Box(100, 50, 300, 250),)),
    }
    for previous in (None, mask):
        for words, prompt in prompts.items():
            for several in (False, True):
                wanted, given = (
                    model.decode(embedded, prompt, previous=previous, several=several)
                    for model, embedded in ((by_torch, known), (by_onnx, seen))
                )
                assert given.low_res.shape == (3 if several else 1, 64, 64)
                np.testing.assert_allclose(
                    given.low_res, wanted.low_res, rtol=0, atol=2e-4, err_msg=words
                )
                np.testing.assert_allclose(given.predicted_iou, wanted.predicted_iou, atol=1e-5)
    wanted, given = (
        model.decode(embedded, Prompt(), previous=mask, several=False)
        for model, embedded in ((by_torch, known), (by_onnx, seen))
    )
    np.testing.assert_allclose(given.low_res, wanted.low_res, rtol=0, atol=2e-4)


def test_int_14_a_hint_is_that_of_torch(by_torch, by_onnx):
    drawn = np.zeros((90, 250), np.bool_)
    drawn[20:60, 100:180] = True
    image = scene(2, 90, 250)

    theirs = by_torch.hint(drawn, by_torch.embed(image))

    assert np.array_equal(by_onnx.hint(drawn, by_onnx.embed(image)), theirs)


def test_int_14_what_cannot_be_answered_is_refused(by_onnx):
    embedded = by_onnx.embed(scene(0, 40, 60))
    box = Box(0, 0, 10, 10)
    with pytest.raises(PromptError, match="neither a point nor a box"):
        by_onnx.decode(embedded, Prompt(), several=False)
    with pytest.raises(PromptError, match="2 boxes in one prompt"):
        by_onnx.decode(embedded, Prompt(boxes=(box, box)), several=False)
    for image in (np.zeros((8, 8), np.uint8), np.zeros((0, 8, 3), np.uint8)):
        with pytest.raises(ShapeError, match=r"expected \(H, W, 3\) uint8"):
            by_onnx.embed(image)


def test_int_15_no_torch_is_loaded(tmp_path):
    """INT-15: from the folder to a mask, in an interpreter of its own."""
    program = """
import sys
from pathlib import Path
import numpy as np
from cloud.assist.onnx_sam import load_onnx_sam
from lifelong.records.prompts import Box, Prompt
model = load_onnx_sam(Path(sys.argv[1]), device="cpu")
embedded = model.embed(np.arange(90 * 140 * 3, dtype=np.uint8).reshape(90, 140, 3))
found = model.decode(embedded, Prompt(boxes=(Box(10, 10, 80, 60),)), several=True)
print(model.enlarge(found.low_res, embedded).shape)
heavy = {"torch", "torchvision", "transformers", "segment_anything", "onnx"}
print(sorted(heavy & {name.split(".")[0] for name in sys.modules}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(exported_tiny())],
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert done.stdout.split("\n")[:2] == ["(3, 90, 140)", "[]"]


def test_int_15_threads_get_the_answers_of_one(by_onnx):
    images = [scene(number, 60 + 7 * number, 90) for number in range(6)]
    alone = [by_onnx.embed(image) for image in images]
    prompts = [Prompt(points=(Point(5.0 * n + 1, 40.0),)) for n in range(6)]
    wanted = [by_onnx.decode(e, p, several=True) for e, p in zip(alone, prompts, strict=True)]
    together = threading.Barrier(6)

    def ask(number):
        together.wait()
        embedded = by_onnx.embed(images[number])
        return by_onnx.decode(embedded, prompts[number], several=True)

    with ThreadPoolExecutor(6) as pool:
        given = list(pool.map(ask, range(6)))

    for one, other in zip(given, wanted, strict=True):
        assert np.array_equal(one.low_res, other.low_res)


def test_int_15_names_and_digests_tell_models_apart(by_onnx):
    again, other = (
        load_onnx_sam(path, device="cpu") for path in (exported_tiny(), exported_small_vit())
    )

    assert by_onnx.name == "tiny_sam"
    assert not by_onnx.takes_masks
    assert other.takes_masks
    assert len(by_onnx.digest) == 64
    assert again.digest == by_onnx.digest != other.digest


def test_int_15_what_waits_goes_first_and_may_end_the_work(by_onnx):
    class OverError(Exception):
        pass

    def pause():
        raise OverError

    with pytest.raises(OverError):
        by_onnx.embed(scene(0, 40, 60), pause=pause)
    embedded = by_onnx.embed(scene(0, 40, 60))
    assert isinstance(embedded, Embedded)
    assert embedded.nbytes == 160 * 16 * 16 * 4


def _change(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda at: shutil.rmtree(at), "no such folder"),
        (lambda at: (at / "model.json").unlink(), "model.json: no such file"),
        (lambda at: (at / "model.json").write_text("{"), "not the description of an export"),
        (lambda at: (at / "model.json").write_text('{"schema": 1}'), "Field required"),
        (lambda at: (at / "encoder.onnx").unlink(), "encoder.onnx: no such file"),
        (lambda at: _change(at / "encoder.onnx"), "not those that were exported"),
        (lambda at: _change(at / "decoder.onnx"), "decoder.onnx: .*not those that were exported"),
        (
            lambda at: (at / "decoder.onnx").write_bytes(b"onnx"),
            "4 bytes that are not those that were exported",
        ),
    ],
)
def test_int_15_a_damaged_folder_is_refused_in_words(damage, words, folder):
    damage(folder)

    with pytest.raises(ModelLoadError, match=words):
        load_onnx_sam(folder, device="cpu")


def said(folder, change):
    """Rewrite `model.json`."""
    says = json.loads((folder / "model.json").read_text())
    change(says)
    (folder / "model.json").write_text(json.dumps(says))


def test_int_15_foreign_graphs_are_refused(folder):
    """INT-15: with hashes that fit, as a folder from anywhere may have them."""
    with pytest.raises(ModelLoadError, match="no int8 encoder; `cornerloop models export --int8`"):
        load_onnx_sam(folder, precision="int8", device="cpu")

    said(folder, lambda says: says.update(encoder=says["decoder"]))
    with pytest.raises(ModelLoadError, match=r"decoder.onnx: takes .*expected .'image',"):
        load_onnx_sam(folder, device="cpu")

    (folder / "encoder.onnx").write_bytes(b"no graph at all")
    fits = {"graph": described_file(folder / "encoder.onnx").model_dump(), "weights": None}
    said(folder, lambda says: says.update(encoder=fits))
    with pytest.raises(ModelLoadError, match=r"encoder.onnx: "):
        load_onnx_sam(folder, device="cpu")


@pytest.mark.parametrize("name", ["../encoder.onnx", "/etc/passwd", "..", "a\\b"])
def test_int_15_no_file_outside_the_folder_is_read(name, folder):
    said(folder, lambda says: says["encoder"]["graph"].update(name=name))

    with pytest.raises(ModelLoadError, match="is no file of this folder"):
        load_onnx_sam(folder, device="cpu")


def test_int_15_a_graph_that_points_at_other_files_is_refused(folder):
    model = onnx.load(folder / "encoder.onnx")
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret")
    (folder / "encoder.onnx").write_bytes(model.SerializeToString())
    fits = {"graph": described_file(folder / "encoder.onnx").model_dump(), "weights": None}
    said(folder, lambda says: says.update(encoder=fits))

    with pytest.raises(ModelLoadError, match="keeps weights in other files"):
        load_onnx_sam(folder, device="cpu")


@pytest.mark.parametrize("device", ["tpu", "cuda:x"])
def test_int_15_no_such_device(device):
    with pytest.raises(ConfigError, match="say auto, cpu, cuda or cuda:1"):
        load_onnx_sam(exported_tiny(), device=device)
