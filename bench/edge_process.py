"""One edge process for the bench: everything a node imports, a model, frames from files.

    python -m bench.edge_process BUNDLE FRAMES --frames 200 --threads 1

A program of its own, since nothing of torch may be in its memory. Prints one JSON object.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import edge.cli  # noqa: F401 - what a node has in memory before its first frame
from lifelong.hard_examples import judge
from lifelong.model_bundle import read_bundle
from lifelong.records.pixels import image_from_bytes
from lifelong.sections.edge import HardExamplesSection
from lifelong.segmenter import OnnxSegmenter

_WARM_UP = 20  # frames before times count


def main() -> None:
    """Decode, segment and judge; times are of the last two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("frames_path", type=Path)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    bundle = read_bundle(given.bundle.read_bytes(), str(given.bundle))
    imported = peak_mib()
    segmenter = OnnxSegmenter(bundle, threads=given.threads)
    files = sorted(given.frames_path.glob("*.jpg"))
    section, quantiles = HardExamplesSection(), bundle.manifest.score_quantiles
    wall, busy, mining = [], [], []
    for number in range(_WARM_UP + given.frames):
        path = files[number % len(files)]
        image = image_from_bytes(path.read_bytes(), str(path))
        began, began_busy = time.perf_counter(), time.thread_time()
        prediction = segmenter.segment(image)
        segmented = time.perf_counter()
        judge(prediction, section, quantiles, 0.5)
        ended = time.perf_counter()
        if number >= _WARM_UP:
            wall.append(ended - began)
            busy.append(time.thread_time() - began_busy)
            mining.append((ended - segmented) / (segmented - began))
    print(
        json.dumps(
            {
                "imported_mib": round(imported, 1),
                "peak_mib": round(peak_mib(), 1),
                "p50_ms": round(_quantile(wall, 0.5), 3),
                "p99_ms": round(_quantile(wall, 0.99), 3),
                "cpu_p50_ms": round(_quantile(busy, 0.5), 3),
                "p99_over_p50": round(_quantile(wall, 0.99) / _quantile(wall, 0.5), 3),
                "cpu_p99_over_p50": round(_quantile(busy, 0.99) / _quantile(busy, 0.5), 3),
                "mining_adds": round(sorted(mining)[len(mining) // 2], 4),
                "torch": "torch" in sys.modules,
            }
        )
    )


def peak_mib() -> float:
    """The most memory this program has held, in MiB.

    Not `ru_maxrss`: that survives exec, and would count the bench that started this program.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 2**10


def _quantile(seconds: list[float], share: float) -> float:
    """Milliseconds, nearest rank."""
    ranked = sorted(seconds)
    return 1000.0 * ranked[min(int(share * len(ranked)), len(ranked) - 1)]


if __name__ == "__main__":
    main()
