"""The demo's report: `report.json` for machines, `report.html` with pictures for people."""

import base64
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cloud.monitor.difference_maps import changes
from cloud.releasing.releases import Releases
from cloud.reports import accuracy_matrix, lineage, round_summary
from lifelong.errors import LifelongError
from lifelong.knowledge_base import KnowledgeBase
from lifelong.links.journal import read_events
from lifelong.links.storage import Storage
from lifelong.overlays import overlay
from lifelong.records.colours import css_colour
from lifelong.records.label_map import LabelMap
from lifelong.records.pixels import image_from_bytes, mask_from_png
from lifelong.records.rounds import Round
from lifelong.records.samples import Annotation, HardExample
from lifelong.records.wire import from_json
from lifelong.segmentation_metrics import confusion_matrix, mean_iou
from lifelong.segmenter import OnnxSegmenter

Truth = Callable[[Mapping[str, str]], NDArray[np.uint8] | None]
Row = list[tuple[str, NDArray[np.uint8]]]  # titles and (H, W, 3) pictures
PICTURE_WIDTH = 360  # pixels in the page


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Everything a report is told from."""

    storage: Storage
    kb: KnowledgeBase
    releases: Releases
    rounds: Sequence[Round]
    label_map: LabelMap
    truth: Truth
    conditions: tuple[str, ...]
    frames_by_condition: Mapping[str, int]
    edge_health: Mapping[str, Any]
    edge_frames: int  # looked at, in all lives of the edge's process
    edge_journal: Path
    twin_tasks: int  # annotation tasks that exist twice in Label Studio


def report_json(run: Run) -> dict[str, Any]:
    """The run in numbers; rounds without an example are left out."""
    told = [round_ for round_ in run.rounds if round_.examples]
    current = run.releases.current()
    admitted, kept = _delivered(run), _kept(run)
    return {
        "rounds": [
            {
                **round_summary(round_, run.kb),
                "frames": run.frames_by_condition.get(_condition(round_, run), 0),
                "draft_miou": _draft_miou(round_, run),
            }
            for round_ in told
        ],
        "accuracy_matrix": accuracy_matrix(told, run.kb, run.conditions),
        "conditions": list(run.conditions),
        "edge": {
            "frames": run.edge_frames,
            "fps": _frames_a_second(run),
            "uploaded": len(admitted),
            "swaps": _swaps(run),
        },
        "deployed": current.version_id if current else None,
        "lineage": lineage(current.version_id, run.kb) if current else [],
        "lost": len(kept - set(admitted)),
        "duplicated": len(admitted) - len(set(admitted)) + run.twin_tasks,
    }


def write_report(run: Run, folder: Path) -> dict[str, Any]:
    """Write both files; answers what `report.json` holds."""
    numbers = report_json(run)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(numbers, indent=1, ensure_ascii=False)
    (folder / "report.json").write_text(text, encoding="utf-8")
    rows = {r.number: _pictures(r, run) for r in run.rounds if r.annotations}
    for number, found in rows.items():
        (folder / "pictures").mkdir(exist_ok=True)
        strip(found[0]).save(folder / "pictures" / f"round-{number}.jpg", quality=88)
    environment = Environment(loader=PackageLoader("cloud.demo", "templates"), autoescape=True)
    environment.filters["points"] = lambda v: "–" if v is None else f"{100 * v:.1f}"
    environment.filters["shade"] = _shade
    page = environment.get_template("report.html").render(
        report=numbers,
        pictures={
            number: [[{"title": t, "src": _data_uri(p)} for t, p in row] for row in found]
            for number, found in rows.items()
        },
        legend=_legend(run),
    )
    (folder / "report.html").write_text(page, encoding="utf-8")
    return numbers


def _condition(round_: Round, run: Run) -> str:
    return str(round_summary(round_, run.kb)["condition"])


def _draft_miou(round_: Round, run: Run) -> float | None:
    """mIoU of the drafts against the exact labels, over all of a round's pictures together."""
    matrix = np.zeros((len(run.label_map),) * 2, dtype=np.int64)
    for draft in round_.drafts:
        truth = run.truth(draft.attributes)
        if truth is not None:
            mask = mask_from_png(run.storage.get(draft.mask_key), draft.mask_key)
            matrix += confusion_matrix(truth, mask, len(run.label_map))
    return round(float(mean_iou(matrix)), 4) if matrix.any() else None


def _delivered(run: Run) -> list[str]:
    keys = list(run.storage.keys("examples"))
    return [from_json(HardExample, run.storage.get(key), key).sample_id for key in keys]


def _kept(run: Run) -> set[str]:
    """What the edge said it kept, less what it said it had to drop."""
    events = list(read_events(run.edge_journal))
    kept = {e["sample_id"] for e in events if e["event"] == "hard_example.kept"}
    dropped = {e["sample_id"] for e in events if e["event"] == "hard_example.dropped"}
    return kept - dropped


def _frames_a_second(run: Run) -> float | None:
    """What the edge could do: from the median time of a frame, not from how many there were."""
    median = run.edge_health.get("p50_ms")
    return round(1000.0 / float(median), 1) if median else None


def _swaps(run: Run) -> int:
    """Released models that took over from another one, in all lives of the edge's process."""
    events = read_events(run.edge_journal)
    return sum(e["event"] == "model.swapped" and bool(e.get("from")) for e in events)


def strip(row: Row) -> Image.Image:
    """Pictures side by side with their titles under them, for a page that shows one image."""
    height, width = row[0][1].shape[:2]
    label = 18
    sheet = Image.new("RGB", (len(row) * (width + 6) - 6, height + label), "white")
    draw = ImageDraw.Draw(sheet)
    for place, (title, picture) in enumerate(row):
        sheet.paste(Image.fromarray(picture), (place * (width + 6), 0))
        draw.text((place * (width + 6), height + 3), title, fill="black")
    sheet.thumbnail((2400, 2400))
    return sheet


def _pictures(round_: Round, run: Run) -> list[Row]:
    """Two of a round's pictures, each as frame | edge before | draft | corrected | after."""
    after = _segmenter(round_, run)
    examples = {e.sample_id: e for e in round_.examples}
    # The two that changed most and least tell more than two at random.
    ordered = sorted(round_.annotations, key=lambda a: (-a.changed_pixels, a.sample_id))
    chosen = ordered[:1] + ordered[len(ordered) // 2 : len(ordered) // 2 + 1]
    return [_row(a, examples[a.sample_id], round_, run, after) for a in chosen]


def _row(
    annotation: Annotation,
    example: HardExample,
    round_: Round,
    run: Run,
    after: OnnxSegmenter | None,
) -> Row:
    image = image_from_bytes(run.storage.get(example.image_key), example.image_key)
    masks = {"edge before": example.mask_key}
    for draft in round_.drafts:
        if draft.sample_id == annotation.sample_id:
            masks["draft"] = draft.mask_key
    masks["corrected"] = annotation.mask_key
    read = {name: mask_from_png(run.storage.get(key), key) for name, key in masks.items()}
    if after is not None:
        read["edge after" if round_.decision and round_.decision.accepted else "refused model"] = (
            after.segment(image).mask
        )
    row = [("frame", image)]
    row += [(name, overlay(image, mask, run.label_map)) for name, mask in read.items()]
    if "draft" in read:
        found = changes(read["draft"], read["corrected"])
        row.append(("what people changed", found.paint(image)))
    return row


def _segmenter(round_: Round, run: Run) -> OnnxSegmenter | None:
    if round_.candidate is None:
        return None
    try:
        return OnnxSegmenter(run.releases.bundle(round_.candidate), threads=1)
    except LifelongError:
        return None  # the report is told without that column


def _legend(run: Run) -> list[tuple[str, str]]:
    label_map = run.label_map
    return [
        (name, css_colour(colour))
        for name, colour in zip(label_map.names, label_map.colours, strict=True)
    ]


def _shade(value: float | None) -> str:
    """A cell's background from white to blue with the value; text colour that can be read."""
    if value is None:
        return "background: transparent"
    ink = "#fff" if value > 0.55 else "#111"
    return f"background: color-mix(in srgb, #0072b2 {100 * value:.0f}%, #fff); color: {ink}"


def _data_uri(image: NDArray[np.uint8]) -> str:
    picture = Image.fromarray(image)
    picture.thumbnail((PICTURE_WIDTH, PICTURE_WIDTH * 4))
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
