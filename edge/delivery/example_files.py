"""A hard example as three files: the image encoded afresh, the model's mask, the record."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lifelong.errors import ChecksumError
from lifelong.hard_examples import Verdict
from lifelong.records.ids import sample_id_of, sha256_hex
from lifelong.records.keys import (
    IMAGE,
    MASK,
    RECORD,
    delivery,
)
from lifelong.records.pixels import Frame, Prediction, jpeg_from_image, png_from_mask
from lifelong.records.samples import HardExample
from lifelong.records.wire import to_json

JPEG_QUALITY = 95


def example_files(
    frame: Frame, prediction: Prediction, verdict: Verdict, *, scene_hash: str = ""
) -> tuple[HardExample, dict[str, bytes]]:
    """A frame that is worth keeping, as a record and as the contents of its three files.

    The image is encoded from its upright pixels, never copied from the camera's file: no EXIF,
    no GPS, no thumbnail leaves. The sample id is the hash of that encoding.
    """
    image = jpeg_from_image(frame.image, JPEG_QUALITY)
    mask = png_from_mask(prediction.mask)
    sample_id = sample_id_of(image)
    folder = delivery(frame.edge_id, sample_id)
    height, width = frame.image.shape[:2]
    example = HardExample(
        sample_id=sample_id,
        edge_id=frame.edge_id,
        captured_at=frame.captured_at,
        sequence=frame.sequence,
        version_id=prediction.version_id,
        score=verdict.score,
        reasons=verdict.reasons,
        image_key=f"{folder}/{IMAGE}",
        image_sha256=sha256_hex(image),
        mask_key=f"{folder}/{MASK}",
        mask_sha256=sha256_hex(mask),
        height=height,
        width=width,
        attributes=dict(frame.attributes),
        scores=dict(verdict.scores),
        novelty=verdict.novelty,
        priority=verdict.priority,
        scene_hash=scene_hash,
        embedding=_rounded(prediction.embedding),
    )
    return example, {
        IMAGE: image,
        MASK: mask,
        RECORD: to_json(example, sealed=True),
    }


def _rounded(embedding: NDArray[np.float32] | None) -> tuple[float, ...]:
    """(D,) to D numbers with four decimals; () for none, and for one that is not all numbers."""
    if embedding is None or not np.isfinite(embedding).all():
        return ()
    return tuple(round(float(value), 4) for value in embedding.ravel())


def example_key(example: HardExample) -> str:
    """Where the record of a hard example lies in storage; written last, it says "arrived"."""
    return f"{delivery(example.edge_id, example.sample_id)}/{RECORD}"


def objects_of(example: HardExample, folder: Path) -> dict[str, bytes]:
    """The three files in `folder` by storage key, in the order in which they are to be written.

    Raises:
        OSError: a file is gone or cannot be read.
        ChecksumError: a file holds other bytes than the record names.
    """
    return {
        example.image_key: _read(folder / IMAGE, example.image_sha256),
        example.mask_key: _read(folder / MASK, example.mask_sha256),
        example_key(example): to_json(example, sealed=True),
    }


def _read(path: Path, sha256: str) -> bytes:
    data = path.read_bytes()
    if sha256_hex(data) != sha256:
        raise ChecksumError(f"{path}: not the bytes its record names")
    return data
