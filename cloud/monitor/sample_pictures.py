"""The pictures of one sample: frame, masks over it, and maps of what differs between masks.

Masks are read as labels of the present label map, so that one legend speaks for all of them.
"""

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cloud.monitor.difference_maps import DifferenceMap, changes, errors, heat, paint_heat
from cloud.monitor.look import Look
from cloud.monitor.sample_records import SampleRecords
from lifelong.errors import LifelongError, ObjectNotFoundError
from lifelong.labels.map_history import read_history
from lifelong.labels.readings import LabelReader
from lifelong.links.storage import Storage
from lifelong.overlays import overlay
from lifelong.records.label_map import LabelMap
from lifelong.records.pixels import image_from_bytes, mask_from_png

WIDTHS = (240, 480, 960)  # pixels of what is shown small
_QUALITY = 88  # of JPEG
_CELLS = 48  # of a heat map, across
_CELL = 10  # pixels
MOST_HEATED = 100  # pictures of a round, those that people changed most first

Mask = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A picture that a sample may have."""

    name: str  # in addresses
    title: str
    needs: tuple[str, ...]  # masks, by the names of `mask_names`
    is_map: bool = False


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(name="frame", title="frame", needs=()),
        Kind(name="before", title="edge before", needs=("before",)),
        Kind(name="draft", title="draft", needs=("draft",)),
        Kind(name="corrected", title="corrected", needs=("corrected",)),
        Kind(name="after", title="after", needs=("after",)),
        Kind(
            name="people",
            title="what people changed",
            needs=("draft", "corrected"),
            is_map=True,
        ),
        Kind(
            name="learned",
            title="what the model answers otherwise",
            needs=("before", "after"),
            is_map=True,
        ),
        Kind(
            name="errors",
            title="errors that vanished or came",
            needs=("before", "after", "corrected"),
            is_map=True,
        ),
    )
}


def mask_names(records: SampleRecords) -> frozenset[str]:
    """Which masks the records name; the candidate's is nobody's record."""
    found = {"before"}
    if records.draft is not None:
        found.add("draft")
    if records.annotation is not None:
        found.add("corrected")
    return frozenset(found)


def map_of(kind: str, masks: Mapping[str, Mask]) -> DifferenceMap:
    """The difference map of that name."""
    if kind == "errors":
        return errors(masks["before"], masks["after"], masks["corrected"])
    one, other = KINDS[kind].needs
    return changes(masks[one], masks[other])


class SamplePictures:
    """Reads what pictures are made of, and makes them."""

    def __init__(self, storage: Storage, label_map: LabelMap, look: Callable[[], Look]) -> None:
        """`look` says with which label map an edge's model answered."""
        self._storage = storage
        self._label_map = label_map
        self._look = look

    def image(self, records: SampleRecords) -> Mask:
        """(H, W, 3), uint8, RGB.

        Raises:
            ObjectNotFoundError: it is gone.
            ImageError: it is damaged.
        """
        key = records.example.image_key
        return image_from_bytes(self._storage.get(key), key)

    def masks(self, records: SampleRecords, names: frozenset[str]) -> dict[str, Mask]:
        """(H, W), uint8, ids of the present label map, 255 where nobody knows; by name.

        Raises:
            ObjectNotFoundError: a mask is gone, or the records name none.
            ImageError, LabelMapError: it is damaged, or its classes are not known here.
        """
        reader = LabelReader(read_history(self._storage, self._label_map))
        found = {}
        for name in sorted(names):
            key, digest = self._mask_key(records, name)
            found[name] = reader.sure(mask_from_png(self._storage.get(key), key), digest, key)
        return found

    def read(self, mask: Mask, painted: LabelMap, where: str) -> Mask:
        """A mask of another label map as one of the present.

        Raises:
            LabelMapError: its classes are not known here.
        """
        history = read_history(self._storage, self._label_map).with_others((painted,))
        return LabelReader(history).sure(mask, painted.digest, where)

    def draw(
        self, records: SampleRecords, kind: str, width: int | None, after: Mask | None = None
    ) -> bytes:
        """JPEG or, of maps, PNG.

        Args:
            kind: of `KINDS`.
            width: pixels at most; None: as large as the picture is.
            after: (H, W), uint8: what the candidate answered, for kinds that need it.

        Raises:
            ObjectNotFoundError: what it is made of is gone.
            ImageError, LabelMapError, ShapeError: what it is made of is damaged.
        """
        chosen = KINDS[kind]
        image = self.image(records)
        masks = self.masks(records, frozenset(chosen.needs) - {"after"})
        if after is not None:
            masks["after"] = after
        size = _size(image, width)
        # Small first: a thumbnail of a camera's picture costs a hundredth of the whole.
        picture = _scaled(image, size, Image.Resampling.BOX)
        small = {n: _scaled(mask, size, Image.Resampling.NEAREST) for n, mask in masks.items()}
        if chosen.is_map:
            return _encoded(map_of(kind, small).paint(picture), "PNG")
        if chosen.needs:
            picture = overlay(picture, small[chosen.needs[0]], self._label_map)
        return _encoded(picture, "JPEG")

    def draw_heat(self, samples: Sequence[SampleRecords]) -> bytes:
        """PNG: where in the picture people changed drafts, over up to `MOST_HEATED` samples.

        Samples whose masks are gone or damaged are left out.

        Raises:
            ObjectNotFoundError: none has both masks.
        """
        chosen = [one for one in samples if one.shows_peoples_work][:MOST_HEATED]
        if not chosen:
            raise ObjectNotFoundError("no sample with a draft and a correction")
        example = chosen[0].example
        rows = max(1, round(_CELLS * example.height / max(1, example.width)))
        share = heat(self._changes(chosen), rows, _CELLS)
        if np.isnan(share).all():
            raise ObjectNotFoundError("no masks of them")
        large = share.repeat(_CELL, axis=0).repeat(_CELL, axis=1)
        return _encoded(paint_heat(large), "PNG")

    def _changes(self, samples: Sequence[SampleRecords]) -> Iterator[DifferenceMap]:
        for records in samples:
            try:
                masks = self.masks(records, frozenset({"draft", "corrected"}))
                yield map_of("people", masks)
            except LifelongError as error:
                if error.retryable:
                    raise
                continue

    def tag(self, records: SampleRecords, kind: str, width: int | None, candidate: str) -> str:
        """Changes whenever the picture may: for browsers that have one already."""
        annotation, draft = records.annotation, records.draft
        told = (
            kind,
            width,
            candidate,
            records.example.image_sha256,
            records.example.mask_sha256,
            draft.mask_key if draft else "",
            annotation.mask_key if annotation else "",
            annotation.mask_sha256 if annotation else "",
            self._label_map.digest,
            self._label_map.colours,
        )
        return hashlib.sha256(repr(told).encode()).hexdigest()[:24]

    def _mask_key(self, records: SampleRecords, name: str) -> tuple[str, str]:
        """Where a mask lies, and with which label map it was painted."""
        if name == "before":
            version = self._look().versions.get(records.example.version_id)
            return records.example.mask_key, version.label_map_digest if version else ""
        found = records.draft if name == "draft" else records.annotation
        if found is None:
            raise ObjectNotFoundError(f"sample {records.sample_id} has no mask {name!r} yet")
        return found.mask_key, found.label_map_digest


def _size(image: Mask, width: int | None) -> tuple[int, int]:
    height, whole = image.shape[:2]
    if width is None or width >= whole:
        return whole, height
    return width, max(1, round(height * width / whole))


def _scaled(picture: Mask, size: tuple[int, int], how: Image.Resampling) -> Mask:
    if picture.shape[1::-1] == size:
        return picture
    return np.asarray(Image.fromarray(picture).resize(size, how), dtype=np.uint8)


def _encoded(picture: Mask, file: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(
        buffer, format=file, **({"quality": _QUALITY} if file == "JPEG" else {})
    )
    return buffer.getvalue()
