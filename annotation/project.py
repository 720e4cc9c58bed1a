"""Makes sure that a project exists and fits the label map, and that it can show our images."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

from annotation.labeling_config import (
    INSTRUCTION,
    Tools,
    labeling_config,
    tools_for,
    with_labels_added,
)
from annotation.studio_tasks import StudioProject
from lifelong.errors import ConfigError, ProjectMismatchError
from lifelong.records.label_map import LabelMap

_NO_CONFIG = {"", "<View></View>", "<View/>"}
_TITLE_LENGTH = (3, 50)  # characters; Label Studio refuses others


class Projects(Protocol):
    """What is asked of Label Studio about projects."""

    def projects_titled(self, title: str) -> list[StudioProject]: ...

    def create_project(self, title: str, label_config: str, instruction: str) -> int: ...

    def set_label_config(self, project_id: int, label_config: str) -> None: ...

    def local_folders(self, project_id: int) -> list[str]: ...

    def add_local_folder(self, project_id: int, folder: Path) -> None: ...


@dataclass(frozen=True, slots=True)
class OurProject:
    """A project that fits the label map."""

    project_id: int
    tools: Tools


def ensure_project(
    studio: Projects, title: str, label_map: LabelMap, others: Mapping[str, str] | None = None
) -> OurProject:
    """The project with this title; made when there is none, left alone when it fits.

    Args:
        others: None, or, when the classes have changed, what names of other label maps are here
            (`LabelMapHistory.other_names`). The project then gets the labels that it lacks, and
            keeps those that it has.

    Raises:
        ConfigError: Label Studio would not take the title.
        ProjectMismatchError: its classes or tools are others than ours, or two share the title.
    """
    shortest, longest = _TITLE_LENGTH
    if not shortest <= len(title) <= longest:
        raise ConfigError(f"label_studio.project {title!r}: use {shortest} to {longest} characters")
    found = studio.projects_titled(title)
    ours = labeling_config(label_map)
    if not found:
        made = studio.create_project(title, ours, INSTRUCTION)
        return OurProject(made, tools_for(ours, label_map, title))
    if len(found) > 1:
        ids = ", ".join(str(project.project_id) for project in found)
        raise ProjectMismatchError(
            f"Label Studio has {len(found)} projects titled {title!r} (ids {ids}); rename all "
            "but one"
        )
    project = found[0]
    if others is not None and project.label_config.strip() not in _NO_CONFIG:
        wider = with_labels_added(project.label_config, label_map)
        tools = tools_for(wider, label_map, title, others)
        if wider != project.label_config:
            studio.set_label_config(project.project_id, wider)
        return OurProject(project.project_id, tools)
    if project.label_config.strip() in _NO_CONFIG:
        studio.set_label_config(project.project_id, ours)
        return OurProject(project.project_id, tools_for(ours, label_map, title))
    return OurProject(project.project_id, tools_for(project.label_config, label_map, title))


class ImageAddresses:
    """How Label Studio reaches the images that lie in storage."""

    def __init__(self, storage_url: str, local_files_root: Path | None) -> None:
        """
        Raises:
            ConfigError: Label Studio could not read this storage, or it is not under the root.
        """
        parts = urlsplit(storage_url)
        self._bucket: str | None = None
        if parts.scheme == "s3":
            self._bucket = storage_url.rstrip("/")
            return
        if parts.scheme not in {"", "file"}:
            raise ConfigError(
                f"storage {storage_url!r}: Label Studio shows images from a folder or from s3:// "
                "only; choose one of them"
            )
        if local_files_root is None:
            raise ConfigError(
                "label_studio.local_files_root is not set: name the folder that Label Studio "
                f"serves local files from; {storage_url} must be that folder or lie under it"
            )
        self._root = local_files_root.resolve()
        folder = Path(url2pathname(parts.path)).resolve()
        if not folder.is_relative_to(self._root):
            raise ConfigError(
                f"label_studio.local_files_root {self._root}: storage {folder} is not under it"
            )
        self._folder = folder

    def url(self, key: str) -> str:
        """The address of an object for a task's data."""
        if self._bucket is not None:
            return f"{self._bucket}/{key}"
        path = (self._folder / key).relative_to(self._root).as_posix()
        return f"/data/local-files/?d={quote(path)}"

    def folder(self, key: str) -> Path | None:
        """The folder that must be registered with the project to show this object; None: none.

        Label Studio refuses to serve its whole root, so this is the folder right under it.
        """
        if self._bucket is not None:
            return None
        return self._root / (self._folder / key).relative_to(self._root).parts[0]


def ensure_readable(
    studio: Projects, project_id: int, addresses: ImageAddresses, keys: list[str]
) -> None:
    """Register the folders of these images with the project; nothing happens when they are."""
    wanted = {folder for key in keys if (folder := addresses.folder(key)) is not None}
    if not wanted:
        return
    there = {Path(folder) for folder in studio.local_folders(project_id)}
    for folder in sorted(wanted - there):
        studio.add_local_folder(project_id, folder)
