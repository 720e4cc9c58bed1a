"""INT-08 to INT-12, INT-17, INT-27: what answers clicks, by stubs of models."""

import random
import threading

import numpy as np
import pytest

from annotation.assist.segmenter import Found, Readiness, Thresholds, Wish
from lifelong.errors import (
    ConfigError,
    ModelBusyError,
    ModelLoadError,
    ModelNotReadyError,
    PictureAccessError,
    PromptError,
)
from lifelong.records.prompts import Box, Point, Prompt
from tests.unit.cloud.assist.engine_stubs import (
    PATIENCE_S,
    StubLoader,
    StubModel,
    StubPicture,
    section,
    segmenters,
    spelt,
    together,
)


@pytest.fixture
def served():
    """Makes services, and ends them."""
    made = []

    def make(*models, **more):
        made.append(segmenters(*models, **more))
        return made[-1]

    yield make
    for each in made:
        each.close()


def click(x, y=3.0):
    return Wish(prompt=Prompt(points=(Point(x, y),)))


def until(condition):
    """Wait for what other threads do."""
    done = threading.Event()
    for _ in range(int(PATIENCE_S / 0.005)):
        if condition():
            return
        done.wait(0.005)
    raise AssertionError("never came")


def item_of(service, work_id):
    (item,) = [item for item in service.work() if item.work_id == work_id]
    return item


@pytest.mark.parametrize("memory", [1 << 20, 100], ids=["all in memory", "six of eight in memory"])
def test_int_10_eight_threads_over_eight_pictures_answer_as_one(served, memory, tmp_path):
    """INT-10: never another picture's embedding, nor another's click."""
    model = StubModel()
    service = served(model, memory=memory, folder=tmp_path, workers=2)

    def annotator(seed):
        rng, wrong = random.Random(seed), 0
        for _ in range(60):
            number, x = rng.randrange(8), rng.randrange(8)
            found = service.segment(StubPicture(number), click(x))
            wrong += spelt(found.masks[0]) != (number, x)
        return wrong

    assert together(8, annotator) == [0] * 8
    assert set(model.embedded) == set(range(8))
    if memory > 100:
        assert len(model.embedded) == 8


def test_int_08_size_then_clicks_embed_once(served):
    model, picture = StubModel(), StubPicture(5, size=(7, 9))
    service = served(model)

    assert service.size(picture) == (7, 9)
    for x in range(5):
        service.segment(picture, click(x))

    assert model.embedded == [5]
    assert len(model.decoded) == 5


def test_int_23_three_candidates_come_best_first_and_one_is_the_best(served):
    service = served(StubModel())

    three = service.segment(
        StubPicture(5), Wish(prompt=Prompt(points=(Point(1, 1),)), candidates=3)
    )
    one = service.segment(StubPicture(5), click(1.0))

    assert three.scores.tolist() == pytest.approx([0.9, 0.7, 0.5])
    assert three.masks.shape == (3, 6, 8)
    assert three.masks.dtype == bool
    assert one.masks.shape == (1, 6, 8)
    assert one.scores.tolist() == pytest.approx([0.9])


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (Wish(prompt=Prompt()), "nothing is pointed at; click on the object"),
        (Wish(prompt=Prompt(), drawn=np.zeros((6, 8), bool)), "nothing is pointed at"),
        (click(8.5), "x 8.5, y 3: outside the picture, which has 8 x 6 pixels"),
        (click(float("nan")), "outside the picture"),
        (click(1.0, -0.1), "outside the picture"),
        (Wish(prompt=Prompt(boxes=(Box(8, 0, 12, 4),))), "holds nothing of the picture"),
        (Wish(prompt=Prompt(boxes=(Box(3, 2, 3, 4),))), "holds nothing of the picture"),
        (Wish(prompt=Prompt(boxes=(Box(0, 0, float("inf"), 4),))), "not numbers"),
        (Wish(prompt=Prompt(), drawn=np.ones((8, 6), bool)), "hint: 6 x 8 pixels; the picture"),
    ],
)
def test_ops_03_a_prompt_that_cannot_be_answered_says_why(served, wish, words):
    service = served(StubModel())

    with pytest.raises(PromptError, match=words):
        service.segment(StubPicture(1), wish)

    assert spelt(service.segment(StubPicture(1), click(2)).masks[0]) == (1, 2)


def test_a_point_on_the_far_edge_and_a_box_over_it_are_answered(served):
    model = StubModel()
    service = served(model)

    service.segment(StubPicture(1), click(8.0, 6.0))
    service.segment(StubPicture(1), Wish(prompt=Prompt(boxes=(Box(-3, 2, 11, 4),))))

    assert model.decoded[-1][0] == Prompt(boxes=(Box(0, 2, 8, 4),))


def test_int_27_more_than_may_wait_are_refused_at_once_and_lose_nothing(served):
    model = StubModel()
    model.go.clear()
    service = served(model, waiting=3)
    answers = []
    asking = [
        threading.Thread(
            target=lambda n=n: answers.append(service.segment(StubPicture(n), click(1)))
        )
        for n in range(4)  # one at work, three wait
    ]
    for thread in asking:
        thread.start()
    until(lambda: len(service.work()) == 4)

    with pytest.raises(ModelBusyError, match="too many requests wait already"):
        service.segment(StubPicture(9), click(1))

    model.go.set()
    for thread in asking:
        thread.join(PATIENCE_S)
    assert sorted(spelt(a.masks[0])[0] for a in answers) == [0, 1, 2, 3]
    assert spelt(service.segment(StubPicture(9), click(1)).masks[0]) == (9, 1)


def test_int_27_the_queue_is_seen_and_what_waits_can_be_taken_back(served):
    model = StubModel()
    model.go.clear()
    service = served(model)
    outcomes = []

    def ask(number):
        try:
            outcomes.append(service.segment(StubPicture(number), click(1)))
        except ModelBusyError as error:
            outcomes.append(error)

    asking = [threading.Thread(target=ask, args=(number,)) for number in (1, 2)]
    asking[0].start()
    assert model.begun.wait(PATIENCE_S)
    asking[1].start()
    until(lambda: len(service.work()) == 2)
    states = {item.subject: item for item in service.work()}
    until(lambda: item_of(service, states["picture 1"].work_id).state == "running")
    assert states["picture 2"].state == "waiting"
    assert states["picture 2"].kind == "click"

    assert service.cancel(states["picture 2"].work_id)
    asking[1].join(PATIENCE_S)
    assert "picture 2: cancelled" in str(outcomes[0])
    assert not service.cancel(states["picture 2"].work_id)
    assert not service.cancel("no such work")

    model.go.set()
    asking[0].join(PATIENCE_S)
    assert {item.subject: item.state for item in service.work()} == {
        "picture 1": "done",
        "picture 2": "cancelled",
    }
    assert model.embedded == [1]


def test_int_09_every_click_after_prefetching_finds_its_embedding(served):
    """INT-09: hit ratio 1 for what was prefetched."""
    model = StubModel()
    service = served(model)

    work_id = service.prefetch((StubPicture(n) for n in range(20)), subject="project 4")
    until(lambda: item_of(service, work_id).state == "done")
    before = list(model.embedded)
    for number in range(20):
        service.segment(StubPicture(number), click(1))

    assert model.embedded == before == list(range(20))
    item = item_of(service, work_id)
    assert (item.kind, item.subject, item.done, item.total) == ("embed", "project 4", 20, 20)
    assert item.words == "20 embedded, 0 were there"


def test_int_09_what_is_there_is_not_embedded_again(served, tmp_path):
    first = served(StubModel(), folder=tmp_path)
    until_done(first, first.prefetch([StubPicture(1), StubPicture(2)], subject="p"))
    first.close()
    model = StubModel()
    service = served(model, folder=tmp_path)

    work_id = service.prefetch([StubPicture(n) for n in (1, 2, 3)], subject="p")
    until_done(service, work_id)

    assert model.embedded == [3]
    assert item_of(service, work_id).words == "1 embedded, 2 were there"
    assert service.prefetch([], subject="p") == ""


def until_done(service, work_id):
    until(lambda: item_of(service, work_id).state not in ("waiting", "running"))


def test_int_09_one_picture_that_cannot_be_had_does_not_stop_the_others(served):
    model = StubModel()
    service = served(model)
    broken = StubPicture(2, error=PictureAccessError("picture 2: 404"))

    work_id = service.prefetch([StubPicture(1), broken, StubPicture(3)], subject="p")
    until_done(service, work_id)

    assert model.embedded == [1, 3]
    item = item_of(service, work_id)
    assert (item.state, item.done) == ("failed", 3)
    assert item.words == "2 embedded, 0 were there, 1 failed: picture 2: 404"


def test_int_09_a_list_that_breaks_off_says_so(served):
    def pictures():
        yield StubPicture(1)
        raise PictureAccessError("Label Studio is away")

    service = served(StubModel())

    work_id = service.prefetch(pictures(), subject="p")
    until_done(service, work_id)

    assert item_of(service, work_id).words == (
        "1 embedded, 0 were there, 1 failed: Label Studio is away"
    )


def test_int_27_prefetching_is_taken_back_in_the_middle(served):
    model = StubModel()
    service = served(model)
    model.go.clear()

    work_id = service.prefetch((StubPicture(n) for n in range(100)), subject="p")
    assert model.begun.wait(PATIENCE_S)
    assert service.cancel(work_id)
    until_done(service, work_id)

    assert item_of(service, work_id).state == "cancelled"
    assert model.embedded == [0]
    model.go.set()
    assert spelt(service.segment(StubPicture(50), click(1)).masks[0]) == (50, 1)


def test_int_27_a_click_on_another_picture_does_not_wait_for_prefetching(served):
    model = StubModel()
    other = StubModel("other", digest="6" * 64)
    service = served(model, other)
    model.go.clear()
    service.prefetch([StubPicture(1)], subject="p")
    assert model.begun.wait(PATIENCE_S)

    # The encoder is held up, and yet:
    assert spelt(service.segment(StubPicture(2), click(3), model="other").masks[0]) == (2, 3)
    model.go.set()


def test_int_27_a_long_list_does_not_keep_a_short_one_waiting(served):
    model = StubModel()
    model.go.clear()
    service = served(model)
    service.prefetch([StubPicture(n) for n in range(50)], subject="all")
    assert model.begun.wait(PATIENCE_S)
    short = service.prefetch([StubPicture(100)], subject="next")
    model.go.set()
    until_done(service, short)
    until(lambda: len(model.embedded) == 51)

    assert model.embedded.index(100) <= 3


def test_int_17_a_click_while_a_model_loads_is_told_so(served):
    model = StubModel("big")
    loader = StubLoader(model)
    loader.go.clear()
    service = served(model, loader=loader, patience_seconds=0.0)
    service.start()

    with pytest.raises(ModelNotReadyError, match="big: still loading"):
        service.segment(StubPicture(1), click(1))
    assert service.states()[0].readiness is Readiness.LOADING
    # What nobody waits for begins when it can.
    work_id = service.prefetch([StubPicture(1)], subject="p")

    loader.go.set()
    until_done(service, work_id)
    assert item_of(service, work_id).words == "1 embedded, 0 were there"
    assert model.embedded == [1]
    assert service.states()[0].readiness is Readiness.READY


def test_ops_02_a_failed_model_is_told_to_who_clicks(served):
    loader = StubLoader()
    loader.errors["big"] = ModelLoadError("`cornerloop models pull sam_vit_b` brings them")
    service = served(StubModel("big"), loader=loader)

    with pytest.raises(ModelLoadError, match="models pull sam_vit_b"):
        service.segment(StubPicture(1), click(1))
    with pytest.raises(ConfigError, match="no model 'nobody'"):
        service.segment(StubPicture(1), click(1), model="nobody")
    assert {item.state for item in service.work()} == {"failed"}


def test_ops_02_a_full_disk_degrades_and_clicks_go_on(served, tmp_path):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    service = served(StubModel(), folder=in_the_way)

    found = service.segment(StubPicture(1), click(1))
    until(lambda: service.states()[0].readiness is Readiness.DEGRADED)

    assert spelt(found.masks[0]) == (1, 1)
    assert "embeddings are not kept on disk" in service.states()[0].words


class StubFinder:
    """Finds the whole picture, and looks at it."""

    def find(self, seen, words, *, labels, thresholds):
        assert seen.pixels().shape[:2] == (seen.embedded.height, seen.embedded.width)
        seen.pause()
        mask = np.ones(seen.pixels().shape[:2], bool)
        return [Found(mask=mask, label=labels[0], phrase=words[0], score=0.5)]

    def find_like(self, seen, example, *, label):
        return [Found(mask=~example, label=label, phrase="", score=0.5)]


def test_words_and_examples_are_given_to_who_can_answer_them(served):
    model = StubModel()
    service = served(model, words=StubFinder(), likeness=StubFinder())
    example = np.zeros((6, 8), bool)

    (by_words,) = service.find(StubPicture(1), ["a car"], labels=["Car"], thresholds=Thresholds())
    (alike,) = service.find_like(StubPicture(1), example, label="Car")

    assert (by_words.label, by_words.phrase) == ("Car", "a car")
    assert alike.mask.all()
    assert model.embedded == [1]
    assert [item.kind for item in service.work()] == ["words", "words"]


def test_ops_03_without_a_text_model_words_say_so(served):
    service = served(StubModel())

    with pytest.raises(PromptError, match="no text model is configured"):
        service.find(StubPicture(1), ["car"], labels=["Car"], thresholds=Thresholds())
    with pytest.raises(PromptError, match="not served here"):
        service.find_like(StubPicture(1), np.ones((6, 8), bool), label="Car")


def test_int_08_two_models_do_not_mix_up_their_embeddings(served):
    one, other = StubModel("one", digest="1" * 64), StubModel("other", digest="2" * 64)
    service = served(one, other)

    service.segment(StubPicture(1), click(1))
    service.segment(StubPicture(1), click(1), model="other")

    assert one.embedded == other.embedded == [1]
    assert [state.name for state in service.states()] == ["one", "other"]
    assert section("one") != section("other")
