"""The nouns keep their promises: shapes, ids, JSON, legal steps."""

import io
import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from lifelong.errors import (
    CorruptRecordError,
    IllegalTransitionError,
    ImageError,
    LabelMapError,
    ShapeError,
)
from lifelong.records.ids import edge_id, sample_id_of
from lifelong.records.label_map import CITYSCAPES, LabelMap
from lifelong.records.pixels import (
    image_from_bytes,
    jpeg_from_image,
    mask_from_png,
    png_from_mask,
)
from lifelong.records.rounds import Round, RoundState
from lifelong.records.samples import HardExample
from lifelong.records.wire import from_json, to_json
from tests.builders import a_frame, a_hard_example, a_prediction, a_round


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright_by_their_exif(orientation: int) -> None:
    """INT-21 (reading): all eight orientations."""
    upright = np.zeros((20, 30, 3), dtype=np.uint8)
    upright[:10, :15] = [250, 10, 10]
    turned = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright.transpose(1, 0, 2), 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(np.ascontiguousarray(turned)), "PNG", exif=exif.tobytes())
    assert np.array_equal(image_from_bytes(data, "x"), upright)


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P", "1", "I;16"])
def test_every_kind_of_picture_becomes_rgb(mode: str) -> None:
    kind = "TIFF" if mode in {"CMYK", "I;16"} else "PNG"
    image = image_from_bytes(encoded(Image.new(mode, (4, 3)), kind), "x")
    assert image.shape == (3, 4, 3)
    assert image.dtype == np.uint8


@pytest.mark.parametrize(
    "data", [b"", b"no picture", jpeg_from_image(np.zeros((9, 9, 3), np.uint8))[:60]]
)
def test_what_is_no_picture_is_a_named_error(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"inbox/7\.jpg"):
        image_from_bytes(data, "inbox/7.jpg")


def test_sec03_a_decompression_bomb_is_refused_before_it_unpacks() -> None:
    """SEC-03 (pictures): a few kilobytes that claim to be gigapixels."""
    bomb = encoded(Image.new("1", (30_000, 30_000)), "PNG")
    assert len(bomb) < 200_000
    with pytest.raises(ImageError):
        image_from_bytes(bomb, "bomb.png")
    with pytest.raises(ImageError):
        mask_from_png(bomb, "bomb.png")


def test_masks_survive_png_and_sixteen_bits_are_read() -> None:
    mask = np.array([[0, 18, 255]], dtype=np.uint8)
    assert np.array_equal(mask_from_png(png_from_mask(mask), "x"), mask)
    wide = encoded(Image.fromarray(mask.astype(np.uint16)), "PNG")
    assert np.array_equal(mask_from_png(wide, "x"), mask)
    too_wide = encoded(Image.fromarray(np.array([[300]], dtype=np.uint16)), "PNG")
    with pytest.raises(ImageError, match="above 255"):
        mask_from_png(too_wide, "x")
    with pytest.raises(ImageError, match="one number a pixel"):
        mask_from_png(encoded(Image.new("RGB", (2, 2)), "PNG"), "x")


def test_arrays_are_checked_at_the_door() -> None:
    with pytest.raises(ShapeError, match=r"expected uint8 \(H, W, 3\), got float64"):
        a_frame(image=np.zeros((3, 3, 3)))
    with pytest.raises(ShapeError, match=r"Prediction\.entropy"):
        replace(a_prediction(), entropy=np.zeros((1, 1), dtype=np.float32))


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b", "x" * 64, "ü"])
def test_an_edge_id_cannot_leave_its_folder(name: str) -> None:
    with pytest.raises(ValueError, match="edge id"):
        edge_id(name)


def test_a_sample_is_named_by_its_content() -> None:
    assert sample_id_of(b"picture") == sample_id_of(b"picture") != sample_id_of(b"picturf")
    assert len(sample_id_of(b"")) == 16


def test_a_label_map_knows_its_classes_and_refuses_others() -> None:
    assert CITYSCAPES.id_of("sky") == 10
    assert len(CITYSCAPES) == 19
    with pytest.raises(LabelMapError, match="unknown class 'lawn'"):
        CITYSCAPES.id_of("lawn")
    with pytest.raises(LabelMapError, match=r"class ids \[19, 200\]"):
        CITYSCAPES.check(np.array([[0, 19, 200, 255]], dtype=np.uint8), "a mask")
    with pytest.raises(LabelMapError, match="share a colour"):
        LabelMap(("a", "b"), ((1, 1, 1), (1, 1, 1)))
    recoloured = LabelMap(CITYSCAPES.names, tuple((i, i, i) for i in range(19)))
    assert recoloured.digest == CITYSCAPES.digest
    assert LabelMap(CITYSCAPES.names[::-1], CITYSCAPES.colours).digest != CITYSCAPES.digest


def test_records_come_back_from_their_json() -> None:
    example = a_hard_example(0)
    assert from_json(HardExample, to_json(example), "x") == example
    assert to_json(example) == to_json(a_hard_example(0)), "equal records, equal bytes"
    round_ = a_round(RoundState.TRAINING)
    assert from_json(Round, to_json(round_), "x") == round_


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"schema": 2, "kind": "HardExample", "record": {}}',
        b'{"schema": 1, "kind": "Round", "record": {}}',
        b'{"schema": 1, "kind": "HardExample", "record": {"sample_id": 1}}',
        b'{"schema": 1, "kind": "HardExample"}',
        b"[" * 100_000,
    ],
)
def test_kb03_json_of_another_age_is_refused(data: bytes) -> None:
    """KB-03."""
    with pytest.raises(CorruptRecordError, match=r"examples/7\.json"):
        from_json(HardExample, data, "examples/7.json")


def test_a_round_takes_legal_steps_only() -> None:
    collecting = a_round()
    with pytest.raises(IllegalTransitionError, match="collecting may not become released"):
        collecting.next(RoundState.RELEASED)
    released = a_round(RoundState.RELEASED)
    assert released.is_over
    with pytest.raises(IllegalTransitionError, match="it is over"):
        released.next(RoundState.COLLECTING)


def test_tr_03_a_sealed_record_says_what_was_written_or_is_refused():
    """TR-03: whatever bit of it turns over."""
    record = a_hard_example(3)
    data = to_json(record, sealed=True)
    assert from_json(HardExample, data, "here") == record
    refused = 0
    for position in range(len(data)):
        for bit in (0, 2, 5):
            flipped = bytearray(data)
            flipped[position] ^= 1 << bit
            try:
                read = from_json(HardExample, bytes(flipped), "here")
            except CorruptRecordError:
                refused += 1
            else:
                assert read == record, flipped[max(0, position - 20) : position + 20]
    assert refused > 2.5 * len(data)


def test_an_unsealed_record_is_read_as_before():
    record = a_hard_example(3)
    assert set(json.loads(to_json(record))) == {"schema", "kind", "record"}
    assert from_json(HardExample, to_json(record), "here") == record


def test_half_a_surrogate_pair_in_a_sealed_record_is_refused():
    data = to_json(a_hard_example(3), sealed=True).replace(b"edge-1", b"\\ud800", 1)
    with pytest.raises(CorruptRecordError):
        from_json(HardExample, data, "here")


def test_sec03_a_picture_is_read_without_touching_what_belongs_to_all_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SEC-03: two threads that save and restore the process's filters leave one another's."""

    def touched(*_: object, **__: object) -> None:
        raise AssertionError("the filters of the whole process were changed")

    monkeypatch.setattr(warnings, "catch_warnings", touched)
    monkeypatch.setattr(warnings, "simplefilter", touched)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 48 * 64 - 1)  # Pillow warns from here on
    assert image_from_bytes(encoded(Image.new("RGB", (64, 48)), "PNG"), "x").shape == (48, 64, 3)
    assert mask_from_png(encoded(Image.new("L", (64, 48)), "PNG"), "x").shape == (48, 64)
