"""Faults of the real Sedna that the local job commits when it is asked to, each in one line.

Seen on a running control plane, or read in its sources. A fault happens in the rounds that its
plan names, counted by the job itself, once in each; a job that was killed does not repeat it.
"""

import random
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from lifelong.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens; `every` is the period when none is asked for."""

    told: str
    every: int = 2


FAULTS: Mapping[str, Fault] = {
    "lost-report": Fault(
        "the train report is overwritten when the pod ends: Train is completed without data"
    ),
    "early-report": Fault(
        "the train report comes before GM writes Running, and is overwritten by that"
    ),
    "report-dropped": Fault(
        "the worker's local controller does not know the job yet: 200 OK, and the report is gone"
    ),
    "early-exit": Fault(
        "the pod's end is seen before the report: Completed without data, the report too late"
    ),
    "stuck-eval": Fault(
        "Train is completed without data and the local controller gives up: Eval waits for ever"
    ),
    "late-report": Fault("the train report comes when the job waits for the next round, a rewind"),
    "duplicate-report": Fault("the train report comes again after Deploy, and takes the job back"),
    "old-model-deployed": Fault(
        "the eval report is lost: Deploy takes the newest one it knows, of an earlier round"
    ),
    "lc-restart": Fault(
        "the local controller forgets: round 1 again, all lines again, its folders written over"
    ),
    "lc-restart-eval": Fault(
        "the local controller is restarted in Eval/Waiting: eval/0 with an empty list"
    ),
    "swallowed-lines": Fault(
        "Train/Ready is overwritten: the lines are counted and never offered again"
    ),
    "failed-loses-samples": Fault(
        "the train pod is evicted: Train/Failed, and its lines are never offered again"
    ),
    "failed-eval": Fault("the eval pod is evicted: Eval/Failed, the trained model is passed over"),
    "pod-deleted": Fault("the train pod is deleted: nobody notices, Running for ever"),
    "attached-to-old-pod": Fault(
        "a pod of the round before lingers: no new one is made, Completed without data"
    ),
    "worker-killed": Fault("the train worker is killed by SIGKILL and started again in place"),
    "double-start": Fault("two train pods of one round, with one output folder; both report"),
    "untruncated-deploy": Fault(
        "the deployed file is written over, not truncated: a shorter model keeps the old tail"
    ),
    "two-inference-pods": Fault("two inference pods at once for a moment; needs --edge"),
    "repeated-eval-lines": Fault("eval lines are appended again whenever lines arrive", every=1),
    "floor-split": Fault("int(trainProb · n) may be 0: a trickle of lines never trains", every=1),
    "long-line": Fault("a line of 64 KiB ends the index, without a word", every=1),
    "answers-200": Fault(
        "reports that cannot be used are answered 200 and dropped, as Sedna does", every=1
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFault:
    """What becomes of a report, and of the stage it was for."""

    stage: str
    keeps_data: bool = False
    held_until: str = ""  # when the report comes, or comes again; empty: never
    marks_eval: bool = False


REPORT_FAULTS: Mapping[str, ReportFault] = {
    "lost-report": ReportFault(stage="Train"),
    "early-report": ReportFault(stage="Train"),
    "report-dropped": ReportFault(stage="Train"),
    "early-exit": ReportFault(stage="Train", held_until="marked"),
    "stuck-eval": ReportFault(stage="Train", marks_eval=True),
    "late-report": ReportFault(stage="Train", held_until="Train/Waiting"),
    "duplicate-report": ReportFault(stage="Train", keeps_data=True, held_until="Deploy/Completed"),
    "old-model-deployed": ReportFault(stage="Eval"),
}

_WORD = re.compile(r"(?P<name>[a-z0-9-]+)(?:@(?P<round>\d+)|/(?P<every>\d+))?")


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """Which faults happen in which rounds: in round `at`, or every so many rounds."""

    at: Mapping[str, int]
    every: Mapping[str, tuple[int, int]]  # period, and the round within it

    @classmethod
    def none(cls) -> Self:
        """No fault."""
        return cls({}, {})

    @classmethod
    def parse(cls, text: str, seed: int = 0) -> Self:
        """`lost-report`, `lost-report@3` (round 3), `lost-report/4` (every fourth), `all`.

        `all`: one fault a round, in an order that the seed shuffles; those of every round too.

        Raises:
            ConfigError: no such fault; names those that exist.
        """
        at: dict[str, int] = {}
        every: dict[str, tuple[int, int]] = {}
        for word in filter(None, (part.strip() for part in text.split(","))):
            if word == "all":
                every |= _one_after_the_other(seed)
                continue
            found = _WORD.fullmatch(word)
            if found is None or found["name"] not in FAULTS:
                known = ", ".join(FAULTS)
                raise ConfigError(f"--faults {word!r}: no such fault; all, or one of {known}")
            name = found["name"]
            if found["round"]:
                at[name] = int(found["round"])
                continue
            period = max(1, int(found["every"] or FAULTS[name].every))
            every[name] = (period, zlib.crc32(f"{seed}:{name}".encode()) % period if seed else 0)
        return cls(at, every)

    def strikes(self, name: str, round_number: int) -> bool:
        """Does this fault happen in this round?"""
        if self.at.get(name) == round_number:
            return True
        period, phase = self.every.get(name, (0, 0))
        return period > 0 and round_number % period == phase


def _one_after_the_other(seed: int) -> dict[str, tuple[int, int]]:
    single = [name for name, fault in FAULTS.items() if fault.every > 1]
    random.Random(seed).shuffle(single)
    constant = [name for name, fault in FAULTS.items() if fault.every == 1]
    # The floored cut would let small rounds train on nothing; it has its own test.
    constant.remove("floor-split")
    turns = {name: (len(single), (turn + 1) % len(single)) for turn, name in enumerate(single)}
    return turns | {name: (1, 0) for name in constant}
