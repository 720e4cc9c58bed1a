"""Delivery from a configuration: the keeper of hard frames, and the uploader with its rules."""

from edge.delivery.bandwidth import Bandwidth
from edge.delivery.breaker import Breaker
from edge.delivery.budget_orders import BudgetOrders
from edge.delivery.keeping import Keeper, Privacy
from edge.delivery.outbox import Outbox
from edge.delivery.upload_budget import Budget
from edge.delivery.upload_ledger import Ledger
from edge.delivery.upload_rules import UploadRules
from edge.delivery.upload_windows import Windows
from edge.delivery.uploader import Uploader
from edge.errands import Errand
from edge.scenes import Scenes
from edge.stop import Stop
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage
from lifelong.records.ids import edge_id
from lifelong.sections.edge import EdgeSection


def keeper_of(edge: EdgeSection, outbox: Outbox, journal: Journal, privacy: Privacy) -> Keeper:
    """What decides which hard frames are kept."""
    scenes = Scenes(edge.scenes, edge.state_path / "scenes.jsonl") if edge.scenes.enabled else None
    return Keeper(outbox, journal, privacy=privacy, scenes=scenes)


def uploader_of(
    edge: EdgeSection,
    outbox: Outbox,
    storage: Storage,
    journal: Journal,
    stop: Stop,
    *,
    inline: bool = False,
) -> Uploader:
    """What brings them over; `inline`: between frames instead of beside them."""
    return Uploader(
        outbox,
        storage,
        journal,
        Errand("uploads", inline=inline),
        rules=_rules(edge, storage, stop),
    )


def _rules(edge: EdgeSection, storage: Storage, stop: Stop) -> UploadRules:
    section, state = edge.upload, edge.state_path
    orders = BudgetOrders(storage, edge_id(edge.id), state / "budget.json")
    rate = section.max_kib_per_second
    return UploadRules(
        windows=Windows(section.windows, enabled=section.enabled),
        budget=Budget(section, Ledger(state / "uploads.jsonl"), orders.current),
        orders=orders,
        bandwidth=None
        if rate is None
        else Bandwidth(rate * 1024, wait=stop.wait, is_stopping=stop.is_requested),
        breaker=Breaker(section.failures_to_open, section.open_seconds),
        part_bytes=section.part_kib * 1024,
        confirm=section.confirm,
    )
