"""CNV-02 on a real server: SSA to Label Studio to JSON-MIN to train ids, equal on every pixel."""

from contextlib import closing
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from annotation.exchange import Exchange
from annotation.formats.label_studio_json import mask_of_task, tasks_from_export
from annotation.formats.ssa import mask_from_ssa, ssa_from_mask
from annotation.formats.train_ids import read_train_ids, write_train_ids
from annotation.label_studio import LabelStudio
from annotation.label_studio_server import LabelStudioServer
from lifelong.links.journal import Journal, utc_now
from lifelong.links.storage import open_storage
from lifelong.records.label_map import CITYSCAPES
from lifelong.records.pixels import png_from_mask
from lifelong.sections.annotation import LabelStudioSection
from tests.builders import a_jpeg, a_pre_annotation
from tests.camvid import camvid_masks

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("mode", ["auto", "brush", "polygons"])
@pytest.mark.parametrize("kind", ["JSON", "JSON_MIN"])
def test_cnv_02_no_edit_is_lossless_through_a_real_label_studio(
    label_studio_server: LabelStudioServer,
    tmp_path: Path,
    mode: Literal["auto", "brush", "polygons"],
    kind: Literal["JSON", "JSON_MIN"],
) -> None:
    label_studio_server.start()
    root = label_studio_server.documents_root
    storage = open_storage(str(root / tmp_path.name))
    masks = [mask for _, mask in camvid_masks()[::16]]
    drafts = []
    for seed, mask in enumerate(masks):
        draft = a_pre_annotation(seed, height=mask.shape[0], width=mask.shape[1])
        painted = mask_from_ssa(ssa_from_mask(mask), CITYSCAPES, "ssa")
        storage.put(draft.mask_key, png_from_mask(painted))
        storage.put(draft.image_key, a_jpeg(seed))
        drafts.append(draft)
    with closing(LabelStudio(label_studio_server.url, label_studio_server.token, 60.0)) as studio:
        section = LabelStudioSection(
            project=f"Round trip {mode} {kind}", local_files_root=root, draft=mode
        )
        exchange = Exchange(
            storage=storage,
            studio=studio,
            label_map=CITYSCAPES,
            section=section,
            journal=Journal(tmp_path / "journal", "cloud"),
            now=utc_now,
        )
        tasks = exchange.push(drafts)
        for task in tasks[:-1]:  # ANN-10: the last one stays open
            full = studio.task(task.task_id)
            assert full is not None
            (prediction,) = full.predictions
            studio.create_annotation(
                task.task_id,
                prediction.regions,
                seconds=1.0,
                parent_prediction=prediction.prediction_id,
            )
        exported = tasks_from_export(studio.export(tasks[0].project_id, kind), "export")
        assert [task.task_id for task in exported] == [task.task_id for task in tasks[:-1]]
        for found, mask in zip(exported, masks, strict=False):
            read = mask_of_task(found, CITYSCAPES)
            assert read is not None
            write_train_ids(tmp_path / f"{found.task_id}.png", read)
            assert np.array_equal(read_train_ids(tmp_path / f"{found.task_id}.png"), mask)
        pulled = exchange.pull(tasks)
        assert [one.agreement for one in pulled.annotations] == [1.0] * (len(tasks) - 1)
