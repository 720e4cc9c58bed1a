"""What Label Studio holds of our project, as JSON for people, and for putting work back.

Label Studio has a database of its own, which only its own tools copy byte for byte. What is taken
here is what its API tells: the project's labelling config and settings, and every task that has an
annotation, with all annotations as regions. What people had confirmed when a round went on is in
our storage anyway; of an open round, a restore reads it from here
(`cloud/annotators/lost_work.py`).
"""

import json
from collections.abc import Sequence
from typing import Literal, Protocol

from cloud.backup.parts import Part
from cloud.backup.places import WrittenPlace
from lifelong.records.wire import dumps

NAME = "label-studio"


class Project(Protocol):
    """A project as Label Studio lists it."""

    @property
    def project_id(self) -> int:
        """Its id."""

    @property
    def label_config(self) -> str:
        """Its labelling config, XML."""


class Studio(Protocol):
    """What is asked of Label Studio."""

    def projects_titled(self, title: str) -> Sequence[Project]:
        """The projects of that title."""

    def export(self, project_id: int, kind: Literal["JSON", "JSON_MIN"]) -> bytes:
        """Its annotated tasks."""

    def email_of(self, user_id: int) -> str:
        """Who somebody is: numbers of people are of no use at another server."""


def studio_part(studio: Studio, title: str, url: str) -> Part:
    """Our project there, if it is there.

    Raises:
        LabelStudioError: it cannot be asked.
    """
    contents: dict[str, bytes] = {}
    for project in studio.projects_titled(title):
        number = project.project_id
        told = {"title": title, "project_id": number, "label_config": project.label_config}
        contents[f"{number}/project.json"] = dumps(told)
        tasks = json.loads(studio.export(number, "JSON"))
        for task in tasks:
            for one in task.get("annotations", ()):
                if isinstance(one.get("completed_by"), int):
                    who = one["completed_by"]
                    one["completed_by"] = {"id": who, "email": studio.email_of(who)}
        contents[f"{number}/tasks.json"] = dumps(tasks)
    return Part(name=NAME, place=WrittenPlace(contents), where=url)
