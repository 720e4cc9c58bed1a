"""`Parts`: what the application is made of; `cloud/serving.py` fills it, and tests do."""

from collections.abc import Callable
from dataclasses import dataclass, field

from cloud.access.audit_watch import AuditWatch
from cloud.access.book import AccessBook
from cloud.access.slowing import Slowing
from cloud.audit_log import Recorder
from cloud.correcting.desk import Desk
from cloud.metrics.measures import Measures
from cloud.metrics.service import Gauges
from cloud.monitor.look import Look
from cloud.monitor.people_costs import CostsByRound
from cloud.monitor.readiness import Vitals
from cloud.web.actions import Actions
from cloud.web.site import Site
from lifelong.config import Config
from lifelong.links.storage import Storage
from lifelong.records.label_map import LabelMap


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Handed to each `add_…(app, parts)` of this room."""

    site: Site
    config: Config
    storage: Storage
    label_map: LabelMap
    hint: Callable[[], None]  # Label Studio says that something happened; must return at once
    secret: str  # what its hints must carry; empty: hints are not taken, the address is unknown
    vitals: Vitals = field(default_factory=Vitals)  # signs of life, for probes
    measures: Measures = field(default_factory=Measures)  # of this process
    gauges: Gauges = field(default_factory=Gauges)

    correction_desk: Desk | None = None  # behind /correct; None: nothing is corrected here
    actions: Actions | None = None  # what buttons do; None: the pages only show

    book: AccessBook | None = None  # who may enter; None: access is off
    slowing: Slowing | None = None  # of wrong guesses; the gate's own
    audit: Recorder | None = None  # where tokens and sessions are recorded
    audits: AuditWatch | None = None  # what was recorded, for the page of admins
    costs: CostsByRound = field(default_factory=CostsByRound)  # of people's corrections

    def look(self) -> Look:
        """The newest look into storage; does not wait for it."""
        return self.site.look()
