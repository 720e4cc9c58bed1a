"""What operators do from pages: each action is confirmed on a page that says what would change.

A form carries what its page saw (the newest release, the roll-out under way). When that is no
longer so, nothing is done and the answer is 409, so a second click changes nothing.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from cloud.access.permissions import Permission, caller_of, needs
from cloud.monitor.look import Look
from cloud.monitor.release_facts import releases_by_number
from cloud.monitor.rollback_effect import rollback_effect
from cloud.web.actions import Actions
from cloud.web.parts import Parts
from lifelong.errors import LifelongError
from lifelong.records.ids import EdgeId, edge_id
from lifelong.records.model_versions import Release

_EDGES_NAMED = 20  # of those that would change
Wish = Literal["halt", "promote"]
Number = Annotated[int, Form(ge=0, le=10**9)]


def add_operator_pages(app: FastAPI, parts: Parts) -> None:
    """Roll back, halt and promote, begin a round, set a budget; nothing without `parts.actions`."""
    actions = parts.actions
    if actions is None:
        return
    router = APIRouter(dependencies=[needs(Permission.OPERATE)])
    _add_rollback(router, parts, actions)
    _add_rollout(router, parts, actions)
    _add_rounds_and_budgets(router, parts, actions)
    app.include_router(router)


def _add_rollback(router: APIRouter, parts: Parts, actions: Actions) -> None:
    @router.get("/releases/{number}/rollback", response_class=HTMLResponse)
    def rollback_page(request: Request, number: int) -> HTMLResponse:
        look = parts.look()
        release = _release(look, number)
        effect = rollback_effect(look, release.version_id)
        return parts.site.render(
            request,
            "rollback.html",
            release=release,
            newest=look.releases[-1],
            effect=effect,
            named=effect.edges[:_EDGES_NAMED] if effect else (),
            current=look.current,
            rollout=_under_way(look),
            refused=_refusal(look, release) or actions.why_no_release(),
        )

    @router.post("/releases/{number}/rollback")
    def roll_back(request: Request, number: int, seen: Number) -> Response:
        release = _release(parts.look(), number)
        who = _who(request)
        return _acted(
            parts,
            request,
            lambda: actions.roll_back(release.version_id, who, seen=seen),
            lambda made: f"/releases/{made.number}?done=rolled_back",
            back="/releases",
        )


def _add_rollout(router: APIRouter, parts: Parts, actions: Actions) -> None:
    @router.get("/rollouts/{number}/{wish}", response_class=HTMLResponse)
    def rollout_page(request: Request, number: int, wish: Wish) -> HTMLResponse:
        under_way = _under_way(parts.look())
        if under_way is None or under_way["number"] != number:
            raise HTTPException(404, f"roll-out {number} is not under way")
        return parts.site.render(
            request,
            "rollout.html",
            one=under_way,
            wish=wish,
            refused=actions.why_no_release(),
        )

    @router.post("/rollouts/{number}/{wish}")
    def end_rollout(request: Request, number: int, wish: Wish) -> Response:
        who = _who(request)
        return _acted(
            parts,
            request,
            lambda: actions.end_rollout(wish, who, seen=number),
            lambda made: f"/edges?done={wish}",
            back="/edges",
        )


def _add_rounds_and_budgets(router: APIRouter, parts: Parts, actions: Actions) -> None:
    @router.post("/rounds/start")
    def start_round(request: Request) -> Response:
        who = _who(request)
        return _acted(
            parts,
            request,
            lambda: actions.start_round(who),
            lambda number: f"/rounds?asked={number}",
            back="/rounds",
        )

    @router.post("/edges/{edge}/budget")
    def budget(
        request: Request,
        edge: str,
        mib_per_day: Annotated[str, Form(max_length=20)] = "",
        samples_per_hour: Annotated[str, Form(max_length=20)] = "",
        wish: Annotated[Literal["set", "withdraw"], Form()] = "set",
    ) -> Response:
        who, node = _who(request), _known(parts.look(), edge)
        if wish == "withdraw":
            return _acted(
                parts,
                request,
                lambda: actions.withdraw_budget(node, who),
                lambda _: f"/edges/{node}?done=withdrawn",
                back=f"/edges/{node}",
            )
        mib, samples = _amount(mib_per_day), _amount(samples_per_hour)
        if samples is not None and samples != int(samples):
            raise HTTPException(422, f"samples an hour: {samples_per_hour!r} is no whole number")
        return _acted(
            parts,
            request,
            lambda: actions.set_budget(
                node,
                who,
                max_mib_per_day=mib,
                max_samples_per_hour=None if samples is None else int(samples),
            ),
            lambda _: f"/edges/{node}?done=budget",
            back=f"/edges/{node}",
        )


def _acted(
    parts: Parts,
    request: Request,
    act: Callable[[], Any],
    then: Callable[[Any], str],
    *,
    back: str,
) -> Response:
    """Do it, and go where one sees what came of it; what refuses itself is told in its words."""
    try:
        made = act()
    except LifelongError as error:
        told = parts.site.render(
            request, "refused.html", why=str(error), back=back, retryable=error.retryable
        )
        told.status_code = 503 if error.retryable else 409
        return told
    return RedirectResponse(request.scope.get("root_path", "") + then(made), status_code=303)


def _who(request: Request) -> str:
    caller = caller_of(request)
    assert caller is not None  # `needs` has seen to it
    return caller.name


def _release(look: Look, number: int) -> Release:
    found = look.fact(releases_by_number).get(number)
    if found is None:
        raise HTTPException(404, f"there is no release {number}")
    return found


def _under_way(look: Look) -> Any:
    one = look.rollout
    return None if one is None or one["state"] in {"promoted", "halted"} else one


def _refusal(look: Look, release: Release) -> str:
    """Why one cannot go back to this release, whoever asks; "" when one can."""
    under_way = _under_way(look)
    if under_way and under_way["version"] == release.version_id:
        return "It is on trial at present: promote it or halt it on the page of the edges."
    if look.current and look.current.version_id == release.version_id and not under_way:
        return "Every node is to run this version already; there is nothing to roll back."
    return ""


def _known(look: Look, edge: str) -> EdgeId:
    try:
        node = edge_id(edge)
    except ValueError as error:
        raise HTTPException(404, str(error)) from error
    if all(one.seen.edge_id != node for one in look.fleet):
        raise HTTPException(404, f"no node {edge!r} has ever reported")
    return node


def _amount(text: str) -> float | None:
    """A number of a form, at least 0; None for an empty field."""
    if not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1e9:
        raise HTTPException(422, f"{text!r}: expected a number from 0 to 1000000000, or nothing")
    return value
