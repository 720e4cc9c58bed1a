"""Domains: labelled pictures of one condition, some to learn from and some to be examined on.

A sequence of them is what lifelong learning is measured on. A folder is laid out as
`{domain}/{train,eval}/{images/NAME.jpg, train_ids/NAME.png}`, class ids in the masks, 255 = nobody
knows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lifelong.errors import ConfigError
from lifelong.evaluation import Examined, FileHoldout
from lifelong.labels.folders import labelled_pairs
from lifelong.records.ids import EdgeId, RoundNumber, SampleId, sha256_hex
from lifelong.records.label_map import LabelMap
from lifelong.records.samples import Sample, Split


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """One condition; both sets may be walked through more than once."""

    name: str
    train: Iterable[Examined]
    holdout: Iterable[Examined]
    sizes: tuple[int, ...]  # bytes of each training picture with its mask, encoded


def read_domains(folder: Path, names: Sequence[str] = ()) -> tuple[Domain, ...]:
    """The domains of a folder, in the order named; by name when none is.

    Raises:
        ConfigError: a domain is missing, has no pictures, or pictures without labels.
    """
    there = sorted(path.parent.name for path in folder.glob("*/train") if path.is_dir())
    if not there:
        raise ConfigError(
            f"{folder}: no domains; expected {{domain}}/train and {{domain}}/eval, each with "
            "images/ and train_ids/"
        )
    missing = [name for name in names if name not in there]
    if missing:
        raise ConfigError(f"{folder}: no {', '.join(missing)} in it; there are {', '.join(there)}")
    return tuple(_domain(folder / name) for name in (names or there))


def _domain(folder: Path) -> Domain:
    train, holdout = labelled_pairs(folder / "train"), labelled_pairs(folder / "eval")
    return Domain(
        name=folder.name,
        train=FileHoldout(train),
        holdout=FileHoldout(holdout),
        sizes=tuple(image.stat().st_size + mask.stat().st_size for image, mask in train),
    )


def samples_of(domain: Domain, label_map: LabelMap) -> tuple[Sample, ...]:
    """A domain's training pictures as records, in order, for the rules that choose among samples.

    Raises:
        LabelMapError: labels that the label map does not know.
    """
    return tuple(
        _sample(domain, place, image.tobytes(), mask, label_map)
        for place, (image, mask) in enumerate(domain.train)
    )


def _sample(
    domain: Domain,
    place: int,
    pixels: bytes,
    mask: NDArray[np.uint8],
    label_map: LabelMap,
) -> Sample:
    where = f"{domain.name}, picture {place + 1}"
    label_map.check(mask, where)
    ids, counts = np.unique(mask, return_counts=True)
    content = sha256_hex(pixels)
    return Sample(
        # The place keeps two equal pictures of one domain apart.
        sample_id=SampleId(sha256_hex(f"{domain.name}/{place}/{content}".encode())[:16]),
        image_key=f"{domain.name}/{place}",
        image_sha256=content,
        mask_key=f"{domain.name}/{place}",
        mask_sha256=sha256_hex(mask.tobytes()),
        learning_task=domain.name,
        split=Split.TRAIN,
        round_number=RoundNumber(0),
        edge_id=EdgeId("none"),
        annotator="",
        class_pixels={int(i): int(n) for i, n in zip(ids, counts, strict=True)},
        label_map_digest=label_map.digest,
    )
