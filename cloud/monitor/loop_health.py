"""Is the loop healthy? Everything in a look that somebody should do something about.

A sign says what is wrong, where to look and what to do. What is slow is judged by the loop's own
past: a step is stuck when it has lasted longer than it did in any of the last finished rounds, and
longer than a floor below which nothing is worth a word. A training whose worker still takes steps
is not stuck, however long it lasts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cloud.fleet.edges import EdgeState, told_age
from cloud.monitor.edge_facts import by_state, gravest_first
from cloud.monitor.look import Look
from cloud.monitor.training_facts import training_view
from cloud.reports import seconds_by_step
from lifelong.records.rounds import Round, RoundState

LOW_BYTES = 2**30  # of the disk with the storage; one round's pictures and a model fit in less
RECENT = timedelta(days=1)  # what happened before is history and no alarm
COMPARED = 50  # newest finished rounds that say how long a step takes
FLOOR_S = 600.0
FIRST_FLOOR_S = 3600.0  # of a step that was never done here: nobody knows how long it takes
_IN_A_ROW = 3  # refused or failed rounds

# Steps that machines do: people may take as long as they want, and so may hard examples.
_MACHINE_STEPS = (
    RoundState.PREANNOTATING,
    RoundState.TRAINING,
    RoundState.GATING,
    RoundState.RELEASING,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """One thing that is not well."""

    words: str
    page: str  # where to look
    remedy: str = ""  # what to do, when that is not what the page is for
    is_grave: bool = True  # False: nothing is lost or halted by it so far


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The answer, from storage alone; what the service knows of itself comes on top."""

    signs: tuple[Sign, ...]  # the gravest first
    moved_at: datetime | None  # UTC, the last step of the loop; None: there was none
    nodes: int  # that have ever reported
    reporting: int  # that are not silent


def health_of(look: Look) -> Health:
    """What is wrong at this look, what halts the loop before what halts a node; a fact."""
    signs = [
        *_stuck(look),
        *_training(look),
        *_rounds(look.rounds),
        *_rollout(look),
        *_fleet(look),
        *_inbox(look),
    ]
    counts = look.fact(by_state)
    return Health(
        signs=tuple(sorted(signs, key=lambda sign: not sign.is_grave)),
        moved_at=moved_at(look),
        nodes=len(look.fleet),
        reporting=len(look.fleet) - counts[EdgeState.SILENT],
    )


def moved_at(look: Look) -> datetime | None:
    """When a round last took a step, or anything was released."""
    moments = [at for round_ in look.rounds[-2:] for at in round_.entered.values()]
    moments += [release.released_at for release in look.releases[-1:]]
    return max(moments, default=None)


def low_disks(free: Mapping[str, int]) -> list[Sign]:
    """Of the service's own disks.

    Args:
        free: bytes by place.
    """
    return [
        Sign(
            words=f"{count / 2**20:.0f} MiB are left on the disk of its {place}",
            page="/queues",
            remedy="make room before a write fails; docs/operations.md says what may go",
        )
        for place, count in free.items()
        if count < LOW_BYTES
    ]


def _fleet(look: Look) -> list[Sign]:
    counts, nodes = look.fact(by_state), look.fact(gravest_first)
    found = []
    for state, verb in ((EdgeState.SILENT, "silent"), (EdgeState.ALARM, "in alarm")):
        if not counts[state]:
            continue
        named = [one for one in nodes if one.state is state][:1]
        about = "; ".join(f"{one.seen.edge_id}: {_first_of(one.reasons)}" for one in named)
        number = counts[state]
        nodes_are = "1 edge node is" if number == 1 else f"{number} edge nodes are"
        more = f", the first: {about}" if number > 1 else f": {about}"
        found.append(Sign(words=f"{nodes_are} {verb}{more}", page=f"/edges?state={state}"))
    return found


def _first_of(reasons: Sequence[str]) -> str:
    """The gravest reason, and how many more the node's page has."""
    more = f", and {len(reasons) - 1} more" if len(reasons) > 1 else ""
    return f"{reasons[0]}{more}" if reasons else "it says nothing of it"


def _stuck(look: Look) -> list[Sign]:
    """Has a machine's step lasted longer than it ever did?"""
    if not look.rounds or look.rounds[-1].state not in _MACHINE_STEPS:
        return []
    open_ = look.rounds[-1]
    since = open_.entered.get(str(open_.state))
    if since is None:
        return []
    lasted = (look.at - since).total_seconds()
    longest = longest_step(look.rounds, open_.state)
    floor = FIRST_FLOOR_S if longest is None else max(longest, FLOOR_S)
    if lasted <= floor or _is_heard_of(look):
        return []
    before = f"the longest so far took {told_age(longest)}" if longest else "none was done before"
    return [
        Sign(
            words=f"round {open_.number} has been {open_.state} for {told_age(lasted)}; {before}",
            page=f"/rounds/{open_.number}",
            remedy="look at the job's log; cornerloop doctor names what is wrong with it",
        )
    ]


def _is_heard_of(look: Look) -> bool:
    """Has the worker that trains taken a step, or ended its last one, just now?"""
    view = training_view(look)
    if view.standing == "done":
        return view.silent_s is not None and view.silent_s <= FLOOR_S
    return view.standing == "runs"


def longest_step(rounds: Sequence[Round], state: RoundState) -> float | None:
    """Seconds that a step took at most in the last finished rounds; None: none has done it."""
    over = [round_ for round_ in rounds[-COMPARED - 1 :] if round_.is_over]
    took = [s[str(state)] for s in map(seconds_by_step, over) if str(state) in s]
    return max(took, default=None)


def _training(look: Look) -> list[Sign]:
    view = training_view(look)
    if view.standing != "silent" or view.silent_s is None:
        return []
    return [
        Sign(
            words=f"the worker that trains round {view.round_number} has been silent for "
            f"{told_age(view.silent_s)}, at step {view.step} of {view.steps}",
            page=f"/rounds/{view.round_number}",
            remedy="look at its log; started again it goes on from its checkpoint",
        )
    ]


def _rounds(rounds: Sequence[Round]) -> list[Sign]:
    over = [round_ for round_ in rounds[-_IN_A_ROW - 1 :] if round_.is_over]
    if not over:
        return []
    last = over[-1]
    found = []
    if last.state is RoundState.FAILED:
        why = last.failure or "no reason was recorded"
        found.append(
            Sign(words=f"round {last.number} failed: {why}", page=f"/rounds/{last.number}")
        )
    fruitless = [round_.state is not RoundState.RELEASED for round_ in over[-_IN_A_ROW:]]
    if len(fruitless) == _IN_A_ROW and all(fruitless):
        found.append(
            Sign(
                words=f"the last {_IN_A_ROW} rounds brought no model to the edge",
                page="/rounds",
                remedy="read why: what refuses again and again is seldom the pictures",
            )
        )
    return found


def _rollout(look: Look) -> list[Sign]:
    rollout = look.rollout
    if rollout is None or rollout["state"] not in {"halting", "halted"}:
        return []
    halted = rollout["entered"].get(rollout["state"])
    if halted and look.at - datetime.fromisoformat(halted) > RECENT:
        return []
    why = "; ".join(rollout["reasons"][:2]) or "no reason was recorded"
    words = f"the roll-out of release {rollout['number']} was halted: {why}"
    return [Sign(words=words, page="/releases")]


def _inbox(look: Look) -> list[Sign]:
    fresh = [one for one in look.queues.refused if look.at - one.refused_at < RECENT]
    found = []
    if fresh:
        many = f"{len(fresh)} deliveries were" if len(fresh) > 1 else "1 delivery was"
        found.append(
            Sign(
                words=f"{many} refused within a day, last of {fresh[0].edge_id}: {fresh[0].reason}",
                page="/queues#inbox",
                is_grave=False,
            )
        )
    is_collecting = bool(look.rounds) and look.rounds[-1].state is RoundState.COLLECTING
    oldest = look.inbox.oldest_at
    if is_collecting and oldest is not None and (look.at - oldest).total_seconds() > FLOOR_S:
        waited = told_age((look.at - oldest).total_seconds())
        found.append(
            Sign(
                words=f"deliveries have waited in the inbox for {waited}, nobody admits them",
                page="/queues#inbox",
                remedy="is a service running that holds the lease?",
            )
        )
    return found
