"""CNV-13: what formats need of memory does not grow with the number of pictures."""

import json
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from annotation.formats.coco_reading import pictures_from_coco
from annotation.formats.export_formats import FORMATS, FormatOptions
from annotation.formats.writing import Indexed
from lifelong.records.label_map import CITYSCAPES
from tests.unit.annotation.formats.test_layouts import city_picture


def peak_of(work: Callable[[], object]) -> int:
    """Bytes at the highest point."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", FORMATS)
def test_cnv_13_an_index_gathers_nothing(name: str) -> None:
    writer = FORMATS[name](CITYSCAPES, FormatOptions())
    record = json.dumps(dict(writer.entry(city_picture(), "train").record))

    def index(count: int) -> int:
        """Bytes written about so many pictures."""

        def stream() -> Iterator[Indexed]:
            for number in range(count):
                told = json.loads(record)
                stem = f"front/{number:06}"  # what must differ from picture to picture
                told |= {key: stem for key in ("stem", "file_name") if key in told}
                split = ("train", "val", "test")[number % 3]
                yield Indexed(name=f"{stem}.jpg", split=split, record=told)

        return sum(len(piece) for _, pieces in writer.index(stream) for piece in pieces)

    index(10)  # what is built once
    few, many = peak_of(lambda: index(50)), peak_of(lambda: index(500))
    assert many < few + 20_000


def coco_file(path: Path, count: int) -> Path:
    box = {"segmentation": [[0, 0, 3, 0, 3, 3, 0, 3]], "category_id": 1, "iscrowd": 0}
    with path.open("w") as file:
        # The annotations first and mixed: nothing may depend on their order.
        file.write('{"annotations": [')
        for number in range(count * 3):
            image = number * 7919 % count + 1
            file.write("," * (number > 0) + json.dumps({"id": number, "image_id": image} | box))
        file.write('], "images": [')
        for number in range(1, count + 1):
            image_json = {"id": number, "file_name": f"{number}.jpg", "height": 4, "width": 5}
            file.write("," * (number > 1) + json.dumps(image_json))
        file.write('], "categories": [{"id": 1, "name": "car"}]}')
    return path


def test_cnv_13_a_coco_file_is_read_without_holding_it(tmp_path: Path) -> None:
    small, large = coco_file(tmp_path / "s.json", 300), coco_file(tmp_path / "l.json", 900)

    def read(path: Path) -> int:
        return sum(len(picture.regions) for picture in pictures_from_coco(path, CITYSCAPES))

    assert read(small) == 900
    few, many = peak_of(lambda: read(small)), peak_of(lambda: read(large))
    assert many < few + 100_000
