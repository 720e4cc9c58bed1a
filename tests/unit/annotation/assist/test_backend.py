"""Requests of Label Studio through the whole backend, before a segmenter that paints squares."""

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from annotation.assist.access import ProjectAccess
from annotation.assist.backend import AssistBackend
from annotation.assist.look_ahead import Embed, LookAhead
from annotation.assist.projects import Projects
from annotation.assist.segmenter import (
    Candidates,
    Found,
    Mask,
    ModelState,
    Picture,
    Readiness,
    Thresholds,
    Wish,
    WorkItem,
)
from annotation.assist.troubles import Troubles
from annotation.brush_rle import mask_from_rle
from lifelong.errors import ConfigError, ModelLoadError, PictureAccessError, PromptError
from lifelong.sections.assist import AssistSection

HEIGHT, WIDTH = 60, 80
CONFIG = """<View>
  <Image name="picture" value="$photo"/>
  <TextArea name="prompt" toName="picture"/>
  <BrushLabels name="paint" toName="picture" smart="false">
    <Label value="car"/><Label value="road"/>
  </BrushLabels>
  <KeyPointLabels name="dot" toName="picture" smart="true" smartOnly="true">
    <Label value="car"/><Label value="road"/>
  </KeyPointLabels>
</View>"""


class StubPicture:
    def __init__(self, address: str) -> None:
        self.name = address
        self.digest = address

    def pixels(self) -> NDArray[np.uint8]:
        return np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)


class StubPictures:
    def __init__(self) -> None:
        self.asked: list[tuple[str, int | None, ProjectAccess]] = []

    def picture(self, address: str, *, task_id: int | None, project: ProjectAccess) -> Picture:
        self.asked.append((address, task_id, project))
        if address == "gone.jpg":
            raise PictureAccessError("gone.jpg: 404; is the file still there?")
        return StubPicture(address)


class Squares:
    """A mask of ten pixels around each click; its shade of score says which candidate it is."""

    def __init__(self) -> None:
        self.wishes: list[Wish] = []
        self.sought: list[tuple[tuple[str, ...], tuple[str, ...], Thresholds]] = []
        self.prefetched: list[tuple[list[str], str]] = []
        self.readiness = Readiness.READY
        self.error: Exception | None = None

    def states(self) -> Sequence[ModelState]:
        return [
            ModelState(name="squares", version="squares-00000000", readiness=self.readiness,
                       words="run `cornerloop models pull`", since=0.0, is_default=True),
            ModelState(name="other", version="other-1", readiness=Readiness.READY, words="",
                       since=0.0),
        ]  # fmt: skip

    def size(self, picture: Picture, *, model: str = "") -> tuple[int, int]:
        if self.error is not None:
            raise self.error
        return HEIGHT, WIDTH

    def segment(self, picture: Picture, wish: Wish, *, model: str = "") -> Candidates:
        self.wishes.append(wish)
        masks = np.zeros((wish.candidates, HEIGHT, WIDTH), dtype=np.bool_)
        for point in wish.prompt.points:
            x, y = int(point.x), int(point.y)
            for number in range(wish.candidates):
                reach = 5 + number
                window = np.s_[max(0, y - reach) : y + reach, max(0, x - reach) : x + reach]
                masks[number][window] = point.is_positive
        scores = np.linspace(0.9, 0.5, wish.candidates).astype(np.float32)
        return Candidates(masks=masks, scores=scores)

    def find(
        self, picture: Picture, words: Sequence[str], *,
        labels: Sequence[str], thresholds: Thresholds, model: str = "",
    ) -> Sequence[Found]:  # fmt: skip
        self.sought.append((tuple(words), tuple(labels), thresholds))
        mask = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
        mask[10:20, 10:30] = True
        return [Found(mask=mask, label=labels[0], phrase=words[0], score=0.7)]

    def find_like(
        self, picture: Picture, example: Mask, *, label: str, model: str = ""
    ) -> Sequence[Found]:
        return [Found(mask=np.roll(example, 20, axis=1), label=label, phrase="", score=0.6)]

    def prefetch(self, pictures: Iterable[Picture], *, subject: str, model: str = "") -> str:
        self.prefetched.append(([one.name for one in pictures], subject))
        return "w1"

    def work(self) -> Sequence[WorkItem]:
        return []

    def cancel(self, work_id: str) -> bool:
        return False


class Coming:
    def tasks_to_come(
        self, project_id: int, *, after: int, count: int
    ) -> Sequence[tuple[int, Mapping[str, object]]]:
        return [(after + n, {"photo": f"{after + n}.jpg"}) for n in (1, 2)]


class Backend:
    """The backend under test, and what it stands on."""

    def __init__(self, folder: Path) -> None:
        self.squares, self.pictures = Squares(), StubPictures()
        self.file = folder / "projects.json"
        self.ahead: list[LookAhead] = []

        def look_ahead(embed: Embed) -> LookAhead:
            self.ahead.append(LookAhead(Coming(), embed, count=2))
            return self.ahead[0]

        self.it = AssistBackend(
            segmenter=self.squares,
            pictures=self.pictures,
            projects=Projects(self.file),
            troubles=Troubles(now=lambda: 0.0, new_id=lambda: "t1"),
            section=AssistSection(),
            look_ahead=look_ahead,
        )

    def predict(self, *prompts: Mapping[str, Any], **task: Any) -> Any:
        (answer,) = self.it.predict(a_request(list(prompts), {"id": 7, **task}))
        return answer

    def looked(self) -> None:
        self.ahead[0]._pool.submit(lambda: None).result(10)


@pytest.fixture
def backend(tmp_path: Path) -> Backend:
    return Backend(tmp_path)


def a_click(x: float, y: float, label: str = "car", **more: Any) -> dict[str, Any]:
    """A click at percent of the picture, as the editor sends it."""
    return {
        "id": f"{x}-{y}", "type": "keypointlabels", "from_name": "dot", "to_name": "picture",
        "original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0,
        "value": {"x": x, "y": y, "width": 0.2, "keypointlabels": [label]}, **more,
    }  # fmt: skip


def words(text: str) -> dict[str, Any]:
    return {
        "id": "w", "type": "textarea", "from_name": "prompt", "to_name": "picture",
        "value": {"text": [text]},
    }  # fmt: skip


def a_request(prompts: list[Any] | None, *tasks: Mapping[str, Any]) -> bytes:
    context = None if prompts is None else {"result": prompts}
    return json.dumps(
        {
            "tasks": [{"data": {"photo": "a.jpg"}, **task} for task in tasks],
            "project": "3.1763790000",
            "label_config": CONFIG,
            "params": {"context": context, "login": "me", "password": "pw"},
        }
    ).encode()


def a_setup(**more: Any) -> bytes:
    return json.dumps(
        {"project": "3.1763790000", "schema": CONFIG, "hostname": "http://ls", **more}
    ).encode()


def painted(region: Mapping[str, Any]) -> Mask:
    assert region["type"] == "brushlabels"
    return mask_from_rle(region["value"]["rle"], HEIGHT, WIDTH, "a test")


def test_int_01_a_click_becomes_a_region_of_the_projects_own_brush(backend: Backend) -> None:
    """INT-01, INT-04: names of controls, image and field are the project's."""
    answer = backend.predict(a_click(50, 50))
    (region,) = answer["result"]
    assert (region["from_name"], region["to_name"]) == ("paint", "picture")
    assert region["value"]["brushlabels"] == ["car"]
    assert painted(region)[30, 40] and painted(region).sum() == 100
    assert answer["score"] == pytest.approx(0.9)
    assert answer["model_version"] == "squares-00000000"
    assert backend.pictures.asked[0][0] == "a.jpg"


def test_int_03_alt_click_takes_away(backend: Backend) -> None:
    """INT-03: `is_positive: false` reaches the model as a negative point."""
    backend.predict(a_click(50, 50), a_click(60, 50, is_positive=False))
    signs = [point.is_positive for point in backend.squares.wishes[0].prompt.points]
    assert signs == [True, False]


def test_int_23_a_repeated_click_asks_for_the_next_candidate(backend: Backend) -> None:
    """INT-23: the same place twice is the second candidate of three."""
    (first,) = backend.predict(a_click(50, 50))["result"]
    (second,) = backend.predict(a_click(50, 50), a_click(50.1, 50))["result"]
    assert painted(second).sum() > painted(first).sum()
    assert backend.squares.wishes[1].candidates == 3


def test_int_19_words_are_looked_for_and_remembered(backend: Backend) -> None:
    """INT-19: the next whole task of the project is looked through with the same words, also
    after a restart."""
    answer = backend.predict(words("Cars, road"))
    assert answer["result"][0]["value"]["brushlabels"] == ["car"]
    assert backend.squares.sought[0][:2] == (("Cars", "road"), ("car", "road"))
    again = Backend(backend.file.parent)
    (drafted,) = again.it.predict(a_request(None, {"id": 8}))
    assert again.squares.sought[0][0] == ("Cars", "road") and drafted["result"]


def test_a_whole_task_without_words_gets_no_prediction_instead_of_an_empty_one(
    backend: Backend,
) -> None:
    assert backend.it.predict(a_request(None, {"id": 8}, {"id": 9})) == [[], []]


def test_int_26_like_this_looks_for_what_the_newest_region_shows(backend: Backend) -> None:
    """INT-26: the region comes from the task's draft."""
    (region,) = backend.predict(a_click(30, 50))["result"]
    answer = backend.predict(words("like this"), drafts=[{"result": [region]}])
    assert painted(answer["result"][0])[30, 44] and not painted(answer["result"][0])[30, 24]
    (other,) = backend.predict(a_click(55, 50))["result"]  # 20 pixels from the example: found
    drafts = [{"result": [other, region]}]
    assert backend.predict(words("like this"), drafts=drafts)["result"] == []


def test_int_25_an_eraser_answers_with_the_region_it_changes(backend: Backend) -> None:
    """INT-25: with its id, so that the editor puts it in the old one's place."""
    (region,) = backend.predict(a_click(50, 50))["result"]
    config = CONFIG.replace(
        '<Label value="car"/><Label value="road"/>\n  </KeyPointLabels>',
        '<Label value="car"/><Label value="Eraser car"/></KeyPointLabels>',
    )
    body = json.loads(
        a_request([a_click(55, 50, "Eraser car")], {"drafts": [{"result": [region]}]})
    )
    (answer,) = backend.it.predict(json.dumps({**body, "label_config": config}).encode())
    (changed,) = answer["result"]
    assert changed["id"] == region["id"] and painted(changed).sum() == 100 - 60


def test_int_18_one_task_that_fails_does_not_fail_the_rest(backend: Backend) -> None:
    """INT-18: in their order, and the words are kept."""
    answers = backend.it.predict(
        a_request([a_click(50, 50)], {"id": 1}, {"id": 2, "data": {"photo": "gone.jpg"}}, {"id": 3})
    )
    assert [len(one["result"]) for one in answers] == [1, 0, 1]
    assert answers[1]["error"] == {
        "id": "t1", "kind": "PictureAccessError",
        "words": "gone.jpg: 404; is the file still there?",
    }  # fmt: skip
    (trouble,) = backend.it.state()["troubles"]
    assert (trouble["task"], trouble["project"]) == (2, 3)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({}, "no picture under 'photo'"),
        ({"photo": 3}, "it has photo"),
        ({"image": "a"}, "it has image"),
    ],
)
def test_ops_03_a_task_without_its_picture_says_so(
    backend: Backend, data: Mapping[str, object], told: str
) -> None:
    """OPS-03: what the config wants and what there is."""
    assert told in backend.predict(a_click(50, 50), data=data)["error"]["words"]


@pytest.mark.parametrize(
    "error", [ModelLoadError("no weights"), PromptError("no pixel there"), ConfigError("no model")]
)
def test_ops_03_a_click_without_an_answer_is_told_with_an_id(
    backend: Backend, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """OPS-03: the same id in the answer, on the page and in the log."""
    backend.squares.error = error
    answer = backend.predict(a_click(50, 50))
    assert answer["result"] == [] and answer["error"]["words"] == str(error)
    assert "t1" in caplog.text and str(error) in caplog.text


@pytest.mark.parametrize(
    ("readiness", "told"),
    [
        (Readiness.READY, "squares-00000000"),
        (Readiness.LOADING, "squares (loading)"),
        (Readiness.FAILED, "squares-00000000 (failed: run `cornerloop models pull`)"),
    ],
)
def test_int_17_setup_answers_at_once_and_says_the_state_as_the_version(
    backend: Backend, readiness: Readiness, told: str
) -> None:
    """INT-17: Label Studio shows it beside the model's address."""
    backend.squares.readiness = readiness
    assert backend.it.setup(a_setup()) == told


def test_int_16_a_project_names_its_model(backend: Backend) -> None:
    """INT-16: by `model_name`; one that is not there is refused when the project is connected."""
    assert backend.it.setup(a_setup(extra_params={"model_name": "other"})) == "other-1"
    with pytest.raises(ConfigError, match="squares, other"):
        backend.it.setup(a_setup(extra_params='{"model_name": "sam"}'))
    with pytest.raises(ConfigError, match="out_mask"):
        backend.it.setup(a_setup(extra_params={"out_mask": "perhaps"}))


def test_int_20_the_pictures_get_what_label_studio_said(backend: Backend) -> None:
    """INT-20: host and token of /setup, the log-in of the request; none of it on disk."""
    backend.it.setup(a_setup(access_token="s3cret"))
    backend.predict(a_click(50, 50))
    (access,) = (access for address, _, access in backend.pictures.asked if address == "a.jpg")
    assert (access.hostname, access.access_token) == ("http://ls", "s3cret")
    assert (access.login, access.password) == ("me", "pw")
    backend.predict(words("car"))
    assert "s3cret" not in backend.file.read_text() and "s3cret" not in repr(access)


def test_int_09_the_next_pictures_of_the_project_are_prepared(backend: Backend) -> None:
    """INT-09: behind the task that somebody began, and at the project's opening."""
    backend.it.setup(a_setup())
    backend.looked()
    backend.predict(a_click(50, 50))
    backend.looked()
    assert backend.squares.prefetched == [
        (["1.jpg", "2.jpg"], "project 3"),
        (["8.jpg", "9.jpg"], "project 3"),
    ]


@pytest.mark.parametrize(
    ("project", "trusted", "asked"), [(3, False, True), (4, False, False), (4, True, False)]
)
def test_sec_01_a_hint_without_password_moves_only_projects_that_were_set_up(
    backend: Backend, project: int, trusted: bool, asked: bool
) -> None:
    """SEC-01: of another project nothing is known that could be prepared."""
    backend.it.setup(a_setup())
    backend.looked()
    backend.squares.prefetched.clear()
    hint = {"action": "ANNOTATION_CREATED", "project": {"id": project}, "task": {"id": 20}}
    backend.it.hint(json.dumps(hint).encode(), trusted=trusted)
    backend.looked()
    assert bool(backend.squares.prefetched) is asked


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b'{"action": "START_TRAINING"}'])
def test_other_hints_do_nothing(backend: Backend, body: bytes) -> None:
    backend.it.hint(body, trusted=True)
    backend.looked()
    assert not backend.squares.prefetched


def test_ops_03_the_state_names_what_is_wrong_with_a_projects_config(backend: Backend) -> None:
    """OPS-03: here the brush would be the first smart tool."""
    backend.it.setup(a_setup(schema=CONFIG.replace(' smart="false"', "")))
    (project,) = backend.it.state()["projects"]
    assert project["number"] == 3 and any("smart" in told for told in project["shortcomings"])


def test_many_threads_get_the_answers_to_their_own_clicks(backend: Backend) -> None:
    wrong: list[int] = []

    def ask(number: int) -> None:
        x = 10 + number
        for _ in range(20):
            (region,) = backend.predict(a_click(x * 100 / WIDTH, 50))["result"]
            if not painted(region)[30, x] or painted(region).sum() != 100:
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number * 7,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_int_04_of_two_pictures_in_a_task_the_one_that_was_clicked_is_fetched(
    backend: Backend,
) -> None:
    """INT-04: beside ours stands a second one, which shows where the draft is unsure."""
    two = CONFIG.replace("<View>", '<View><Image name="first" value="$other"/>').replace(
        "</View>", '<BrushLabels name="b2" toName="first"><Label value="car"/></BrushLabels></View>'
    )
    body = json.loads(a_request([a_click(50, 50)], {"data": {"photo": "a.jpg", "other": "b.jpg"}}))
    (answer,) = backend.it.predict(json.dumps({**body, "label_config": two}).encode())
    assert answer["result"] and backend.pictures.asked[-1][0] == "a.jpg"
    click = a_click(50, 50, from_name="b2", to_name="first")
    body["params"]["context"]["result"] = [
        {**click, "type": "brushlabels", "value": {"format": "rle", "brushlabels": ["car"]}}
    ]
    (answer,) = backend.it.predict(json.dumps({**body, "label_config": two}).encode())
    assert backend.pictures.asked[-1][0] == "b.jpg"
