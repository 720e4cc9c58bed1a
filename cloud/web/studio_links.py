"""Where people work: the addresses of a project and of its tasks in Label Studio, or a folder."""

from dataclasses import dataclass

from cloud.monitor.annotation_tally import tally_of
from cloud.monitor.look import Look
from lifelong.config import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """Of the open round."""

    name: str  # "Label Studio", or the folder
    address: str  # of the project; "": a folder, or no round is open


def workplace(config: Config, look: Look) -> Workplace:
    """Where the open round's tasks are."""
    if config.annotation_folder is not None:
        return Workplace(name=str(config.annotation_folder), address="")
    tally = look.fact(tally_of)
    if tally is None or not tally.project_id:
        return Workplace(name="Label Studio", address="")
    return Workplace(name="Label Studio", address=project_address(config, tally.project_id))


def project_address(config: Config, project_id: int) -> str:
    """A project's list of tasks in Label Studio."""
    return f"{config.label_studio.url.rstrip('/')}/projects/{project_id}/data"


def task_address(config: Config, project_id: int, task_id: int) -> str:
    """One task, opened in Label Studio; "" when tasks are files in a folder."""
    if config.annotation_folder is not None or not project_id:
        return ""
    return f"{project_address(config, project_id)}?task={task_id}"
