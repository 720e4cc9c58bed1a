"""EDGE-13: a hard frame asks the cloud; whatever goes wrong, the node's own answer stands."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from edge.escalation import Escalation, merged
from edge.privacy import Filtered, Privacy, doubtful_box
from lifelong.errors import StorageUnavailableError
from lifelong.hard_examples import Verdict, judge
from lifelong.links.journal import Journal
from lifelong.records.escalations import Answer, Question
from lifelong.records.ids import EdgeId, sha256_hex
from lifelong.records.pixels import Frame, Prediction, image_from_bytes, png_from_mask
from lifelong.records.wire import from_json, to_json
from lifelong.sections.edge import EscalationSection, HardExamplesSection, PrivacySection
from tests.builders import SMALL_MAP, a_frame, a_mask, a_prediction
from tests.edge_fixtures import FlakyStorage, HandClock, events

FOLDER = "escalations/edge-1/q0"
OTHER_MASK = a_mask(9)


class Desk:
    """A node's escalation with a hand-wound clock; the cloud is a function called at each pause."""

    def __init__(self, tmp_path, *, privacy: PrivacySection | None = None, **section) -> None:
        self.clock = HandClock()
        self.storage = FlakyStorage()
        self.used: list[tuple[int, Prediction, str, float]] = []
        self.cloud: Callable[[], None] = lambda: None
        self.folder = tmp_path
        self.ids: Iterator[str] = (f"q{number}" for number in range(1000))
        self.jobs: list[Callable[[], None]] = []
        self.inline = True
        self.escalation = Escalation(
            EscalationSection(enabled=True, **section),
            self.storage,
            Journal(tmp_path, "edge-1"),
            Privacy(privacy or PrivacySection(), SMALL_MAP),
            edge_id=EdgeId("edge-1"),
            label_map=SMALL_MAP,
            used=lambda frame, prediction, by, s: self.used.append(
                (frame.sequence, prediction, by, s)
            ),
            clock=self.clock,
            sleep=self.pause,
            start=self.start,
            new_id=lambda: next(self.ids),
        )

    def pause(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.cloud()

    def start(self, job: Callable[[], None]) -> None:
        if self.inline:
            job()
        else:
            self.jobs.append(job)

    def ask(
        self, sequence: int = 0, *, hard: bool = True, prediction: Prediction | None = None
    ) -> Prediction | None:
        frame, prediction = a_frame(sequence), prediction or a_prediction(0.4)
        return self.escalation.ask(
            frame, prediction, a_verdict(prediction, hard), began=self.clock()
        )

    @property
    def question(self) -> Question:
        return from_json(Question, self.storage.get(f"{FOLDER}/question.json"), "question")

    def answer(self, mask=None, **changes) -> None:
        """What an honest cloud writes, with changes."""
        if not self.storage.exists(f"{FOLDER}/question.json"):
            return
        question = self.question
        png = png_from_mask(OTHER_MASK if mask is None else mask)
        fields = {
            "question_id": question.question_id,
            "image_sha256": question.image_sha256,
            "verdict": "answered",
            "mask_sha256": sha256_hex(png),
            "height": question.height,
            "width": question.width,
            "label_map_digest": SMALL_MAP.digest,
            "drafted_by": "sam+segformer",
            **changes,
        }
        self.storage.put(f"{FOLDER}/answer.png", png)
        self.storage.put(f"{FOLDER}/answer.json", to_json(Answer(**fields)))

    def after(self, seconds: float, then: Callable[[], None]) -> None:
        """Let `then` happen once, so many seconds from now."""
        due = self.clock() + seconds
        done: list[int] = []

        def look() -> None:
            if self.clock() >= due and not done:
                done.append(1)
                then()

        self.cloud = look

    def left(self) -> list[str]:
        return list(self.storage.keys("escalations"))

    def outcomes(self) -> list[tuple[str, str]]:
        found = [*events(self.folder, "question.answered")]
        found += events(self.folder, "question.unanswered")
        return [(event["event"].partition(".")[2], event["outcome"]) for event in found]


def a_verdict(prediction: Prediction, hard: bool = True) -> Verdict:
    threshold = 0.0 if hard else 1.0
    section = HardExamplesSection(policy="entropy", threshold=threshold)
    return judge(prediction, section, {}, 0.5)


def test_edge_13_an_answer_in_time_is_used_and_everything_is_cleaned_up(tmp_path):
    desk = Desk(tmp_path, deadline_seconds=2.0, poll_seconds=0.1)
    desk.after(0.5, desk.answer)
    assert desk.ask(3) is None, "the frame loop does not wait"
    ((sequence, prediction, by, seconds),) = desk.used
    assert (sequence, by) == (3, "sam+segformer")
    assert np.array_equal(prediction.mask, OTHER_MASK)
    assert seconds == pytest.approx(0.5, abs=0.11)
    assert desk.left() == []
    assert desk.outcomes() == [("answered", "answered by sam+segformer")]


def test_edge_13_the_question_says_what_the_cloud_must_know(tmp_path):
    desk = Desk(tmp_path, deadline_seconds=2.0)
    seen: list[Question] = []

    def look() -> None:
        question = desk.question
        seen.append(question)
        picture = desk.storage.get(f"{FOLDER}/image.jpg", sha256=question.image_sha256)
        assert image_from_bytes(picture, "image").shape[:2] == (question.height, question.width)

    desk.after(0.05, look)
    desk.ask(5)
    (question,) = seen
    assert question.question_id == "q0"
    assert question.edge_id == "edge-1"
    assert question.sequence == 5
    assert question.deadline_seconds == pytest.approx(2.0)
    assert question.label_map_digest == SMALL_MAP.digest
    assert question.version_id == "00000000000000aa"


def test_edge_13_an_easy_frame_never_asks(tmp_path):
    desk = Desk(tmp_path)
    desk.ask(hard=False)
    assert desk.storage.calls == []
    assert desk.outcomes() == []


@pytest.mark.parametrize(("confidence", "asks"), [(0.2, True), (0.5, False)])
def test_edge_13_a_threshold_of_its_own_decides_who_asks(tmp_path, confidence, asks):
    desk = Desk(tmp_path, threshold=0.7)
    desk.ask(prediction=a_prediction(confidence), hard=not asks)
    assert bool(desk.storage.calls) == asks


def test_edge_13_without_the_cloud_the_own_answer_stands_at_the_deadline(tmp_path):
    desk = Desk(tmp_path, deadline_seconds=2.0, poll_seconds=0.3)
    before = desk.clock()
    assert desk.ask() is None
    assert desk.clock() - before == pytest.approx(2.0)
    assert desk.used == []
    assert desk.left() == []
    assert desk.outcomes() == [("unanswered", "no answer before the deadline")]


def test_edge_13_a_late_answer_is_not_used_and_is_the_clouds_to_remove(tmp_path):
    desk = Desk(tmp_path, deadline_seconds=1.0, poll_seconds=0.25)
    desk.after(5.0, desk.answer)
    desk.ask()
    desk.clock.advance(10)
    desk.cloud()  # the question is gone: an honest cloud writes nothing
    assert desk.used == []
    assert desk.left() == []


def test_edge_13_an_answer_whose_mask_arrives_after_the_deadline_is_not_used(tmp_path):
    desk = Desk(tmp_path, deadline_seconds=1.0)
    desk.after(0.5, desk.answer)
    real = desk.storage.get

    def slow(key, *, sha256=None):
        if key.endswith("answer.png"):
            desk.clock.advance(3)
        return real(key, sha256=sha256)

    desk.storage.get = slow
    desk.ask()
    assert desk.used == []
    assert desk.outcomes() == [("unanswered", "the answer came too late")]
    assert desk.left() == []


def test_edge_13_the_deadline_counts_from_the_frame_not_from_the_question(tmp_path):
    desk = Desk(tmp_path, deadline_seconds=1.0)
    frame, prediction = a_frame(), a_prediction(0.4)
    began = desk.clock()
    desk.clock.advance(5)
    desk.escalation.ask(frame, prediction, a_verdict(prediction), began=began)
    assert desk.used == []
    assert desk.left() == []
    assert "on its way" in desk.outcomes()[0][1]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"question_id": "another"}, "question_id"),
        ({"image_sha256": "0" * 64}, "image_sha256"),
        ({"label_map_digest": "0" * 64}, "label_map_digest"),
        ({"height": 10}, "height"),
        ({"mask_sha256": "0" * 64}, "SHA-256"),
        ({"mask": np.zeros((4, 4), np.uint8)}, "asked was"),
        ({"mask": np.full((48, 64), 7, np.uint8)}, "label map does not have"),
        ({"verdict": "refused", "reason": "no picture"}, "the cloud refused: no picture"),
    ],
)
def test_edge_13_a_foreign_or_damaged_answer_is_not_used(tmp_path, changes, reason):
    desk = Desk(tmp_path)
    desk.after(0.3, lambda: desk.answer(**changes))
    before = desk.clock()
    desk.ask()
    assert desk.used == []
    ((kind, outcome),) = desk.outcomes()
    assert kind == "unanswered"
    assert reason in outcome
    assert desk.clock() - before < 1.0, "nobody waits on after a useless answer"
    assert desk.left() == []


@pytest.mark.parametrize("garbage", [b"", b"{", b"[]", b"\xff\xfe", b'{"schema": 99}'])
def test_edge_13_an_answer_that_is_no_record_is_not_used(tmp_path, garbage):
    desk = Desk(tmp_path)
    desk.after(0.3, lambda: desk.storage.put(f"{FOLDER}/answer.json", garbage))
    desk.ask()
    assert desk.used == []
    assert desk.left() == []


def test_edge_13_on_a_dead_link_the_own_answer_stands_and_the_rest_goes_at_the_next_start(tmp_path):
    desk = Desk(tmp_path, deadline_seconds=1.0)

    def cut() -> None:
        desk.storage.is_down = True

    desk.after(0.3, cut)
    real_delete = desk.storage.delete

    def delete(key):
        if desk.storage.is_down:
            raise StorageUnavailableError(f"{key}: connection refused")
        real_delete(key)

    desk.storage.delete = delete
    desk.ask()
    assert desk.used == []
    assert len(desk.left()) == 2
    # The next run of the node: its first question removes what nobody waits for.
    after = Desk(tmp_path, deadline_seconds=1.0)
    after.storage = desk.storage
    after.escalation._storage = desk.storage
    desk.storage.is_down = False
    after.ids = iter(["q9"])
    after.ask(1)
    assert desk.left() == []


def test_edge_13_a_link_that_is_dead_from_the_start_costs_nothing(tmp_path):
    desk = Desk(tmp_path)
    desk.storage.is_down = True
    assert desk.ask() is None
    assert desk.used == []


def test_edge_13_a_hiccup_while_waiting_does_not_give_the_answer_up(tmp_path):
    desk = Desk(tmp_path, deadline_seconds=2.0)
    moments = iter([True, True, False])

    def look() -> None:
        desk.storage.is_down = next(moments, False)
        if not desk.storage.is_down:
            desk.answer()

    desk.cloud = look
    desk.ask()
    assert len(desk.used) == 1


def test_edge_13_only_so_many_questions_are_open(tmp_path):
    desk = Desk(tmp_path, open_at_most=2)
    desk.inline = False
    for sequence in range(5):
        desk.ask(sequence)
    assert len(desk.jobs) == 2
    for job in desk.jobs:
        job()
    desk.jobs.clear()
    desk.ask(6)
    assert len(desk.jobs) == 1


def test_edge_13_waiting_returns_the_clouds_answer(tmp_path):
    desk = Desk(tmp_path, wait=True)
    desk.after(0.3, desk.answer)
    answer = desk.ask()
    assert answer is not None
    assert np.array_equal(answer.mask, OTHER_MASK)
    assert answer.version_id == a_prediction().version_id


def test_edge_13_waiting_ends_at_the_deadline_even_if_the_link_hangs(tmp_path):
    """With real threads: `get` never returns; the frame loop goes on, and the late end of the
    question is not used."""
    hangs, entered = threading.Event(), threading.Event()
    desk = Desk(tmp_path)
    real = desk.storage.get

    def hanging(key, *, sha256=None):
        entered.set()
        hangs.wait(120)
        desk.answer()
        return real(key, sha256=sha256)

    desk.storage.get = hanging
    escalation = Escalation(
        EscalationSection(enabled=True, wait=True, deadline_seconds=0.3, open_at_most=1),
        desk.storage,
        Journal(tmp_path, "edge-1"),
        Privacy(PrivacySection(), SMALL_MAP),
        edge_id=EdgeId("edge-1"),
        label_map=SMALL_MAP,
        used=lambda *told: desk.used.append(told),
    )
    prediction = a_prediction(0.4)
    frame, verdict = a_frame(), a_verdict(prediction)
    began = escalation._clock()
    assert escalation.ask(frame, prediction, verdict, began=began) is None
    assert entered.wait(120)  # its thread may come late on a busy machine
    # Its place is not free while the link hangs.
    (asked,) = escalation._open.values()
    assert escalation.ask(frame, prediction, verdict, began=escalation._clock()) is None
    assert list(escalation._open.values()) == [asked]
    hangs.set()
    assert asked.ended.wait(120)
    assert desk.used == []


def test_edge_10_edge_13_a_dropped_frame_asks_nobody(tmp_path):
    desk = Desk(tmp_path, privacy=PrivacySection(drop=("person",)))
    desk.ask(prediction=a_prediction(0.4, mask=np.full((48, 64), 2, np.uint8)))
    assert desk.storage.calls == []
    assert "may not leave" in desk.outcomes()[0][1]


def test_edge_10_edge_13_what_is_sent_is_filtered_and_the_answer_fits_the_whole_frame(tmp_path):
    mask = np.zeros((48, 64), np.uint8)
    mask[:20, :20] = 2
    entropy = np.full((48, 64), 0.01, np.float32)
    entropy[8:24, 8:32] = 0.9
    privacy = PrivacySection(blur=("person",), margin_px=0, crop="doubtful")
    desk = Desk(tmp_path, privacy=privacy)
    sent: list[np.ndarray] = []

    def look() -> None:
        picture = desk.storage.get(f"{FOLDER}/image.jpg")
        sent.append(image_from_bytes(picture, "image"))
        desk.answer(mask=np.ones(sent[0].shape[:2], np.uint8))

    desk.after(0.1, look)
    prediction = a_prediction(0.4, mask=mask, entropy=entropy)
    desk.ask(prediction=prediction)
    ((_, answer, _, _),) = desk.used
    x0, y0, _, _ = doubtful_box(entropy)
    height, width = sent[0].shape[:2]
    expected = mask.copy()
    expected[y0 : y0 + height, x0 : x0 + width] = 1
    expected[mask == 2] = 2  # blurred: the cloud did not see who is there
    assert height < 48 and width < 64
    assert np.array_equal(answer.mask, expected)


def test_edge_13_where_the_cloud_does_not_know_the_own_class_stays():
    own = a_mask(1)
    answer = np.full_like(own, 255)
    answer[:10] = 1
    prediction = a_prediction(mask=own)
    frame: Frame = a_frame()
    filtered = Filtered(
        frame=frame,
        prediction=prediction,
        box=(0, 0, 63, 47),
        blurred=np.zeros(own.shape, dtype=bool),
    )
    whole = merged(own, filtered, answer)
    assert (whole[:10] == 1).all()
    assert np.array_equal(whole[10:], own[10:])
    assert np.array_equal(own, a_mask(1))
    hidden = replace(filtered, blurred=np.ones(own.shape, dtype=bool))
    assert np.array_equal(merged(own, hidden, answer), own)
