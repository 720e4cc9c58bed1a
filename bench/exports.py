"""Exports: does memory stay flat at 100,000 pictures, how fast, and how fast is Label Studio's own?

    python -m bench.exports --json [--sizes 1000,10000,100000] [--workers 1,2]

Tasks are generated, a polygon on 64 x 48 pixels each, and written as Label Studio's JSON export.
Each export to COCO runs in a process of its own; its peak memory counts everything it imported.
The peer is `label_studio_sdk.converter`, without images, turn about with ours:

* polygons: 1,000 tasks of about five polygons to COCO. The peer writes the polygons down as they
  are; we paint them, settle overlaps, and trace what is seen, so that areas and masks are those of
  the pixels.
* brush: 200 tasks of 480 x 360 pixels, three classes each, to COCO: work on pixels on both sides.
"""

import argparse
import json
import logging
import statistics
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotation.draft_regions import BRUSH_DRAFTS, POLYGON_DRAFTS, regions_from_mask
from annotation.labeling_config import labeling_config
from bench.measuring import in_child, report, seconds_of
from lifelong.records.label_map import label_map_of

_CLASSES = label_map_of([("road", (128, 64, 128)), ("car", (0, 0, 142)), ("person", (220, 20, 60))])
_SMALL, _LARGE = (48, 64), (360, 480)
_PEER_TASKS, _PEER_BRUSH_TASKS = 1000, 200
_TURNS = 3


def main() -> None:
    """Measure, and print one JSON object or a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--sizes", default="1000,10000,100000")
    parser.add_argument("--workers", default="1,2")
    told = parser.parse_args()
    sizes = [int(size) for size in told.sizes.split(",")]
    workers = [int(number) for number in told.workers.split(",")]
    with tempfile.TemporaryDirectory(prefix="cornerloop-bench-") as folder:
        report(figures(Path(folder), sizes, workers), as_json=told.json)


def figures(folder: Path, sizes: list[int], workers: list[int]) -> dict[str, object]:
    """Everything that is measured, by name."""
    found: dict[str, object] = {}
    for size in sizes:
        export = folder / f"{size}.json"
        in_child(write_tasks, export, size, "one polygon")
        found[f"json_mib_{size}"] = export.stat().st_size / 2**20
        for number in workers:
            out = folder / f"out-{size}-{number}"
            (pictures, seconds), _, peak = in_child(export_tasks, export, out, number)
            assert pictures == size
            found[f"pictures_per_s_{size}_{number}_workers"] = pictures / seconds
            found[f"peak_mib_{size}_{number}_workers"] = peak
        export.unlink()  # the disk may be small
    return found | beside_the_sdk(folder)


def beside_the_sdk(folder: Path) -> dict[str, object]:
    """Seconds for the same tasks to COCO by us and by Label Studio's SDK, turn about."""
    found: dict[str, object] = {}
    for kind, number in (("polygons", _PEER_TASKS), ("brush", _PEER_BRUSH_TASKS)):
        export = folder / f"{kind}.json"
        in_child(write_tasks, export, number, kind)
        ours, theirs = [], []
        for turn in range(_TURNS):
            (_, seconds), *_ = in_child(export_tasks, export, folder / f"ours-{kind}-{turn}", 1)
            ours.append(seconds)
            (pictures, seconds), *_ = in_child(
                sdk_coco, export, folder / f"sdk-{kind}-{turn}", kind
            )
            assert pictures == number
            theirs.append(seconds)
        mine, peer = statistics.median(ours), statistics.median(theirs)
        found |= {
            f"ours_s_{number}_{kind}_tasks": mine,
            f"label_studio_sdk_s_{number}_{kind}_tasks": peer,
            f"times_as_fast_as_label_studio_sdk_{kind}": peer / mine,
        }
    return found


def write_tasks(path: Path, number: int, kind: str) -> None:
    """An export of `number` annotated tasks; a hundred pictures, again and again."""
    shapes, size = (BRUSH_DRAFTS, _LARGE) if kind == "brush" else (POLYGON_DRAFTS, _SMALL)
    masks = [_mask(n, *size) for n in range(100)]
    if kind == "one polygon":
        for mask in masks:
            mask[:, :20] = mask[:, 44:] = 255
            mask[:, 20:44] = mask[0, 30]
    results = [json.dumps(regions_from_mask(mask, _CLASSES, shapes=shapes)) for mask in masks]
    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        for n in range(number):
            file.write(",\n" if n else "\n")
            image = f"/data/local-files/?d=scene-{n % 50}/{n:06d}.jpg"
            file.write(
                f'{{"id": {n + 1}, "data": {{"image": "{image}"}}, "meta": {{}}, "annotations": '
                f'[{{"id": {n + 1}, "completed_by": 1, "was_cancelled": false, '
                f'"result": {results[n % 100]}}}], "predictions": []}}'
            )
        file.write("\n]\n")


def export_tasks(path: Path, out: Path, workers: int) -> tuple[int, float]:
    """`cornerloop convert … --to coco`; pictures, and seconds without imports."""
    from annotation.exports.scene_splits import plan_from
    from cloud.converting.conversions import Wish, convert_dataset

    wish = Wish(format="coco", images="none", workers=workers, split=plan_from("0.8/0.1/0.1"))
    done, seconds = seconds_of(
        lambda: convert_dataset(path, out, wish, kind="label-studio", label_map=_CLASSES)
    )
    return done.exported, seconds


def sdk_coco(path: Path, out: Path, kind: str) -> tuple[int, float]:
    """Label Studio's own converters to COCO, without images; pictures, seconds without imports."""
    from label_studio_sdk.converter import Converter
    from label_studio_sdk.converter.converter import Format

    logging.disable(logging.WARNING)  # a line a picture, about images that nobody fetched
    converter = Converter(labeling_config(_CLASSES), str(path.parent), download_resources=False)
    chosen = Format.BRUSH_TO_COCO if kind == "brush" else Format.COCO
    _, seconds = seconds_of(lambda: converter.convert(str(path), str(out), chosen, is_dir=False))
    (written,) = out.rglob("*.json")
    return len(json.loads(written.read_text())["images"]), seconds


def _mask(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    """(height, width) uint8: six blocks of three classes."""
    blocks = np.random.default_rng(seed).permutation([0, 0, 1, 1, 2, 2]).reshape(2, 3)
    rows = np.linspace(0, 1.999, height).astype(int)
    columns = np.linspace(0, 2.999, width).astype(int)
    return np.ascontiguousarray(blocks[rows][:, columns].astype(np.uint8))


if __name__ == "__main__":
    main()
