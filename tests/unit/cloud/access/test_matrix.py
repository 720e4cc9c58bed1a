"""SEC-01: every role at every address of the real application.

The addresses come from the application itself. One that is not in the table fails the test: who
adds a page says here, too, who may see it.
"""

from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from annotation.assist.web import assist_router
from cloud.access.addresses import own_addresses
from cloud.access.doors import OPEN_MOUNTS, Doors
from cloud.access.gate import Gate
from cloud.access.permissions import GRANTS, Permission, Role, needs
from cloud.assist_service.serving import PREFIX
from cloud.web.actions import Actions
from cloud.web.app import make_app
from lifelong.config import Config
from tests.gated_house import House, a_house

P = Permission
WANTED: dict[tuple[str, str], Permission] = {
    # open: how one enters, whether it is up, what carries a secret of its own
    ("*", "/static"): P.OPEN,
    ("GET", "/static/plotly.min.js"): P.OPEN,
    ("GET", "/enter"): P.OPEN,
    ("POST", "/enter"): P.OPEN,
    ("GET", "/healthz"): P.OPEN,
    ("GET", "/readyz"): P.OPEN,
    ("POST", "/webhooks/label-studio"): P.OPEN,
    ("GET", "/assist/health"): P.OPEN,
    ("GET", "/assist/ready"): P.OPEN,
    ("POST", "/assist/setup"): P.OPEN,
    ("POST", "/assist/predict"): P.OPEN,
    ("GET", "/assist/versions"): P.OPEN,
    ("POST", "/assist/webhook"): P.OPEN,
    ("GET", "/assist/state"): P.OPEN,
    ("DELETE", "/assist/work/{work_id}"): P.OPEN,
    ("GET", "/assist/"): P.OPEN,
    # numbers without names
    ("GET", "/metrics"): P.MEASURE,
    # pages and pictures
    ("GET", "/"): P.SEE,
    ("GET", "/live/overview"): P.SEE,
    ("POST", "/leave"): P.SEE,
    ("GET", "/people"): P.SEE,
    ("GET", "/queues"): P.SEE,
    ("GET", "/rounds"): P.SEE,
    ("GET", "/rounds.json"): P.SEE,
    ("GET", "/rounds/{number}"): P.SEE,
    ("GET", "/rounds/{number}/samples/{sample}"): P.SEE,
    ("GET", "/live/training"): P.SEE,
    ("GET", "/live/rounds/{number}/samples/{sample}"): P.SEE,
    ("GET", "/pictures/{kind}/{number}/{sample}"): P.SEE,
    ("GET", "/pictures/heat/{number}"): P.SEE,
    ("GET", "/learning"): P.SEE,
    ("GET", "/edges"): P.SEE,
    ("GET", "/edges.json"): P.SEE,
    ("GET", "/edges/{edge}"): P.SEE,
    ("GET", "/releases"): P.SEE,
    ("GET", "/releases/{number}"): P.SEE,
    # what changes labels
    ("GET", "/correct"): P.LABEL,
    ("POST", "/correct/next"): P.LABEL,
    ("POST", "/correct/keep"): P.LABEL,
    ("POST", "/correct/leave"): P.LABEL,
    ("GET", "/correct/{task}/picture"): P.LABEL,
    ("POST", "/correct/{task}/prompt"): P.LABEL,
    ("POST", "/correct/{task}/accept"): P.LABEL,
    ("POST", "/correct/{task}/skip"): P.LABEL,
    # what changes the loop or the fleet
    ("GET", "/releases/{number}/rollback"): P.OPERATE,
    ("POST", "/releases/{number}/rollback"): P.OPERATE,
    ("GET", "/rollouts/{number}/{wish}"): P.OPERATE,
    ("POST", "/rollouts/{number}/{wish}"): P.OPERATE,
    ("POST", "/rounds/start"): P.OPERATE,
    ("POST", "/edges/{edge}/budget"): P.OPERATE,
    # who may enter, and what was done
    ("GET", "/access"): P.ADMINISTER,
    ("POST", "/access/revoke"): P.ADMINISTER,
    ("POST", "/access/rotate"): P.ADMINISTER,
    ("POST", "/access/check"): P.ADMINISTER,
}


class NoPassword:
    """The smart tool's gate as it is to somebody without the password."""

    def allows(self, authorization: str | None) -> bool:
        return False


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Everything there is, as `cloud/serving.py` puts it together."""
    house = a_house(
        tmp_path_factory.mktemp("matrix"),
        build=lambda parts: replace(
            parts, secret="hint", actions=Mock(spec=Actions), correction_desk=Mock()
        ),
    )
    app = make_app(house.parts)
    backend = assist_router(Mock(), NoPassword(), title="Test")
    app.include_router(backend, prefix=PREFIX, dependencies=[needs(Permission.OPEN)])
    gate = Gate(app, book=house.book, own=own_addresses(Config()))
    return replace(house, app=app, gate=gate)


def addresses(house: House) -> dict[tuple[str, str], Permission | None]:
    return {
        (method, door.path): door.permission
        for door in Doors(house.app).all()
        for method in (sorted(door.methods - {"HEAD"}) or ["*"])
    }


def test_sec_01_every_address_is_in_the_table_with_what_it_wants(whole: House) -> None:
    found = addresses(whole)
    assert {key: found[key] for key in found if found[key] is not WANTED.get(key)} == {}
    assert set(WANTED) - set(found) == set(), "gone from the application"


def test_sec_01_open_mounts_say_why() -> None:
    assert all(len(reason) > 20 for reason in OPEN_MOUNTS.values())


@pytest.mark.parametrize("role", [None, *Role])
def test_sec_01_each_role_gets_what_it_is_granted_and_no_more(
    whole: House, role: Role | None
) -> None:
    """By the gate, from outside; what a page then answers is its own affair."""
    client = whole.asks(role)
    wrong = {}
    for (method, path), permission in addresses(whole).items():
        if permission is None or method == "*":
            continue
        address = path
        for name, value in (("{number}", "1"), ("{wish}", "halt"), ("{kind}", "before")):
            address = address.replace(name, value)
        for name in ("{sample}", "{edge}", "{task}", "{work_id}"):
            address = address.replace(name, "a1")
        try:
            status = client.request(method, address).status_code
        except Exception:  # a fake part that answers nonsense was reached
            status = 500
        granted = permission is P.OPEN or (role is not None and permission in GRANTS[role])
        is_own = permission is P.OPEN and status == 401  # asks for a secret of its own
        refused = status in {401, 403} and not is_own
        expected = 401 if role is None else 403
        if refused == granted or (not granted and status != expected):
            wrong[(method, address)] = status
    assert wrong == {}


def test_sec_01_the_table_of_the_docs_is_the_codes() -> None:
    text = (Path(__file__).parents[4] / "docs" / "security.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    told = {cells[0].strip("`"): cells[1:] for cells in rows if cells[0].strip("`") in set(P)}
    roles = list(Role)
    for permission in P:
        marks = [cell.strip() for cell in told[permission][-len(roles) :]]
        assert marks == ["yes" if permission in GRANTS[role] else "–" for role in roles], permission
