"""INT-16, INT-17, OPS-03: the assist section's models, with weights that are missing or wrong."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from annotation.assist.segmenter import Readiness, Wish
from cloud.assist_service.assembly import make_segmenter
from cloud.assist_service.models import ADAPTERS, AssistLoader
from cloud.weights.sam_names import TINY_SAM_WEIGHTS, weights_digest
from lifelong.config import Config
from lifelong.errors import ConfigError, ModelLoadError
from lifelong.records.prompts import Point, Prompt
from lifelong.sections.assist import AssistModelSection, AssistSection
from lifelong.sections.drafting import PreannotationSection
from tests.unit.cloud.assist.engine_stubs import StubPicture
from tests.unit.cloud.preannotation.sam.conftest import one_thread, seeded  # noqa: F401 - a fixture

ROOT = Path(__file__).parents[4]


def config(folder, **assist):
    return Config(
        journal_path=folder / "journal",
        assist=AssistSection(**assist),
        preannotation=PreannotationSection(weights_path=folder / "weights"),
    )


def loader(folder, **assist):
    return AssistLoader(config(folder, **assist))


def model(**said):
    return AssistModelSection.model_validate(said)


def test_int_16_every_type_of_the_section_has_an_adapter():
    types = AssistModelSection.model_fields["type"].annotation.__args__

    assert set(ADAPTERS) == set(types)


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ({}, "tiny_sam"),
        ({"type": "sam"}, "sam_vit_h"),
        ({"type": "sam", "model": "vit_b"}, "sam_vit_b"),
        ({"type": "sam_hq", "model": "vit_l"}, "sam_hq_vit_l"),
        ({"type": "sam2", "model": "tiny"}, "sam2_tiny"),
        ({"type": "mobile_sam"}, "mobile_sam"),
        ({"type": "onnx", "checkpoint": "/w/exported"}, "exported"),
        ({"type": "onnx", "checkpoint": "/w/exported", "model": "int8"}, "exported_int8"),
    ],
)
def test_int_16_a_model_has_a_name_before_it_is_loaded(tmp_path, said, name):
    assert loader(tmp_path).name_of(model(**said)) == name


def test_ops_03_missing_weights_say_how_to_get_them(tmp_path):
    service = make_segmenter(config(tmp_path, model={"type": "sam", "model": "vit_b"}))

    with pytest.raises(ModelLoadError, match=r"`cornerloop models pull sam_vit_b"):
        service.segment(StubPicture(1), Wish(prompt=Prompt(points=(Point(1, 1),))))

    (state,) = service.states()
    service.close()
    assert state.readiness is Readiness.FAILED
    assert "models pull sam_vit_b" in state.words


def test_int_16_mismatched_weights_say_what_they_are(tmp_path):
    """INT-16: vit_b's weights under mobile_sam, and MobileSAM's under sam, by what they hold."""
    width = {"image_encoder.patch_embed.proj.weight": torch.zeros(768, 3, 16, 16)}
    torch.save(width, tmp_path / "weights_b.pth")
    torch.save(seeded("mobile_sam_vit_t"), tmp_path / "weights_t.pt")
    made = loader(tmp_path)

    with pytest.raises(ModelLoadError) as told:
        made.load(model(type="mobile_sam", checkpoint=tmp_path / "weights_b.pth"))
    assert "weights of vit_b of segment-anything (assist.model.type: sam)" in str(told.value)
    with pytest.raises(ModelLoadError, match=r"weights of MobileSAM .assist\.model\.type: mobile"):
        made.load(model(type="sam", model="vit_b", checkpoint=tmp_path / "weights_t.pt"))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"type": "sam", "model": "vit_t"}, r"assist\.model\.model: type 'sam' has no model"),
        ({"type": "tiny", "model": "vit_t"}, "leave it out"),
        ({"type": "onnx"}, "needs the folder that `cornerloop models export` wrote"),
        ({"type": "onnx", "checkpoint": "x", "model": "int4"}, "expected float32 or int8"),
    ],
)
def test_int_16_names_that_are_none_say_which_there_are(tmp_path, said, words):
    with pytest.raises(ConfigError, match=words):
        loader(tmp_path).load(model(**said))


def test_ops_03_a_device_that_is_not_there_is_named_by_our_key(tmp_path):
    with pytest.raises(ConfigError, match=r"assist\.device: 'gpu' is no device"):
        loader(tmp_path, device="gpu").load(model())


def test_int_08_sections_that_mean_the_same_weights_share_them(tmp_path):
    made = loader(tmp_path)
    shipped = made.identity_of(model())

    assert made.identity_of(model(checkpoint=TINY_SAM_WEIGHTS)) == shipped
    assert made.identity_of(model(type="sam")) == made.identity_of(model(type="sam", model="vit_h"))
    assert made.identity_of(model(type="sam")) != shipped


def test_ops_02_a_stamp_changes_with_the_file(tmp_path):
    made, file = loader(tmp_path), tmp_path / "mine.safetensors"
    said = model(checkpoint=file)
    nothing = made.stamp_of(said)
    shutil.copy(TINY_SAM_WEIGHTS, file)
    there = made.stamp_of(said)
    file.write_bytes(file.read_bytes() + b"x")

    assert len({nothing, there, made.stamp_of(said)}) == 3
    # Weights that are pulled later are another stamp too.
    assert made.stamp_of(model(type="sam", model="vit_b")) is None


def test_ops_02_bad_weights_are_replaced_while_the_service_runs(tmp_path):
    """OPS-02, OPS-03: no restart once the file is right."""
    file = tmp_path / "mine.safetensors"
    file.write_bytes(TINY_SAM_WEIGHTS.read_bytes()[:1000])
    service = make_segmenter(config(tmp_path, model={"checkpoint": file}))
    wish, picture = Wish(prompt=Prompt(points=(Point(5, 5),))), StubPicture(1, size=(30, 40))
    with pytest.raises(ModelLoadError, match="not a readable safetensors file"):
        service.segment(picture, wish)

    shutil.copy(TINY_SAM_WEIGHTS, file)
    found = service.segment(picture, wish)

    service.close()
    assert found.masks.shape == (1, 30, 40)
    assert service.states()[0].version.startswith("tiny_sam-")


def test_int_17_making_the_service_loads_neither_weights_nor_torch():
    code = (
        "import sys\n"
        "from cloud.assist_service.assembly import make_segmenter\n"
        "from lifelong.config import Config\n"
        "service = make_segmenter(Config())\n"
        "print(service.states()[0].readiness, 'torch' in sys.modules)\n"
    )

    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout

    assert told.split() == ["loading", "False"]


def test_int_10_the_tiny_model_as_served_answers_in_the_picture_s_size(tmp_path):
    service = make_segmenter(config(tmp_path, precision="float32"))
    rng = np.random.default_rng(0)
    picture = StubPicture(1, size=(45, 70))
    picture.pixels = lambda: rng.integers(0, 255, (45, 70, 3), dtype=np.uint8)
    wish = Wish(prompt=Prompt(points=(Point(30, 20),)), candidates=3)

    three = service.segment(picture, wish)
    again = service.segment(picture, wish)

    service.close()
    assert three.masks.shape == (3, 45, 70)
    assert (np.diff(three.scores) <= 0).all()
    np.testing.assert_array_equal(three.masks, again.masks)
    assert list((tmp_path / "embeddings").rglob("*.safetensors"))


def test_weights_are_named_by_what_they_hash_to(tmp_path):
    one = hashlib.sha256(TINY_SAM_WEIGHTS.read_bytes()).hexdigest()
    assert weights_digest(TINY_SAM_WEIGHTS) == one
    folder = tmp_path / "hub"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    before = weights_digest(folder)
    (folder / "model.safetensors").write_bytes(b"other weights")
    assert weights_digest(folder) not in (before, one)
    with pytest.raises(ModelLoadError, match="cannot be read"):
        weights_digest(tmp_path / "nothing.pth")
