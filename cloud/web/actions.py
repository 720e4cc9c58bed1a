"""`Actions`: what buttons on the pages can do; `cloud/operator_actions.py` does it."""

from typing import Literal, Protocol

from lifelong.records.deliveries import UploadBudget
from lifelong.records.ids import EdgeId, RoundNumber, VersionId
from lifelong.records.model_versions import Release
from lifelong.records.rollouts import Rollout


class Actions(Protocol):
    """Each is recorded in the audit log before it is done, and raises a `LifelongError`."""

    def why_no_release(self) -> str:
        """Why nothing can be released from here, in words; "" when it can."""

    def roll_back(self, version_id: VersionId, who: str, *, seen: int | None = None) -> Release:
        """Release an earlier version again, if `seen` is still the newest release."""

    def start_round(self, who: str) -> RoundNumber:
        """Ask for a round with whatever waits."""

    def end_rollout(
        self, wish: Literal["halt", "promote"], who: str, *, seen: int | None = None
    ) -> Rollout:
        """Say what is to become of the roll-out under way, if it is the one that was seen."""

    def set_budget(
        self,
        edge: EdgeId,
        who: str,
        *,
        max_mib_per_day: float | None,
        max_samples_per_hour: int | None,
    ) -> UploadBudget:
        """Tell a node how much it may send."""

    def withdraw_budget(self, edge: EdgeId, who: str) -> None:
        """Take back what a node was told."""
