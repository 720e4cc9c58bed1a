"""A data set of drafts offered in Label Studio, outside of rounds: what `cornerloop push` does.

Pictures go to `pictures/{name}` in storage and their masks to `drafts/0/`, since round 0 is before
every round. A picture is known by its content: pushing again adds what is new and nothing else,
and `cornerloop export` brings back what people made of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from annotation.exports.images import ImageShelf
from annotation.exports.picture_items import Item, LeftOut, Refused, Source
from lifelong.errors import ImageError, LifelongError, ObjectNotFoundError, RecordError
from lifelong.links.storage import Storage
from lifelong.records.ids import RoundNumber, SampleId, sample_id_of
from lifelong.records.keys import draft_key
from lifelong.records.pixels import png_from_mask
from lifelong.records.samples import AnnotationTask, PreAnnotation

OUTSIDE = RoundNumber(0)
_UNSAID = 0.0  # the score of a draft that nobody rated: what is least sure comes first


class Push(Protocol):
    """Who offers drafts; `annotation.pushing.Pushing` does it."""

    def push(self, drafts: Sequence[PreAnnotation]) -> list[AnnotationTask]:
        """Offer drafts; those already offered are only named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PushReport:
    """What became of a data set."""

    tasks: tuple[AnnotationTask, ...]
    without_labels: int  # pictures that have no draft
    refused: tuple[str, ...]  # what could not be offered, with the reason


def push_pictures(
    source: Source,
    shelf: ImageShelf,
    storage: Storage,
    pushing: Push,
    *,
    skip: bool,
    progress: Callable[[int], None] = lambda done: None,
) -> PushReport:
    """Offer every picture of a source that has labels, the least sure first.

    Args:
        shelf: finds the images.
        skip: go on when a picture cannot be read; else the first one ends it.
        progress: told how many pictures lie in storage.

    Raises:
        RecordError: a picture cannot be read, or two are the same; names them.
        LabelStudioError: Label Studio failed; what it took stays, push again.
    """
    drafts: dict[SampleId, PreAnnotation] = {}
    refused: list[str] = []
    without = 0
    for entry in source.items():
        if isinstance(entry, LeftOut):
            without += 1
            continue
        try:
            if isinstance(entry, Refused):
                raise RecordError(entry.error)
            draft = _stored(entry, source, shelf, storage)
            twin = drafts.setdefault(draft.sample_id, draft)
            if twin is not draft:
                raise RecordError(
                    f"{entry.where}: the same image as {twin.attributes['name']}; keep one of them"
                )
        except LifelongError as error:
            if not skip or error.retryable:
                raise
            refused.append(str(error))
        progress(len(drafts))
    tasks = pushing.push(sorted(drafts.values(), key=lambda draft: draft.score))
    return PushReport(tasks=tuple(tasks), without_labels=without, refused=tuple(refused))


def _stored(item: Item, source: Source, shelf: ImageShelf, storage: Storage) -> PreAnnotation:
    """One picture's image and mask in storage, and the record of them."""
    picture = source.read(item)
    found = shelf.find(item, picture.image, (picture.height, picture.width))
    if found is None:
        raise ImageError(f"{item.where}: without its image there is nothing to show")
    data = found.read_bytes() if isinstance(found, Path) else found
    sample_id = sample_id_of(data)
    key = f"pictures/{item.name}"
    _keep(storage, key, data, item.where)
    mask_key = draft_key(OUTSIDE, sample_id)
    storage.put(mask_key, png_from_mask(picture.mask()))
    scene = picture.scene or item.scene
    return PreAnnotation(
        sample_id=sample_id,
        round_number=OUTSIDE,
        image_key=key,
        mask_key=mask_key,
        height=picture.height,
        width=picture.width,
        score=_UNSAID if picture.score is None else picture.score,
        proposed_by="pushed",
        labelled_by=source.kind,
        attributes={"name": item.name} | ({"scene": scene} if scene else {}),
    )


def _keep(storage: Storage, key: str, data: bytes, where: str) -> None:
    """Put an image under its name, unless another one has it already."""
    try:
        there = storage.get(key)
    except ObjectNotFoundError:
        storage.put(key, data)
        return
    if there != data:
        raise RecordError(
            f"{where}: another image lies in storage under {key}; rename one of the two"
        )
