"""UX-10: work from Label Studio to the figures on the page, with known seconds and edits."""

from pathlib import Path

import pytest

from annotation.review.cost_sums import told
from annotation.review.standing import TaskState
from cloud.monitor.look import Look
from cloud.monitor.people_costs import CostsByRound
from lifelong.records.ids import RoundNumber
from lifelong.records.rounds import Round, RoundState
from tests.builders import NOON, a_mask
from tests.desks import FakeDesk, Setting, regions_of
from tests.web_parts import a_client, some_parts


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(FakeDesk(tmp_path), tmp_path)


def test_ux_10_seconds_in_label_studio_come_out_as_time_saved(setting: Setting) -> None:
    exchange = setting.ruled(blank_share=0.5)
    drafts = setting.drafts(8, first=5)
    tasks = exchange.push(drafts)
    blank = [task for task in tasks if task.is_blank]
    shown = [task for task in tasks if not task.is_blank]
    assert len(blank) >= 2  # a hash of the sample decides, the same one every time
    assert len(shown) >= 2
    for place, task in enumerate(shown):
        setting.truth(a_mask(20 + place), task.task_id, seconds=10.0 + place)
    for place, task in enumerate(blank):
        setting.truth(a_mask(40 + place), task.task_id, seconds=60.0 + 2 * place)
    pulled = exchange.pull(tasks)
    assert len(pulled.annotations) == 8
    round_ = Round(
        number=RoundNumber(1),
        state=RoundState.RELEASED,
        drafts=tuple(drafts),
        tasks=tuple(tasks),
        annotations=pulled.annotations,
    )
    look = Look(at=NOON, rounds=(round_,))
    costs = CostsByRound().of(look)
    with_ = 10.0 + (len(shown) - 1) / 2
    without = 60.0 + (len(blank) - 1)
    assert costs.all.with_draft.seconds.mean == pytest.approx(with_)
    assert costs.all.without_draft.seconds.mean == pytest.approx(without)
    assert costs.all.saved_share == pytest.approx(1 - with_ / without)
    # From nothing every region of the three classes is drawn anew, one brush stroke a class.
    assert costs.all.without_draft.edits.mean == 3.0
    assert costs.all.without_draft.changed_share == 1.0
    assert costs.agreement.number == len(shown)
    assert costs.blank_agreement.number == len(blank)
    page = a_client(some_parts(look=look)).get("/people").text
    assert f'<p class="big">{100 * (1 - with_ / without):.0f} %</p>' in page
    assert told(costs.total)["seconds"]["saved_share"] == pytest.approx(1 - with_ / without)


def test_ops_a_pull_says_how_every_task_stands(setting: Setting) -> None:
    exchange = setting.ruled(required=True)
    tasks = exchange.push(setting.drafts(5))
    opened, submitted, rejected, accepted, deleted = tasks
    for task in (submitted, rejected, accepted):
        setting.truth(a_mask(9), task.task_id)
    setting.reviewer().reject(rejected, "the kerb is missing")
    setting.reviewer().accept(accepted)
    setting.desk.save_draft(opened.task_id, regions_of(a_mask(3)))
    setting.desk.studio.delete_task(deleted.task_id)
    for again in (exchange, exchange, setting.again()):  # from memory, and in a new process
        assert dict(again.pull(tasks).states) == {
            opened.sample_id: TaskState.OPEN,  # begun is not told by a look at the whole round
            submitted.sample_id: TaskState.SUBMITTED,
            rejected.sample_id: TaskState.REJECTED,
            accepted.sample_id: TaskState.ACCEPTED,
            deleted.sample_id: TaskState.SKIPPED,
        }
