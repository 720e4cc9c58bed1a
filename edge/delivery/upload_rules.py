"""What an uploader has to keep to: windows, budget, bandwidth, breaker, parts, confirmation."""

from dataclasses import dataclass, field
from typing import Literal

from edge.delivery.bandwidth import Bandwidth
from edge.delivery.breaker import Breaker
from edge.delivery.budget_orders import BudgetOrders
from edge.delivery.upload_budget import Budget
from edge.delivery.upload_windows import Windows


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadRules:
    """The default: at any time, as much and as fast as the link takes it."""

    windows: Windows = field(default_factory=Windows)
    budget: Budget | None = None
    orders: BudgetOrders | None = None  # what the cloud says of the budget
    bandwidth: Bandwidth | None = None
    breaker: Breaker | None = None
    part_bytes: int = 2**20
    confirm: Literal["read_back", "receipt"] = "read_back"
