"""JSON files written in pieces and from streams, so that no list is ever whole in memory.

Also what several formats say alike: the classes, the splits, and the label map as a file.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from annotation.formats.writing import Stream
from lifelong.records.label_map import IGNORE_INDEX, LabelMap
from lifelong.records.wire import dumps

LABEL_MAP_FILE = "label_map.json"
SPLITS = ("train", "val", "test")


def json_pieces(parts: Mapping[str, object]) -> Iterator[bytes]:
    """An object as JSON, key by key; a value that is an iterator becomes a list, item by item."""
    yield b"{"
    for number, (key, value) in enumerate(parts.items()):
        yield f"{',' if number else ''}\n{json.dumps(key)}: ".encode()
        if isinstance(value, Iterator):
            yield from _list_pieces(value)
        else:
            yield compact(value)
    yield b"\n}\n"


def compact(value: object) -> bytes:
    """A value as JSON on one line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def label_map_file(label_map: LabelMap) -> tuple[str, Iterator[bytes]]:
    """The classes as a file that the configuration's `label_map` reads."""
    classes = [
        {
            "id": class_id,
            "name": name,
            "colour": list(label_map.colours[class_id]),
            "thing": label_map.is_thing(class_id),
        }
        for class_id, name in enumerate(label_map.names)
    ]
    return LABEL_MAP_FILE, iter([dumps({"classes": classes, "ignore": IGNORE_INDEX})])


def pictures_by_split(pictures: Stream) -> dict[str, int]:
    """How many pictures each split has; splits without any are left out."""
    counts = Counter(picture.split for picture in pictures())
    return {split: counts[split] for split in SPLITS if counts[split]}


def _list_pieces(items: Iterable[object]) -> Iterator[bytes]:
    yield b"["
    for number, item in enumerate(items):
        yield (b",\n" if number else b"\n") + compact(item)
    yield b"\n]"
