"""`/releases`: what nodes were told to run, and where each model comes from."""

from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, HTTPException, Query, Request
from fastapi.responses import HTMLResponse

from cloud.access.permissions import Permission, needs
from cloud.monitor.look import Look
from cloud.monitor.release_facts import (
    ancestors,
    first_releases,
    learned,
    line_of,
    nodes_by_release,
    releases_by_number,
)
from cloud.web.paging import PageNumber, paged
from cloud.web.parts import Parts
from lifelong.records.model_versions import Examination, ModelVersion, Release

_ANCESTORS = 10  # of one page of a line that may have hundreds
_NAMED = 30  # annotators, nodes and learning tasks that are told by name
Word = Annotated[str, Query(max_length=40)]


def add_releases(app: FastAPI, parts: Parts) -> None:
    """`/releases`, `/releases/{number}`."""
    router = APIRouter(dependencies=[needs(Permission.SEE)])

    @router.get("/releases", response_class=HTMLResponse)
    def releases_page(request: Request, page: PageNumber = 1) -> HTMLResponse:
        look = parts.look()
        return parts.site.render(
            request,
            "releases.html",
            releases=paged(look.releases[::-1], page),
            nodes=look.fact(nodes_by_release),
            current=look.current,
            staged=_staged(look),
            can_act=parts.actions is not None,
        )

    @router.get("/releases/{number}", response_class=HTMLResponse)
    def release_page(
        request: Request, number: int, page: PageNumber = 1, done: Word = ""
    ) -> HTMLResponse:
        look = parts.look()
        release = look.fact(releases_by_number).get(number)
        if release is None and done == "rolled_back":  # made a moment ago, and not seen yet
            return parts.site.render(request, "release_made.html", number=number)
        if release is None:
            raise HTTPException(404, f"there is no release {number}")
        return parts.site.render(
            request,
            "release.html",
            release=release,
            current=look.current,
            staged=_staged(look),
            nodes=look.fact(nodes_by_release).get(number, 0),
            fleet=len(look.fleet),
            bundle_bytes=look.bundle_bytes.get(release.bundle_key),
            done=done,
            can_act=parts.actions is not None,
            **_model(look, release, page),
        )

    app.include_router(router)


def _staged(look: Look) -> Release | None:
    """What is on trial; a leftover of a roll-out that ended counts for nothing."""
    if look.staged and look.current and look.staged.number <= look.current.number:
        return None
    return look.staged


def _model(look: Look, release: Release, page: int) -> dict[str, Any]:
    """What is known of a release's model; `version` is None when nothing is."""
    version: ModelVersion | None = look.versions.get(release.version_id)
    examined: Examination | None = look.examinations.get(release.version_id)
    line = paged(line_of(look, release.version_id), page, _ANCESTORS)
    return {
        "version": version,
        "training": look.trainings.get(release.version_id),
        "examined": examined,
        "before": examined.incumbent if examined else None,
        "learned": learned(look.samples, version.trained_on if version else ()),
        "replayed": learned(look.samples, version.replayed if version else ()),
        "named": _NAMED,
        "line": line,
        "ancestors": ancestors(look, line.rows),
        "parent_release": look.fact(first_releases).get(version.parent)
        if version and version.parent
        else None,
    }
