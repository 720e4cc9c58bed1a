"""ANN-06: whatever people and reviewers do, in whatever order, a pull tells how it stands now.

A process that has watched all along and one that starts now must agree; nothing cancelled,
rejected or unaccepted is ever among the annotations; every mask is the one that was submitted.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotation.regions import mask_from_regions
from annotation.review.standing import TaskState
from lifelong.errors import ReviewError
from lifelong.records.pixels import mask_from_png
from tests.builders import SMALL_MAP, a_mask
from tests.desks import FakeDesk, Setting, regions_of

STEPS = st.sampled_from(
    ["submit", "colleague", "change", "delete", "skip", "draft", "accept", "reject", "restart"]
)


def act(setting: Setting, step: str, task_id: int, seed: int) -> None:
    """One thing that somebody does; what is impossible does not happen."""
    studio = setting.desk.studio
    full = studio.task(task_id)
    assert full is not None
    existing = [one.annotation_id for one in full.annotations if not one.is_skip]
    match step:
        case "submit":
            setting.truth(a_mask(seed), task_id)
        case "colleague":
            with setting.desk.colleague() as colleague:
                colleague.create_annotation(
                    task_id, regions_of(a_mask(seed)), seconds=3.0, parent_prediction=None
                )
        case "change" if existing:
            setting.desk.change_annotation(existing[seed % len(existing)], regions_of(a_mask(seed)))
        case "delete" if existing:
            studio.delete_annotation(existing[seed % len(existing)])
        case "skip":
            studio.skip_task(task_id)
        case "draft":
            setting.desk.save_draft(task_id, regions_of(a_mask(seed)))
        case "restart":
            setting.exchange = setting.again()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.lists(st.tuples(STEPS, st.integers(0, 6)), max_size=9),
    required=st.booleans(),
    annotators=st.integers(1, 2),
    agree_below=st.sampled_from([0.0, 0.8]),
)
def test_ann_06_a_pull_tells_how_a_task_stands_now(
    steps: list[tuple[str, int]], required: bool, annotators: int, agree_below: float
) -> None:
    with TemporaryDirectory() as folder:
        setting = Setting(FakeDesk(Path(folder)), Path(folder))
        setting.ruled(required=required, annotators=annotators, agree_below=agree_below)
        (task,) = setting.exchange.push(setting.drafts(1))
        for step, seed in steps:
            if step in {"accept", "reject"}:
                try:
                    if step == "accept":
                        setting.reviewer().accept(task)
                    else:
                        setting.reviewer().reject(task, "again")
                except ReviewError:
                    pass
            else:
                act(setting, step, task.task_id, seed)
            pulled = setting.exchange.pull([task])
            assert pulled == setting.again().pull([task])
            (row,) = setting.reviewer().rows([task])
            finished = row.state is TaskState.ACCEPTED or (
                row.state is TaskState.SUBMITTED and bool(pulled.annotations)
            )
            assert bool(pulled.annotations) is finished
            assert bool(pulled.skips) is (row.state is TaskState.SKIPPED)
            for annotation in pulled.annotations:
                assert not required or row.state is TaskState.ACCEPTED
                full = setting.desk.studio.task(task.task_id)
                assert full is not None
                by_id = {one.annotation_id: one for one in full.annotations}
                submitted = by_id[annotation.annotation_id]
                assert not submitted.is_skip
                expected = mask_from_regions(
                    submitted.regions, SMALL_MAP, size=(48, 64), where="submitted"
                )
                data = setting.storage.get(annotation.mask_key, sha256=annotation.mask_sha256)
                assert np.array_equal(mask_from_png(data, "mask"), expected)


@pytest.mark.parametrize("step", ["change", "delete"])
def test_what_is_impossible_does_not_happen(tmp_path: Path, step: str) -> None:
    setting = Setting(FakeDesk(tmp_path), tmp_path)
    (task,) = setting.exchange.push(setting.drafts(1))
    act(setting, step, task.task_id, 3)
    full = setting.desk.studio.task(task.task_id)
    assert full is not None
    assert full.annotations == ()
