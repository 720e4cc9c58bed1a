"""ANN-02, ANN-10: `cornerloop push` and `cornerloop export`, as programs, beside a real server."""

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import yaml

from annotation.formats.ssa import ssa_from_mask
from annotation.formats.train_ids import read_train_ids
from annotation.label_studio import LabelStudio
from annotation.label_studio_server import LabelStudioServer
from lifelong.records.label_map import CITYSCAPES
from lifelong.records.pixels import jpeg_from_image
from tests.builders import a_mask, an_image
from tests.integration_fixtures import REPOSITORY

pytestmark = [pytest.mark.integration, pytest.mark.slow]

NAMES = ["front/a-b 1.jpg", "front/ü%20 2.jpg", "rear/3.jpg"]


def test_ann_02_a_folder_of_drafts_goes_out_once_and_comes_back_as_it_was(
    label_studio_server: LabelStudioServer, tmp_path: Path
) -> None:
    label_studio_server.start()
    dataset = tmp_path / "dataset"
    for seed, name in enumerate(NAMES):
        image = dataset / "raw_data" / name
        draft = (dataset / "ssa_output" / name).with_suffix("")
        for folder in (image.parent, draft.parent):
            folder.mkdir(parents=True, exist_ok=True)
        image.write_bytes(jpeg_from_image(an_image(seed)))
        draft.with_name(f"{draft.name}_semantic.json").write_bytes(ssa_from_mask(a_mask(seed)))
    config = tmp_path / "config.yaml"
    root = label_studio_server.documents_root
    told = {
        "storage": str(root / tmp_path.name),
        "label_studio": {
            "url": label_studio_server.url,
            "project": f"Pushed {tmp_path.name}"[:50],
            "local_files_root": str(root),
        },
    }
    config.write_text(yaml.safe_dump(told), encoding="utf-8")

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "cloud", *words, "--config", str(config)],
            cwd=REPOSITORY,
            env=os.environ | {"CORNERLOOP_LABEL_STUDIO_TOKEN": label_studio_server.token},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    for _ in range(2):
        assert run("push", str(dataset)).startswith("3 pictures are offered -> http://127.0.0.1")
    with closing(LabelStudio(label_studio_server.url, label_studio_server.token, 60)) as studio:
        (project,) = studio.projects_titled(told["label_studio"]["project"])  # type: ignore[index]
        tasks = studio.open_tasks(project.project_id)
        assert len(tasks) == 3
        for task in tasks[:2]:
            (prediction,) = task.predictions
            studio.create_annotation(
                task.task_id,
                prediction.regions,
                seconds=1.0,
                parent_prediction=prediction.prediction_id,
            )
        finished = {str(task.meta["name"]) for task in tasks[:2]}
    out = tmp_path / "out"
    run("export", str(out), "--format", "train-ids")
    found = {
        path.relative_to(out / "train" / "train_ids").as_posix(): read_train_ids(path)
        for path in (out / "train" / "train_ids").rglob("*.png")
    }
    assert len(found) == 2
    names = json.loads((out / "manifest.json").read_text())
    assert names["pictures"] == 2
    for seed, name in enumerate(NAMES):
        if name in finished:
            kept = [mask for mask in found.values() if np.array_equal(mask, a_mask(seed))]
            assert len(kept) == 1, name
    images = {path.name for path in (out / "train" / "images").rglob("*.jpg")}
    assert len(images) == 2
    assert CITYSCAPES.digest == names["label_map"]["digest"]
