"""Figures of docs/assist.md: masks at the border, and a click while pictures are embedded ahead.

`python -m tools.measure_clicks border [--camvid FOLDER]` asks the shipped SAM for every object that
touches the lower border, with and without the mirrored strip. `python -m tools.measure_clicks
beside --precision bfloat16` times clicks with a vit_b of random weights, which is as fast as one
of trained weights, alone and while other pictures are embedded.
"""

import argparse
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import distance_transform_edt, label

from annotation.assist.segmenter import Wish
from cloud.assist.bordered import BorderedModel
from cloud.assist.clicks import Clicks
from cloud.assist.drawn_hints import around
from cloud.assist.embeddings import EmbeddingMemory, Embeddings
from cloud.assist.interactive_model import Embedded, InteractiveModel, go_on
from cloud.assist.model_room import ModelRoom
from cloud.assist.segmenters import Segmenters
from cloud.assist.turns import Turns
from cloud.assist.work_book import WorkBook
from cloud.assist_service.models import AssistLoader
from cloud.demo.scenes import draw_scene
from lifelong.config import Config
from lifelong.records.prompts import Point, Prompt
from lifelong.sections.assist import AssistModelSection, AssistSection

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]  # picture and train ids


def main() -> None:
    """Measure what the command line says, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["border", "beside"])
    parser.add_argument("--camvid", type=Path, help="Folder of day/eval/{images,train_ids}.")
    parser.add_argument("--precision", default="bfloat16", choices=["float32", "bfloat16"])
    said = parser.parse_args()
    if said.what == "border":
        scenes = (draw_scene(seed, "clear") for seed in range(12))
        _border("drawn streets", ((scene.image, scene.mask) for scene in scenes))
        if said.camvid is not None:
            _border("CamVid, every third frame", _frames(said.camvid))
    else:
        _beside(said.precision)


def _border(name: str, pairs: Iterable[Pair]) -> None:
    config = Config(assist=AssistSection(device="cpu", precision="float32"))
    plain = AssistLoader(config).load(AssistModelSection(mirror_border=False))
    models = {"plain": plain, "mirrored": BorderedModel(plain)}
    rows: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for image, ids in pairs:
        embedded = {key: model.embed(image) for key, model in models.items()}
        for part in _at_the_bottom(ids):
            for kind, prompt in _prompts(part).items():
                for key, model in models.items():
                    wish = Wish(prompt=prompt)
                    mask = Clicks().answer(model, embedded[key], "", wish).masks[0]
                    recall = (mask & part)[-1].sum() / part[-1].sum()
                    iou = (mask & part).sum() / (mask | part).sum()
                    rows.setdefault((kind, key), []).append((recall, iou))
    for (kind, key), found in rows.items():
        recall, iou = np.mean(found, axis=0)
        print(f"{name}: {kind}, {key}: {len(found)} objects, last row {recall:.3f}, IoU {iou:.3f}")


def _frames(folder: Path) -> Iterator[Pair]:
    for ids in sorted(folder.glob("*/eval/train_ids/*.png"))[::3]:
        (image,) = (ids.parent.parent / "images").glob(f"{ids.stem}.*")
        yield np.asarray(Image.open(image).convert("RGB")), np.asarray(Image.open(ids))


def _at_the_bottom(ids: NDArray[np.uint8]) -> Iterator[NDArray[np.bool_]]:
    for class_id in np.unique(ids[ids != 255]):
        parts, count = label(ids == class_id)
        for number in range(1, count + 1):
            part = parts == number
            if part.sum() >= 200 and part[-1].sum() >= 10:
                yield part


def _prompts(part: NDArray[np.bool_]) -> dict[str, Prompt]:
    """A box around an object, and a click on the pixel farthest from its edge."""
    inside = distance_transform_edt(np.pad(part, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(inside.argmax()), part.shape)
    point = Point(float(column) + 0.5, float(row) + 0.5)
    return {"box": Prompt(boxes=(around(part),)), "click": Prompt(points=(point,))}


class _Noise:
    """A picture of 960 x 720."""

    def __init__(self, number: int) -> None:
        self.number, self.name = number, f"noise {number}"
        self.digest = hashlib.sha256(self.name.encode()).hexdigest()

    def pixels(self) -> NDArray[np.uint8]:
        return np.random.default_rng(self.number).integers(0, 255, (720, 960, 3), dtype=np.uint8)


class _Unpaused:
    """The same model with an encoder that never pauses."""

    def __init__(self, model: InteractiveModel) -> None:
        self.name, self.digest, self.takes_masks = "unpaused", "1" * 64, model.takes_masks
        self._model = model
        self.decode, self.enlarge, self.hint = model.decode, model.enlarge, model.hint

    def embed(self, image: NDArray[np.uint8], *, pause: Callable[[], None] = go_on) -> Embedded:
        return self._model.embed(image)


class _OneModel:
    """A `Loader` of one model."""

    def __init__(self, model: InteractiveModel) -> None:
        self._model = model

    def name_of(self, section: AssistModelSection) -> str:
        return self._model.name

    def identity_of(self, section: AssistModelSection) -> str:
        return self._model.name

    def stamp_of(self, section: AssistModelSection) -> None:
        return None

    def load(self, section: AssistModelSection) -> InteractiveModel:
        return self._model


def _beside(precision: str) -> None:
    import torch
    from segment_anything import sam_model_registry

    from cloud.preannotation.interactive_sam import InteractiveSam
    from cloud.preannotation.sam.segment_anything_model import SegmentAnythingModel

    torch.manual_seed(0)
    network = SegmentAnythingModel(
        sam_model_registry["vit_b"](), name="vit_b", device="cpu", precision=precision
    )
    model = InteractiveSam(network, weights_digest="0" * 64, precision=precision, device="cpu")
    model.embed(_Noise(0).pixels())
    encoder = _ms(lambda: model.embed(_Noise(0).pixels()))
    embedded = model.embed(_Noise(0).pixels())
    prompt = Prompt(points=(Point(300, 200),))
    decoder = [_ms(lambda: model.decode(embedded, prompt, several=True)) for _ in range(20)]
    print(f"vit_b {precision}: encoder {encoder:.0f} ms, bare decoder {np.median(decoder):.0f} ms")
    for served in (model, _Unpaused(model)):
        alone, beside = _clicks(served)
        print(
            f"{served.name}: click alone {np.median(alone):.0f} ms, while others are embedded "
            f"{np.median(beside):.0f} ms (largest {max(beside):.0f} ms)"
        )


def _clicks(model: InteractiveModel) -> tuple[list[float], list[float]]:
    """Milliseconds of 20 clicks alone and of 20 while other pictures are embedded ahead."""
    turns = Turns(workers=1)
    section = AssistModelSection()
    service = Segmenters(
        ModelRoom(section, {}, _OneModel(model), patience_seconds=60),
        Embeddings(EmbeddingMemory(limit_bytes=1 << 30), None, turns),
        turns,
        WorkBook(),
        workers=1,
        waiting=64,
    )

    def click(number: int) -> float:
        wish = Wish(prompt=Prompt(points=(Point(30.0 + 11 * number, 200),)))
        return _ms(lambda: service.segment(_Noise(0), wish))

    click(0)
    alone = [click(number) for number in range(1, 21)]
    work = service.prefetch((_Noise(number) for number in range(1, 100)), subject="ahead")
    time.sleep(3)
    beside = []
    for number in range(21, 41):
        beside.append(click(number))
        time.sleep(0.5)
    service.cancel(work)
    service.close()
    return alone, beside


def _ms(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return (time.perf_counter() - begun) * 1e3


if __name__ == "__main__":
    main()
