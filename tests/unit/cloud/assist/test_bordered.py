"""INT-22: an object that touches the border is masked up to it."""

import numpy as np
import pytest
from scipy.ndimage import label

from annotation.assist.segmenter import Wish
from cloud.assist.bordered import BorderedModel, strip
from cloud.assist.clicks import Clicks
from cloud.assist.drawn_hints import around
from cloud.assist.embedding_files import EmbeddingFiles, EmbeddingKey
from cloud.assist_service.models import AssistLoader
from cloud.demo.scenes import draw_scene
from lifelong.config import Config
from lifelong.records.prompts import Point, Prompt
from lifelong.sections.assist import AssistModelSection, AssistSection


@pytest.fixture(scope="module")
def plain():
    config = Config(assist=AssistSection(device="cpu", precision="float32"))
    return AssistLoader(config).load(AssistModelSection(mirror_border=False))


@pytest.fixture(scope="module")
def bordered(plain):
    return BorderedModel(plain)


def at_the_bottom(mask):
    """Objects of a scene that touch its lower border, where the encoder's padding begins."""
    for class_id in np.unique(mask):
        parts, count = label(mask == class_id)
        for number in range(1, count + 1):
            part = parts == number
            if part.sum() >= 200 and part[-1].sum() >= 10:
                yield part


def reached(model):
    """Share of the last row's object pixels that boxes around objects find, over scenes."""
    shares = []
    for seed in range(4):
        scene = draw_scene(seed, "clear")
        embedded = model.embed(scene.image)
        for part in at_the_bottom(scene.mask):
            wish = Wish(prompt=Prompt(boxes=(around(part),)))
            found = Clicks().answer(model, embedded, str(seed), wish).masks[0]
            assert found.shape == part.shape
            shares.append((found & part)[-1].sum() / part[-1].sum())
    return float(np.mean(shares))


def test_int_22_masks_of_drawn_streets_reach_the_lower_border(plain, bordered):
    """INT-22: with the strip they do, and without it less."""
    with_strip, without = reached(bordered), reached(plain)

    assert with_strip > 0.9
    assert with_strip > without


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((360, 480), (30, 0)),
        ((480, 360), (0, 30)),
        ((256, 256), (0, 0)),
        ((250, 256), (6, 0)),  # no more than is padded
        ((1, 300), (0, 0)),  # nothing to mirror
        ((4, 300), (3, 0)),
        ((1, 1), (0, 0)),
    ],
)
def test_int_22_the_strip_lies_where_padding_would_begin(size, expected):
    assert strip(*size) == expected


@pytest.mark.parametrize("size", [(36, 48), (48, 36), (30, 30), (1, 40), (40, 3), (1, 1)])
def test_int_22_answers_have_the_picture_s_size(bordered, size, tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    embedded = bordered.embed(image)
    prompt = Prompt(points=(Point(size[1] / 2, size[0] / 2),))

    decoded = bordered.decode(embedded, prompt, previous=None, several=True)
    logits = bordered.enlarge(decoded.low_res, embedded)

    assert (embedded.height, embedded.width) == size
    assert logits.shape == (3, *size)
    hint = bordered.hint(logits[0] > 0, embedded)
    assert hint.shape == decoded.low_res.shape[1:]
    files = EmbeddingFiles(tmp_path, limit_bytes=1 << 24)
    key = EmbeddingKey("a" * 64, bordered.digest)
    files.write(key, embedded)
    again = bordered.decode(files.read(key), prompt, previous=None, several=True)
    np.testing.assert_array_equal(again.low_res, decoded.low_res)


def test_int_22_embeddings_with_and_without_the_strip_are_not_mixed_up(plain, bordered):
    assert bordered.digest != plain.digest
    assert (bordered.name, bordered.takes_masks) == (plain.name, plain.takes_masks)


@pytest.mark.parametrize(
    ("said", "is_mirrored"),
    [({}, True), ({"mirror_border": False}, False), ({"mirror_border": True}, True)],
)
def test_int_22_the_tiny_model_has_the_strip_unless_told_otherwise(said, is_mirrored):
    loader = AssistLoader(Config(assist=AssistSection(device="cpu", precision="float32")))

    model = loader.load(AssistModelSection(**said))

    assert isinstance(model, BorderedModel) is is_mirrored
    others = AssistModelSection(type="sam", model="vit_b")
    assert loader.identity_of(others) == loader.identity_of(
        AssistModelSection(type="sam", model="vit_b", mirror_border=False)
    )
    assert loader.identity_of(others) != loader.identity_of(
        AssistModelSection(type="sam", model="vit_b", mirror_border=True)
    )
