"""The smart tool's questions, answered: request in, regions of Label Studio out.

What a click means is read by `questions.py`, the picture comes from `pictures.py`, the masks from
a `PromptedSegmenter`, and `answers.py` draws them in the project's own tools.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Protocol

from annotation.assist.access import ProjectAccess
from annotation.assist.answers import regions_from
from annotation.assist.label_tools import LabelTools, label_tools
from annotation.assist.look_ahead import Embed, LookAhead
from annotation.assist.projects import KnownProject, Projects
from annotation.assist.question import Question
from annotation.assist.questions import (
    CANDIDATES,
    prompted_image,
    question_from,
    question_from_words,
)
from annotation.assist.requests import (
    PredictRequest,
    Task,
    predict_request,
    project_number,
    setup_request,
    webhook_request,
)
from annotation.assist.segmenter import (
    Mask,
    ModelState,
    Picture,
    PromptedSegmenter,
    Readiness,
    Wish,
)
from annotation.assist.shortcomings import shortcomings
from annotation.assist.switches import switches_from
from annotation.assist.targets import covered
from annotation.assist.text_prompts import remembered
from annotation.assist.troubles import Troubles
from annotation.regions import Region
from lifelong.errors import ConfigError, LifelongError, PictureAccessError, PromptError
from lifelong.sections.assist import AssistSection


class TaskPictures(Protocol):
    """Who has the pictures; see `pictures.py`."""

    def picture(self, address: str, *, task_id: int | None, project: ProjectAccess) -> Picture: ...


# Around the work on one answer of a kind, "click" or "draft"; sees what it raises.
Measured = Callable[[str], AbstractContextManager[None]]


def unmeasured(_kind: str) -> AbstractContextManager[None]:
    """Nobody wants to know how long answers take."""
    return nullcontext()


class AssistBackend:
    """See `web.Assistant`; every method may be called from many threads at once."""

    def __init__(
        self, *, segmenter: PromptedSegmenter, pictures: TaskPictures, projects: Projects,
        troubles: Troubles, section: AssistSection, look_ahead: Callable[[Embed], LookAhead],
        measured: Measured = unmeasured,
    ) -> None:  # fmt: skip
        """Args:
        look_ahead: made with what has the pictures of coming tasks embedded.
        measured: around each answer.
        """
        self._measured = measured
        self._segmenter, self._pictures, self._projects = segmenter, pictures, projects
        self._troubles, self._section = troubles, section
        self._configs: dict[int, str] = {}  # project -> its labelling config, as last seen
        self._look_ahead = look_ahead(self._embed)

    def close(self) -> None:
        """Begin nothing more."""
        self._look_ahead.close()

    def version(self, model: str = "") -> str:
        """The model as Label Studio is told of it, which shows it beside the model's address: so
        it says there why a model does not answer, and what to do."""
        state = self._state_of(model)
        if state.readiness is Readiness.READY:
            return state.version
        if state.readiness is Readiness.LOADING:
            return f"{state.name} (loading)"
        named = state.version or state.name
        return f"{named} ({state.readiness}: {state.words})"

    def readiness(self) -> Mapping[str, Readiness]:
        """Every model's state."""
        return {state.name: state.readiness for state in self._segmenter.states()}

    def state(self) -> dict[str, Any]:
        """Models, work, troubles and projects, as JSON and the page show them."""
        return {
            "models": [asdict(state) for state in self._segmenter.states()],
            "work": [asdict(item) for item in self._segmenter.work()],
            "troubles": [
                {**asdict(one), "when": f"{datetime.fromtimestamp(one.at, UTC):%H:%M:%S}"}
                for one in self._troubles.last()
            ],
            "projects": [
                {
                    "number": one.number,
                    "words": one.words,
                    "shortcomings": self._shortcomings_of(one),
                }
                for one in self._projects.all()
            ],
        }

    def setup(self, body: bytes) -> str:
        """POST /setup: a project was opened or connected; answers at once, whatever models do.

        Raises:
            PromptError: not such a request.
            ConfigError: extra parameters that mean nothing.
        """
        request = setup_request(body)
        number, extras = project_number(request.project), request.extras()
        switches_from(extras, self._section)
        version = self.version(model_of(extras))
        self._projects.set_up(
            number,
            extras=extras,
            hostname=request.hostname or "",
            token=request.access_token or "",
        )
        if number is not None and request.schema:
            self._configs[number] = request.schema
            self._look_ahead.begun(number, 0)
        return version

    def predict(self, body: bytes) -> list[Any]:
        """POST /predict: one answer a task, in their order; a task that fails is answered with
        nothing, and its words are kept as a trouble.

        Raises:
            PromptError: not such a request.
        """
        request = predict_request(body)
        project = self._projects.get(project_number(request.project))
        return [self._answered(request, task, project) for task in request.tasks]

    def hint(self, body: bytes, *, trusted: bool) -> None:
        """POST /webhook: somebody did something in a project.

        Label Studio sends these without a password. All that they bring about is a look at the
        project's next tasks, and that only for a project that was set up with the password.
        """
        try:
            request = webhook_request(body)
        except PromptError:
            return
        number = request.project.id if request.project else None
        if not (trusted or self._projects.is_known(number)):
            return
        if request.action in {"ANNOTATION_CREATED", "ANNOTATION_UPDATED"} and request.task:
            self._look_ahead.begun(number, request.task.id)
        elif request.action == "TASKS_CREATED":
            self._look_ahead.begun(number, 0)

    def cancel(self, work_id: str) -> bool:
        """Take back work; False where there is no such."""
        return self._segmenter.cancel(work_id)

    # -- one task ----------------------------------------------------------------------------

    def _answered(self, request: PredictRequest, task: Task, project: KnownProject) -> Any:
        prompts = request.context
        try:
            if prompts is None:
                with self._measured("draft"):
                    return self._drafted(request, task, project)
            with self._measured("click"):
                regions, score = self._clicked(request, task, project, prompts)
        except LifelongError as error:
            trouble = self._troubles.note(error, project=project.number, task=task.id)
            if prompts is None:
                return []  # no prediction at all: an empty one would be stored
            told = {"id": trouble.trouble_id, "kind": trouble.kind, "words": trouble.words}
            return {"result": [], "score": 0.0, "model_version": "", "error": told}
        version = self.version(model_of(project.extras))
        return {"result": regions, "score": score, "model_version": version}

    def _clicked(
        self, request: PredictRequest, task: Task, project: KnownProject,
        prompts: list[dict[str, Any]],
    ) -> tuple[list[Region], float]:  # fmt: skip
        """Regions for what was clicked, painted or typed."""
        if not prompts:
            return [], 0.0
        tools = label_tools(request.label_config)
        model = model_of(project.extras)
        picture = self._picture(tools, task, project, request, prompted_image(tools, prompts))
        size = self._segmenter.size(picture, model=model)
        question = question_from(
            tools,
            prompts,
            size=size,
            regions=task.regions,
            switches=switches_from(project.extras, self._section),
        )
        self._look_ahead.begun(project.number, task.id)
        if question.words:
            self._projects.remember_words(project.number, remembered(question.words))
        if question.example is not None:
            there = covered(tools, task.regions, image=question.image, size=size)
            return self._alike(picture, question, there, model)
        return self._regions(picture, question, model)

    def _alike(
        self, picture: Picture, question: Question, there: Mask, model: str
    ) -> tuple[list[Region], float]:
        """What looks like the example and has no region yet."""
        assert question.example is not None
        found = self._segmenter.find_like(
            picture, question.example, label=question.label, model=model
        )
        new = [one for one in found if 2 * (one.mask & there).sum() <= one.mask.sum()]
        return _scored(regions_from(question, new))

    def _drafted(self, request: PredictRequest, task: Task, project: KnownProject) -> Any:
        """A whole task without a click: what the project's last words find in it, if any."""
        if not project.words:
            return []
        tools = label_tools(request.label_config)
        model = model_of(project.extras)
        picture = self._picture(tools, task, project, request, tools.image)
        size = self._segmenter.size(picture, model=model)
        question = question_from_words(
            tools,
            project.words,
            size=size,
            switches=switches_from(project.extras, self._section),
        )
        regions, score = self._regions(picture, question, model)
        if not regions:
            return []
        return {"result": regions, "score": score, "model_version": self.version(model)}

    def _regions(
        self, picture: Picture, question: Question, model: str
    ) -> tuple[list[Region], float]:
        if question.words:
            found = self._segmenter.find(
                picture,
                question.words,
                labels=question.labels,
                thresholds=question.thresholds,
                model=model,
            )
            return _scored(regions_from(question, found))
        several = question.candidate > 0 or question.all_candidates
        wish = Wish(
            prompt=question.prompt,
            drawn=question.drawn,
            candidates=CANDIDATES if several else 1,
        )
        candidates = self._segmenter.segment(picture, wish, model=model)
        return _scored(regions_from(question, candidates))

    def _picture(
        self, tools: LabelTools, task: Task, project: KnownProject, request: PredictRequest,
        image: str,
    ) -> Picture:  # fmt: skip
        """The picture in the <Image> of that name."""
        params = request.params
        access = ProjectAccess(
            hostname=project.hostname,
            access_token=project.token,
            login=(params.login if params else None) or "",
            password=(params.password if params else None) or "",
        )
        return self._pictures.picture(
            address_of(task.data, tools.field_of(image)), task_id=task.id, project=access
        )

    def _embed(self, number: int, coming: Iterable[tuple[int, Mapping[str, object]]]) -> None:
        """Have the pictures of coming tasks embedded."""
        config = self._configs.get(number)
        if config is None:
            return
        project, tools = self._projects.get(number), label_tools(config)
        access = ProjectAccess(hostname=project.hostname, access_token=project.token)
        pictures = [
            self._pictures.picture(
                address_of(data, tools.data_field), task_id=task_id, project=access
            )
            for task_id, data in coming
        ]
        if pictures:
            self._segmenter.prefetch(
                pictures, subject=f"project {number}", model=model_of(project.extras)
            )

    def _shortcomings_of(self, project: KnownProject) -> list[str]:
        config = self._configs.get(project.number) if project.number is not None else None
        return list(shortcomings(config)) if config is not None else []

    def _state_of(self, model: str) -> ModelState:
        """The state of a model by name, of the default one without.

        Raises:
            ConfigError: there is no model of that name.
        """
        states = self._segmenter.states()
        for state in states:
            if state.name == model or (not model and state.is_default):
                return state
        names = ", ".join(state.name for state in states)
        raise ConfigError(
            f"extra parameter model_name={model!r}: there is {names}; name one of them, or add it "
            "under assist.models"
        )


def model_of(extras: Mapping[str, Any]) -> str:
    """By which model a project wants to be answered; "": the default one."""
    return str(extras.get("model_name") or "")


def _scored(regions: list[Region]) -> tuple[list[Region], float]:
    """The regions, and the best score among them, 0 .. 1."""
    scores = [region.get("score") for region in regions]
    return regions, max((one for one in scores if isinstance(one, int | float)), default=0.0)


def address_of(data: Mapping[str, object], name: str) -> str:
    """The picture's address in a task's data.

    Raises:
        PictureAccessError: the task has none.
    """
    address = data.get(name)
    if not isinstance(address, str) or not address:
        there = ", ".join(sorted(data)) or "nothing"
        raise PictureAccessError(
            f"the task's data has no picture under {name!r}, which the labelling config shows; "
            f"it has {there}"
        )
    return address
