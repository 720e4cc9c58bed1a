"""`/edges`: how the fleet stands, one node in words, and the same as JSON."""

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, FastAPI, HTTPException, Query, Request
from fastapi.responses import HTMLResponse

from cloud.access.permissions import Permission, needs
from cloud.fleet.edges import EdgeState, Standing, alarms_of
from cloud.monitor.edge_facts import (
    ROUNDS_SEARCHED,
    by_state,
    fleet_summary,
    matching,
    names_of_edges,
    newest_examples,
)
from cloud.web.paging import PageNumber, paged
from cloud.web.parts import Parts
from lifelong.records.ids import EdgeId

TONES = {
    EdgeState.SILENT: "bad",
    EdgeState.ALARM: "bad",
    EdgeState.BEHIND: "busy",
    EdgeState.WELL: "good",
}
ROLLOUT_TONES = {"observing": "busy", "promoting": "busy", "promoted": "good"}
_MOST_IN_JSON = 500  # nodes of one answer; further ones by ?page=
_EXAMPLES = 12

# A node's statistics of drift (`lifelong/drift.py`), for people.
DRIFT = {
    "frames": "frames they are counted over",
    "novelty_psi": "how unlike the training pictures frames are",
    "entropy_psi": "how unsure the model is",
    "classes_psi": "how much of the picture each class takes",
}
Text = Annotated[str, Query(max_length=200)]


def add_edges(app: FastAPI, parts: Parts) -> None:
    """`/edges`, `/edges/{edge}`, `/edges.json`."""
    router = APIRouter(dependencies=[needs(Permission.SEE)])

    @router.get("/edges", response_class=HTMLResponse)
    def edges_page(
        request: Request,
        q: Text = "",
        state: Text = "",
        version: Text = "",
        page: PageNumber = 1,
        done: Text = "",
    ) -> HTMLResponse:
        look = parts.look()
        wanted = next((one for one in EdgeState if one == state), None)
        found = matching(look, text=q.strip(), state=wanted, version=version.strip())
        asked = {"q": q.strip(), "state": wanted or "", "version": version.strip()}
        return parts.site.render(
            request,
            "edges.html",
            nodes=paged(found, page),
            asked=asked,
            query="".join(f"&{urlencode({k: v})}" for k, v in asked.items() if v),
            counts=look.fact(by_state),
            fleet=len(look.fleet),
            tones=TONES,
            current=look.current,
            rollout=look.rollout,
            rollout_tones=ROLLOUT_TONES,
            done=done,
            can_act=parts.actions is not None,
        )

    @router.get("/edges.json")
    def edges_json(page: PageNumber = 1) -> dict[str, Any]:
        look = parts.look()
        nodes = paged(look.fleet, page, _MOST_IN_JSON)
        pages = {"page": nodes.number, "pages": nodes.count, "nodes": nodes.total}
        return {**fleet_summary(look, nodes.rows), **pages}

    @router.get("/edges/{edge}", response_class=HTMLResponse)
    def edge_page(request: Request, edge: str, done: Text = "") -> HTMLResponse:
        look = parts.look()
        standing = look.fact(names_of_edges).get(EdgeId(edge))
        if standing is None:
            raise HTTPException(404, f"no node {edge[:63]!r} has ever reported")
        return parts.site.render(
            request,
            "edge.html",
            edge=standing,
            health=standing.seen.health,
            tone=TONES[standing.state],
            alarms=_alarms(standing),
            drift=_drift(standing),
            budget=look.budgets.get(standing.seen.edge_id),
            defaults=parts.config.edges,
            examples=newest_examples(look, standing.seen.edge_id, _EXAMPLES),
            searched=min(ROUNDS_SEARCHED, len(look.rounds)),
            done=done,
            can_act=parts.actions is not None,
        )

    app.include_router(router)


def _alarms(standing: Standing) -> dict[str, str]:
    return alarms_of(standing.seen.health) if standing.seen.health else {}


def _drift(standing: Standing) -> list[tuple[str, str, float]]:
    """Name, words and value of each statistic; a node of another version may have others."""
    found = standing.seen.health.drift if standing.seen.health else {}
    return [(name, DRIFT.get(name, ""), value) for name, value in sorted(found.items())]
