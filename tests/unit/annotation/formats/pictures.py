"""Labelled pictures for the tests of formats, and a run of a writer without the engine."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from annotation.formats.writing import Indexed, Writer
from annotation.labelled_pictures import LabelledPicture, LabelledRegion, picture_from_mask
from annotation.polygons import patch_of
from lifelong.records.label_map import LabelMap
from tests.builders import SMALL_MAP
from tests.camvid import camvid_masks

THINGS = SMALL_MAP.with_things(("car", "person"))  # road is stuff


def region(painted: NDArray[np.bool_], class_id: int, **fields: Any) -> LabelledRegion:
    return LabelledRegion(class_id=class_id, patch=patch_of(painted), **fields)


def drawn_picture(name: str = "front/a-b 1%20.jpg") -> LabelledPicture:
    """40 x 61 pixels: a road with a hole and a car on it, a person in two pieces inside the car,
    a ring-shaped car in the hole, a crowd, and pixels of nobody."""
    y, x = np.mgrid[:40, :61]
    road = (y > 4) & ~((x > 40) & (x < 56) & (y > 10) & (y < 30))
    car = np.hypot(x - 18, y - 20) < 12.3
    person = ((x > 12) & (x < 16) & (y > 14) & (y < 26)) | ((x > 20) & (x < 23) & (y == 18))
    ring = np.hypot(x - 48, y - 20)
    return LabelledPicture(
        name=name,
        height=40,
        width=61,
        regions=(
            region(person, 2, region_id="p"),
            region(road, 0, region_id="r"),
            region(car, 1, region_id="c"),
            region((ring < 6.5) & (ring > 2.2), 1, region_id="ring"),
            region((y < 3) & (x > 50), 2, region_id="crowd", is_crowd=True),
        ),
        scene="front",
    )


def random_picture(mask: NDArray[np.uint8], name: str = "r.png") -> LabelledPicture:
    """Regions that overlap: the pieces of a mask, and boxes over them."""
    random = np.random.default_rng(int(mask.astype(np.int64).sum()) + mask.shape[0])
    height, width = mask.shape
    picture = picture_from_mask(name, mask % 3, THINGS)
    boxes = []
    for number in range(int(random.integers(0, 4))):
        painted = np.zeros(mask.shape, dtype=np.bool_)
        y, x = int(random.integers(0, height)), int(random.integers(0, width))
        painted[y : y + int(random.integers(1, 9)), x : x + int(random.integers(1, 9))] = True
        boxes.append(region(painted, number % 3, is_crowd=bool(random.integers(0, 2))))
    some = tuple(one for one in picture.regions if random.random() < 0.8)
    return LabelledPicture(name=name, height=height, width=width, regions=some + tuple(boxes))


def camvid_pictures(label_map: LabelMap, count: int) -> list[LabelledPicture]:
    return [
        picture_from_mask(f"camvid/{name}.png", mask, label_map)
        for name, mask in camvid_masks()[:count]
    ]


def run_writer(
    writer: Writer,
    pictures: Mapping[str, Sequence[LabelledPicture]],
    *,
    may_clash: bool = False,
) -> tuple[dict[str, bytes], dict[str, str]]:
    """What an export of these pictures, by split, writes.

    Returns:
        Path -> content, and path of an image -> picture's name.
    """
    files: dict[str, bytes] = {}
    images: dict[str, str] = {}
    indexed = []
    for split, some in pictures.items():
        for picture in some:
            entry = writer.entry(picture, split)
            assert may_clash or not set(entry.files) & set(files)
            files |= entry.files
            if entry.image_path is not None:
                assert entry.image_path not in images
                images[entry.image_path] = picture.name
            record = json.loads(json.dumps(entry.record))
            indexed.append(Indexed(name=picture.name, split=split, record=record))
    indexed.sort(key=lambda one: one.name)

    def stream() -> Iterator[Indexed]:
        return iter(indexed)

    for path, pieces in writer.index(stream):
        assert path not in files
        files[path] = b"".join(pieces)
    return files, images


def lay_out(
    folder: Path,
    writer: Writer,
    pictures: Mapping[str, Sequence[LabelledPicture]],
) -> Path:
    """Write such an export below `folder`, with grey images of the right sizes."""
    files, images = run_writer(writer, pictures)
    sizes = {one.name: (one.width, one.height) for some in pictures.values() for one in some}
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    for path, name in images.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", sizes[name], (90, 90, 90)).save(folder / path)
    return folder


def seen_masks(picture: LabelledPicture) -> list[tuple[int, NDArray[np.bool_]]]:
    """(class id, (H, W) bool) of every region that is seen, in painting order."""
    found: list[tuple[int, NDArray[np.bool_]]] = []
    for one, patch in picture.visible():
        frame = np.zeros((picture.height, picture.width), dtype=np.uint8)
        patch.paint(frame, 1)
        found.append((one.class_id, frame.astype(np.bool_)))
    return found
