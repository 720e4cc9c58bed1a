"""An edge node's frame: PyTorch eager and ONNX Runtime, same weights, same frames, taking turns.

    python -m bench.edge --json

The network is the demo's first model (`cloud/demo/weights/edge_clear.safetensors`), the frames
are drawn scenes it was not trained on. A frame is the whole way: preprocessing, network, mask at
picture size, confidence, entropy and margin at picture size. Eager does it as one writes it in
torch; ours is `OnnxSegmenter.segment`. `ratio` is eager's median time over ours, one thread each,
fp32; `network_ratio` the same for the network alone.

Memory, p50 and p99 are those of a process of its own without torch (`bench/edge_process.py`).
`cpu_p99_over_p50` counts the processor's time of the frame's thread: what remains of p99 on a
machine that does nothing else.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from bench.measuring import report, seconds_of
from cloud.demo.beginning import EDGE_WEIGHTS
from cloud.demo.scenes import Scene, draw_scene
from cloud.learning.packing import packed
from cloud.learning.precision import reduced
from lifelong.logit_masks import mask_from_logits
from lifelong.model_bundle import BundleManifest, ModelBundle
from lifelong.onnx_runtime import onnxruntime
from lifelong.preprocessing import Preprocessing, enlarged, network_input
from lifelong.records.ids import sha256_hex
from lifelong.records.label_map import CITYSCAPES
from lifelong.records.pixels import jpeg_from_image
from lifelong.segmenter import CPU, OnnxSegmenter
from lifelong.training.checkpoints import load_weights, weights_from_bytes
from lifelong.training.networks import build_network

HOW = Preprocessing(height=160, width=240)
_CALIBRATION, _EXAMINATION = 500_000, 910_000  # first seeds of scenes, apart from the training's
_PICTURES = 32  # of each
_WARM_UP = 5

Answer = Callable[[NDArray[Any]], object]


def main() -> None:
    """Run both sides and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--height", type=int, default=320, help="of the camera's picture")
    parser.add_argument("--width", type=int, default=480)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    size = (given.height, given.width)
    scenes = [draw_scene(_EXAMINATION + n, "clear", *size) for n in range(_PICTURES)]
    network, bundles, losses = models(scenes)
    images = [scene.image for scene in scenes]
    figures: dict[str, object] = {"bench": "edge", "frames": given.frames, "size": list(size)}
    for threads in (1, 2):
        figures[f"threads_{threads}"] = compared(network, bundles, images, given.frames, threads)
    first = figures["threads_1"]
    assert isinstance(first, dict)
    figures |= {
        "ratio": first["fp32"]["ratio"],
        "network_ratio": first["fp32"]["network_ratio"],
        "int8_ratio": first["int8"]["ratio"],
        "losses": losses,
        "mask": mask_figures(bundles["fp32"], images),
        "process": {
            name: process_figures(bundle, images, given.frames) for name, bundle in bundles.items()
        },
    }
    report(figures, as_json=given.json)


def models(scenes: list[Scene]) -> tuple[nn.Module, dict[str, ModelBundle], dict[str, object]]:
    """The network in torch, its bundles by precision, and what fewer bits lose."""
    data = EDGE_WEIGHTS.read_bytes()
    weights = weights_from_bytes(data, str(EDGE_WEIGHTS))
    network = build_network("fast_cnn", len(CITYSCAPES), seed=0)
    load_weights(network, weights, str(EDGE_WEIGHTS))
    manifest = BundleManifest(
        label_map=CITYSCAPES,
        preprocessing=HOW,
        network="fast_cnn",
        weights_sha256=sha256_hex(data),
    )
    calibration = [draw_scene(_CALIBRATION + n, "clear").image for n in range(_PICTURES)]
    bundles = {"fp32": packed(weights, manifest, calibration)}
    losses: dict[str, object] = {}
    for precision in ("fp16", "int8"):
        answer = reduced(
            bundles["fp32"],
            precision,
            calibration=calibration,
            examination=[(scene.image, scene.mask) for scene in scenes],
            max_loss=1.0,
        )
        assert answer.loss is not None, answer.reasons
        bundles[precision] = answer.bundle
        losses[precision] = {
            "miou": round(answer.loss.miou, 5),
            "agreement": round(answer.loss.agreement, 5),
            "size": round(len(answer.bundle.onnx) / len(bundles["fp32"].onnx), 3),
        }
    return network.eval(), bundles, losses


def compared(
    network: nn.Module,
    bundles: dict[str, ModelBundle],
    images: list[NDArray[np.uint8]],
    frames: int,
    threads: int,
) -> dict[str, dict[str, float]]:
    """Median times of all sides, taking turns frame by frame, so that a busy machine slows all."""
    torch.set_num_threads(threads)
    segmenters = {name: OnnxSegmenter(bundle, threads=threads) for name, bundle in bundles.items()}
    whole: dict[str, Answer] = {"eager": lambda image: eager_answer(network, image)}
    alone: dict[str, Answer] = {"eager": lambda batch: eager_logits(network, batch)}
    for name, segmenter in segmenters.items():
        whole[name], alone[name] = segmenter.segment, session_answer(bundles[name], threads)
    took: dict[str, dict[str, list[float]]] = {name: {"whole": [], "alone": []} for name in whole}
    for number in range(_WARM_UP + frames):
        image = images[number % len(images)]
        batch = network_input(image, HOW)
        for name in whole:
            for what, call in (
                ("whole", partial(whole[name], image)),
                ("alone", partial(alone[name], batch)),
            ):
                _, seconds = seconds_of(call)
                if number >= _WARM_UP:
                    took[name][what].append(seconds)
    median = {
        name: {what: statistics.median(values) for what, values in both.items()}
        for name, both in took.items()
    }
    return {
        name: {
            "ms": round(1000 * both["whole"], 3),
            "frames_a_second": round(1 / both["whole"], 1),
            "network_ms": round(1000 * both["alone"], 3),
            "ratio": round(median["eager"]["whole"] / both["whole"], 2),
            "network_ratio": round(median["eager"]["alone"] / both["alone"], 2),
        }
        for name, both in median.items()
    }


def session_answer(bundle: ModelBundle, threads: int) -> Answer:
    """The network alone in ONNX Runtime: (1, 3, h, w) float32 to its outputs."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(bundle.onnx, options, [CPU])
    name = session.get_inputs()[0].name
    return lambda batch: session.run(None, {name: batch})


@torch.inference_mode()
def eager_logits(network: nn.Module, batch: NDArray[np.float32]) -> torch.Tensor:
    """(1, C, h, w) of one preprocessed picture."""
    logits: torch.Tensor = network(torch.from_numpy(batch))
    return logits


@torch.inference_mode()
def eager_answer(
    network: nn.Module, image: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """(H, W) class ids and (3, H, W) confidence, entropy, margin, as a torch user writes it."""
    size = (image.shape[0], image.shape[1])
    logits = eager_logits(network, network_input(image, HOW))
    large = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)[0]
    mask = large.argmax(0).to(torch.uint8).numpy()
    shares = logits.softmax(1)
    top = shares.topk(2, dim=1).values[0]
    entropy = -(shares * shares.clamp_min(1e-38).log()).sum(1)[0] / np.log(shares.shape[1])
    planes = torch.stack([top[0], entropy, top[0] - top[1]])[None]
    grown = F.interpolate(planes, size=size, mode="bilinear", align_corners=False)[0]
    return mask, grown.numpy()


def mask_figures(bundle: ModelBundle, images: list[NDArray[np.uint8]]) -> dict[str, object]:
    """Median ms of class ids from logits by picture size: every class enlarged, and ours."""
    segmenter = OnnxSegmenter(bundle, threads=1)
    answers = [segmenter.logits(image) for image in images]
    figures: dict[str, object] = {}
    for height, width in ((320, 480), (720, 1280)):
        plain, ours = [], []
        for logits in answers:
            wanted, seconds = seconds_of(partial(plain_mask, logits, height, width))
            plain.append(seconds)
            mask, seconds = seconds_of(partial(mask_from_logits, logits, height, width))
            ours.append(seconds)
            assert np.array_equal(mask, wanted)
        figures[f"{width}x{height}"] = {
            "plain_ms": round(1000 * statistics.median(plain), 2),
            "ours_ms": round(1000 * statistics.median(ours), 2),
            "ratio": round(statistics.median(plain) / statistics.median(ours), 2),
        }
    return figures


def plain_mask(logits: NDArray[np.float32], height: int, width: int) -> NDArray[np.uint8]:
    """(height, width) class ids: one class after the other enlarged, the best so far kept."""
    mask = np.zeros((height, width), dtype=np.uint8)
    best = np.full((height, width), -np.inf, dtype=np.float32)
    for class_id, values in enumerate(logits):
        plane = enlarged(values, height, width)
        mask[plane > best] = class_id
        np.maximum(best, plane, out=best)
    return mask


def process_figures(
    bundle: ModelBundle, images: list[NDArray[np.uint8]], frames: int
) -> dict[str, object]:
    """What a process of its own says of itself, one thread."""
    with tempfile.TemporaryDirectory(prefix="cornerloop-bench-") as folder:
        target = Path(folder, "model.bundle")
        target.write_bytes(bundle.to_bytes())
        for number, image in enumerate(images):
            Path(folder, f"{number:03d}.jpg").write_bytes(jpeg_from_image(image))
        command = ["-m", "bench.edge_process", str(target), folder, "--frames", str(frames)]
        done = subprocess.run(
            [sys.executable, *command], stdout=subprocess.PIPE, text=True, check=True
        )
    figures: dict[str, object] = json.loads(done.stdout)
    assert not figures.pop("torch"), "torch must not be in an edge process"
    return figures


if __name__ == "__main__":
    main()
