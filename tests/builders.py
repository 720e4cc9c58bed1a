"""Small, whole, repeatable nouns for tests: `a_frame()`, `a_prediction()`, `a_round(state)` …

Every builder gives something valid; a test names only the fields it cares about.
"""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lifelong.links.storage import Storage
from lifelong.records.ids import EdgeId, RoundNumber, SampleId, VersionId, sample_id_of, sha256_hex
from lifelong.records.label_map import LabelMap, label_map_of
from lifelong.records.pixels import Frame, Prediction, jpeg_from_image, png_from_mask
from lifelong.records.rounds import Round, RoundState
from lifelong.records.samples import HardExample, PreAnnotation, RegionScore, Sample, Split

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HEIGHT, WIDTH = 48, 64

# Three classes: small enough to work out by hand, and one of them is a background.
SMALL_MAP: LabelMap = label_map_of(
    [("road", (128, 64, 128)), ("car", (0, 0, 142)), ("person", (220, 20, 60))]
)


def an_image(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """(height, width, 3) uint8 RGB: a smooth picture that differs from seed to seed."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    rows = np.linspace(0, 3.999, height).astype(int)
    columns = np.linspace(0, 3.999, width).astype(int)
    return np.ascontiguousarray(coarse[rows][:, columns])


def a_mask(
    seed: int = 0, height: int = HEIGHT, width: int = WIDTH, classes: int = 3
) -> NDArray[np.uint8]:
    """(height, width) uint8 class ids below `classes`, in 4 x 4 blocks."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, classes, (4, 4), dtype=np.uint8)
    rows = np.linspace(0, 3.999, height).astype(int)
    columns = np.linspace(0, 3.999, width).astype(int)
    return np.ascontiguousarray(coarse[rows][:, columns])


def a_frame(seed: int = 0, **changes: Any) -> Frame:
    """A frame of `edge-1`; `image=…` or any other field replaces the built one."""
    frame = Frame(
        image=an_image(seed),
        edge_id=EdgeId("edge-1"),
        captured_at=NOON,
        sequence=seed,
        attributes={"condition": "day", "frame": f"day/{seed:04d}"},
    )
    return replace(frame, **changes)


def a_prediction(
    confidence: float | NDArray[np.float32] = 0.9,
    *,
    mask: NDArray[np.uint8] | None = None,
    entropy: float | NDArray[np.float32] | None = None,
    margin: float | NDArray[np.float32] | None = None,
    version_id: str = "00000000000000aa",
) -> Prediction:
    """A prediction as sure as `confidence`; entropy and margin follow from it unless given.

    A plain number fills the whole plane; the default mask is `a_mask()`.
    """
    ids = a_mask() if mask is None else mask
    sure = np.broadcast_to(np.float32(confidence), ids.shape)

    def plane(value: float | NDArray[np.float32] | None, otherwise: Any) -> NDArray[np.float32]:
        chosen = otherwise if value is None else value
        return np.array(np.broadcast_to(np.asarray(chosen, dtype=np.float32), ids.shape))

    return Prediction(
        mask=ids,
        confidence=plane(confidence, sure),
        entropy=plane(entropy, 1.0 - sure),
        margin=plane(margin, np.clip(2.0 * sure - 1.0, 0.0, 1.0)),
        version_id=VersionId(version_id),
    )


def a_jpeg(seed: int = 0) -> bytes:
    """`an_image(seed)` as a JPEG."""
    return jpeg_from_image(an_image(seed))


def a_mask_png(seed: int = 0) -> bytes:
    """`a_mask(seed)` as an 8-bit PNG."""
    return png_from_mask(a_mask(seed))


def a_hard_example(seed: int = 0, **changes: Any) -> HardExample:
    """A hard example whose id and checksums are those of `a_jpeg(seed)` and `a_mask_png(seed)`.

    Keys follow `edge_id` and `sample_id`, also when those are replaced.
    """
    image, mask = a_jpeg(seed), a_mask_png(seed)
    edge = EdgeId(changes.pop("edge_id", "edge-1"))
    sample_id = SampleId(changes.pop("sample_id", sample_id_of(image)))
    example = HardExample(
        sample_id=sample_id,
        edge_id=edge,
        captured_at=NOON,
        sequence=seed,
        version_id=VersionId("00000000000000aa"),
        score=0.5,
        reasons=("mean entropy 0.50 is at least the threshold 0.40",),
        image_key=f"inbox/{edge}/{sample_id}/image.jpg",
        image_sha256=sha256_hex(image),
        mask_key=f"inbox/{edge}/{sample_id}/mask.png",
        mask_sha256=sha256_hex(mask),
        height=HEIGHT,
        width=WIDTH,
        attributes={"condition": "day", "frame": f"day/{seed:04d}"},
        scores={"entropy": 0.5, "margin": 0.4},
    )
    return replace(example, **changes)


def a_pre_annotation(seed: int = 0, **changes: Any) -> PreAnnotation:
    """A draft for the sample of `a_hard_example(seed)` in round 1."""
    sample_id = SampleId(changes.pop("sample_id", sample_id_of(a_jpeg(seed))))
    number = RoundNumber(changes.pop("round_number", 1))
    draft = PreAnnotation(
        sample_id=sample_id,
        round_number=number,
        image_key=f"images/{sample_id}.jpg",
        mask_key=f"drafts/{number}/{sample_id}.png",
        height=HEIGHT,
        width=WIDTH,
        score=0.8,
        proposed_by="tiny",
        labelled_by="tiny_segformer",
        regions=(
            RegionScore(
                class_id=0,
                area=HEIGHT * WIDTH,
                box=(0, 0, WIDTH - 1, HEIGHT - 1),
                score=0.8,
            ),
        ),
        attributes={"condition": "day"},
    )
    return replace(draft, **changes)


def a_sample(seed: int = 0, **changes: Any) -> Sample:
    """An annotated sample of the learning task "day" from `a_jpeg(seed)` and `a_mask_png(seed)`."""
    image, mask = a_jpeg(seed), a_mask_png(seed)
    sample_id = SampleId(changes.pop("sample_id", sample_id_of(image)))
    ids, counts = np.unique(a_mask(seed), return_counts=True)
    sample = Sample(
        sample_id=sample_id,
        image_key=f"images/{sample_id}.jpg",
        image_sha256=sha256_hex(image),
        mask_key=f"masks/{sample_id}/{seed + 1}.png",
        mask_sha256=sha256_hex(mask),
        learning_task="day",
        split=Split.TRAIN,
        round_number=RoundNumber(1),
        edge_id=EdgeId("edge-1"),
        annotator="anna",
        class_pixels={int(i): int(n) for i, n in zip(ids, counts, strict=True)},
    )
    return replace(sample, **changes)


def a_round(state: RoundState = RoundState.COLLECTING, **changes: Any) -> Round:
    """Round 1 in `state`; past COLLECTING it has two examples, unless `examples=…` says more."""
    examples = () if state is RoundState.COLLECTING else (a_hard_example(0), a_hard_example(1))
    round_ = Round(
        number=RoundNumber(1), state=state, examples=examples, entered={str(state): NOON}
    )
    return replace(round_, **changes)


def stored_drafts(
    storage: Storage, count: int, round_number: int = 1, first: int = 0
) -> list[PreAnnotation]:
    """Drafts of a round with their pictures and masks in storage; seeds run from `first`."""
    made = []
    for seed in range(first, first + count):
        draft = a_pre_annotation(seed, round_number=round_number)
        storage.put(draft.image_key, a_jpeg(seed))
        storage.put(draft.mask_key, png_from_mask(a_mask(seed)))
        made.append(draft)
    return made
