"""`/queues`: what lies between the steps: outboxes of edge nodes, the inbox, people's tasks, the
training; with the age of each number."""

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse

from annotation.review.standing import TaskState
from cloud.access.permissions import Permission, needs
from cloud.monitor.annotation_tally import tally_of
from cloud.monitor.edge_facts import names_of_edges
from cloud.monitor.outboxes import outboxes_of
from cloud.monitor.queues_seen import REFUSED_READ
from cloud.monitor.training_facts import training_view
from cloud.monitor.who_waits import waits
from cloud.web.edges_pages import TONES as EDGE_TONES
from cloud.web.paging import PageNumber, paged
from cloud.web.parts import Parts
from cloud.web.studio_links import task_address, workplace

# As people read them: a task that somebody began and has not submitted is still open.
STATES: dict[TaskState, tuple[str, str]] = {
    TaskState.OPEN: ("open", "busy"),
    TaskState.DRAFT: ("begun", "busy"),
    TaskState.REJECTED: ("sent back", "bad"),
    TaskState.ADJUDICATE: ("annotators disagree", "bad"),
    TaskState.SUBMITTED: ("submitted", "good"),
    TaskState.ACCEPTED: ("accepted", "good"),
    TaskState.SKIPPED: ("skipped", "calm"),
}


def add_queues(app: FastAPI, parts: Parts) -> None:
    """`/queues`."""
    router = APIRouter(dependencies=[needs(Permission.SEE)])

    @router.get("/queues", response_class=HTMLResponse)
    def queues_page(
        request: Request, nodes: PageNumber = 1, refused: PageNumber = 1, tasks: PageNumber = 1
    ) -> HTMLResponse:
        look = parts.look()
        outboxes, tally = look.fact(outboxes_of), look.fact(tally_of)
        newest = look.rounds[-1] if look.rounds else None
        return parts.site.render(
            request,
            "queues.html",
            now=look.at,
            waits=waits(look, parts.config.rounds),
            outboxes=outboxes,
            nodes=paged(outboxes.nodes, nodes),
            fleet=len(look.fleet),
            known=look.fact(names_of_edges),
            tones=EDGE_TONES,
            inbox=look.inbox,
            refused=paged(look.queues.refused, refused),
            refused_read=REFUSED_READ,
            untaken=look.queues.untaken,
            rules=parts.config.rounds,
            tally=tally,
            tasks=paged(tally.lines if tally else (), tasks),
            states=STATES,
            place=workplace(parts.config, look),
            address=lambda task: task_address(parts.config, task.project_id, task.task_id),
            training=training_view(look),
            newest=newest,
        )

    app.include_router(router)
