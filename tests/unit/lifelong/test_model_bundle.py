"""A bundle is one file that guards itself."""

import io
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from lifelong.errors import CorruptRecordError, RecordError
from lifelong.logit_masks import mask_from_logits
from lifelong.model_bundle import MAGIC, _framed, read_bundle
from lifelong.preprocessing import Preprocessing, network_input, network_target
from tests.tiny_bundle import tiny_bundle

BUNDLE = tiny_bundle(seed=4)
DATA = BUNDLE.to_bytes()


def test_a_bundle_is_the_same_bytes_each_time_and_comes_back_whole() -> None:
    assert tiny_bundle(seed=4).to_bytes() == DATA
    assert read_bundle(DATA, "x") == BUNDLE
    assert tiny_bundle(seed=5).version_id != BUNDLE.version_id


@pytest.mark.parametrize("length", [0, 1, 8, 49, 50, 51, len(DATA) // 2, len(DATA) - 1])
def test_sec02_a_truncated_bundle_is_refused(length: int) -> None:
    """SEC-02 (truncation)."""
    with pytest.raises(CorruptRecordError, match="models/7"):
        read_bundle(DATA[:length], "models/7.bundle")


def test_sec02_any_flipped_bit_is_noticed() -> None:
    """SEC-02 (damage): header and payload alike."""
    rng = np.random.default_rng(0)
    for place in {*range(50), *rng.integers(0, len(DATA), 200).tolist()}:
        damaged = bytearray(DATA)
        damaged[place] ^= 1 << int(rng.integers(8))
        with pytest.raises(RecordError):
            read_bundle(bytes(damaged), "x")


def test_what_follows_the_payload_is_not_read() -> None:
    """Sedna copies a shorter bundle over a longer one without truncating it."""
    assert read_bundle(DATA + b"tail of an older file", "x") == BUNDLE


def zipped(*entries: tuple[str, bytes], kind: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", kind) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return _framed(buffer.getvalue())


def with_heads(place: int, value: int) -> bytes:
    """Two entries whose heads in the directory have another byte there."""
    payload = bytearray(zipped(("manifest.json", b"{}"), ("model.onnx", b"x"))[len(_framed(b"")) :])
    for head in re.finditer(b"PK\x01\x02", bytes(payload)):
        payload[head.start() + place] = value
    return _framed(bytes(payload))


@pytest.mark.parametrize(
    "data",
    [
        with_heads(6, 99),
        with_heads(8, 1),
        zipped(("manifest.json", b"{}"), ("../../etc/passwd", b"x")),
        zipped(("manifest.json", b"{}"), ("model.onnx", b"x"), ("extra.py", b"x")),
        zipped(("manifest.json", b"{}"), ("model.onnx", b"\0" * 10**7), kind=zipfile.ZIP_DEFLATED),
        zipped(("manifest.json", b"{}"), ("model.onnx", b"x")),
        _framed(b"no zip at all"),
        b"\x80\x04\x95" + b"." * 100,
        MAGIC + b"\x00\x02" + DATA[10:],
    ],
    ids=[
        "newer zip",
        "encrypted",
        "zip slip",
        "more entries",
        "bomb",
        "empty manifest",
        "no zip",
        "pickle",
        "format 2",
    ],
)
def test_sec03_foreign_content_is_refused_unopened(data: bytes) -> None:
    """SEC-03, SEC-04."""
    with pytest.raises(RecordError):
        read_bundle(data, "x")


def test_preprocessing_scales_normalises_and_goes_back() -> None:
    how = Preprocessing(height=8, width=12)
    image = np.full((16, 24, 3), 255, dtype=np.uint8)
    batch = network_input(image, how)
    assert batch.shape == (1, 3, 8, 12)
    assert batch.dtype == np.float32
    assert np.allclose(batch[0, :, 0, 0], [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, 0.594 / 0.225])
    mask = np.zeros((16, 24), dtype=np.uint8)
    mask[:, 12:] = 255
    assert set(np.unique(network_target(mask, how))) == {0, 255}, "labels are never blended"
    logits = np.zeros((3, 2, 2), dtype=np.float32)
    logits[2, :, 1] = 5
    grown = mask_from_logits(logits, 4, 4)
    assert grown.tolist() == [[0, 0, 2, 2]] * 4 or grown.tolist() == [[0, 2, 2, 2]] * 4


def test_a_bundle_has_the_same_bytes_in_every_process():
    """A set in the manifest would be written in another order by each process."""
    code = (
        "from tests.tiny_bundle import tiny_bundle; "
        "from lifelong.records.label_map import CITYSCAPES; "
        "print(tiny_bundle(CITYSCAPES).sha256)"
    )
    root = str(Path(__file__).parents[3])
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": root},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(told) == 1
