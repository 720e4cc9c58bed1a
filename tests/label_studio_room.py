"""A room in a real Label Studio: storage with drafts, an exchange, and its API as a person uses it.

The tests under `tests/integration/label_studio` share it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from annotation.draft_regions import brush_region
from annotation.exchange import Exchange
from annotation.label_studio import LabelStudio
from annotation.label_studio_server import LabelStudioServer
from annotation.regions import Region
from lifelong.links.journal import Journal, read_events, utc_now
from lifelong.links.storage import Storage, open_storage
from lifelong.records.label_map import IGNORE_INDEX
from lifelong.records.samples import AnnotationTask, PreAnnotation
from lifelong.sections.annotation import LabelStudioSection
from tests.builders import SMALL_MAP, stored_drafts

SECRET = "a long random text"


class Room:
    """A project of its own; close it in the end."""

    def __init__(
        self,
        server: LabelStudioServer,
        tmp_path: Path,
        *,
        token: str = "",
        storage: Storage | None = None,
        **section: Any,
    ) -> None:
        self.server = server
        self.studio = LabelStudio(
            server.url, token or server.token, 60.0, token_env="A_TOKEN_VARIABLE"
        )
        self.storage = storage or open_storage(str(server.documents_root / tmp_path.name))
        self.journal_folder = tmp_path / "journal"
        self.section = LabelStudioSection(
            project=f"Room {tmp_path.name}"[:50],
            local_files_root=server.documents_root,
            **section,
        )
        self.exchange = self.again()

    def again(self, **changes: Any) -> Exchange:
        """A new process would begin with this."""
        self.section = self.section.model_copy(update=changes)
        return Exchange(
            storage=self.storage,
            studio=self.studio,
            label_map=SMALL_MAP,
            section=self.section,
            journal=Journal(self.journal_folder, "cloud"),
            now=utc_now,
            webhook_secret=SECRET,
        )

    def close(self) -> None:
        self.studio.close()

    def drafts(self, count: int, round_number: int = 1, first: int = 0) -> list[PreAnnotation]:
        return stored_drafts(self.storage, count, round_number, first)

    def submit(
        self, task: AnnotationTask, mask: NDArray[np.uint8], further: Sequence[Region] = ()
    ) -> int:
        """Submit a mask, and further regions, as a person would."""
        regions = [
            brush_region(mask == class_id, SMALL_MAP.names[class_id])
            for class_id in np.unique(mask[mask != IGNORE_INDEX]).tolist()
        ]
        return self.studio.create_annotation(
            task.task_id, [*regions, *further], seconds=1.0, parent_prediction=None
        )

    def api(self, method: str, path: str, body: object = None, token: str = "") -> Any:
        """What Label Studio answers on its own API, as JSON."""
        answer = httpx.request(
            method,
            f"{self.server.url}{path}",
            json=body,
            headers={"Authorization": f"Token {token or self.server.token}"},
            timeout=240,
        )
        assert answer.status_code < 300, f"{answer.status_code} {answer.text[:500]}"
        return answer.json() if answer.content else None

    def next_task(self, project_id: int, view: Mapping[str, Any] | None, token: str = "") -> Any:
        """The label stream's next task: of a view, or of "Label All Tasks"."""
        body: dict[str, object] = {}
        if view is not None:
            body = {"filters": view["filters"], "ordering": view["ordering"]}
        path = f"/api/dm/actions?id=next_task&project={project_id}"
        return self.api("POST", path, body, token=token)

    def events(self, name: str) -> list[dict[str, Any]]:
        return [event for event in read_events(self.journal_folder) if event["event"] == name]
