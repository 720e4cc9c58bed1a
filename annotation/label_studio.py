"""What we ask of Label Studio, through its SDK: our words in and out, pages, our errors.

The only module that knows the SDK and its exceptions, with `annotation/label_studio_settings.py`
for what projects are told. It never retries: the caller does
(`lifelong/links/retry.py`), because a POST that the SDK repeats by itself makes twins.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal
from urllib.parse import urlsplit

import httpx
import label_studio_sdk
from label_studio_sdk.core.api_error import ApiError
from pydantic import ValidationError

from annotation.label_studio_settings import ProjectCalls
from annotation.labeling_config import prompting_tools
from annotation.regions import Region
from annotation.studio_tasks import StudioProject, StudioTask, studio_task, without_prompts
from annotation.task_fields import ROUND
from lifelong.errors import (
    ConfigError,
    LabelStudioError,
    LabelStudioRefusedError,
    LabelStudioUnavailableError,
)

_BATCH = 100  # tasks in one import: 1.4 s and no higher memory peak than more would need
_PAGE = 100
_LIGHT = "id,data,meta,total_annotations,cancelled_annotations,updated_at"


class LabelStudio(ProjectCalls):
    """A connection to one Label Studio, with a legacy token or a personal access token.

    Every method raises LabelStudioUnavailableError when it cannot be reached, is too slow or
    answers 5xx (worth a retry), and LabelStudioRefusedError when it answers 4xx.
    """

    def __init__(self, url: str, token: str, timeout_s: float, *, token_env: str = "") -> None:
        """
        Args:
            token_env: the variable that the token came from, for error messages.

        Raises:
            ConfigError: not an http(s) URL, or no token.
        """
        if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).netloc:
            raise ConfigError(f"label_studio.url {url!r}: expected http://… or https://…")
        if not token:
            raise ConfigError(f"no token for Label Studio at {url}; set label_studio.token_env")
        self.url = url.rstrip("/")
        # The slash keeps a sub-path when the SDK refreshes a personal access token.
        base = f"{self.url}/"
        where = f" in {token_env}" if token_env else ""
        self._token_hint = (
            f"; check the token{where}: Account & Settings there shows it, `cornerloop "
            "label-studio --token` that of a server it runs"
        )
        self._http = httpx.Client(timeout=timeout_s, follow_redirects=True)
        self._users: dict[int, str] = {}
        with self._translated("log in"):
            self._sdk = label_studio_sdk.LabelStudio(
                base_url=base,
                api_key=token,
                timeout=timeout_s,
                httpx_client=self._http,
                max_retries=0,
            )

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def whoami(self) -> str:
        """E-mail of the token's user: proves that address and token are right."""
        with self._translated("ask who we are"):
            email = self._sdk.users.whoami().email
            if not email:  # the SDK checks nothing: what is missing is None
                raise ValueError("no e-mail")
            return str(email)

    def projects_titled(self, title: str) -> list[StudioProject]:
        """Every project with exactly this title, oldest first."""
        with self._translated(f"look for project {title!r}"):
            found = [p for p in self._sdk.projects.list(title=title) if p.title == title]
            projects = [
                StudioProject(
                    project_id=int(p.id), title=title, label_config=str(p.label_config or "")
                )
                for p in found
            ]
        return sorted(projects, key=lambda project: project.project_id)

    def create_project(self, title: str, label_config: str, instruction: str) -> int:
        """Make a project; returns its id."""
        with self._translated(f"create project {title!r}"):
            made = self._sdk.projects.create(
                title=title,
                label_config=label_config,
                expert_instruction=instruction,
                maximum_annotations=1,
                show_collab_predictions=True,
            )
            return int(made.id)

    def label_config(self, project_id: int) -> str:
        """A project's labelling config, XML."""
        with self._translated(f"read project {project_id}"):
            return str(self._sdk.projects.get(id=project_id).label_config or "")

    def set_label_config(self, project_id: int, label_config: str) -> None:
        """Replace a project's labelling config."""
        with self._translated(f"set the labelling config of project {project_id}"):
            self._sdk.projects.update(id=project_id, label_config=label_config)

    def import_tasks(self, project_id: int, tasks: Sequence[Mapping[str, object]]) -> None:
        """Add tasks with their predictions, 100 a request.

        An error leaves the batches before it in the project, and perhaps its own as well: ask
        `round_tasks` before trying again.
        """
        for start in range(0, len(tasks), _BATCH):
            batch = [dict(task) for task in tasks[start : start + _BATCH]]
            with self._translated(f"import {len(batch)} tasks into project {project_id}"):
                self._post(f"/api/projects/{project_id}/import", batch)

    def round_tasks(self, project_id: int, round_number: int) -> list[StudioTask]:
        """The tasks of a round by id, without predictions and annotations, which are heavy."""
        wanted = {"filter": f"filter:tasks:data.{ROUND}", "operator": "equal"}
        query = _query({**wanted, "value": round_number, "type": "Number"})
        with self._translated(f"list the tasks of round {round_number}"):
            found = self._sdk.tasks.list(
                project=project_id,
                query=query,
                fields="task_only",
                include=_LIGHT,
                page_size=_PAGE,
                resolve_uri=False,
            )
            tasks = [self._task(item.model_dump()) for item in found]
        return sorted(tasks, key=lambda task: task.task_id)

    def full_tasks(self, project_id: int, task_ids: Iterable[int]) -> list[StudioTask]:
        """Those of the tasks that exist, by id, with predictions and annotations; what tools that
        only prompt left in these is dropped, here and in `task`."""
        ids, tasks = sorted(set(task_ids)), []
        for start in range(0, len(ids), _PAGE):
            some = ids[start : start + _PAGE]
            query = json.dumps({"selectedItems": {"all": False, "included": some}})
            with self._translated(f"read {len(some)} tasks of project {project_id}"):
                found = self._sdk.tasks.list(
                    project=project_id, query=query, page_size=_PAGE, resolve_uri=False
                )
                tasks += [self._task(item.model_dump()) for item in found]
        if any(task.annotations for task in tasks):
            prompting = prompting_tools(self.label_config(project_id))
            tasks = [without_prompts(task, prompting) for task in tasks]
        return sorted(tasks, key=lambda task: task.task_id)

    def open_tasks(self, project_id: int) -> list[StudioTask]:
        """The tasks that nobody has submitted or skipped, by id, with their predictions."""
        items = [
            {
                "filter": f"filter:tasks:{name}",
                "operator": "equal",
                "value": 0,
                "type": "Number",
            }
            for name in ("total_annotations", "cancelled_annotations")
        ]
        with self._translated(f"list the open tasks of project {project_id}"):
            found = self._sdk.tasks.list(
                project=project_id, query=_query(*items), page_size=_PAGE, resolve_uri=False
            )
            tasks = [self._task(item.model_dump()) for item in found]
        return sorted(tasks, key=lambda task: task.task_id)

    def task(self, task_id: int) -> StudioTask | None:
        """One task with predictions and annotations, or None when there is none."""
        try:
            with self._translated(f"read task {task_id}"):
                body = self._sdk.tasks.get(id=str(task_id)).model_dump()
            task, project = self._task(body), body.get("project")
            if not task.annotations or project is None:
                return task
            return without_prompts(task, prompting_tools(self.label_config(int(project))))
        except LabelStudioRefusedError as error:
            if _status(error) == 404:
                return None
            raise

    def set_task_data(self, task_id: int, data: Mapping[str, object]) -> bool:
        """Replace a task's data; False when there is no such task."""
        try:
            with self._translated(f"change the data of task {task_id}"):
                self._sdk.tasks.update(str(task_id), data=dict(data))
        except LabelStudioRefusedError as error:
            if _status(error) == 404:
                return False
            raise
        return True

    def delete_task(self, task_id: int) -> None:
        """Remove a task with all that belongs to it; nothing happens when there is none."""
        try:
            with self._translated(f"delete task {task_id}"):
                self._sdk.tasks.delete(id=task_id)
        except LabelStudioRefusedError as error:
            if _status(error) != 404:
                raise

    def show_predictions(self, project_id: int, model_version: str) -> None:
        """Let the label stream open tasks with the drafts of `model_version`.

        Without this only the quick view shows them, and a new version is not taken up by itself.
        The project must hold a prediction of that version.
        """
        with self._translated(f"show the drafts {model_version!r} in project {project_id}"):
            self._sdk.projects.update(
                id=project_id, model_version=model_version, show_collab_predictions=True
            )

    def shown_version(self, project_id: int) -> str:
        """The version whose drafts the label stream shows, "" for none."""
        with self._translated(f"read project {project_id}"):
            project = self._sdk.projects.get(id=project_id)
            return str(project.model_version or "") if project.show_collab_predictions else ""

    def create_annotation(
        self,
        task_id: int,
        regions: Sequence[Region],
        *,
        seconds: float,
        parent_prediction: int | None,
        unique_id: str | None = None,
    ) -> int:
        """Submit an annotation as a person would; returns its id.

        Args:
            unique_id: a UUID; Label Studio refuses a second annotation with the same one.
        """
        with self._translated(f"submit an annotation of task {task_id}"):
            made = self._sdk.annotations.create(
                id=task_id,
                result=[dict(region) for region in regions],
                lead_time=seconds,
                **({} if parent_prediction is None else {"parent_prediction": parent_prediction}),
                **({} if unique_id is None else {"unique_id": unique_id}),
            )
            return int(made.id)

    def skip_task(self, task_id: int) -> None:
        """Say that a task shall not be annotated."""
        with self._translated(f"skip task {task_id}"):
            self._sdk.annotations.create(id=task_id, result=[], was_cancelled=True)

    def export(self, project_id: int, kind: Literal["JSON", "JSON_MIN"]) -> bytes:
        """The annotated tasks of a project as Label Studio's own JSON or JSON-MIN."""
        with self._translated(f"export project {project_id} as {kind}"):
            pieces = self._sdk.projects.exports.download_sync(
                id=project_id, export_type=kind, download_all_tasks=False
            )
            return b"".join(pieces)

    def submitted_after(self, project_id: int, task_id: int) -> list[StudioTask]:
        """The next 100 tasks after `task_id` that somebody submitted, by id; [] at the end.

        Asking by id loses nothing while people go on working, as page numbers would.
        """
        wanted = {"operator": "greater", "type": "Number"}
        query = json.dumps(
            {
                "filters": {
                    "conjunction": "and",
                    "items": [
                        {"filter": "filter:tasks:id", "value": task_id, **wanted},
                        {"filter": "filter:tasks:total_annotations", "value": 0, **wanted},
                    ],
                },
                "ordering": ["tasks:id"],
            }
        )
        with self._translated(f"list the tasks of project {project_id} after {task_id}"):
            page = self._sdk.tasks.list(
                project=project_id, query=query, page=1, page_size=_PAGE, resolve_uri=False
            )
            return [self._task(item.model_dump()) for item in page.items or []]

    def set_annotators(self, project_id: int, count: int) -> None:
        """How many people a task is given to before it leaves the label stream."""
        with self._translated(f"ask {count} annotators for tasks of project {project_id}"):
            self._sdk.projects.update(id=project_id, maximum_annotations=count)

    def annotation_json(self, annotation_id: int) -> dict[str, object]:
        """One annotation with everything that Label Studio tells of it."""
        with self._translated(f"read annotation {annotation_id}"):
            return dict(self._sdk.annotations.get(id=annotation_id).model_dump(mode="json"))

    def delete_annotation(self, annotation_id: int) -> None:
        """Remove an annotation; its task is back in the queue when others are too few."""
        try:
            with self._translated(f"delete annotation {annotation_id}"):
                self._sdk.annotations.delete(id=annotation_id)
        except LabelStudioRefusedError as error:
            if _status(error) != 404:
                raise

    def rename_prediction(self, prediction_id: int, model_version: str) -> None:
        """Give a prediction another version: tasks open with those of the version shown."""
        with self._translated(f"rename prediction {prediction_id} to {model_version!r}"):
            self._sdk.predictions.update(id=prediction_id, model_version=model_version)

    def add_prediction(
        self, task_id: int, model_version: str, regions: Sequence[Region], score: float | None
    ) -> None:
        """Give a task a draft."""
        with self._translated(f"add a draft to task {task_id}"):
            self._sdk.predictions.create(
                task=task_id,
                model_version=model_version,
                result=[dict(region) for region in regions],
                **({} if score is None else {"score": score}),
            )

    def _task(self, body: Mapping[str, object]) -> StudioTask:
        return studio_task(body, self.email_of)

    def email_of(self, user_id: int) -> str:
        """Listings and exports name people by id only; they are looked up once."""
        if user_id not in self._users:
            self._users = {int(user.id): str(user.email) for user in self._sdk.users.list()}
        return self._users.get(user_id, f"user {user_id}")

    def _post(self, path: str, body: object) -> None:
        """Send plain JSON with the SDK's own token.

        The SDK looks at every number of a body on its way out: as long as Label Studio needs to
        import a batch of drafts.
        """
        answer = self._http.post(
            f"{self.url}{path}",
            content=json.dumps(body).encode(),
            headers=self._sdk._client_wrapper.get_headers() | {"Content-Type": "application/json"},
        )
        try:
            told = answer.json()
        except ValueError as error:
            raise ApiError(status_code=answer.status_code, body=answer.text) from error
        if answer.status_code >= 300:
            raise ApiError(status_code=answer.status_code, body=told)

    @contextmanager
    def _translated(self, wish: str) -> Iterator[None]:
        """Turn the SDK's and httpx's exceptions into ours; messages never quote headers."""
        try:
            yield
        except httpx.HTTPError as error:
            raise LabelStudioUnavailableError(
                f"Label Studio at {self.url} cannot be reached to {wish}: "
                f"{type(error).__name__} {error}".rstrip()
                + "; is it up, and is label_studio.url its address?"
            ) from error
        except ApiError as error:
            told = f"Label Studio at {self.url} answered {error.status_code} to: {wish}"
            if error.status_code is None or error.status_code >= 500 or error.status_code == 429:
                raise LabelStudioUnavailableError(f"{told}{_detail(error.body)}") from error
            if error.status_code < 400:  # a page, not JSON
                raise LabelStudioError(
                    f"{told}, but not as Label Studio does; is it one?"
                ) from error
            hint = self._token_hint if error.status_code in {401, 403} else ""
            raise LabelStudioRefusedError(f"{told}{_detail(error.body)}{hint}") from error
        except (ValidationError, ValueError, TypeError, AttributeError) as error:
            raise LabelStudioError(
                f"{self.url} did not answer as Label Studio does, asked to {wish}; "
                "is the address right?"
            ) from error


def _query(*filters: Mapping[str, object]) -> str:
    return json.dumps({"filters": {"conjunction": "and", "items": list(filters)}})


def _status(error: LabelStudioRefusedError) -> int | None:
    cause = error.__cause__
    return cause.status_code if isinstance(cause, ApiError) else None


def _detail(body: object) -> str:
    """What Label Studio says is wrong, in one short line."""
    if not isinstance(body, Mapping):
        return ""
    said = body.get("validation_errors") or body.get("detail") or body
    return f" ({str(said)[:300]})"
