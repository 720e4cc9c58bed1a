"""The tests' handle on either kind of Label Studio: a fake one in memory, and a real server.

A desk can be taken away and cut off; a setting has storage with drafts and an exchange at a desk.
"""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import httpx
import numpy as np
from numpy.typing import NDArray

from annotation.draft_regions import brush_region
from annotation.exchange import Exchange
from annotation.label_studio import LabelStudio
from annotation.label_studio_server import LabelStudioServer
from annotation.regions import Region
from annotation.review.audits import Audits
from annotation.review.desk import ReviewDesk
from lifelong.errors import LabelStudioUnavailableError
from lifelong.links.journal import Journal, read_events, utc_now
from lifelong.links.storage import Storage, open_storage
from lifelong.records.label_map import LabelMap
from lifelong.records.samples import PreAnnotation
from lifelong.sections.annotation import LabelStudioSection
from lifelong.sections.review import ReviewSection
from tests.builders import SMALL_MAP, stored_drafts
from tests.fakes_label_studio import FakeStudio
from tests.second_annotator import colleague_token

COLLEAGUE = "colleague@cornerloop.example"


class Desk(Protocol):
    """A studio that can be taken away and cut off; the tests' handle on either kind."""

    root: Path
    suffix: str

    @property
    def studio(self) -> FakeStudio | LabelStudio: ...
    def stop(self) -> None: ...
    def start(self) -> None: ...
    def cut_next_import(self) -> None: ...
    def colleague(self) -> Any:
        """A context with the studio as COLLEAGUE sees it: another user."""

    def change_annotation(self, annotation_id: int, regions: Sequence[Region]) -> None:
        """Press "Update" after drawing."""

    def save_draft(self, task_id: int, regions: Sequence[Region]) -> None:
        """What the browser does by itself while somebody works."""

    def annotators_of(self, project_id: int) -> int:
        """How many people the project asks for."""


class FakeDesk:
    def __init__(self, root: Path) -> None:
        self.studio = FakeStudio()
        self.root = root
        self.suffix = ""

    def stop(self) -> None:
        self.studio.is_up = False

    def start(self) -> None:
        self.studio.is_up = True

    def cut_next_import(self) -> None:
        self.studio.cut_import_after = 37

    @contextmanager
    def colleague(self) -> Iterator[FakeStudio]:
        usual, self.studio.email = self.studio.email, COLLEAGUE
        try:
            yield self.studio
        finally:
            self.studio.email = usual

    def change_annotation(self, annotation_id: int, regions: Sequence[Region]) -> None:
        self.studio.change_annotation(annotation_id, regions)

    def save_draft(self, task_id: int, regions: Sequence[Region]) -> None:
        self.studio.save_draft(task_id, regions)

    def annotators_of(self, project_id: int) -> int:
        return self.studio.annotators[project_id]


class RealDesk:
    def __init__(self, server: LabelStudioServer, suffix: str) -> None:
        self.server = server
        self.studio = LabelStudio(server.url, server.token, 60.0)
        self.root = server.documents_root
        self.suffix = suffix

    def stop(self) -> None:
        self.server.stop()

    def start(self) -> None:
        self.server.start()

    @contextmanager
    def colleague(self) -> Iterator[LabelStudio]:
        studio = LabelStudio(self.server.url, colleague_token(self.server, COLLEAGUE), 60.0)
        try:
            yield studio
        finally:
            studio.close()

    def change_annotation(self, annotation_id: int, regions: Sequence[Region]) -> None:
        self._ask("PATCH", f"/api/annotations/{annotation_id}/", {"result": list(regions)})

    def save_draft(self, task_id: int, regions: Sequence[Region]) -> None:
        self._ask("POST", f"/api/tasks/{task_id}/drafts", {"result": list(regions)})

    def annotators_of(self, project_id: int) -> int:
        return int(self._ask("GET", f"/api/projects/{project_id}/", None)["maximum_annotations"])

    def _ask(self, method: str, path: str, body: object) -> Any:
        answer = httpx.request(
            method,
            f"{self.server.url}{path}",
            json=body,
            headers={"Authorization": f"Token {self.server.token}"},
            timeout=60,
        )
        assert answer.is_success, answer.text
        return json.loads(answer.text)

    def cut_next_import(self) -> None:
        """Pull the plug while the server is writing the second half of what it is sent.

        One request is all or nothing (measured), so a batch is cut where we cut it.
        """
        original = self.studio.import_tasks

        def cut(project_id: int, tasks: list[dict[str, object]]) -> None:
            self.studio.import_tasks = original  # type: ignore[method-assign]
            original(project_id, tasks[:60])
            timer = threading.Timer(0.1, self.server.kill)
            timer.start()
            try:
                original(project_id, tasks[60:])
            finally:
                timer.join()
            raise LabelStudioUnavailableError("it answered before the plug was pulled")

        self.studio.import_tasks = cut  # type: ignore[method-assign,assignment]


class Setting:
    """Storage with drafts, and an exchange at the desk."""

    def __init__(self, desk: Desk, tmp_path: Path, label_map: LabelMap = SMALL_MAP) -> None:
        folder = desk.root / f"storage{desk.suffix}"
        self.desk = desk
        self.storage: Storage = open_storage(str(folder))
        self.journal_folder = tmp_path / "journal"
        self.section = LabelStudioSection(
            project=f"Test {tmp_path.name}"[:50], local_files_root=desk.root
        )
        self.rules = ReviewSection()
        self.audits: Audits | None = None
        self.exchange = self.again(label_map)

    def ruled(self, **rules: Any) -> Exchange:
        """From now on these rules of review."""
        self.rules = ReviewSection(**rules)
        self.exchange = self.again()
        return self.exchange

    def reviewer(self, name: str = "ruth") -> ReviewDesk:
        """Somebody who looks at the work."""
        return ReviewDesk(
            storage=self.storage,
            studio=self.desk.studio,
            label_map=SMALL_MAP,
            rules=self.rules,
            journal=Journal(self.journal_folder, "review"),
            now=utc_now,
            reviewer=name,
        )

    def again(self, label_map: LabelMap = SMALL_MAP) -> Exchange:
        """A new process would begin with this."""
        return Exchange(
            storage=self.storage,
            studio=self.desk.studio,
            label_map=label_map,
            section=self.section,
            journal=Journal(self.journal_folder, "cloud"),
            now=utc_now,
            review=self.rules,
            audits=self.audits,
        )

    def drafts(self, count: int, round_number: int = 1, first: int = 0) -> list[PreAnnotation]:
        return stored_drafts(self.storage, count, round_number, first)

    def counted(self, project_id: int, round_number: int = 1) -> list[str]:
        found = self.desk.studio.round_tasks(project_id, round_number)
        return sorted(str(task.data["cornerloop_sample"]) for task in found)

    def truth(self, mask: NDArray[np.uint8], task_id: int, seconds: float = 12.5) -> int:
        """Submit `mask` as a person would."""
        return self.desk.studio.create_annotation(
            task_id, regions_of(mask), seconds=seconds, parent_prediction=None
        )

    def events(self, name: str) -> list[dict[str, object]]:
        return [event for event in read_events(self.journal_folder) if event["event"] == name]


def regions_of(mask: NDArray[np.uint8]) -> list[Region]:
    """A mask as a person's brush strokes, one a class."""
    regions = []
    for class_id in np.unique(mask[mask != 255]).tolist():
        region = brush_region(mask == class_id, SMALL_MAP.names[class_id])
        region["id"] = f"r{class_id}"
        regions.append(region)
    return regions
