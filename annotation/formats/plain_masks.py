"""Masks and nothing else: PNG of class ids with 8 or 16 bits, palette PNG, NumPy, or pairs.

`PlainMasks`: `masks/{split}/NAME.png` (or `.npy`) beside `images/{split}/NAME`, folders kept.
`TrainingPairs`: `{split}/images/NAME` beside `{split}/train_ids/NAME.png` without folders, as
`cornerloop begin --data` and hold-outs read it (`lifelong/labels/folders.py`).

A pixel is its class id, 255 where nobody labelled it. Which region a pixel belonged to is lost.
"""

import io
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from annotation.formats.file_names import checked_name, flat_name, refuse_twins, stem_of, suffix_of
from annotation.formats.json_stream import label_map_file, pictures_by_split
from annotation.formats.mm_configs import cornerloop_config, mmseg_configs
from annotation.formats.train_ids import train_ids_png
from annotation.formats.writing import Entry, Stream
from annotation.labelled_pictures import LabelledPicture
from lifelong.errors import CorruptRecordError
from lifelong.labels.folders import IMAGE_SUFFIXES
from lifelong.records.label_map import LabelMap

MaskFile = Literal["png", "png16", "palette", "numpy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainMasks:
    """A `Writer` of a mask a picture."""

    label_map: LabelMap
    file: MaskFile

    def entry(self, picture: LabelledPicture, split: str) -> Entry:
        """The mask.

        Raises:
            CorruptRecordError: a name that leaves its folder.
        """
        name = checked_name(picture.name)
        suffix = ".npy" if self.file == "numpy" else ".png"
        return Entry(
            files={f"masks/{split}/{stem_of(name)}{suffix}": self._encoded(picture.mask())},
            image_path=f"images/{split}/{name}",
        )

    def index(self, pictures: Stream) -> Iterable[tuple[str, Iterator[bytes]]]:
        """The classes, and for PNG a config of mmsegmentation.

        Raises:
            CorruptRecordError: two pictures of a split would share a mask.
        """
        refuse_twins((f"{one.split}/{stem_of(one.name)}", one.name) for one in pictures())
        yield label_map_file(self.label_map)
        if self.file in {"png", "palette"}:
            yield from _mmseg(self.label_map, pictures, "images/{split}", "masks/{split}")

    def _encoded(self, mask: NDArray[np.uint8]) -> bytes:
        buffer = io.BytesIO()
        if self.file == "numpy":
            np.save(buffer, mask, allow_pickle=False)
            return buffer.getvalue()
        if self.file == "palette":
            picture = Image.fromarray(mask)
            picture.putpalette(self.label_map.palette.tobytes())
            picture.save(buffer, format="PNG")
            return buffer.getvalue()
        return train_ids_png(mask, bits=16 if self.file == "png16" else 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPairs:
    """A `Writer` of what our own trainer reads."""

    label_map: LabelMap
    bits: Literal[8, 16] = 8

    def entry(self, picture: LabelledPicture, split: str) -> Entry:
        """The mask.

        Raises:
            CorruptRecordError: a name that leaves its folder, or an image that training does not
                read.
        """
        name = flat_name(picture.name)
        if suffix_of(name).lower() not in IMAGE_SUFFIXES:
            raise CorruptRecordError(
                f"picture {picture.name!r}: training reads {', '.join(sorted(IMAGE_SUFFIXES))}; "
                "convert the image, or export another format"
            )
        png = train_ids_png(picture.mask(), bits=self.bits)
        return Entry(
            files={f"{split}/train_ids/{stem_of(name)}.png": png},
            image_path=f"{split}/images/{name}",
        )

    def index(self, pictures: Stream) -> Iterable[tuple[str, Iterator[bytes]]]:
        """The classes, a configuration of Cornerloop and one of mmsegmentation.

        Raises:
            CorruptRecordError: two pictures of a split would share a mask.
        """
        refuse_twins(
            (f"{one.split}/{stem_of(flat_name(one.name))}", one.name) for one in pictures()
        )
        yield label_map_file(self.label_map)
        config = cornerloop_config(frozenset(pictures_by_split(pictures)))
        yield "cornerloop.yaml", iter([config.encode()])
        yield from _mmseg(self.label_map, pictures, "{split}/images", "{split}/train_ids")


def _mmseg(
    label_map: LabelMap, pictures: Stream, images: str, masks: str
) -> Iterator[tuple[str, Iterator[bytes]]]:
    suffixes: defaultdict[str, set[str]] = defaultdict(set)
    for one in pictures():
        suffixes[one.split].add(suffix_of(one.name))
    for path, text in mmseg_configs(label_map, suffixes, images=images, masks=masks).items():
        yield path, iter([text.encode()])
