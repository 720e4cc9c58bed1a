"""What a click costs by torch and by ONNX Runtime: seconds of the processor, on one thread.

Seconds of the processor, not of the clock, so that a busy machine tells the same. `tiny` is the
shipped SAM; `vit_b` has random weights, which take as long as any others.

    python -m tools.measure_onnx_sam tiny
"""

import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated

import torch
import typer
from segment_anything import sam_model_registry
from segment_anything.modeling import Sam

from cloud.assist.interactive_model import InteractiveModel
from cloud.assist.onnx_int8 import Example, add_int8
from cloud.assist.onnx_sam import load_onnx_sam
from cloud.assist_service.models_export import objects_of
from cloud.demo.scenes import draw_scene
from cloud.preannotation.interactive_sam import InteractiveSam
from cloud.preannotation.sam.onnx_export import Source, export_sam
from cloud.preannotation.sam.segment_anything_model import SegmentAnythingModel
from cloud.preannotation.sam.tiny import load_tiny_sam
from lifelong.records.prompts import Point, Prompt

_HEIGHT, _WIDTH = 360, 480
_CLICK = Prompt(points=(Point(200.0, 180.0),))
_DECODED = 20


def main(
    model: Annotated[str, typer.Argument(help="tiny or vit_b.")] = "tiny",
    runs: Annotated[int, typer.Option(help="Of the encoder; the median counts.")] = 5,
) -> None:
    """Print milliseconds of encoder, decoder and enlarging for each way to run a SAM."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        sam = _built(model)
        export_sam(sam, Source(name=model, exported_from=model, weights_sha256="0" * 64), folder,
                   tell=lambda words: typer.echo(words, err=True))  # fmt: skip
        scenes = [draw_scene(8_000 + number, "clear") for number in range(4)]
        examples = [Example(scene.image, objects_of(scene.mask)) for scene in scenes[2:]]
        described = add_int8(
            folder, [scene.image for scene in scenes[:2]], examples,
            tell=lambda words: typer.echo(words, err=True),
        )  # fmt: skip
        found: dict[str, object] = {"model": model, "load": os.getloadavg()[0]}
        for name, load in _ways(model, folder).items():
            found[name] = _measured(load(), runs)
        assert described.int8 is not None
        typer.echo(json.dumps(found | {"int8": described.int8.words}, indent=1))


def _built(model: str) -> Sam:
    torch.manual_seed(0)
    sam: Sam = load_tiny_sam() if model == "tiny" else sam_model_registry[model]().eval()
    return sam


def _ways(model: str, folder: Path) -> dict[str, Callable[[], InteractiveModel]]:
    def by_torch(precision: str) -> Callable[[], InteractiveModel]:
        return lambda: InteractiveSam(
            SegmentAnythingModel(_built(model), name=model, device="cpu", precision=precision),
            weights_digest="0", precision=precision, device="cpu",
        )  # fmt: skip

    def by_onnx(precision: str) -> Callable[[], InteractiveModel]:
        return lambda: load_onnx_sam(folder, precision=precision, device="cpu", threads=1)

    return {
        "torch float32": by_torch("float32"), "torch bfloat16": by_torch("bfloat16"),
        "ONNX float32": by_onnx("float32"), "ONNX int8": by_onnx("int8"),
    }  # fmt: skip


def _measured(model: InteractiveModel, runs: int) -> dict[str, float]:
    image = draw_scene(3, "clear", _HEIGHT, _WIDTH).image
    embedded = model.embed(image)
    decoded = model.decode(embedded, _CLICK, previous=None, several=False)
    return {
        "encoder_ms": _spent(lambda: model.embed(image), runs),
        "decoder_ms": _spent(
            lambda: model.decode(embedded, _CLICK, previous=None, several=False), _DECODED
        ),
        "enlarge_ms": _spent(lambda: model.enlarge(decoded.low_res, embedded), _DECODED),
    }


def _spent(work: Callable[[], object], runs: int) -> float:
    seconds = []
    for _ in range(runs):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return round(1e3 * median(seconds), 2)


if __name__ == "__main__":
    typer.run(main)
