"""Train the small models that ship with the product on drawn scenes, and measure them.

python -m tools.train_tiny_models --which sam --minutes 104
python -m tools.train_tiny_models --which segformer --minutes 86

Scenes of all conditions, seeds from 1,000,000 on; tools/measure_tiny_models.py measures on seeds
900,000 to 900,199, which are never trained on. Progress and checkpoints lie in runs/training/; a
stopped training goes on where it was. The edge node's first model is another story:
tools/train_edge_model.py.
"""

import argparse
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import cv2
import torch
from safetensors.torch import save_file
from torch import Tensor

from cloud.preannotation.drafting_training import segformer_config, train_segformer
from tools.scene_pool import ScenePool, open_pool
from tools.tiny_sam_training import train_sam

RUNS = Path("runs/training")
WEIGHTS = Path("cloud/preannotation/weights")
_POOL, _HELD_OUT, _HELD_OUT_SEED = 3000, 200, 900_000


def main() -> None:
    """Read the arguments, train, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--which", choices=["sam", "segformer"], required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--start", type=Path, help="of sam: a state dict to go on from")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    RUNS.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(given.threads)
    cv2.setNumThreads(given.threads)
    {"sam": _train_sam, "segformer": _train_segformer}[given.which](given)


def held_out() -> ScenePool:
    """The 200 scenes behind every figure, 40 of each condition."""
    return open_pool(RUNS / "heldout", _HELD_OUT, first_seed=_HELD_OUT_SEED)


def training_pool() -> ScenePool:
    """3,000 scenes of all conditions."""
    return open_pool(RUNS / "pool", _POOL)


def _train_sam(given: argparse.Namespace) -> None:
    train_sam(
        training_pool(), minutes=given.minutes, seed=given.seed, checkpoint=RUNS / "sam.pt",
        device=given.device, log=_log_to("sam"), publish=_writer("tiny_sam", given),
        start=None if given.start is None else torch.load(given.start, weights_only=True),
    )  # fmt: skip


def _train_segformer(given: argparse.Namespace) -> None:
    train_segformer(
        training_pool(), minutes=given.minutes, seed=given.seed, size=(256, 320), batch=6,
        checkpoint=RUNS / "segformer.pt", device=given.device, log=_log_to("segformer"),
        publish=_writer("tiny_segformer", given),
    )  # fmt: skip
    config = segformer_config().to_json_string(use_diff=True)
    (RUNS / "tiny_segformer.json").write_text(config)


def _writer(
    name: str, given: argparse.Namespace
) -> Callable[[dict[str, Tensor], int, float], None]:
    """Half-precision weights and the facts of the run, beside the checkpoints; copying them to
    the product is a person's decision."""

    def write(state: dict[str, Tensor], step: int, seconds: float) -> None:
        half = {
            key: (value.half() if value.is_floating_point() else value).contiguous().cpu()
            for key, value in state.items()
        }
        save_file(half, RUNS / f"{name}.part")
        (RUNS / f"{name}.part").replace(RUNS / f"{name}.safetensors")
        facts = {"seed": given.seed, "steps": step, "seconds": round(seconds)}
        facts |= {"minutes": given.minutes, "device": given.device, "threads": given.threads}
        (RUNS / f"{name}.facts.json").write_text(json.dumps(facts))

    return write


def _log_to(name: str) -> Callable[[str], None]:
    path = RUNS / f"{name}.log"

    def log(line: str) -> None:
        with path.open("a") as file:
            file.write(f"{datetime.now(UTC):%H:%M:%S} {line}\n")

    return log


if __name__ == "__main__":
    main()
