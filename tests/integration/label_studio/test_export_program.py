"""`cornerloop export` from a real Label Studio, and its own JSON and JSON-MIN read back."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from typer.testing import CliRunner

from annotation.draft_regions import BRUSH_DRAFTS, POLYGON_DRAFTS, regions_from_mask
from annotation.exports.picture_items import Item
from annotation.exports.picture_sources import Reading, open_source
from annotation.label_studio import LabelStudio
from annotation.label_studio_server import LabelStudioServer
from cloud.cli import app
from cloud.converting.seed_conversions import SEED_TOOLS
from lifelong.records.label_map import LabelMap, label_map_of
from lifelong.records.pixels import jpeg_from_image
from tests.builders import a_mask, an_image

pytestmark = pytest.mark.integration

CLASSES = label_map_of([("road", (173, 198, 255)), ("car", (247, 89, 171)), ("person", (9, 9, 9))])
# Seed 003's interface, and a brush beside it.
INTERFACE = """<View>
  <Image name="image" value="$image" zoom="true"/>
  <PolygonLabels name="labels" toName="image" Opacity="0.5" strokeWidth="3">{0}</PolygonLabels>
  <BrushLabels name="brush" toName="image">{0}</BrushLabels>
</View>""".format("".join(f'<Label value="{name}"/>' for name in CLASSES.names))
NAMES = ["front/a-b c.jpg", "front/ü_0002.jpg", "rear/a-b c.jpg", "open.jpg", "skipped.jpg"]


@pytest.fixture
def project(
    label_studio_server: LabelStudioServer, tmp_path: Path
) -> Iterator[tuple[LabelStudio, int]]:
    """Three pictures submitted, one of them twice, one open, one skipped."""
    label_studio_server.start()
    with closing(LabelStudio(label_studio_server.url, label_studio_server.token, 60)) as studio:
        yield studio, _filled(studio, label_studio_server.documents_root, tmp_path.name)


def _filled(studio: LabelStudio, documents: Path, title: str) -> int:
    number = studio.create_project(f"export {title}", INTERFACE, "")
    for name in NAMES:
        path = documents / "park" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg_from_image(an_image(NAMES.index(name))))
    references = [f"/data/local-files/?d={quote(f'park/{name}')}" for name in NAMES]
    studio.import_tasks(number, [{"data": {"image": reference}} for reference in references])
    ids = {str(t.data["image"]): t.task_id for t in studio.open_tasks(number)}
    first, second, third, _, skipped = [ids[reference] for reference in references]
    polygons = regions_from_mask(a_mask(0), CLASSES, shapes=POLYGON_DRAFTS, tools=SEED_TOOLS)
    brush = regions_from_mask(a_mask(2), CLASSES, shapes=BRUSH_DRAFTS)
    for task_id, regions in (
        (first, polygons),
        (second, regions_from_mask(a_mask(7), CLASSES, shapes=BRUSH_DRAFTS)),
        (second, regions_from_mask(a_mask(1), CLASSES, shapes=BRUSH_DRAFTS)),
        (third, brush),
    ):
        studio.create_annotation(task_id, regions, seconds=1, parent_prediction=None)
    studio.skip_task(skipped)
    return number


def masks_in(path: Path, kind: str, label_map: LabelMap) -> dict[str, Any]:
    source = open_source(path, kind, Reading(label_map=label_map))
    return {i.name: source.read(i).mask() for i in source.items() if isinstance(i, Item)}


def test_ann_10_a_running_project_is_exported_pixel_by_pixel(
    project: tuple[LabelStudio, int], label_studio_server: LabelStudioServer, tmp_path: Path
) -> None:
    """ANN-10, CNV-06, CNV-07: what is submitted, under its own names, with its images."""
    _, number = project
    classes = tmp_path / "classes.json"
    classes.write_text(json.dumps({"id2label": dict(enumerate(CLASSES.names))}))
    config = tmp_path / "config.yaml"
    config.write_text(
        f"storage: {tmp_path / 'storage'}\njournal_path: {tmp_path / 'journal.jsonl'}\n"
        f"label_map: {classes}\n"
        f"label_studio:\n  url: {label_studio_server.url}\n"
        f"  local_files_root: {label_studio_server.documents_root}\n"
    )
    out = tmp_path / "out"
    flags = ["--format", "png", "--config", str(config), "--project", str(number)]
    result = CliRunner().invoke(
        app,
        ["export", str(out), *flags, "--names-below", "park", "--workers", "2"],
        env={"CORNERLOOP_LABEL_STUDIO_TOKEN": label_studio_server.token},
        catch_exceptions=False,
    )
    assert result.exit_code == 0, result.output
    found = masks_in(out, "masks", CLASSES)
    assert sorted(found) == sorted(NAMES[:3])
    for seed, name in enumerate(NAMES[:3]):
        assert np.array_equal(found[name], a_mask(seed)), name
        assert (out / "images" / "train" / name).read_bytes() == jpeg_from_image(an_image(seed))


@pytest.mark.parametrize("kind", ["JSON", "JSON_MIN"])
def test_cnv_07_label_studios_own_exports_are_read(
    project: tuple[LabelStudio, int], tmp_path: Path, kind: Any
) -> None:
    studio, number = project
    path = tmp_path / "export.json"
    path.write_bytes(studio.export(number, kind))
    found = masks_in(path, "label-studio", CLASSES)
    assert sorted(found) == sorted(f"park/{name}" for name in NAMES[:3])
    for seed, name in enumerate(NAMES[:3]):
        assert np.array_equal(found[f"park/{name}"], a_mask(seed)), name
