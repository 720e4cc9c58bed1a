"""Up and ready are two questions; who may not see gets codes and no words (OPS-02)."""

import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from cloud.access.permissions import Role
from cloud.monitor.heartbeats import Heartbeats
from cloud.monitor.look import Look
from cloud.monitor.readiness import Vitals
from cloud.monitor.surroundings import Seen, Surroundings
from cloud.web.parts import Parts
from lifelong.errors import LabelStudioUnavailableError, StorageUnavailableError
from lifelong.links.journal import utc_now
from lifelong.links.storage import open_storage
from tests.web_parts import a_client, a_watch, some_parts


def away() -> Look:
    raise StorageUnavailableError("s3://bucket does not answer")


def fresh() -> Look:
    """Made when it is asked for: tests are collected long before they run."""
    return Look(at=utc_now())


OFF = Seen(label_studio=False, label_studio_words="http://studio:8080 does not answer")


@pytest.mark.parametrize(
    ("parts", "status", "state", "codes"),
    [
        (some_parts(looks=fresh), 200, "ready", None),
        (
            some_parts(looks=fresh, vitals=Vitals(peek=lambda: None)),
            503, "loading", ["not_seen_yet"],
        ),
        (
            some_parts(looks=fresh, vitals=Vitals(models=lambda: {"sam": ("loading", "reads")})),
            200, "loading", ["models_loading"],
        ),
        (
            some_parts(looks=fresh, vitals=Vitals(models=lambda: {"sam": ("failed", "no file")})),
            200, "degraded", ["models_failed"],
        ),
        (some_parts(looks=away), 503, "degraded", ["storage_unreachable"]),
        (
            some_parts(looks=lambda: replace(fresh(), trouble="s3 is away", _facts={})),
            503, "degraded", ["storage_unreachable"],
        ),
        (
            some_parts(looks=lambda: Look(at=utc_now() - timedelta(hours=1))),
            503, "degraded", ["look_is_old"],
        ),
        (some_parts(looks=fresh, trouble=lambda: "no"), 503, "degraded", ["rounds_stalled"]),
        (
            some_parts(looks=fresh, vitals=Vitals(leads=lambda: False)),
            200, "degraded", ["lease_held_elsewhere"],
        ),
        (
            some_parts(looks=fresh, vitals=Vitals(seen=lambda: OFF)),
            200, "degraded", ["label_studio_unreachable"],
        ),
        (
            some_parts(
                looks=fresh,
                vitals=Vitals(seen=lambda: OFF, models=lambda: {"sam": ("loading", "reads")}),
            ),
            200, "degraded", ["label_studio_unreachable", "models_loading"],
        ),
    ],
)  # fmt: skip
def test_ops_02_ready_loading_degraded(
    parts: Parts, status: int, state: str, codes: list[str] | None
) -> None:
    answer = a_client(parts, None).get("/readyz")
    assert answer.status_code == status
    assert answer.json() == {"status": state, **({"codes": codes} if codes else {})}
    assert a_client(parts, None).get("/healthz").json() == {"status": "up"}, "alive all the same"


def test_ops_02_words_are_for_those_who_may_see() -> None:
    parts = some_parts(looks=fresh, vitals=Vitals(seen=lambda: OFF))
    for role, sees in ((None, False), (Role.DEVICE, False), (Role.ANNOTATOR, True)):
        body = a_client(parts, role).get("/readyz").json()
        assert (body.get("reasons") == [OFF.label_studio_words]) is sees


def test_ops_02_a_dead_or_silent_thread_makes_it_unhealthy() -> None:
    clock = [0.0]
    hearts = Heartbeats(lambda: clock[0])
    alive = [True]
    hearts.expect("rounds", patience_s=900.0)
    hearts.expect("watch", patience_s=900.0, is_alive=lambda: alive[0])
    client = a_client(some_parts(looks=fresh, vitals=Vitals(hearts=hearts)), None)
    seen = a_client(some_parts(looks=fresh, vitals=Vitals(hearts=hearts)), Role.OPERATOR)
    clock[0] = 899.0
    assert client.get("/healthz").status_code == 200
    clock[0] = 901.0
    assert client.get("/healthz").status_code == 503
    assert client.get("/healthz").json() == {"status": "stuck"}
    assert "'rounds' has been silent for 901 s" in seen.get("/healthz").json()["reasons"][0]
    hearts.beat("rounds")
    hearts.beater("watch")()
    hearts.beat("somebody nobody expects")
    assert client.get("/healthz").status_code == 200
    alive[0] = False
    assert seen.get("/healthz").json()["reasons"] == ["thread 'watch' has ended"]


def test_ops_02_a_watch_says_why_there_is_no_look_and_does_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_storage("memory://")
    watch = a_watch(storage, tmp_path)
    assert watch.peek() is None

    def broken(*_: object, **__: object) -> object:
        raise StorageUnavailableError("s3 is away")

    with monkeypatch.context() as patched:
        patched.setattr(type(storage), "get", broken)
        with pytest.raises(StorageUnavailableError):
            watch.refresh()
        with pytest.raises(StorageUnavailableError, match="s3 is away"):
            watch.peek()
    assert watch.refresh() is watch.peek()


def test_ops_02_a_running_watch_beats(tmp_path: Path) -> None:
    stop, beats = threading.Event(), []

    def beat() -> None:
        beats.append(1)
        stop.set()

    a_watch(open_storage("memory://"), tmp_path).run(stop, beat)
    assert beats == [1]


def test_ops_02_what_the_service_stands_on(tmp_path: Path) -> None:
    def silent() -> None:
        raise LabelStudioUnavailableError("http://studio:8080 does not answer; start it")

    def no_audit() -> int:
        raise StorageUnavailableError("away")

    seen = Surroundings(
        label_studio=silent,
        places={"journal": tmp_path / "not" / "yet"},
        audit_entries=no_audit,
    ).look()
    assert seen.label_studio is False
    assert "start it" in seen.label_studio_words
    assert seen.free_bytes["journal"] > 0
    assert seen.audit_entries is None
    well = Surroundings(label_studio=lambda: None, audit_entries=lambda: 7).look()
    assert (well.label_studio, well.audit_entries) == (True, 7)
    assert Surroundings().look() == Seen()
    stop = threading.Event()
    beats: list[int] = []

    def beat() -> None:
        beats.append(1)
        stop.set()

    Surroundings(beat=beat).run(stop)
    assert beats == [1]
