"""SEC-01, SEC-06, UX-03: buttons of operators are confirmed, recorded, and safe to press twice."""

import pytest

from cloud.access.permissions import Role
from cloud.monitor.look import Look
from lifelong.errors import ConfigError, StorageUnavailableError
from lifelong.links.journal import utc_now
from lifelong.records.ids import EdgeId, RoundNumber
from lifelong.records.keys import CURRENT_RELEASE, budget_key
from lifelong.records.model_versions import Release
from lifelong.records.wire import from_json
from tests.operator_room import NEXT, OLD, a_room
from tests.web_parts import a_client, some_parts

FORM = {"csrf": "csrf-1"}
ACTIONS = (
    ("post", "/releases/1/rollback", {"seen": "2"}),
    ("post", "/rollouts/3/halt", {}),
    ("post", "/rounds/start", {}),
    ("post", "/edges/edge-1/budget", {"mib_per_day": "5"}),
    ("get", "/releases/1/rollback", None),
    ("get", "/rollouts/3/promote", None),
)


def test_the_page_before_a_roll_back_says_what_would_change(tmp_path):
    room = a_room(tmp_path)
    page = room.client().get("/releases/1/rollback").text
    assert OLD.version_id in page
    assert "1 node would change" in page and "/edges/edge-1" in page
    assert 'name="seen" value="2"' in page
    assert 'name="csrf" value="csrf-1"' in page
    assert "a new release with a number above 2" in page
    assert len(room.releases.history()) == 2 and room.recorded() == [], "looking does nothing"


def test_sec_06_one_click_rolls_back_and_tells_what_came_of_it(tmp_path):
    room = a_room(tmp_path)
    client = room.client()
    answer = client.post("/releases/1/rollback", data={**FORM, "seen": "2"}, follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/releases/3?done=rolled_back"
    page = client.get(answer.headers["location"]).text
    assert "Rolled back: this is release 3" in page
    assert "rolled back by tess" in page
    current = from_json(Release, room.storage.get(CURRENT_RELEASE), CURRENT_RELEASE)
    assert (current.version_id, current.number) == (OLD.version_id, 3)
    assert [(e.who, e.what) for e in room.recorded()] == [
        ("tess", "release.rollback_asked"),
        ("tess", "release.rolled_back"),
    ]


def test_a_double_click_is_one_release_and_the_second_one_says_so(tmp_path):
    room = a_room(tmp_path)
    client = room.client()
    for expected in (200, 409, 409):
        answer = client.post("/releases/1/rollback", data={**FORM, "seen": "2"})
        assert answer.status_code == expected
    assert "rolled back by tess" in answer.text and "Nothing was done" in answer.text
    assert [release.number for release in room.releases.history()] == [1, 2, 3]


def test_sec_02_without_the_password_the_page_says_so_and_has_no_button(tmp_path):
    def locked() -> None:
        raise ConfigError("key.json: set CORNERLOOP_SIGNING_PASSWORD to the password of this key")

    room = a_room(tmp_path, signer=locked)
    page = room.client().get("/releases/1/rollback").text
    assert "set CORNERLOOP_SIGNING_PASSWORD" in page
    assert 'name="seen"' not in page
    answer = room.client().post("/releases/1/rollback", data={**FORM, "seen": "2"})
    assert answer.status_code == 409
    assert "set CORNERLOOP_SIGNING_PASSWORD" in answer.text
    assert len(room.releases.history()) == 2


def test_nothing_is_rolled_back_to_what_runs_or_is_on_trial(tmp_path):
    room = a_room(tmp_path)
    assert "there is nothing to roll back" in room.client().get("/releases/2/rollback").text
    room.rollouts.publish(NEXT.version_id, RoundNumber(2), "round 2 accepted")
    room.watch.refresh()
    page = room.client().get("/releases/3/rollback").text
    assert "on trial at present" in page and 'name="seen"' not in page
    page = room.client().get("/releases/1/rollback").text
    assert "The roll-out of release 3, which is under way, would end" in page
    assert 'name="seen" value="3"' in page


def test_k8s_05_a_roll_out_is_shown_and_ended_from_its_page(tmp_path):
    room = a_room(tmp_path)
    room.rollouts.publish(NEXT.version_id, RoundNumber(2), "round 2 accepted")
    room.watch.refresh()
    client = room.client()
    page = client.get("/edges").text
    assert "/rollouts/3/halt" in page and "/rollouts/3/promote" in page
    assert OLD.version_id not in client.get("/rollouts/3/promote").text
    page = client.get("/rollouts/3/halt").text
    assert "every node is to run" in page and 'name="csrf" value="csrf-1"' in page
    answer = client.post("/rollouts/3/halt", data=FORM)
    assert answer.status_code == 200 and "halts the roll-out within seconds" in answer.text
    again = client.post("/rollouts/3/halt", data=FORM)
    assert again.status_code == 409 and "decided before" in again.text
    while room.rollouts.step():
        pass
    assert room.rollouts.newest().state == "halted"
    room.watch.refresh()
    assert client.get("/rollouts/3/halt").status_code == 404, "it is over"


def test_a_round_is_asked_for_and_the_rounds_page_is_told_which(tmp_path):
    room = a_room(tmp_path)
    answer = room.client().post("/rounds/start", data=FORM, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/rounds?asked=1")
    page = room.client().get("/rounds?asked=1").text
    assert "Round 1 begins as soon as the service looks" in page
    assert 'action="/rounds/start"' in page
    assert 'action="/rounds/start"' not in room.client(Role.ANNOTATOR).get("/rounds").text
    assert list(room.storage.keys("round_requests")) == ["round_requests/000001.json"]


def test_a_budget_is_set_taken_back_and_checked(tmp_path):
    room = a_room(tmp_path)
    client, key = room.client(), budget_key(EdgeId("edge-1"))
    page = client.post(
        "/edges/edge-1/budget", data={**FORM, "mib_per_day": "2.5", "samples_per_hour": ""}
    ).text
    assert "obeys its new budget" in page and "2.5 MiB" in page
    assert b"2.5" in room.storage.get(key)
    for wrong in ({"mib_per_day": "many"}, {"samples_per_hour": "1.5"}, {"mib_per_day": "-1"}):
        assert client.post("/edges/edge-1/budget", data={**FORM, **wrong}).status_code == 422
    assert client.post("/edges/edge-9/budget", data=FORM).status_code == 404
    assert client.post("/edges/..%2fx/budget", data=FORM).status_code == 404
    page = client.post("/edges/edge-1/budget", data={**FORM, "wish": "withdraw"}).text
    assert "Its own settings hold" in page
    assert not room.storage.exists(key)


@pytest.mark.parametrize(("method", "address", "form"), ACTIONS)
@pytest.mark.parametrize(
    ("role", "status"), [(None, 401), (Role.DEVICE, 403), (Role.ANNOTATOR, 403)]
)
def test_sec_01_only_operators_act(tmp_path, method, address, form, role, status):
    room = a_room(tmp_path)
    data = None if form is None else {**FORM, **form}
    extra = {} if data is None else {"data": data}
    answer = getattr(room.client(role), method)(address, **extra)
    assert answer.status_code == status
    assert room.recorded() == [] and len(room.releases.history()) == 2


def test_sec_01_annotators_see_no_buttons(tmp_path):
    room = a_room(tmp_path)
    room.rollouts.publish(NEXT.version_id, RoundNumber(2), "round 2 accepted")
    room.watch.refresh()
    client = room.client(Role.ANNOTATOR)
    for page in ("/releases", "/releases/1", "/edges", "/edges/edge-1"):
        answer = client.get(page)
        assert answer.status_code == 200
        assert "/rollback" not in answer.text and "/rollouts/" not in answer.text
        assert "/budget" not in answer.text


def test_a_store_that_is_gone_is_said_in_words(tmp_path):
    class Gone:
        def why_no_release(self) -> str:
            return ""

        def start_round(self, who: str) -> int:
            raise StorageUnavailableError("the bucket does not answer")

    client = a_client(some_parts(look=Look(at=utc_now()), actions=Gone()))
    answer = client.post("/rounds/start", data=FORM)
    assert answer.status_code == 503
    assert "the bucket does not answer" in answer.text


def test_a_release_that_the_look_has_not_seen_yet_is_told_all_the_same(tmp_path):
    client = a_client(some_parts(look=Look(at=utc_now())))
    assert client.get("/releases/3").status_code == 404
    page = client.get("/releases/3?done=rolled_back")
    assert page.status_code == 200 and "Release 3 was made" in page.text
    assert client.get("/releases/3/rollback").status_code in {404, 405}
