"""Is the service up, and is it ready? Two questions with two answers.

Up (`/healthz`): its threads live; if not, only a new start helps. Ready (`/readyz`): loading,
ready or degraded, with a code for each reason. A code says nothing of the inside, so everybody
may read it; the words beside it are for those who may see the pages.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from cloud.monitor.heartbeats import Heartbeats
from cloud.monitor.look import Look
from cloud.monitor.surroundings import Seen
from lifelong.errors import LifelongError

_OLD = timedelta(minutes=5)  # then what pages show is worth little


class ServiceState(StrEnum):
    """What `/readyz` says."""

    LOADING = "loading"
    READY = "ready"
    DEGRADED = "degraded"


class Code(StrEnum):
    """Why it does not say ready."""

    NOT_SEEN_YET = "not_seen_yet"
    STORAGE = "storage_unreachable"
    OLD_LOOK = "look_is_old"
    ROUNDS = "rounds_stalled"
    LEASE = "lease_held_elsewhere"
    LABEL_STUDIO = "label_studio_unreachable"
    MODELS_LOADING = "models_loading"
    MODELS_FAILED = "models_failed"


_LOADING = frozenset({Code.NOT_SEEN_YET, Code.MODELS_LOADING})
# Without these nobody who asks gets an answer that is worth having: 503. With any other one the
# pages and most of the rest work, and a cluster that cut them off would hide why.
_NOT_READY = frozenset({Code.NOT_SEEN_YET, Code.STORAGE, Code.OLD_LOOK, Code.ROUNDS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One reason why the service does not say ready."""

    code: Code
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What `/readyz` answers."""

    state: ServiceState
    faults: tuple[Fault, ...]

    @property
    def is_ready(self) -> bool:
        """Shall requests be sent here?"""
        return not any(fault.code in _NOT_READY for fault in self.faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """Where the signs of life come from; `cloud/serving.py` fills it, tests say what they need."""

    hearts: Heartbeats = field(default_factory=Heartbeats)
    seen: Callable[[], Seen] = Seen
    models: Callable[[], Mapping[str, tuple[str, str]]] = dict  # name -> (readiness, words)
    leads: Callable[[], bool | None] = lambda: None  # is the lease ours? None: nobody asked yet
    # The newest look without waiting for the first one; None: whoever asks brings a look.
    peek: Callable[[], Look | None] | None = None

    def standing(self, look: Callable[[], Look], trouble: str, now: datetime) -> Standing:
        """How the service stands.

        Args:
            look: the newest look, where there is no `peek`.
            trouble: why rounds do not go on; "" when they do.
        """
        seen = self.peek or look
        faults = [*_of_storage(seen, now), *_of_rounds(trouble, self.leads()), *self._beyond()]
        state = ServiceState.DEGRADED if faults else ServiceState.READY
        if faults and all(fault.code in _LOADING for fault in faults):
            state = ServiceState.LOADING
        return Standing(state=state, faults=tuple(faults))

    def _beyond(self) -> list[Fault]:
        """What Label Studio and the smart tool's models say."""
        faults, seen = [], self.seen()
        if seen.label_studio is False:
            faults.append(Fault(code=Code.LABEL_STUDIO, words=seen.label_studio_words))
        for name, (readiness, words) in self.models().items():
            if readiness == "loading":
                faults.append(Fault(code=Code.MODELS_LOADING, words=f"{name}: {words}"))
            elif readiness in {"failed", "degraded"}:
                faults.append(Fault(code=Code.MODELS_FAILED, words=f"{name}: {words}"))
        return faults


def _of_storage(look: Callable[[], Look | None], now: datetime) -> list[Fault]:
    try:
        found = look()
    except LifelongError as error:
        return [Fault(code=Code.STORAGE, words=str(error))]
    if found is None:
        return [Fault(code=Code.NOT_SEEN_YET, words="storage is being looked into")]
    if found.trouble:
        return [Fault(code=Code.STORAGE, words=found.trouble)]
    if now - found.at > _OLD:
        return [Fault(code=Code.OLD_LOOK, words=f"storage was last looked into at {found.at}")]
    return []


def _of_rounds(trouble: str, leads: bool | None) -> list[Fault]:
    faults = []
    if trouble:
        faults.append(Fault(code=Code.ROUNDS, words=trouble))
    if leads is False:
        words = "another service holds the lease and advances rounds; this one waits"
        faults.append(Fault(code=Code.LEASE, words=words))
    return faults
