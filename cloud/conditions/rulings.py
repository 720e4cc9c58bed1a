"""What becomes of proposed conditions and of learning tasks: naming, dismissing, merging.

Each is one more record in the knowledge base; nothing that was written changes. Samples, hold-outs
and everything counted from them follow at once, because names are resolved where samples are read.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from cloud.conditions.names import checked_name
from lifelong.errors import ConditionError
from lifelong.knowledge_base import KnowledgeBase
from lifelong.learning_tasks import GENERAL
from lifelong.records.conditions import Condition, ConditionRuling, TaskMerge, Verdict
from lifelong.records.ids import SampleId
from lifelong.records.samples import Split

Now = Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far a condition has come, counted from records."""

    condition: Condition
    state: str  # proposed, named, annotated, trained, known, merged or dismissed
    task: str  # today's name of its learning task; "" while it has none
    train: int  # samples of that task that teach
    held_out: int  # and that examine
    versions: tuple[str, ...]  # that were trained on some of them


def standing(kb: KnowledgeBase, condition: Condition, known_tasks: Sequence[str]) -> Standing:
    """The state of one condition.

    Args:
        known_tasks: what the deployed model brings prototypes of.
    """
    ruling = ruling_on(kb, condition.condition_id)
    task = name_of(kb, condition.condition_id)
    samples = [s for s in kb.samples.values() if task and s.learning_task == task]
    taught = {s.sample_id for s in samples if s.split is Split.TRAIN}
    versions = [key for key, v in kb.versions.items() if taught.intersection(v.trained_on)]
    if ruling is None:
        state = "proposed"
    elif ruling.verdict is Verdict.DISMISSED:
        state = "dismissed"
    elif task != ruling.name:
        state = "merged"
    elif task in known_tasks:
        state = "known"
    else:
        state = "trained" if versions else "annotated" if samples else "named"
    return Standing(
        condition=condition,
        state=state,
        task=task,
        train=len(taught),
        held_out=len(samples) - len(taught),
        versions=tuple(versions),
    )


def ruling_on(kb: KnowledgeBase, condition_id: str) -> ConditionRuling | None:
    """What was last decided of a condition."""
    found = [r for r in kb.of(ConditionRuling).values() if r.condition_id == condition_id]
    return max(found, key=lambda ruling: ruling.number, default=None)


def name_of(kb: KnowledgeBase, condition_id: str) -> str:
    """Today's name of a condition's learning task; "" while it has none."""
    ruling = ruling_on(kb, condition_id)
    if ruling is None or ruling.verdict is not Verdict.NAMED:
        return ""
    return kb.task_names.now(ruling.name)


def count_proposed(kb: KnowledgeBase) -> int:
    """Conditions that wait for a decision."""
    ruled = {ruling.condition_id for ruling in kb.of(ConditionRuling).values()}
    return sum(key not in ruled for key in kb.of(Condition))


def name_condition(
    kb: KnowledgeBase,
    condition_id: str,
    name: str,
    pictures: Sequence[SampleId],
    by: str,
    now: Now,
) -> ConditionRuling:
    """Make a condition a learning task, a new one or one that there is.

    Args:
        pictures: what shows it; those that became samples of no task follow.

    Raises:
        ConditionError: no such condition, not a name, or it has one already.
    """
    wanted = checked_name(name)
    if not wanted:
        raise ConditionError(
            f"{name!r}: not the name of a learning task; use letters and digits, and another "
            f"word than {GENERAL!r}"
        )
    return _ruled(kb, condition_id, Verdict.NAMED, kb.task_names.now(wanted), pictures, by, now)


def dismiss_condition(kb: KnowledgeBase, condition_id: str, by: str, now: Now) -> ConditionRuling:
    """Decide that a condition is none; what resembles it is not proposed again.

    Raises:
        ConditionError: no such condition, or it has a name by now.
    """
    return _ruled(kb, condition_id, Verdict.DISMISSED, "", (), by, now)


def merge_tasks(
    kb: KnowledgeBase,
    tasks: Sequence[str],
    into: str,
    *,
    known: Sequence[str],
    by: str,
    now: Now,
    why: str = "",
    figures: Mapping[str, float] | None = None,
) -> TaskMerge:
    """Make learning tasks one; with a single task this gives it another name.

    Args:
        tasks: names of learning tasks, or ids of named conditions.
        known: tasks of the deployed model, which may have no sample in the knowledge base.

    Raises:
        ConditionError: no such task, nothing to merge, or `general`, which is what fits no task.
    """
    kb.refresh()
    there = {*known, *(s.learning_task for s in kb.samples.values())}
    there |= {name_of(kb, key) for key in kb.of(Condition)} - {""}
    wanted = checked_name(into)
    sources = tuple(dict.fromkeys(_task(kb, one, there) for one in tasks))
    if not wanted or GENERAL in sources:
        raise ConditionError(
            f"merge {', '.join(tasks)} --into {into}: {GENERAL!r} is what fits no learning task, "
            "and can be no part of a merge; name others"
        )
    merged = tuple(task for task in sources if task != wanted)
    if not merged:
        raise ConditionError(f"merge {', '.join(tasks)} --into {into}: that is one task already")
    merge = TaskMerge(
        number=len(kb.of(TaskMerge)) + 1,
        tasks=merged,
        into=wanted,
        by=by,
        at=now(),
        why=why,
        figures=dict(figures or {}),
    )
    kb.add([merge], why=f"learning tasks {', '.join(merged)} are {wanted} from now on")
    return merge


def condition_called(kb: KnowledgeBase, text: str) -> Condition:
    """The condition with this id, the beginning of one, or a provisional name.

    Raises:
        ConditionError: none, or several.
    """
    found = [c for c in kb.of(Condition).values() if text in (c.condition_id, c.name)]
    found = found or [c for key, c in kb.of(Condition).items() if key.startswith(text)]
    if len(found) != 1:
        ids = ", ".join(kb.of(Condition)) or "none"
        raise ConditionError(
            f"condition {text!r}: {len(found)} fit; there are {ids} (`cornerloop conditions list`)"
        )
    return found[0]


def _ruled(
    kb: KnowledgeBase,
    condition_id: str,
    verdict: Verdict,
    name: str,
    pictures: Sequence[SampleId],
    by: str,
    now: Now,
) -> ConditionRuling:
    kb.refresh()
    if condition_id not in kb.of(Condition):
        raise ConditionError(f"condition {condition_id!r}: unknown; `cornerloop conditions list`")
    before = ruling_on(kb, condition_id)
    if before is not None and before.verdict is Verdict.NAMED:
        raise ConditionError(
            f"condition {condition_id} is called {name_of(kb, condition_id)!r} already; "
            f"`cornerloop conditions merge {name_of(kb, condition_id)} --into NAME` renames it"
        )
    ruling = ConditionRuling(
        condition_id=condition_id,
        number=before.number + 1 if before is not None else 1,
        verdict=verdict,
        name=name,
        pictures=tuple(pictures),
        by=by,
        at=now(),
    )
    kb.add([ruling], why=f"condition {condition_id}: {verdict} {name}".rstrip())
    return ruling


def _task(kb: KnowledgeBase, text: str, there: set[str]) -> str:
    """Today's name of the task that somebody means."""
    if text in kb.of(Condition):
        name = name_of(kb, text)
        if not name:
            raise ConditionError(f"condition {text} has no name yet; name it first")
        return name
    task = kb.task_names.now(checked_name(text) or GENERAL)
    if task not in there and task != GENERAL:
        raise ConditionError(f"no learning task {text!r}; there are {', '.join(sorted(there))}")
    return task
