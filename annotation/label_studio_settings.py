"""What we tell Label Studio about projects, through its SDK: settings, storages, tabs, webhooks.

The other half of `annotation/label_studio.py`, which owns the connection and its errors.
"""

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import label_studio_sdk

from annotation.project_settings import Backend, Bucket
from annotation.queue_order import View
from annotation.webhooks import Webhook

_AWAY = ("DI", "ER")  # Label Studio's states of a model: disconnected, error


class ProjectCalls:
    """The calls about a project that people would otherwise click; see `LabelStudio`."""

    _sdk: label_studio_sdk.LabelStudio

    def _translated(self, wish: str) -> AbstractContextManager[None]:
        raise NotImplementedError

    def local_folders(self, project_id: int) -> list[str]:
        """Folders that Label Studio may serve images from for this project."""
        with self._translated(f"list the storages of project {project_id}"):
            found = self._sdk.import_storage.local.list(project=project_id)
            return [str(storage.path) for storage in found]

    def add_local_folder(self, project_id: int, folder: Path) -> None:
        """Let Label Studio serve images from `folder`, which lies under its document root."""
        with self._translated(f"register folder {folder} with project {project_id}"):
            self._sdk.import_storage.local.create(
                project=project_id, path=str(folder), use_blob_urls=True, title="Cornerloop"
            )

    def settings(self, project_id: int) -> Mapping[str, object]:
        """All settings of a project, by Label Studio's names."""
        with self._translated(f"read project {project_id}"):
            return cast(Mapping[str, object], self._sdk.projects.get(id=project_id).model_dump())

    def change_settings(self, project_id: int, changes: Mapping[str, object]) -> None:
        """Change some settings of a project."""
        with self._translated(f"change {', '.join(sorted(changes))} of project {project_id}"):
            self._sdk.projects.update(id=project_id, **changes)

    def buckets(self, project_id: int) -> list[Bucket]:
        """The S3 buckets that Label Studio fetches pictures from for this project."""
        with self._translated(f"list the buckets of project {project_id}"):
            found = self._sdk.import_storage.s3.list(project=project_id)
            return [
                Bucket(
                    storage_id=int(str(one.id)),
                    bucket=one.bucket or "",
                    prefix=one.prefix or "",
                    endpoint=one.s3endpoint or "",
                    region=one.region_name or "",
                    presign=bool(one.presign),
                    syncs=bool(one.synchronizable),
                )
                for one in found
            ]

    def save_bucket(self, project_id: int, bucket: Bucket) -> None:
        """Register a bucket, or change the one with its id; Label Studio tries it at once."""
        with self._translated(f"register bucket {bucket.bucket} with project {project_id}"):
            told = {
                "project": project_id,
                "title": "Cornerloop",
                "bucket": bucket.bucket,
                "prefix": bucket.prefix,
                "s3endpoint": bucket.endpoint,
                "region_name": bucket.region,
                "aws_access_key_id": bucket.key_id,
                "aws_secret_access_key": bucket.secret,
                "presign": bucket.presign,
                "use_blob_urls": True,
                "synchronizable": bucket.syncs,
            }
            if bucket.storage_id is None:
                self._sdk.import_storage.s3.create(**told)
            else:
                self._sdk.import_storage.s3.update(bucket.storage_id, **told)

    def tasks_to_come(
        self, project_id: int, *, after: int, count: int
    ) -> list[tuple[int, dict[str, object]]]:
        """Ids and data of the next tasks behind `after` that nobody has worked on, by id."""
        items = [
            {"filter": "filter:tasks:id", "operator": "greater", "value": after, "type": "Number"},
            {
                "filter": "filter:tasks:total_annotations",
                "operator": "equal",
                "value": 0,
                "type": "Number",
            },
        ]
        query = {"filters": {"conjunction": "and", "items": items}, "ordering": ["tasks:id"]}
        with self._translated(f"list the next tasks of project {project_id}"):
            page = self._sdk.tasks.list(
                project=project_id,
                query=json.dumps(query),
                fields="task_only",
                include="id,data",
                page=1,
                page_size=count,
                resolve_uri=False,
            )
            return [(int(one.id or 0), dict(one.data or {})) for one in (page.items or [])[:count]]

    def backends(self, project_id: int) -> list[Backend]:
        """The models that a project is connected to; Label Studio asks each for its health."""
        with self._translated(f"list the models of project {project_id}"):
            return [
                Backend(
                    backend_id=one.id,
                    url=one.url,
                    title=one.title or "",
                    is_interactive=bool(one.is_interactive),
                    user=one.basic_auth_user or "",
                    trouble=_trouble(str(one.state), one.error_message),
                )
                for one in self._sdk.ml.list(project=project_id)
            ]

    def save_backend(self, project_id: int, backend: Backend) -> None:
        """Connect a model, or change the one with its id; refused when it does not answer."""
        with self._translated(f"connect project {project_id} to model {backend.url}"):
            told: dict[str, Any] = {
                "project": project_id,
                "url": backend.url,
                "title": backend.title,
                "is_interactive": backend.is_interactive,
            }
            if backend.password:  # an empty one, said with "NONE", is a 500 of Label Studio 1.23
                told |= {
                    "auth_method": "BASIC_AUTH",
                    "basic_auth_user": backend.user,
                    "basic_auth_pass": backend.password,
                }
            if backend.backend_id is None:
                self._sdk.ml.create(**told)
            else:
                self._sdk.ml.update(backend.backend_id, **told)

    def views(self, project_id: int) -> list[View]:
        """The tabs of a project's data manager, oldest first."""
        with self._translated(f"list the tabs of project {project_id}"):
            found = self._sdk.views.list(project=project_id)
            views = [View(view_id=one.id, data=dict(one.data or {})) for one in found]
        return sorted(views, key=lambda view: view.view_id or 0)

    def save_view(self, project_id: int, view: View) -> None:
        """Make a tab, or change the one with its id."""
        with self._translated(f"save tab {view.title!r} of project {project_id}"):
            data = cast(label_studio_sdk.ViewDataRequestRequest, dict(view.data))
            if view.view_id is None:
                self._sdk.views.create(project=project_id, data=data)
            else:
                self._sdk.views.update(str(view.view_id), project=project_id, data=data)

    def delete_view(self, view_id: int) -> None:
        """Remove a tab."""
        with self._translated(f"delete tab {view_id}"):
            self._sdk.views.delete(str(view_id))

    def webhooks(self, project_id: int) -> list[Webhook]:
        """The webhooks of a project, oldest first."""
        with self._translated(f"list the webhooks of project {project_id}"):
            return [
                Webhook(
                    webhook_id=one.id,
                    url=one.url,
                    headers=dict(one.headers or {}),
                    actions=frozenset(str(action) for action in one.actions or ()),
                    is_active=bool(one.is_active),
                    for_all_actions=bool(one.send_for_all_actions),
                    with_payload=bool(one.send_payload),
                )
                for one in self._sdk.webhooks.list(project=str(project_id))
                if one.project == project_id
            ]

    def save_webhook(self, project_id: int, webhook: Webhook) -> None:
        """Register a webhook, or change the one with its id."""
        with self._translated(f"register webhook {webhook.url} with project {project_id}"):
            told = {
                "url": webhook.url,
                "headers": dict(webhook.headers),
                "actions": sorted(webhook.actions),
                "is_active": webhook.is_active,
                "send_for_all_actions": webhook.for_all_actions,
                "send_payload": webhook.with_payload,
            }
            if webhook.webhook_id is None:
                self._sdk.webhooks.create(project=project_id, **told)
            else:
                self._sdk.webhooks.update(webhook.webhook_id, **told)

    def delete_webhook(self, webhook_id: int) -> None:
        """Remove a webhook."""
        with self._translated(f"delete webhook {webhook_id}"):
            self._sdk.webhooks.delete(webhook_id)


def _trouble(state: str, said: str | None) -> str:
    """Why a model is of no use to Label Studio, in one short line; "" while it is."""
    return " ".join((said or "it does not answer").split())[:200] if state in _AWAY else ""
