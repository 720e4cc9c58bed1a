"""The people of the demo: a scripted annotator, or a real one who is told where to go."""

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotation.label_studio import LabelStudio
from annotation.label_studio_server import LabelStudioServer
from annotation.task_fields import SAMPLE
from cloud.demo.run_config import TOKEN, rewrite_config
from cloud.demo.scripted_annotator import ScriptedAnnotator
from cloud.demo.told import Told
from lifelong.config import load_config
from lifelong.errors import LifelongError
from lifelong.records.label_map import LabelMap
from lifelong.records.rounds import Round

logger = logging.getLogger(__name__)

Truth = Callable[[Mapping[str, str]], NDArray[np.uint8] | None]


class People:
    """Looks after Label Studio, and works in it unless a person does."""

    def __init__(
        self,
        config_path: Path,
        server: LabelStudioServer,
        label_map: LabelMap,
        truth: Truth | None,
        told: Told,
    ) -> None:
        """Args:
        truth: the exact labels of a task, by its attributes; None leaves the work to a person.
        """
        self._config_path = config_path
        self._server = server
        self._label_map = label_map
        self._truth = truth
        self._told = told
        self._stop = threading.Event()
        self._asked_at = 0.0
        self._finished: dict[int, int] = {}
        self._asked: set[int] = set()

    def start(self, stack: ExitStack) -> None:
        """Tell everybody where Label Studio is, and begin to work in it."""
        os.environ[TOKEN] = self._server.token  # children find it by its name
        rewrite_config(self._config_path, {"label_studio": {"url": self._server.url}})
        self._section = load_config(self._config_path).label_studio
        self._studio = LabelStudio(self._server.url, self._server.token, 60.0)
        stack.callback(self._studio.close)
        if self._truth is None:
            self._told.say(
                f"you will correct the drafts, in Label Studio as {self._server.email}, "
                f"password {self._server.password}"
            )
            return
        worker = threading.Thread(target=self._work, name="annotator", daemon=True)
        worker.start()
        stack.callback(worker.join, 30)
        stack.callback(self._stop.set)

    @property
    def is_a_person(self) -> bool:
        """Does somebody correct who cannot be hurried?"""
        return self._truth is None

    def ask(self, round_: Round) -> None:
        """Tell a person, once a round, what waits and where; a scripted annotator needs no word."""
        if not self.is_a_person or not round_.tasks or round_.number in self._asked:
            return
        self._asked.add(round_.number)
        self._told.say(
            f"[bold]your turn:[/bold] {len(round_.tasks)} drafts wait at {self._server.url}"
            f"/projects/{round_.tasks[0].project_id}/data: Label All Tasks, correct, Submit "
            f"(as {self._server.email}, password {self._server.password})"
        )
        self._told.say("or by keyboard on the page Correct, with the link above; Ctrl-C: later")

    def look_after(self) -> None:
        """Start Label Studio again when it has died; the rest waits for it by itself."""
        self._server.start()

    def finished(self, round_: Round) -> int:
        """How many of a round's tasks are submitted or skipped; asked once a second."""
        if time.monotonic() - self._asked_at >= 1.0 and round_.tasks:
            self._asked_at = time.monotonic()
            try:
                tasks = self._studio.round_tasks(round_.tasks[0].project_id, round_.number)
            except LifelongError:
                return self._finished.get(round_.number, 0)
            self._finished[round_.number] = sum(t.submitted + t.skipped > 0 for t in tasks)
        return self._finished.get(round_.number, 0)

    def twin_tasks(self, numbers: list[int]) -> int:
        """Annotation tasks of these rounds that stand in Label Studio a second time."""
        twins = 0
        for project in self._studio.projects_titled(self._section.project):
            for number in numbers:
                tasks = self._studio.round_tasks(project.project_id, number)
                samples = Counter(str(task.data.get(SAMPLE)) for task in tasks)
                twins += sum(count - 1 for count in samples.values())
        return twins

    def _work(self) -> None:
        """Correct drafts until told to stop; Label Studio being away is waited out."""
        while not self._stop.wait(0.5):
            try:
                projects = self._studio.projects_titled(self._section.project)
                for project in projects[:1]:
                    ScriptedAnnotator(
                        self._studio, project.project_id, self._label_map, self._truth_of
                    ).work_once()
            except LifelongError as error:
                logger.debug("the annotator waits: %s", error)

    def _truth_of(self, attributes: Mapping[str, str]) -> NDArray[np.uint8] | None:
        return self._truth(attributes) if self._truth else None
