"""How the training that runs now is doing: from what its worker really wrote, or why nothing is.

A worker that died leaves its last word behind. What is older than `SILENT_AFTER_S` is said to be
old, and no rest is estimated from it.
"""

import math
from dataclasses import dataclass
from typing import Literal

from cloud.monitor.look import Look, TrainingProgress
from lifelong.records.ids import RoundNumber
from lifelong.records.rounds import RoundState

SILENT_AFTER_S = 60.0  # a worker writes once a second, or after each step that takes longer

Standing = Literal["none", "waits", "runs", "silent", "done"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingView:
    """What a page shows of the training."""

    standing: Standing
    words: str
    round_number: RoundNumber | None = None
    step: int = 0
    steps: int = 0  # 0: not known
    loss: float | None = None
    steps_a_second: float | None = None
    rest_s: float | None = None  # at the present speed
    ran_s: float | None = None  # since its worker began, or began again
    silent_s: float | None = None  # since its last word
    losses: tuple[tuple[int, float], ...] = ()  # step, loss; oldest first


def training_view(look: Look) -> TrainingView:
    """How training stands at this look."""
    open_ = next((r for r in reversed(look.rounds) if r.state is RoundState.TRAINING), None)
    told = look.training
    if open_ is None:
        return TrainingView(standing="none", words="No training runs: no round waits for one.")
    if told is None or told.round_number != open_.number or told.steps < 1:
        return TrainingView(
            standing="waits",
            words=f"Round {open_.number} waits for a worker to begin its training.",
            round_number=open_.number,
        )
    return _of(told, max(0.0, (look.at - told.written_at).total_seconds()))


def _of(told: TrainingProgress, silent_s: float) -> TrainingView:
    is_done = told.step >= told.steps
    is_silent = silent_s > SILENT_AFTER_S
    speed = steps_a_second(told)
    number = told.round_number
    standing: Standing = "done" if is_done else "silent" if is_silent else "runs"
    words = {
        "done": f"Round {number}: all steps are done; the candidate is being packed and recorded.",
        "silent": f"Round {number}: no news from its worker for {silent_s:.0f} s. It may be dead: "
        "look at the job's log; when it starts again it goes on from its checkpoint.",
        "runs": f"Round {number} is being trained.",
    }[standing]
    return TrainingView(
        standing=standing,
        words=words,
        round_number=number,
        step=min(told.step, told.steps),
        steps=told.steps,
        loss=told.loss if math.isfinite(told.loss) else None,
        steps_a_second=speed if standing == "runs" else None,
        rest_s=(told.steps - told.step) / speed if standing == "runs" and speed else None,
        ran_s=told.history[-1][1] if told.history else None,
        silent_s=silent_s,
        losses=tuple((step, loss) for step, _, loss in told.history if math.isfinite(loss)),
    )


def steps_a_second(told: TrainingProgress) -> float | None:
    """Speed over the newer half of what was seen; None before two steps were."""
    seen = told.history[len(told.history) // 2 - 1 :] if len(told.history) > 3 else told.history
    if len(seen) < 2:
        return None
    (first, began, _), (last, ended, _) = seen[0], seen[-1]
    return (last - first) / (ended - began) if ended > began and last > first else None
