"""SEC-06: what operators do is recorded before it is done; LLL-07: a roll-back happens once."""

import threading

import pytest

from cloud.audit_log import AuditEntry
from cloud.operator_actions import terminal_user
from lifelong.errors import (
    AuditUnavailableError,
    ChangedMeanwhileError,
    ConfigError,
    RecordError,
    RoundError,
    StorageUnavailableError,
)
from lifelong.links.journal import JSONValue
from lifelong.links.storage import Storage
from lifelong.records.deliveries import UploadBudget
from lifelong.records.ids import EdgeId, RoundNumber
from lifelong.records.keys import CURRENT_RELEASE, STAGED_RELEASE, budget_key
from lifelong.records.model_versions import Release
from lifelong.records.rollouts import RolloutState
from lifelong.records.wire import from_json
from tests.operator_room import NEW, NEXT, OLD, a_room


def names(room) -> list[str]:
    return [entry.what for entry in room.recorded()]


def pointer(room) -> Release:
    return from_json(Release, room.storage.get(CURRENT_RELEASE), CURRENT_RELEASE)


def test_sec_06_a_roll_back_is_recorded_before_and_after(tmp_path):
    room = a_room(tmp_path)
    release = room.actions.roll_back(OLD.version_id, "olga", seen=2)
    assert (release.number, release.is_rollback, release.why) == (3, True, "rolled back by olga")
    assert pointer(room) == release
    asked, done = room.recorded()
    assert (asked.who, asked.what) == ("olga", "release.rollback_asked")
    assert asked.facts == {"version": OLD.version_id, "newest_seen": 2}
    assert (done.who, done.what, done.facts["release"]) == ("olga", "release.rolled_back", 3)


def test_a_second_click_on_the_same_page_makes_no_second_release(tmp_path):
    room = a_room(tmp_path)
    room.actions.roll_back(OLD.version_id, "olga", seen=2)
    with pytest.raises(ChangedMeanwhileError, match=r"release is 3 \(rolled back by olga\)"):
        room.actions.roll_back(OLD.version_id, "olga", seen=2)
    assert len(room.releases.history()) == 3
    assert names(room)[-1] == "release.rollback_failed"


def test_two_clicks_at_the_same_moment_make_one_release(tmp_path):
    room = a_room(tmp_path)
    start = threading.Barrier(4)
    ended: list[int | None] = []

    def click() -> None:
        start.wait()
        try:
            ended.append(room.actions.roll_back(OLD.version_id, "olga", seen=2).number)
        except ChangedMeanwhileError:
            ended.append(None)

    clicks = [threading.Thread(target=click) for _ in range(4)]
    for one in clicks:
        one.start()
    for one in clicks:
        one.join()
    assert sorted(ended, key=str) == [3, None, None, None]
    assert [release.number for release in room.releases.history()] == [1, 2, 3]


def test_sec_06_what_cannot_be_recorded_is_not_done(tmp_path):
    room = a_room(tmp_path)

    class NoAudit(Storage):
        def put_if_absent(self, key: str, data: bytes) -> None:
            if key.startswith("audit/"):
                raise StorageUnavailableError("the bucket is gone")
            super().put_if_absent(key, data)

    unrecorded = a_room(
        tmp_path, storage=NoAudit(room.storage._store, room.storage.url), begin=False
    )
    for act in (
        lambda: unrecorded.actions.roll_back(OLD.version_id, "olga"),
        lambda: unrecorded.actions.start_round("olga"),
        lambda: unrecorded.actions.withdraw_budget(EdgeId("edge-1"), "olga"),
    ):
        with pytest.raises(AuditUnavailableError):
            act()
    assert pointer(room).number == 2
    assert list(room.storage.keys("round_requests")) == []


def test_done_is_done_though_the_log_is_gone_by_then(tmp_path):
    room = a_room(tmp_path)
    recorded = []
    log = room.audit

    class Once:
        def record(self, who: str, what: str, **facts: JSONValue) -> AuditEntry:
            if recorded:
                raise AuditUnavailableError("gone")
            recorded.append(what)
            return log.record(who, what, **facts)

    room.actions._audit = Once()
    assert room.actions.roll_back(OLD.version_id, "olga").number == 3
    assert recorded == ["release.rollback_asked"]


def test_sec_02_without_the_keys_password_nothing_is_released(tmp_path):
    def locked() -> None:
        raise ConfigError("key.json: set CORNERLOOP_SIGNING_PASSWORD to the password of this key")

    room = a_room(tmp_path, signer=locked)
    assert "CORNERLOOP_SIGNING_PASSWORD" in room.actions.why_no_release()
    with pytest.raises(ConfigError):
        room.actions.roll_back(OLD.version_id, "olga", seen=2)
    assert pointer(room).number == 2
    assert names(room) == ["release.rollback_asked", "release.rollback_failed"]
    assert "PASSWORD" in str(room.recorded()[-1].facts["reason"])


def test_only_what_was_released_comes_back(tmp_path):
    room = a_room(tmp_path)
    with pytest.raises(RecordError, match="never released"):
        room.actions.roll_back(NEXT.version_id, "olga")


def test_k8s_05_a_roll_back_while_a_roll_out_is_under_way_ends_it(tmp_path):
    room = a_room(tmp_path)
    room.rollouts.publish(NEXT.version_id, RoundNumber(2), "round 2 accepted")
    assert room.storage.exists(STAGED_RELEASE)
    with pytest.raises(RoundError, match="on trial in roll-out 3"):
        room.actions.roll_back(NEXT.version_id, "olga")
    back = room.actions.roll_back(OLD.version_id, "olga", seen=3)
    assert back.number == 4
    assert pointer(room).version_id == OLD.version_id
    while room.rollouts.step():
        pass
    ended = room.rollouts.newest()
    assert ended.state is RolloutState.HALTED
    assert "release 4 came in between: rolled back by olga" in ended.reasons[0]
    assert not room.storage.exists(STAGED_RELEASE)
    assert pointer(room).version_id == OLD.version_id


@pytest.mark.parametrize(("wish", "runs"), [("halt", NEW), ("promote", NEXT)])
def test_k8s_05_a_roll_out_is_ended_by_a_recorded_wish(tmp_path, wish, runs):
    room = a_room(tmp_path)
    with pytest.raises(RoundError, match="no roll-out is under way"):
        room.actions.end_rollout(wish, "olga")
    room.rollouts.publish(NEXT.version_id, RoundNumber(2), "round 2 accepted")
    with pytest.raises(ChangedMeanwhileError):
        room.actions.end_rollout(wish, "olga", seen=2)
    room.actions.end_rollout(wish, "olga", seen=3)
    with pytest.raises(RoundError, match="decided before"):
        room.actions.end_rollout(wish, "olga", seen=3)
    while room.rollouts.step():
        pass
    assert pointer(room).version_id == runs.version_id
    assert names(room).count(f"rollout.{wish}_requested") == 1
    assert names(room).count(f"rollout.{wish}_failed") == 3


def test_rounds_and_budgets_are_recorded_too(tmp_path):
    room = a_room(tmp_path)
    assert room.actions.start_round("olga") == 1
    node = EdgeId("edge-1")
    room.actions.set_budget(node, "olga", max_mib_per_day=5.0, max_samples_per_hour=None)
    told = from_json(UploadBudget, room.storage.get(budget_key(node)), "x")
    assert (told.max_mib_per_day, told.max_samples_per_hour, told.set_by) == (5.0, None, "operator")
    room.actions.withdraw_budget(node, "olga")
    assert not room.storage.exists(budget_key(node))
    assert names(room) == [
        "round.start_asked",
        "round.start_requested",
        "budget.set_asked",
        "budget.was_set",
        "budget.withdrawal_asked",
        "budget.withdrawn",
    ]
    assert room.audit.verify().is_whole


def test_a_terminal_without_a_user_has_a_name_all_the_same(monkeypatch):
    monkeypatch.delenv("USER", raising=False)
    monkeypatch.delenv("LOGNAME", raising=False)
    assert terminal_user() == "operator"
    monkeypatch.setenv("USER", "olga")
    assert terminal_user() == "olga"
