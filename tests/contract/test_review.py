"""Review over a fake studio and over a real Label Studio: states, decisions, several annotators.

ANN-06 review states, ANN-07 agreement and adjudication, ANN-08 audits, ANN-09 what it costs.
"""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from annotation.draft_regions import brush_region
from annotation.label_studio_server import LabelStudioServer
from annotation.regions import Region, mask_from_regions
from annotation.review.audits import Audits, summary
from annotation.review.correction_cost import costs_from_events, summed
from annotation.review.standing import TaskState
from lifelong.errors import ReviewError
from lifelong.links.journal import Journal, read_events
from lifelong.records.pixels import mask_from_png, png_from_mask
from lifelong.records.rounds import Round
from lifelong.records.samples import AnnotationTask
from lifelong.records.wire import from_json, to_json
from tests.builders import SMALL_MAP, a_jpeg, a_mask
from tests.desks import COLLEAGUE, RealDesk, Setting, regions_of
from tests.second_annotator import colleague_token


def state_of(setting: Setting, task: AnnotationTask) -> str:
    return str(setting.reviewer().rows([task])[0].state)


def pulled_mask(setting: Setting, key: str) -> np.ndarray:
    return mask_from_png(setting.storage.get(key), key)


def moved(mask: np.ndarray, pixels: int) -> np.ndarray:
    return np.roll(mask, pixels, axis=1)


def test_ann_06_a_task_goes_from_open_to_draft_to_submitted_to_accepted(setting: Setting) -> None:
    exchange = setting.ruled(required=True)
    (task,) = exchange.push(setting.drafts(1))
    assert state_of(setting, task) == "open"
    setting.desk.save_draft(task.task_id, regions_of(a_mask(7)))
    assert state_of(setting, task) == "draft"
    assert exchange.pull([task]).annotations == ()  # nobody submitted it
    setting.truth(a_mask(8), task.task_id)
    assert state_of(setting, task) == "submitted"
    assert exchange.pull([task]).annotations == ()  # nobody accepted it
    (decision,) = setting.reviewer().accept(task)
    assert decision.reviewer == "ruth"
    assert state_of(setting, task) == "accepted"
    (annotation,) = exchange.pull([task]).annotations
    assert np.array_equal(pulled_mask(setting, annotation.mask_key), a_mask(8))
    assert setting.again().pull([task]) == exchange.pull([task])
    (event,) = setting.events("annotation.accepted")
    assert event["reviewer"] == "ruth"


def test_ann_06_submitted_counts_as_accepted_unless_review_is_required(setting: Setting) -> None:
    (task,) = setting.exchange.push(setting.drafts(1))
    setting.truth(a_mask(3), task.task_id)
    assert len(setting.exchange.pull([task]).annotations) == 1
    assert setting.ruled(required=True).pull([task]).annotations == ()


def test_ann_06_a_rejected_task_returns_as_it_was_left_and_nothing_is_lost(
    setting: Setting,
) -> None:
    exchange = setting.ruled(required=True)
    tasks = exchange.push(setting.drafts(2))
    first = setting.truth(a_mask(5), tasks[0].task_id, seconds=30.0)
    setting.reviewer().reject(tasks[0], "the kerb is missing")
    full = setting.desk.studio.task(tasks[0].task_id)
    assert full is not None
    assert full.data["cornerloop_note"] == "the kerb is missing"
    assert full.data["cornerloop_sample"] == tasks[0].sample_id
    assert (full.submitted, full.annotations) == (0, ())
    shown = setting.desk.studio.shown_version(tasks[0].project_id)
    (prediction,) = [one for one in full.predictions if one.model_version == shown]
    left = mask_from_regions(prediction.regions, SMALL_MAP, size=(48, 64), where="prediction")
    assert np.array_equal(left, a_mask(5))
    opened = {one.task_id for one in setting.desk.studio.open_tasks(tasks[0].project_id)}
    assert opened == {task.task_id for task in tasks}  # it is in the queue again
    folder = f"reviews/1/{tasks[0].sample_id}"
    kept = json.loads(setting.storage.get(f"{folder}/annotation-{first}.json"))
    assert kept["lead_time"] == 30.0
    regions = mask_from_regions(kept["result"], SMALL_MAP, size=(48, 64), where="kept")
    assert np.array_equal(regions, a_mask(5))
    draft = json.loads(setting.storage.get(f"{folder}/draft.json"))
    drawn = mask_from_regions(draft["result"], SMALL_MAP, size=(48, 64), where="draft")
    assert np.array_equal(drawn, a_mask(0))
    (row, other) = setting.reviewer().rows(tasks)
    assert (row.state, row.reason, row.reviewer) == (
        TaskState.REJECTED,
        "the kerb is missing",
        "ruth",
    )
    assert other.state == TaskState.OPEN
    assert exchange.pull(tasks).annotations == ()
    setting.truth(a_mask(6), tasks[0].task_id)
    assert state_of(setting, tasks[0]) == "submitted"
    setting.reviewer().accept(tasks[0])
    (annotation,) = exchange.pull(tasks).annotations
    assert np.array_equal(pulled_mask(setting, annotation.mask_key), a_mask(6))
    assert annotation.costs[0].seconds == 42.5  # the rejected attempt took time, too
    # The draft that it is compared with is the machine's, not what was left in its place.
    assert annotation.costs[0].drafted_by == "tiny+tiny_segformer"
    assert annotation.changed_pixels == np.count_nonzero(a_mask(6) != a_mask(0))


def test_ann_06_a_rejection_that_was_cut_off_is_completed_by_the_next(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    (task,) = setting.exchange.push(setting.drafts(1))
    annotation = setting.truth(a_mask(5), task.task_id)
    with monkeypatch.context() as patch:

        def cut(annotation_id: int) -> None:
            raise ConnectionResetError(annotation_id)

        patch.setattr(setting.desk.studio, "delete_annotation", cut)
        with pytest.raises(ConnectionResetError):
            setting.reviewer().reject(task, "no")
    assert setting.exchange.pull([task]).annotations == ()  # rejected counts for nothing
    assert setting.storage.exists(f"reviews/1/{task.sample_id}/annotation-{annotation}.json")
    setting.reviewer().reject(task, "no")
    full = setting.desk.studio.task(task.task_id)
    assert full is not None
    assert full.annotations == ()
    draft = json.loads(setting.storage.get(f"reviews/1/{task.sample_id}/draft.json"))
    drawn = mask_from_regions(draft["result"], SMALL_MAP, size=(48, 64), where="draft")
    assert np.array_equal(drawn, a_mask(0))  # still the machine's


def test_ann_06_what_an_edit_took_from_a_smaller_region_is_still_its_own_after_a_rejection(
    setting: Setting,
) -> None:
    """A region that grew over a smaller one keeps the pixels, though the smaller one lies above."""
    (task,) = setting.exchange.push(setting.drafts(1))
    before = setting.desk.studio.task(task.task_id)
    assert before is not None
    (prediction,) = before.predictions
    size = {one["id"]: drawn_by(one) for one in prediction.regions}
    small, large = sorted(prediction.regions, key=lambda one: int(size[one["id"]].sum()))[::2]
    grown = size[large["id"]].copy()
    ys, xs = np.nonzero(size[small["id"]])
    grown[ys[: ys.size // 2], xs[: xs.size // 2]] = True
    edited = brush_region(grown, class_of(large))
    edited["id"] = large["id"]
    regions = [edited if one is large else one for one in prediction.regions]
    setting.desk.studio.create_annotation(
        task.task_id, regions, seconds=5.0, parent_prediction=prediction.prediction_id
    )
    (first,) = setting.exchange.pull([task]).annotations
    mask = pulled_mask(setting, first.mask_key)
    large_id = SMALL_MAP.id_of(class_of(large))
    assert (mask[grown] == large_id).all()
    setting.reviewer().reject(task, "look again")
    after = setting.desk.studio.task(task.task_id)
    assert after is not None
    newest = max(after.predictions, key=lambda one: one.prediction_id)
    setting.desk.studio.create_annotation(
        task.task_id, newest.regions, seconds=1.0, parent_prediction=newest.prediction_id
    )
    (second,) = setting.exchange.pull([task]).annotations
    assert np.array_equal(pulled_mask(setting, second.mask_key), mask)


def drawn_by(region: Region) -> np.ndarray:
    return mask_from_regions([region], SMALL_MAP, size=(48, 64), where="draft") != 255


def class_of(region: Region) -> str:
    value = region["value"]
    names: Any = value.get("brushlabels") or value.get("polygonlabels")
    return str(names[0])


def test_ann_06_rejecting_one_of_two_leaves_the_other_as_it_was(setting: Setting) -> None:
    exchange = setting.ruled(annotators=2)
    (task,) = exchange.push(setting.drafts(1))
    full = setting.desk.studio.task(task.task_id)
    assert full is not None
    draft = full.predictions[0].prediction_id
    mine = setting.truth(a_mask(5), task.task_id)
    with setting.desk.colleague() as colleague:
        colleague.create_annotation(
            task.task_id, regions_of(a_mask(6)), seconds=7.0, parent_prediction=draft
        )
    setting.reviewer().reject(task, "not yours", mine)
    assert exchange.pull([task]).annotations == ()  # one of two
    full = setting.desk.studio.task(task.task_id)
    assert full is not None
    (other,) = full.annotations
    assert other.parent_prediction == draft
    kept = next(one for one in full.predictions if one.prediction_id == draft)
    drawn = mask_from_regions(kept.regions, SMALL_MAP, size=(48, 64), where="draft")
    assert np.array_equal(drawn, a_mask(0))
    setting.truth(a_mask(7), task.task_id)
    (annotation,) = exchange.pull([task]).annotations
    assert annotation.people_agreement is not None


def test_ann_06_what_changes_after_acceptance_is_submitted_again(setting: Setting) -> None:
    exchange = setting.ruled(required=True)
    (task,) = exchange.push(setting.drafts(1))
    annotation = setting.truth(a_mask(5), task.task_id)
    setting.reviewer().accept(task)
    (first,) = exchange.pull([task]).annotations
    setting.desk.change_annotation(annotation, regions_of(a_mask(6)))
    assert state_of(setting, task) == "submitted"
    assert exchange.pull([task]).annotations == ()
    setting.reviewer().accept(task)
    (second,) = exchange.pull([task]).annotations
    assert second.annotation_id == first.annotation_id
    assert second.mask_key != first.mask_key  # a record made before still finds its bytes
    assert np.array_equal(pulled_mask(setting, first.mask_key), a_mask(5))
    assert np.array_equal(pulled_mask(setting, second.mask_key), a_mask(6))
    assert setting.storage.get(second.mask_key, sha256=second.mask_sha256)


def test_ann_06_a_skipped_task_is_skipped_and_never_an_annotation(setting: Setting) -> None:
    (task,) = setting.exchange.push(setting.drafts(1))
    setting.desk.studio.skip_task(task.task_id)
    assert state_of(setting, task) == "skipped"
    pulled = setting.exchange.pull([task])
    assert pulled.annotations == ()
    assert pulled.skips[0].reason.startswith("skipped by")
    with pytest.raises(ReviewError, match="is skipped: nothing is submitted"):
        setting.reviewer().accept(task)


def test_a_changed_annotation_is_pulled_anew_after_a_restart(setting: Setting) -> None:
    (task,) = setting.exchange.push(setting.drafts(1))
    annotation = setting.truth(a_mask(5), task.task_id)
    (before,) = setting.exchange.pull([task]).annotations
    setting.desk.stop()
    setting.desk.start()
    setting.desk.change_annotation(annotation, regions_of(a_mask(6)))
    (after,) = setting.exchange.pull([task]).annotations
    assert after.mask_sha256 != before.mask_sha256
    assert np.array_equal(pulled_mask(setting, after.mask_key), a_mask(6))
    assert setting.again().pull([task]).annotations == (after,)
    assert len(setting.events("annotation.pulled")) == 2


def test_a_deleted_annotation_makes_its_task_unfinished(setting: Setting) -> None:
    (task,) = setting.exchange.push(setting.drafts(1))
    annotation = setting.truth(a_mask(5), task.task_id)
    assert len(setting.exchange.pull([task]).annotations) == 1
    setting.desk.studio.delete_annotation(annotation)
    assert setting.exchange.pull([task]) == setting.again().pull([task])
    assert setting.exchange.pull([task]).annotations == ()
    assert state_of(setting, task) == "open"
    again = setting.truth(a_mask(6), task.task_id)
    (annotation_,) = setting.exchange.pull([task]).annotations
    assert annotation_.annotation_id == again


def test_ann_07_two_annotators_must_submit_and_their_consensus_counts(setting: Setting) -> None:
    exchange = setting.ruled(annotators=2, merge="consensus")
    (task,) = exchange.push(setting.drafts(1))
    assert setting.desk.annotators_of(task.project_id) == 2
    ours, theirs = a_mask(5), a_mask(5).copy()
    theirs[:, :8] = (theirs[:, :8] + 1) % 3
    mine = setting.truth(ours, task.task_id)
    assert exchange.pull([task]).annotations == ()  # one of two
    with setting.desk.colleague() as colleague:
        other = colleague.create_annotation(
            task.task_id, regions_of(theirs), seconds=7.0, parent_prediction=None
        )
    (annotation,) = exchange.pull([task]).annotations
    assert annotation.annotation_ids == (mine, other)
    assert annotation.annotators == ("annotator@cornerloop.example", COLLEAGUE)
    expected = ours.copy()
    expected[:, :8] = 255  # nobody knows where they differ
    assert np.array_equal(pulled_mask(setting, annotation.mask_key), expected)
    assert annotation.people_agreement is not None
    assert annotation.people_boundary is not None
    assert annotation.people_agreement < 1
    assert [cost.annotator for cost in annotation.costs] == list(annotation.annotators)
    assert annotation.seconds == 19.5


@pytest.mark.integration
def test_ann_07_the_queue_gives_a_task_to_as_many_people_as_must_submit_it(
    label_studio_server: LabelStudioServer, tmp_path: Path
) -> None:
    label_studio_server.start()
    desk = RealDesk(label_studio_server, tmp_path.name)
    with closing(desk.studio):
        setting = Setting(desk, tmp_path)
        (task,) = setting.ruled(annotators=2).push(setting.drafts(1))
        theirs = colleague_token(label_studio_server, COLLEAGUE)

        def offered(token: str) -> int | None:
            answer = httpx.get(
                f"{label_studio_server.url}/api/projects/{task.project_id}/next",
                headers={"Authorization": f"Token {token}"},
                timeout=240,
            )
            return int(answer.json()["id"]) if answer.is_success else None

        ours = label_studio_server.token
        assert offered(ours) == task.task_id
        setting.truth(a_mask(5), task.task_id)
        assert offered(ours) is None
        assert offered(theirs) == task.task_id
        with desk.colleague() as colleague:
            colleague.create_annotation(
                task.task_id, regions_of(a_mask(5)), seconds=7.0, parent_prediction=None
            )
        assert offered(theirs) is None
        setting.reviewer().reject(task, "both of you: the kerb")
        assert offered(ours) == offered(theirs) == task.task_id


def test_ann_07_annotators_who_disagree_wait_for_adjudication(setting: Setting) -> None:
    exchange = setting.ruled(annotators=2, agree_below=0.9)
    (task,) = exchange.push(setting.drafts(1))
    mine = setting.truth(a_mask(5), task.task_id)
    with setting.desk.colleague() as colleague:
        other = colleague.create_annotation(
            task.task_id, regions_of(a_mask(6)), seconds=7.0, parent_prediction=None
        )
    (row,) = setting.reviewer().rows([task])
    assert row.state == TaskState.ADJUDICATE
    assert row.people is not None
    assert row.people[0] < 0.9
    assert exchange.pull([task]).annotations == ()
    with pytest.raises(ReviewError, match=f"--annotation: {mine} by .*, {other} by {COLLEAGUE}"):
        setting.reviewer().accept(task)
    setting.reviewer().accept(task, mine)
    (annotation,) = exchange.pull([task]).annotations
    assert annotation.annotation_id == mine
    assert annotation.people_agreement == row.people[0]
    assert annotation.people_boundary == row.people[1]


def test_ann_07_a_later_annotation_of_the_adjudicator_settles_it(setting: Setting) -> None:
    exchange = setting.ruled(annotators=2, boundary_below=0.99, adjudicators=(COLLEAGUE,))
    (task,) = exchange.push(setting.drafts(1))
    setting.truth(a_mask(5), task.task_id)
    assert exchange.pull([task]).annotations == ()
    with setting.desk.colleague() as colleague:
        theirs = colleague.create_annotation(
            task.task_id, regions_of(a_mask(6)), seconds=7.0, parent_prediction=None
        )
    (annotation,) = exchange.pull([task]).annotations
    assert annotation.annotation_id == theirs


def test_ann_07_an_annotator_far_from_the_draft_waits_as_well(setting: Setting) -> None:
    exchange = setting.ruled(agree_below=0.5, compare="draft")
    near, far = exchange.push(setting.drafts(2))
    setting.truth(a_mask(0), near.task_id)
    setting.truth(a_mask(9), far.task_id)
    assert [one.sample_id for one in exchange.pull([near, far]).annotations] == [near.sample_id]
    assert state_of(setting, far) == "adjudicate"
    setting.reviewer().accept(far)
    assert len(exchange.pull([near, far]).annotations) == 2


def test_accepting_everything_leaves_out_who_waits_for_more_or_disagrees(
    setting: Setting,
) -> None:
    exchange = setting.ruled(required=True, annotators=2, agree_below=0.9)
    tasks = exchange.push(setting.drafts(3))
    for task, theirs in zip(tasks[:2], (a_mask(5), a_mask(6)), strict=True):
        setting.truth(a_mask(5), task.task_id)
        with setting.desk.colleague() as colleague:
            colleague.create_annotation(
                task.task_id, regions_of(theirs), seconds=7.0, parent_prediction=None
            )
    setting.truth(a_mask(5), tasks[2].task_id)
    made = setting.reviewer().accept_all(tasks)
    assert {decision.sample_id for decision in made} == {tasks[0].sample_id}
    assert [one.sample_id for one in exchange.pull(tasks).annotations] == [tasks[0].sample_id]


def test_ann_09_cost_is_counted_by_class_and_a_replayed_journal_tells_the_same(
    setting: Setting,
) -> None:
    tasks = setting.exchange.push(setting.drafts(2))
    draft = setting.desk.studio.task(tasks[0].task_id)
    assert draft is not None
    (prediction,) = draft.predictions
    # One class is taken as it is, the rest is done again under new ids.
    truth = a_mask(0)
    truth[:10] = np.where(truth[:10] == 1, 2, truth[:10])
    regions = [
        region
        for region in regions_of(truth)
        if region["value"]["brushlabels"] != ["road"]  # type: ignore[comparison-overlap]
    ]
    kept = [
        one
        for one in prediction.regions
        if "road" in (one["value"].get("brushlabels") or one["value"].get("polygonlabels") or ())  # type: ignore[operator]
    ]
    setting.desk.studio.create_annotation(
        tasks[0].task_id, [*kept, *regions], seconds=20.0, parent_prediction=None
    )
    pulled = setting.exchange.pull(tasks)
    (cost,) = pulled.annotations[0].costs
    changed = int(np.count_nonzero(truth != a_mask(0)))
    assert cost.with_draft
    assert cost.classes["person"].pixels_added == changed > 0
    assert cost.classes["car"].pixels_removed == changed
    road = cost.classes["road"]
    assert (road.regions_touched, road.regions_added, road.regions_deleted) == (0, 0, 0)
    assert cost.classes["person"].regions_added == 1
    assert cost.classes["car"].regions_deleted >= 1
    # Half of what changed is car, half is person; nothing is road.
    assert [cost.classes[name].seconds for name in ("car", "person", "road")] == [10, 10, 0]
    replayed = costs_from_events(read_events(setting.journal_folder))
    assert replayed == [cost]
    assert summed(replayed)["seconds"]["without_draft"]["mean"] is None


def test_ann_09_tasks_without_a_draft_measure_what_drafts_save(setting: Setting) -> None:
    exchange = setting.ruled(blank_share=0.5)
    tasks = exchange.push(setting.drafts(12))
    assert tasks == setting.again().push(setting.drafts(12))  # the same ones again
    blank = [task for task in tasks if task.is_blank]
    assert 0 < len(blank) < 12
    for number, task in enumerate(tasks):
        full = setting.desk.studio.task(task.task_id)
        assert full is not None
        assert bool(full.predictions[0].regions) is not task.is_blank
        setting.truth(a_mask(number), task.task_id, seconds=60.0 if task.is_blank else 15.0)
    found = {one.sample_id: one for one in exchange.pull(tasks).annotations}
    for task in blank:
        annotation = found[task.sample_id]
        assert annotation.agreement == 1.0  # the draft that was kept back was right
        assert annotation.changed_pixels == 48 * 64  # but everything had to be painted
        assert not annotation.costs[0].with_draft
    told = summed(cost for one in found.values() for cost in one.costs)
    assert told["seconds"]["with_draft"]["mean"] == 15.0
    assert told["seconds"]["without_draft"] == {"annotations": len(blank), "mean": 60.0}
    assert told["seconds"]["saved_share"] == 0.75


def audit_folder(tmp_path: Path, count: int = 3) -> Path:
    folder = tmp_path / "audit"
    (folder / "images").mkdir(parents=True)
    (folder / "train_ids").mkdir()
    for number in range(count):
        (folder / "images" / f"{number}.jpg").write_bytes(a_jpeg(100 + number))
        (folder / "train_ids" / f"{number}.png").write_bytes(png_from_mask(a_mask(100 + number)))
    return folder


def with_audits(setting: Setting, tmp_path: Path, share: float) -> Audits:
    setting.ruled(audit_path=audit_folder(tmp_path), audit_share=share)
    setting.audits = Audits(
        storage=setting.storage,
        label_map=SMALL_MAP,
        rules=setting.rules,
        journal=Journal(setting.journal_folder, "cloud"),
    )
    setting.exchange = setting.again()
    return setting.audits


def test_ann_08_audits_go_out_unmarked_and_never_become_samples(
    setting: Setting, tmp_path: Path
) -> None:
    audits = with_audits(setting, tmp_path, 0.1)
    tasks = setting.exchange.push(setting.drafts(8))
    assert len(tasks) == 8
    (audit,) = audits.of_round(tasks[0].round_number)
    assert audit.draft.sample_id not in {task.sample_id for task in tasks}
    listed = setting.desk.studio.round_tasks(tasks[0].project_id, 1)
    assert len(listed) == 9
    assert audit.task is not None
    marked = [one for one in listed if one.task_id == audit.task.task_id]
    usual = next(one for one in listed if one.task_id != audit.task.task_id)
    assert set(marked[0].data) == set(usual.data)
    assert set(marked[0].meta) == set(usual.meta)
    told = json.dumps(dict(marked[0].data) | dict(marked[0].meta))
    assert "audit" not in told.replace(tmp_path.name, "")
    again = setting.again().push(setting.drafts(8))
    assert again == tasks
    assert len(setting.desk.studio.round_tasks(tasks[0].project_id, 1)) == 9
    truth = mask_from_png(setting.storage.get(audit.truth_key), "truth")
    setting.truth(truth, audit.task.task_id)
    assert setting.exchange.pull(tasks).annotations == ()
    (result,) = audits.results()
    assert result.answer is not None
    assert (result.answer.miou, result.answer.boundary) == (1.0, 1.0)
    assert result.draft.miou < 1.0
    assert result.errors is not None
    assert result.errors.found > 0
    assert result.errors.missed == 0
    setting.exchange.pull(tasks)
    setting.again().pull(tasks)
    assert len(setting.events("audit.scored")) == len(audits.results()) == 1


def test_ann_08_who_submits_the_draft_as_it_is_missed_every_error(
    setting: Setting, tmp_path: Path
) -> None:
    audits = with_audits(setting, tmp_path, 0.5)
    tasks = setting.exchange.push(setting.drafts(4))
    careless, careful = audits.of_round(tasks[0].round_number)
    for audit, mask_key in ((careless, careless.draft.mask_key), (careful, careful.truth_key)):
        assert audit.task is not None
        mask = mask_from_png(setting.storage.get(mask_key), "mask")
        if audit is careful:
            with setting.desk.colleague() as colleague:
                colleague.create_annotation(
                    audit.task.task_id, regions_of(mask), seconds=9.0, parent_prediction=None
                )
        else:
            setting.truth(mask, audit.task.task_id)
    setting.exchange.pull(tasks)
    told = summary(audits.results())
    mine, theirs = told["annotators"]
    assert (mine["annotator"], theirs["annotator"]) == (
        "annotator@cornerloop.example",
        COLLEAGUE,
    )
    assert mine["errors_found"] == 0 < mine["errors_missed"]
    assert theirs["errors_missed"] == 0 < theirs["errors_found"]
    assert mine["miou"] < theirs["miou"] == 1.0
    drafts = told["drafts"]
    assert drafts["audits"] == 2
    assert drafts["miou"] < 1.0


def test_records_of_a_round_from_before_review_still_load(setting: Setting) -> None:
    (task,) = setting.exchange.push(setting.drafts(1))
    setting.truth(a_mask(5), task.task_id)
    (annotation,) = setting.exchange.pull([task]).annotations
    body = json.loads(to_json(Round(number=1, tasks=(task,), annotations=(annotation,))))  # type: ignore[arg-type]
    for name in ("drafted_by", "is_blank"):
        del body["record"]["tasks"][0][name]
    for name in ("costs", "annotators", "annotation_ids", "draft_boundary", "people_agreement"):
        del body["record"]["annotations"][0][name]
    old = from_json(Round, json.dumps(body).encode(), "an old round")
    assert old.annotations[0].costs == ()
    assert old.tasks[0].drafted_by == ""
    assert old.annotations[0].mask_key == annotation.mask_key
