"""`Exchange` over a fake studio and over a real Label Studio: one suite, the same promises.

ANN-01 project by API, ANN-02 push is idempotent, ANN-10 partly annotated rounds come back.
"""

import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from annotation.draft_regions import DraftShapes, brush_region
from annotation.label_studio import LabelStudio
from annotation.label_studio_server import LabelStudioServer
from annotation.labeling_config import labeling_config
from annotation.regions import mask_from_regions
from annotation.tasks import task_json
from cloud.demo.scripted_annotator import ScriptedAnnotator
from lifelong.errors import (
    LabelStudioRefusedError,
    LabelStudioUnavailableError,
    ProjectMismatchError,
)
from lifelong.records.label_map import label_map_of
from lifelong.records.pixels import mask_from_png, png_from_mask
from tests.builders import SMALL_MAP, a_mask
from tests.desks import Desk, FakeDesk, RealDesk, Setting
from tests.integration_fixtures import personal_token


def test_ann_01_push_makes_a_project_with_tasks_that_show_the_draft(setting: Setting) -> None:
    drafts = setting.drafts(3)
    tasks = setting.exchange.push(drafts)
    assert [task.sample_id for task in tasks] == [draft.sample_id for draft in drafts]
    studio = setting.desk.studio
    assert studio.shown_version(tasks[0].project_id) == "round-1"
    for seed, task in enumerate(tasks):
        full = studio.task(task.task_id)
        assert full is not None
        assert full.meta == {"condition": "day"}
        assert full.predictions[0].score == 0.8
        painted = mask_from_regions(
            full.predictions[0].regions, SMALL_MAP, size=(48, 64), where="prediction"
        )
        assert np.array_equal(painted, a_mask(seed))
    assert len(setting.events("task.pushed")) == 3


def test_ann_01_the_second_round_shows_its_own_drafts(setting: Setting) -> None:
    project = setting.exchange.push(setting.drafts(2))[0].project_id
    setting.exchange.push(setting.drafts(2, round_number=2, first=2))
    assert setting.desk.studio.shown_version(project) == "round-2"
    assert len(setting.counted(project, 1)) == len(setting.counted(project, 2)) == 2


def test_ann_02_pushing_twice_makes_no_twins(setting: Setting) -> None:
    drafts = setting.drafts(5)
    first = setting.exchange.push(drafts[:3])
    again = setting.again().push(drafts)
    assert again[:3] == first
    assert setting.counted(first[0].project_id) == sorted(draft.sample_id for draft in drafts)


def test_ann_02_a_push_cut_off_in_the_middle_of_a_batch_is_completed(setting: Setting) -> None:
    drafts = setting.drafts(110)
    project = setting.exchange.push(drafts[:2])[0].project_id
    setting.desk.cut_next_import()
    with pytest.raises(LabelStudioUnavailableError):
        setting.exchange.push(drafts)
    setting.desk.start()
    assert 2 < len(setting.counted(project)) < 110
    tasks = setting.again().push(drafts)
    assert len({task.task_id for task in tasks}) == 110
    assert setting.counted(tasks[0].project_id) == sorted(draft.sample_id for draft in drafts)


def test_ann_10_pull_brings_what_is_finished_and_leaves_the_rest(setting: Setting) -> None:
    tasks = setting.exchange.push(setting.drafts(3))
    truth = a_mask(0)
    truth[10:20, 10:20] = 2
    annotation_id = setting.truth(truth, tasks[0].task_id)
    pulled = setting.exchange.pull(tasks)
    assert pulled.skips == ()
    (annotation,) = pulled.annotations
    assert annotation.sample_id == tasks[0].sample_id
    assert annotation.mask_key == f"masks/{annotation.sample_id}/{annotation_id}.png"
    data = setting.storage.get(annotation.mask_key, sha256=annotation.mask_sha256)
    assert np.array_equal(mask_from_png(data, "mask"), truth)
    assert annotation.changed_pixels == np.count_nonzero(truth != a_mask(0)) > 0
    assert 0 < annotation.agreement < 1
    assert annotation.seconds == 12.5
    assert annotation.annotator == "annotator@cornerloop.example"


def test_pulling_again_gives_the_same_and_tells_the_journal_once(setting: Setting) -> None:
    tasks = setting.exchange.push(setting.drafts(2))
    setting.truth(a_mask(0), tasks[0].task_id)
    first = setting.exchange.pull(tasks)
    assert first.annotations[0].agreement == 1.0
    assert setting.exchange.pull(tasks) == first  # from memory
    assert setting.again().pull(tasks) == first  # from Label Studio
    assert len(setting.events("annotation.pulled")) == 1


def test_of_several_annotations_the_latest_counts_and_a_skip_never_hides_one(
    setting: Setting,
) -> None:
    tasks = setting.exchange.push(setting.drafts(1))
    setting.truth(a_mask(7), tasks[0].task_id)
    assert setting.exchange.pull(tasks).annotations
    latest = setting.truth(a_mask(8), tasks[0].task_id)
    setting.desk.studio.skip_task(tasks[0].task_id)
    (annotation,) = setting.exchange.pull(tasks).annotations
    assert annotation.annotation_id == latest
    painted = mask_from_png(setting.storage.get(annotation.mask_key), "mask")
    assert np.array_equal(painted, a_mask(8))


def test_a_skipped_and_a_deleted_task_become_skips(setting: Setting) -> None:
    tasks = setting.exchange.push(setting.drafts(3))
    setting.desk.studio.skip_task(tasks[0].task_id)
    setting.desk.studio.delete_task(tasks[2].task_id)
    pulled = setting.exchange.pull(tasks)
    assert pulled.annotations == ()
    assert {skip.sample_id: skip.reason for skip in pulled.skips} == {
        tasks[0].sample_id: "skipped by annotator@cornerloop.example",
        tasks[2].sample_id: "deleted in Label Studio",
    }


def test_a_reused_task_id_is_not_mistaken_for_the_deleted_task(setting: Setting) -> None:
    tasks = setting.exchange.push(setting.drafts(2))
    setting.desk.studio.delete_task(tasks[1].task_id)
    other = setting.exchange.push(setting.drafts(1, round_number=2, first=5))
    setting.truth(a_mask(5), other[0].task_id)
    pulled = setting.exchange.pull(tasks)
    assert [skip.reason for skip in pulled.skips] == ["deleted in Label Studio"]
    assert pulled.annotations == ()


@pytest.mark.parametrize(
    ("label", "size", "told"),
    [
        ("unicorn", (48, 64), "unknown class 'unicorn'"),
        ("car", (30, 40), "the image has 64x48"),
    ],
)
def test_cnv_04_what_cannot_be_read_is_a_skip_that_names_the_task(
    setting: Setting, label: str, size: tuple[int, int], told: str
) -> None:
    tasks = setting.exchange.push(setting.drafts(1))
    region = brush_region(np.ones(size, dtype=np.bool_), label)
    setting.desk.studio.create_annotation(
        tasks[0].task_id, [region], seconds=1.0, parent_prediction=None
    )
    pulled = setting.exchange.pull(tasks)
    assert pulled.annotations == ()
    assert told in pulled.skips[0].reason
    assert f"task {tasks[0].task_id}" in pulled.skips[0].reason


def test_nothing_is_lost_while_label_studio_is_away(setting: Setting) -> None:
    tasks = setting.exchange.push(setting.drafts(2))
    setting.truth(a_mask(1), tasks[0].task_id)
    setting.desk.stop()
    with pytest.raises(LabelStudioUnavailableError) as caught:
        setting.exchange.pull(tasks)
    assert caught.value.retryable
    with pytest.raises(LabelStudioUnavailableError):
        setting.exchange.push(setting.drafts(3))
    setting.desk.start()
    assert len(setting.exchange.pull(tasks).annotations) == 1
    assert len(setting.exchange.push(setting.drafts(3))) == 3


def test_a_project_with_other_classes_is_refused(setting: Setting) -> None:
    other = label_map_of([("road", (1, 2, 3)), ("boat", (4, 5, 6))])
    setting.desk.studio.create_project(setting.section.project, labeling_config(other), "")
    with pytest.raises(ProjectMismatchError, match="boat"):
        setting.exchange.push(setting.drafts(1))


@pytest.mark.parametrize("mode", ["brush", "polygons"])
def test_the_scripted_annotator_repaints_only_what_is_wrong(
    desk: Desk, tmp_path: Path, mode: str
) -> None:
    setting = Setting(desk, tmp_path)
    setting.section = setting.section.model_copy(update={"draft": mode})
    exchange = setting.again()
    tasks = exchange.push(setting.drafts(4))
    truth = {
        task.sample_id: np.where(a_mask(seed) == 1, 2, a_mask(seed)).astype(np.uint8)
        for seed, task in enumerate(tasks)
    }
    annotator = ScriptedAnnotator(
        desk.studio,
        tasks[0].project_id,
        SMALL_MAP,
        lambda data: truth[data["cornerloop_sample"]],  # type: ignore[index]
        skip={2},
        delete={4},
    )
    assert annotator.work_once() == 4
    assert annotator.work_once() == 0
    pulled = exchange.pull(tasks)
    assert [skip.reason.split()[0] for skip in pulled.skips] == ["deleted", "skipped"]
    assert {one.sample_id for one in pulled.annotations} == {
        tasks[0].sample_id,
        tasks[2].sample_id,
    }
    for one in pulled.annotations:
        painted = mask_from_png(setting.storage.get(one.mask_key), "mask")
        assert np.array_equal(painted, truth[one.sample_id])
    full = desk.studio.task(tasks[0].task_id)
    assert full is not None
    draft_ids = {region.get("id") for region in full.predictions[0].regions}
    kept = {region.get("id") for region in full.annotations[0].regions} & draft_ids
    assert kept  # untouched classes keep their regions


def test_an_import_that_arrives_late_leaves_no_twins(tmp_path: Path) -> None:
    desk = FakeDesk(tmp_path)
    setting = Setting(desk, tmp_path)
    drafts = setting.drafts(4)
    project = setting.exchange.push(drafts[:1])[0].project_id
    desk.studio.import_late = True
    with pytest.raises(LabelStudioUnavailableError):
        setting.exchange.push(drafts)
    setting.exchange.push(drafts)  # Label Studio carries out the first request only now
    assert setting.counted(project) == sorted(draft.sample_id for draft in drafts)


@pytest.mark.integration
def test_a_request_that_timed_out_on_our_side_leaves_no_twins(
    label_studio_server: LabelStudioServer, tmp_path: Path
) -> None:
    label_studio_server.start()
    desk = RealDesk(label_studio_server, tmp_path.name)
    with closing(desk.studio) as patient:
        setting = Setting(desk, tmp_path)
        drafts = setting.drafts(90)
        project = setting.exchange.push(drafts[:1])[0].project_id
        bodies = [
            task_json(
                draft,
                a_mask(seed),
                image_url="/x",
                label_map=SMALL_MAP,
                shapes=DraftShapes(mode="brush"),
            )
            for seed, draft in enumerate(drafts)
        ]
        with (
            closing(LabelStudio(label_studio_server.url, label_studio_server.token, 0.05)) as hasty,
            pytest.raises(LabelStudioUnavailableError),
        ):
            hasty.import_tasks(project, bodies)
        setting.exchange.push(drafts)  # while Label Studio may still be at the first request
        while len(patient.round_tasks(project, 1)) < len(drafts):
            time.sleep(0.1)
        setting.exchange.push(drafts)
        assert setting.counted(project) == sorted(draft.sample_id for draft in drafts)


@pytest.mark.integration
def test_a_wrong_token_and_a_dead_address_are_told_apart(
    label_studio_server: LabelStudioServer,
) -> None:
    label_studio_server.start()
    with (
        closing(LabelStudio(label_studio_server.url, "0" * 40, 10.0)) as stranger,
        pytest.raises(LabelStudioRefusedError, match="check the token"),
    ):
        stranger.whoami()
    with (
        closing(LabelStudio("http://127.0.0.1:9", "0" * 40, 1.0)) as nobody,
        pytest.raises(LabelStudioUnavailableError),
    ):
        nobody.whoami()


# The SDK reads the answer with a method that pydantic will drop one day.
@pytest.mark.filterwarnings("ignore:The `parse_obj` method is deprecated")
@pytest.mark.integration
def test_a_personal_access_token_works_as_well(label_studio_server: LabelStudioServer) -> None:
    label_studio_server.start()
    token = personal_token(label_studio_server)
    with closing(LabelStudio(label_studio_server.url, token, 10.0)) as studio:
        assert studio.whoami() == label_studio_server.email


def test_drafts_of_unlabelled_pixels_only_are_pushed_as_empty_drafts(setting: Setting) -> None:
    (draft,) = setting.drafts(1)
    setting.storage.put(draft.mask_key, png_from_mask(np.full((48, 64), 255, dtype=np.uint8)))
    (task,) = setting.exchange.push([draft])
    setting.truth(a_mask(0), task.task_id)
    (annotation,) = setting.exchange.pull([task]).annotations
    assert annotation.agreement == 0.0
    assert annotation.changed_pixels == 48 * 64
