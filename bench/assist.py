"""Interactive annotation: clicks over HTTP beside the bare decoder and the peers' examples.

python -m bench.assist --json [--peer FOLDER --peer-python PYTHON] [--only PART …]

PARTS: `clicks` (how long a click takes, bench/assist_clicks.py), `annotators` (many at once, equal
masks), `memory` (the server's resident memory over thousands of clicks), `precision` (bfloat16
beside fp32), `onnx` (beside torch), `quality` (clicks an object takes). All but `memory`, which
takes an hour or more in full, run where none is named; `--only memory` runs it, with `--pictures`
and `--clicks-each`. Every server is a process of its own, and everything is asked over HTTP on
loopback with the bodies that Label Studio 1.23 sends.

Peers are the examples `segment_anything_model` and `segment_anything_2_image` of
label-studio-ml-backend, which are no part of this repository: docs/assist.md says how to get them.
Without them their figures are null. Weights are seeded where equal ones are needed, and the shipped
tiny SAM's, which is trained, where masks must mean something. Ratios are of medians of things that
took turns; what else the machine had to do is in `load_average`.
"""

import argparse
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from bench.assist_annotators import AnnotatorsCase, annotator_figures
from bench.assist_clicks import ClickCase, click_figures
from bench.assist_memory import MemoryCase, memory_figures
from bench.assist_onnx import exported_tiny, onnx_figures
from bench.assist_precision import precision_figures
from bench.assist_quality import quality_figures
from bench.assist_servers import Peers
from bench.measuring import report, seconds_of

FOLDER = Path("runs/bench-assist")
_NO_PEERS = "no --peer; docs/assist.md says how to get label-studio-ml-backend's examples"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    given = options().parse_args(arguments)
    logging.basicConfig(level=logging.ERROR)
    # segment-anything puts tensors into numpy arrays the way numpy 1 liked it.
    warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
    # Both sides alike, the servers too: two threads on a busy core wait for each other.
    torch.set_num_threads(given.threads)
    os.environ["OMP_NUM_THREADS"] = str(given.threads)
    report(measured(given), as_json=given.json)


def measured(given: argparse.Namespace) -> dict[str, Any]:
    """The figures of every part that was asked for, in one object."""
    given.folder.mkdir(parents=True, exist_ok=True)
    peers = None
    if given.peer is not None:
        peers = Peers(folder=given.peer.resolve(), python=given.peer_python.absolute())
    figures: dict[str, Any] = {
        "bench": "assist", "size": [given.height, given.width], "model": given.model,
        "threads": torch.get_num_threads(), "load_average_before": round(os.getloadavg()[0], 1),
    }  # fmt: skip
    if peers is None:
        figures["peer_why_not"] = _NO_PEERS
    took = {}
    with tempfile.TemporaryDirectory(prefix="run-", dir=given.folder.resolve()) as folder:
        parts = _parts(given, peers, Path(folder))
        for name in given.only or [name for name in parts if name != "memory"]:
            found, took[name] = seconds_of(parts[name])
            figures |= found
            _tell(f"{name}: {took[name]:.0f} s")
    return figures | {
        "part_s": {name: round(seconds) for name, seconds in took.items()},
        "load_average": round(os.getloadavg()[0], 1),
    }


def _parts(
    given: argparse.Namespace, peers: Peers | None, here: Path
) -> Mapping[str, Callable[[], dict[str, object]]]:
    # Servers of this run, not what an earlier one embedded: only weights and pictures are kept.
    for shared in ("pictures", "weights"):
        (given.folder / shared).mkdir(exist_ok=True)
        (here / shared).symlink_to((given.folder / shared).resolve())
    clicks = ClickCase(
        folder=here,
        model=given.model,
        height=given.height,
        width=given.width,
        clicks=given.clicks,
        pictures=given.prefetched,
        peers=peers,
        sam2=given.sam2,
    )
    annotators = AnnotatorsCase(
        folder=here,
        height=given.height // 2,
        width=given.width // 2,
        annotators=given.annotators,
        pictures=given.annotators,
        clicks=given.clicks_of_each,
        peers=peers,
    )
    memory = MemoryCase(
        folder=here, height=360, width=480, pictures=given.pictures, clicks=given.clicks_each
    )
    size = (given.height, given.width)
    return {
        "clicks": lambda: click_figures(clicks),
        "annotators": lambda: annotator_figures(annotators),
        "precision": lambda: precision_figures(here, size, given.rounds),
        "onnx": lambda: onnx_figures(here),
        "quality": lambda: quality_figures(given.scenes, exported_tiny(here)),
        "memory": lambda: memory_figures(memory),
    }


def options() -> argparse.ArgumentParser:
    """What may be said on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on one line")
    parser.add_argument(
        "--only", nargs="+", metavar="PART",
        choices=["clicks", "annotators", "memory", "precision", "onnx", "quality"],
    )  # fmt: skip
    parser.add_argument("--peer", type=Path, help="checkout of label-studio-ml-backend")
    parser.add_argument(
        "--peer-python", type=Path, default=Path(sys.executable), help="that runs its examples"
    )
    parser.add_argument("--sam2", default="tiny", help="size of the SAM 2 compared; '' for none")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="for weights and servers")
    parser.add_argument("--model", choices=["vit_b", "tiny"], default="vit_b", help="of `clicks`")
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--clicks", type=int, default=40, help="rounds of clicks on one picture")
    parser.add_argument("--prefetched", type=int, default=5, help="pictures embedded beforehand")
    parser.add_argument("--annotators", type=int, default=8, help="people, and pictures")
    parser.add_argument("--clicks-of-each", type=int, default=24, help="of these people")
    parser.add_argument("--rounds", type=int, default=3, help="pictures for every encoder")
    parser.add_argument("--scenes", type=int, default=20, help="of the clicks an object takes")
    parser.add_argument("--pictures", type=int, default=1000, help="of the part `memory`")
    parser.add_argument("--clicks-each", type=int, default=100, help="on each of these")
    return parser


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
