"""Tasks with drafts to a real Label Studio and back: our push and pull beside the bare SDK.

python -m bench.label_studio --json
python -m bench.label_studio --tasks 200

Starts a Label Studio of its own. Masks are drawn streets of 480x360 pixels. The SDK imports tasks
that are ready made, in the same batches, then lists them with everything in them, and exports
them; we make the tasks from masks, import, and ask twice what is there, so that nothing is twice;
and we read what people submitted into masks, records and figures of what it cost. Label Studio
makes the annotations from the drafts itself, with an action. Both sides meet the same server in the
same run, the SDK first. Growth is the time of the last hundred tasks by that of the first.
"""

import argparse
import logging
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import label_studio_sdk

from annotation.draft_regions import DraftShapes
from annotation.exchange import Exchange
from annotation.label_studio import LabelStudio
from annotation.label_studio_server import LabelStudioServer
from annotation.labeling_config import labeling_config
from annotation.tasks import model_version_of, task_json
from bench.measuring import in_child, peak_mib, report, seconds_of
from cloud.demo.scenes import CONDITIONS, draw_scene
from lifelong.links.journal import Journal, utc_now
from lifelong.links.storage import Storage, open_storage
from lifelong.records.ids import RoundNumber, SampleId, sha256_hex
from lifelong.records.label_map import CITYSCAPES
from lifelong.records.pixels import jpeg_from_image, mask_from_png, png_from_mask
from lifelong.records.samples import PreAnnotation
from lifelong.sections.annotation import LabelStudioSection

ROOT = Path(__file__).parents[1]
EXECUTABLE = ROOT / ".venv-label-studio" / "bin" / "label-studio"
TEMPLATE = ROOT / ".cache" / "label-studio-template"
HEIGHT, WIDTH = 360, 480
SCENES = 20  # drawn; tasks take turns with them
_BATCH = 100
_PAGE = 100


def main() -> None:
    """Start a server, run both sides, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--draft", choices=["auto", "brush", "polygons"], default="auto")
    parser.add_argument("--label-studio", type=Path, default=EXECUTABLE)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    if not given.label_studio.is_file():
        report({"skipped": f"no Label Studio at {given.label_studio}"}, as_json=given.json)
        return
    folder = Path(tempfile.mkdtemp())
    try:
        server = LabelStudioServer(
            given.label_studio,
            folder / "data",
            folder / "documents",
            folder / "log.txt",
            template=TEMPLATE,
        )
        with server:
            figures = measured(server, folder, given.tasks, given.draft)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report(figures, as_json=given.json)


def measured(server: LabelStudioServer, folder: Path, count: int, mode: Any) -> dict[str, object]:
    """Seconds, rates and ratios of both sides."""
    storage = open_storage(str(folder / "documents" / "storage"))
    drafts = drafts_in(storage, count)
    # In a process of its own: what it holds shall not count as ours.
    bodies = bodies_of(storage, drafts, mode)
    bare, _, bare_peak = in_child(of_the_sdk, server.url, server.token, bodies)
    with closing(LabelStudio(server.url, server.token, 600.0)) as studio:
        ours = of_ours(server, studio, storage, drafts, folder, mode)
    push, pull = ours["push_s"], ours["pull_s"]
    return {
        "bench": "label_studio", "tasks": count, "size": [HEIGHT, WIDTH], "draft": mode,
        "sdk": {name: round(value, 2) for name, value in bare.items()},
        "ours": {name: round(value, 3) for name, value in ours.items()},
        "push_tasks_a_second": round(count / push, 1),
        "pull_tasks_a_second": round(count / pull, 1),
        "sdk_import_tasks_a_second": round(count / bare["import_s"], 1),
        "sdk_list_tasks_a_second": round(count / bare["list_s"], 1),
        "sdk_export_tasks_a_second": round(count / bare["export_s"], 1),
        "push_seconds_by_sdk_import": round(push / bare["import_s"], 3),
        "pull_seconds_by_sdk_list": round(pull / bare["list_s"], 3),
        "pull_seconds_by_sdk_export": round(pull / bare["export_s"], 3),
        "peak_mib_of_the_sdk": round(bare_peak, 1),
        "peak_mib_of_our_process": round(peak_mib(), 1),
    }  # fmt: skip


def drafts_in(storage: Storage, count: int) -> list[PreAnnotation]:
    """Drafts with pictures and masks in storage, `SCENES` different ones in turn."""
    scenes = [
        draw_scene(seed, CONDITIONS[seed % len(CONDITIONS)], HEIGHT, WIDTH)
        for seed in range(min(SCENES, count))
    ]
    images = [jpeg_from_image(scene.image) for scene in scenes]
    masks = [png_from_mask(scene.mask) for scene in scenes]
    drafts = []
    for number in range(count):
        sample_id = SampleId(sha256_hex(f"bench {number}".encode())[:32])
        draft = PreAnnotation(
            sample_id=sample_id,
            round_number=RoundNumber(1),
            image_key=f"images/{sample_id}.jpg",
            mask_key=f"drafts/1/{sample_id}.png",
            height=HEIGHT,
            width=WIDTH,
            score=0.5,
            proposed_by="bench",
            labelled_by="bench",
        )
        storage.put(draft.image_key, images[number % len(images)])
        storage.put(draft.mask_key, masks[number % len(masks)])
        drafts.append(draft)
    return drafts


def bodies_of(storage: Storage, drafts: Sequence[PreAnnotation], mode: Any) -> list[Any]:
    """Tasks ready for the SDK's import; those of one scene share their regions."""
    shapes = DraftShapes(mode=mode).checked(CITYSCAPES)
    made = [
        task_json(
            draft,
            mask_from_png(storage.get(draft.mask_key), draft.mask_key),
            image_url=f"/data/local-files/?d=storage/{draft.image_key}",
            label_map=CITYSCAPES,
            shapes=shapes,
        )
        for draft in drafts[:SCENES]
    ]
    return [made[number % len(made)] for number in range(len(drafts))]


def of_the_sdk(url: str, token: str, bodies: Sequence[Any]) -> dict[str, float]:
    """Seconds of import, list and export with nothing but the SDK."""
    sdk = label_studio_sdk.LabelStudio(base_url=url, api_key=token, timeout=600)
    project = sdk.projects.create(title="Bare", label_config=labeling_config(CITYSCAPES)).id
    marks = [time.perf_counter()]
    for start in range(0, len(bodies), _BATCH):
        sdk.projects.import_tasks(id=project, request=bodies[start : start + _BATCH])
        marks.append(time.perf_counter())
    _submit_drafts(sdk, project)
    listed, list_s = seconds_of(lambda: list(sdk.tasks.list(project=project, page_size=_PAGE)))
    exported, export_s = seconds_of(
        lambda: b"".join(sdk.projects.exports.download_sync(id=project, export_type="JSON"))
    )
    assert len(listed) == len(bodies)
    assert exported
    return {
        "import_s": marks[-1] - marks[0],
        "import_growth": (marks[-1] - marks[-2]) / (marks[1] - marks[0]),
        "list_s": list_s,
        "export_s": export_s,
    }


def of_ours(
    server: LabelStudioServer,
    studio: LabelStudio,
    storage: Storage,
    drafts: Sequence[PreAnnotation],
    folder: Path,
    mode: Any,
) -> dict[str, float]:
    """Seconds of push and pull, of repeating both, growth a task, and memory."""
    exchange = Exchange(
        storage=storage,
        studio=studio,
        label_map=CITYSCAPES,
        section=LabelStudioSection(
            project="Ours", local_files_root=server.documents_root, draft=mode
        ),
        journal=Journal(folder / "journal", "bench"),
        now=utc_now,
    )
    before = _resident_mib()
    with _marked(studio, "import_tasks") as pushes:
        tasks, push_s = seconds_of(lambda: exchange.push(drafts))
    after_push = _resident_mib()
    again, push_again_s = seconds_of(lambda: exchange.push(drafts))
    assert again == tasks
    assert studio.shown_version(tasks[0].project_id) == model_version_of(1)
    _submit_drafts(studio._sdk, tasks[0].project_id)
    with _marked(storage, "put", "masks/") as pulls:
        pulled, pull_s = seconds_of(lambda: exchange.pull(tasks))
    assert len(pulled.annotations) == len(drafts)
    assert all(one.agreement == 1.0 for one in pulled.annotations), "nobody edited anything"
    repeated, pull_again_s = seconds_of(lambda: exchange.pull(tasks))
    assert repeated == pulled
    share = max(len(pulls) // 10, 2)
    order = [task.sample_id for task in tasks]
    _, sort_s = seconds_of(lambda: exchange.sort(tasks, order))
    return {
        "push_s": push_s,
        "push_growth": _growth(pushes, 1),
        "push_again_s": push_again_s,
        "pull_s": pull_s,
        "pull_growth": _growth(pulls, min(_BATCH, share)),
        "pull_again_s": pull_again_s,
        "sort_unchanged_s": sort_s,
        "mib_before": before,
        "mib_after_push": after_push,
        "mib_after_pull": _resident_mib(),
    }


def _submit_drafts(sdk: label_studio_sdk.LabelStudio, project_id: int) -> None:
    """Let Label Studio make an annotation of each prediction, as if nobody had edited it."""
    sdk.actions.create(
        id="predictions_to_annotations",
        project=project_id,
        selected_items={"all": True, "excluded": []},  # type: ignore[arg-type]
    )


@contextmanager
def _marked(thing: Any, name: str, prefix: str = "") -> Iterator[list[float]]:
    """When each call of a method ended; with a prefix only those whose first argument has it."""
    marks = [time.perf_counter()]
    real = getattr(thing, name)

    def marked(*given: Any, **named: Any) -> Any:
        answer = real(*given, **named)
        if not prefix or str(given[0]).startswith(prefix):
            marks.append(time.perf_counter())
        return answer

    setattr(thing, name, marked)
    try:
        yield marks
    finally:
        delattr(thing, name)


def _growth(marks: Sequence[float], many: int) -> float:
    """The last `many` calls' time by that of the first `many` after the first one."""
    if len(marks) < 2 * many + 1:
        return 1.0
    return (
        (marks[-1] - marks[-1 - many]) / max(marks[many + 1] - marks[1], 1e-9)
        if (many > 1)
        else (marks[-1] - marks[-2]) / (marks[1] - marks[0])
    )


def _resident_mib() -> float:
    """What this process holds at present."""
    fields = _status(Path("/proc/self/status"))
    return int(fields.get("VmRSS", "0 kB").split()[0]) / 1024


def _status(path: Path) -> Mapping[str, str]:
    if not path.exists():  # not Linux
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)  # type: ignore[misc]


if __name__ == "__main__":
    main()
