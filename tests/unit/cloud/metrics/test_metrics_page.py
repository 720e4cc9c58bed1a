"""What a scrape reads, beside what was worked out by hand (OPS-01)."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cloud.access.permissions import Role
from cloud.metrics.catalogue import CATALOGUE
from cloud.metrics.loop import GATE_KINDS, kind_of, refused_in_a_row
from cloud.metrics.measures import JournalTail, Measures
from cloud.metrics.service import Gauges
from cloud.monitor.heartbeats import Heartbeats
from cloud.monitor.look import Look, TrainingProgress, Waiting
from cloud.monitor.readiness import Vitals
from cloud.monitor.surroundings import Seen
from cloud.web.parts import Parts
from lifelong.errors import ModelBusyError, StorageUnavailableError
from lifelong.links.journal import Journal
from lifelong.links.storage import open_storage
from lifelong.records.ids import RoundNumber
from lifelong.records.rounds import Round, RoundState
from tests.builders import NOON
from tests.large_loop import live_long, version_of
from tests.web_parts import a_client, a_watch, some_parts

Key = tuple[str, ...]


def scraped(parts: Parts) -> dict[Key, float]:
    """(name, label values sorted by label name) -> value, read by Prometheus' own parser."""
    answer = a_client(parts, Role.DEVICE).get("/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


@pytest.fixture(scope="module")
def long_look(tmp_path_factory: pytest.TempPathFactory) -> Look:
    """Nine rounds of four samples: 7 refused, 9 open; six nodes."""
    storage = open_storage("memory://")
    live_long(storage, rounds=9, samples=4, edges=12, pictures=0)
    return a_watch(storage, tmp_path_factory.mktemp("journal")).look()


def at(look: Look, **seconds: float) -> Look:
    """The look as taken so long after the newest round entered its state."""
    newest = look.rounds[-1]
    entered = newest.entered[str(newest.state)]
    return replace(look, at=entered + timedelta(**seconds), _facts={})


def test_ops_01_rounds_gate_and_releases_are_counted(long_look: Look) -> None:
    """Of nine rounds the seventh was refused and the ninth is open: seven were released."""
    found = scraped(some_parts(look=at(long_look, minutes=30)))
    assert found["round_state", "9", "annotating"] == 1.0
    assert found["round_number",] == 9.0
    assert found["round_state_seconds",] == 1800.0
    ended = {state: found["rounds_total", state] for state in ("released", "refused", "failed")}
    assert ended == {"released": 7.0, "refused": 1.0, "failed": 0.0}
    assert found["rounds_refused_in_a_row",] == 0.0, "round 8 was released after it"
    assert found["gate_decisions_total", "accepted"] == 7.0
    assert found["gate_decisions_total", "refused"] == 1.0
    assert found["gate_reasons_total", "forgotten"] == 1.0
    assert found["gate_reasons_total", "no_gain"] == 0.0
    assert found["releases_total",] == found["release_number",] == 8.0  # the first model, and seven
    assert found["release_rollbacks_total",] == 0.0
    assert ("rollout_state", "halted") not in found, "there was none"


def test_ops_01_the_deployed_models_figures_are_those_of_its_examination(long_look: Look) -> None:
    found = scraped(some_parts(look=long_look))
    assert long_look.current is not None
    assert long_look.current.version_id == version_of(8)
    report = long_look.examinations[version_of(8)].candidate
    for task, result in report.tasks.items():
        assert found["model_miou", task] == result.miou
        assert found["model_holdout_images", task] == 24.0
        for name, iou in result.iou.items():
            assert found["model_iou", name, task] == pytest.approx(iou)  # class before task


def test_ops_01_backward_transfer_by_hand(long_look: Look) -> None:
    """Round n teaches condition n mod 5, so 1 to 5 teach all; rounds 6 and 8 come on top."""
    found = scraped(some_parts(look=long_look))
    reports = long_look.examinations
    conditions = ("clear", "fog", "night", "rain", "snow")
    taught = {"fog": 1, "night": 2, "rain": 3, "snow": 4, "clear": 5}
    now = reports[version_of(8)].candidate.tasks
    changes = {
        task: now[task].miou - reports[version_of(taught[task])].candidate.tasks[task].miou
        for task in conditions
    }
    expected = sum(changes.values()) / 5
    assert found["model_backward_transfer",] == pytest.approx(expected)
    earlier = [
        reports[version_of(1)].incumbent,
        *(reports[version_of(n)].candidate for n in range(1, 7)),
    ]
    losses = [
        max(report.tasks[task].miou for report in earlier if report) - now[task].miou
        for task in conditions
    ]
    assert found["model_forgetting",] == pytest.approx(sum(losses) / 5)


def test_ops_01_an_unknown_figure_is_absent_and_never_nought() -> None:
    found = scraped(some_parts())
    names = {name for name, *_ in found}
    for unknown in (
        "model_miou", "model_backward_transfer", "annotation_edit_ratio", "round_number",
        "training_loss", "edge_fps", "label_studio_reachable", "disk_free_bytes",
        "audit_entries", "release_number", "inbox_oldest_age_seconds",
    ):  # fmt: skip
        assert unknown not in names
    assert found["rounds_total", "released"] == 0.0, "that is known: there was no round"


def test_ops_01_people(long_look: Look) -> None:
    """Of the open round's four tasks two are done; the drafts of 48x64 had 300 pixels changed."""
    found = scraped(some_parts(look=long_look))
    assert found["annotation_tasks", "open"] == 2.0
    assert found["annotation_tasks", "done"] == 2.0
    assert found["annotation_tasks", "skipped"] == 0.0
    assert found["annotation_edit_ratio",] == pytest.approx(300 / (48 * 64))
    assert found["annotation_draft_agreement",] == pytest.approx(0.7)


def test_ops_01_peoples_counters_rise_and_never_fall(long_look: Look) -> None:
    """Annotations are counted from the first look on; forgetting takes none away."""
    looks = [long_look]
    parts = some_parts(looks=lambda: looks[-1])
    client = a_client(parts, Role.DEVICE)

    def counted() -> tuple[float, float]:
        found = {
            (s.name, s.labels.get("draft")): s.value
            for family in text_string_to_metric_families(client.get("/metrics").text)
            for s in family.samples
        }
        return (
            found["annotations_total", "shown"],
            found["annotation_seconds_total", "shown"],
        )

    assert counted() == (0.0, 0.0), "what was there before this process is not its own"
    newest = long_look.rounds[-1]
    donor = long_look.rounds[-2].annotations[2]
    more = replace(newest, annotations=(*newest.annotations, donor))
    looks.append(replace(long_look, rounds=(*long_look.rounds[:-1], more), _facts={}))
    assert counted() == (1.0, donor.costs[0].seconds)
    fewer = replace(newest, annotations=())
    looks.append(replace(long_look, rounds=(*long_look.rounds[:-1], fewer), _facts={}))
    assert counted() == (1.0, donor.costs[0].seconds)


def test_ops_01_nodes(long_look: Look) -> None:
    found = scraped(some_parts(look=long_look))
    assert found["edge_frames_total", "edge-00003"] == 10_003.0
    assert found["edge_outbox_oldest_age_seconds", "edge-00003"] == 300.0
    assert ("edge_outbox_oldest_age_seconds", "edge-00000") not in found, "none waits there"
    assert found["edge_inference_seconds", "edge-00003", "99"] == pytest.approx(0.043)
    assert found["edge_drift", "edge-00003", "entropy"] == pytest.approx(0.3)
    assert found["edge_alarm", "drift", "edge-00010", "drift"] == 1.0  # alarm, edge, kind
    assert found["edge_alarm", "heat", "edge-00010", "node"] == 1.0
    states = {state: found["edges", state] for state in ("silent", "alarm", "behind", "well")}
    assert sum(states.values()) == len(long_look.fleet) == 12
    for standing in long_look.fleet:
        assert found["edge_state", standing.seen.edge_id, str(standing.state)] == 1.0


def test_ops_01_a_node_cannot_fill_the_database_with_names(long_look: Look) -> None:
    standing = long_look.fleet[0]
    assert standing.seen.health is not None
    flood = {f"alarm {number}": "!" for number in range(500)} | {"A" * 200: "!", 'x"\n': "!"}
    health = replace(standing.seen.health, alarms=flood)
    loud = replace(standing, seen=replace(standing.seen, health=health))
    found = scraped(some_parts(look=replace(long_look, fleet=(loud,), _facts={})))
    assert len([key for key in found if key[0] == "edge_alarm"]) == 16


def test_ops_01_inbox_and_training(long_look: Look) -> None:
    newest = replace(long_look.rounds[-1], state=RoundState.TRAINING)
    training = TrainingProgress(
        round_number=RoundNumber(9), step=30, steps=120, loss=0.75, written_at=NOON
    )
    look = replace(
        long_look,
        at=NOON,
        rounds=(*long_look.rounds[:-1], newest),
        training=training,
        inbox=Waiting(deliveries=7, refused=2, oldest_at=NOON - timedelta(minutes=5)),
        _facts={},
    )
    found = scraped(some_parts(look=look))
    assert found["training_progress_ratio",] == 0.25
    assert found["training_loss",] == 0.75
    assert found["inbox_deliveries",] == 7.0
    assert found["inbox_refused_deliveries",] == 2.0
    assert found["inbox_oldest_age_seconds",] == 300.0
    old = replace(look, training=replace(training, round_number=RoundNumber(8)), _facts={})
    assert ("training_loss",) not in scraped(some_parts(look=old)), "of an earlier round"


def test_ops_01_measures_of_the_process() -> None:
    times = iter([0.0, 0.2, 1.0, 4.0, 5.0, 6.0])
    measures = Measures(clock=lambda: next(times))
    with measures.answer("click"):
        pass
    with measures.answer("click"):
        pass
    with pytest.raises(ModelBusyError), measures.answer("click"):
        raise ModelBusyError("later")
    found = scraped(
        some_parts(
            measures=measures,
            gauges=Gauges(
                embedding_lookups=lambda: {"memory": 5, "disk": 1, "computed": 2, "joined": 0},
                assist_work=lambda: 3,
                version="1.2.3",
            ),
        )
    )
    assert found["assist_answer_seconds_count", "click"] == 2.0
    assert found["assist_answer_seconds_sum", "click"] == pytest.approx(3.2)
    assert found["assist_answer_seconds_bucket", "click", "0.25"] == 1.0
    assert found["assist_failures_total", "ModelBusyError"] == 1.0
    assert found["assist_embedding_lookups_total", "memory"] == 5.0
    assert found["assist_work",] == 3.0
    assert found["cornerloop_info", "1.2.3"] == 1.0
    assert found["process_resident_memory_bytes",] > 1e6


def test_ops_01_requests_are_counted_by_area_and_status() -> None:
    client = a_client(some_parts(), Role.DEVICE)
    for address in ("/metrics", "/healthz", "/nowhere", "/readyz"):
        client.get(address)
    text = client.get("/metrics").text
    found = {
        (s.name, *s.labels.values()): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }
    assert found["http_requests_total", "2xx"] == 3.0
    assert found["http_requests_total", "4xx"] == 1.0
    assert found["http_request_seconds_count", "probes"] == 3.0
    assert found["http_request_seconds_count", "pages"] == 1.0


def test_ops_01_how_the_service_stands(long_look: Look) -> None:
    clock = [100.0]
    hearts = Heartbeats(lambda: clock[0])
    hearts.expect("rounds", patience_s=900.0)
    clock[0] = 142.0
    seen = Seen(
        label_studio=False, label_studio_words="no", free_bytes={"journal": 5}, audit_entries=4
    )
    parts = some_parts(
        looks=lambda: replace(long_look, trouble="s3 is away"),
        vitals=Vitals(hearts=hearts, seen=lambda: seen),
    )
    found = scraped(parts)
    assert found["service_thread_silence_seconds", "rounds"] == 42.0
    assert found["service_state", "degraded"] == 1.0
    assert found["service_state", "ready"] == 0.0
    assert found["service_fault", "storage_unreachable"] == 1.0
    assert found["service_fault", "rounds_stalled"] == 0.0
    assert found["storage_reachable",] == found["label_studio_reachable",] == 0.0
    assert found["disk_free_bytes", "journal"] == 5.0
    assert found["audit_entries",] == 4.0


def test_ops_01_before_the_first_look_nothing_of_storage_is_told() -> None:
    def away() -> Look:
        raise StorageUnavailableError("s3 is away")

    found = scraped(some_parts(looks=away))
    assert found["storage_reachable",] == 0.0
    assert not [key for key in found if key[0].startswith(("round", "edge", "model", "release"))]


def test_ops_01_every_name_is_in_the_catalogue_and_the_other_way_round(long_look: Look) -> None:
    """Names stand on the page also while they have no value, so that alerts can be checked.

    Each once: Prometheus itself reads over a second description, `promtool check metrics` and
    other strict readers refuse the whole page.
    """
    parts = some_parts(look=long_look)
    parts.measures.request("pages", 200, 0.1)
    answer = a_client(parts, Role.DEVICE).get("/metrics")
    kinds = [line.split()[2:] for line in answer.text.splitlines() if line.startswith("# TYPE ")]
    assert sorted(kinds) == sorted([one.name, one.kind] for one in CATALOGUE.values())
    assert "_created" not in answer.text
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            one = CATALOGUE.get(sample.name) or CATALOGUE[sample.name.rpartition("_")[0]]
            assert set(sample.labels) - {"le"} == set(one.labels), sample.name


def test_ops_01_no_label_holds_a_sample_or_a_person(long_look: Look) -> None:
    found = scraped(some_parts(look=long_look))
    values = {value for key in found for value in key[1:]}
    people = {a.annotator for round_ in long_look.rounds for a in round_.annotations}
    assert not values & (set(long_look.samples) | people)


def test_ops_01_a_scrape_wants_a_token(long_look: Look) -> None:
    assert a_client(some_parts(look=long_look), None).get("/metrics").status_code == 401


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("fog: forgot 9.0 points of mIoU (70.0 -> 61.0), 2.0 are allowed", "forgotten"),
        ("fog: a class drops by more than 5.0 points of IoU: car 60.0 -> 40.0", "class_dropped"),
        ("no gain: mean mIoU over 2 learning tasks 50.0 -> 49.0, needs more than 50.5", "no_gain"),
        ("no sure gain: mean mIoU over 2 learning tasks …", "no_sure_gain"),
        ("fog: mIoU 3.0 is hardly better than guessing; a first model needs 8.0",
         "no_better_than_chance"),
        ("answers 'road' nearly everywhere, whatever the picture shows", "one_answer"),
        ("fog: known before, but the candidate was not examined on it", "unexamined"),
        ("fog: its hold-out has no images", "unexamined"),
        ("fog: the candidate's mIoU is not a number from 0 to 1", "not_a_number"),
        ("something that nobody has said before", "other"),
    ],
)  # fmt: skip
def test_ops_01_reasons_of_the_gate_have_kinds(reason: str, kind: str) -> None:
    assert kind_of(reason) == kind
    assert kind in GATE_KINDS


def test_ops_01_refusals_in_a_row() -> None:
    def of(*states: RoundState) -> int:
        rounds = [Round(number=RoundNumber(n), state=state) for n, state in enumerate(states, 1)]
        return refused_in_a_row(tuple(rounds))

    released, refused, failed = RoundState.RELEASED, RoundState.REFUSED, RoundState.FAILED
    assert of() == 0
    assert of(refused, released, refused, failed, refused, RoundState.TRAINING) == 2
    assert of(refused, refused, released) == 0


def test_ops_01_the_journal_is_counted_from_now_on(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "cloud")
    journal.event("hard_example.refused", reason="before")
    tail = JournalTail(tmp_path)
    assert tail.counts() == {}
    journal.event("hard_example.refused", reason="damaged")
    Journal(tmp_path, "trainer").event("candidate.trained", round=1)
    assert tail.counts() == {"hard_example.refused": 1, "candidate.trained": 1}
    assert tail.counts() == {"hard_example.refused": 1, "candidate.trained": 1}
    (path,) = tmp_path.glob("cloud/*.jsonl")
    with path.open("ab") as lines:
        lines.write(json.dumps({"event": "Bad Name " * 20}).encode() + b"\nno json\n")
        lines.write(b'{"event": "half.a_line"')
    assert tail.counts()["other"] == 2
    assert "half.a_line" not in tail.counts()
    path.write_bytes(b"")  # rewritten, since something was forgotten
    assert tail.counts()["hard_example.refused"] == 1, "it does not fall"
    journal.event("hard_example.refused", reason="again")
    assert tail.counts()["hard_example.refused"] == 2
