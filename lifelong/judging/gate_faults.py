"""Faults that a refused candidate's figures give away: it guesses, says one thing, swaps names."""

from collections.abc import Iterator, Mapping

from lifelong.records.model_versions import EvaluationReport, TaskResult


def chance_miou(classes: int) -> float:
    """mIoU of guessing among C equally common classes: 1/(2C - 1).

    A share 1/C² of the pixels is a hit, 2/C - 1/C² the union of a class and its guesses.

    >>> round(chance_miou(2), 4)
    0.3333
    """
    return 1.0 / (2 * classes - 1)


def faults(candidate: EvaluationReport, incumbent: EvaluationReport | None) -> Iterator[str]:
    """Why a candidate may be as bad as it is, one line a learning task.

    These explain a refusal and never cause one: a rare class taken for another one is no fault.
    What the incumbent does as well is not the candidate's fault.
    """
    for task, result in candidate.tasks.items():
        before = incumbent.tasks.get(task) if incumbent is not None else None
        for told in (_constant, _exchanged, _guessing):
            fault = told(result)
            if fault and not (before is not None and told(before)):
                yield f"{task}: {fault}"
                break


def _constant(result: TaskResult) -> str:
    answers = set(result.taken_for.values())
    others = set(result.iou) - answers
    if len(answers) != 1 or not others or not others <= set(result.taken_for):
        return ""
    return f"answers {next(iter(answers))!r} nearly everywhere, whatever the picture shows"


def _exchanged(result: TaskResult) -> str:
    """Two classes or more whose names form a ring: one is called another, and that one …"""
    rings = _rings(result.taken_for)
    if not rings:
        return ""
    told = ", ".join(f"{name} is answered as {result.taken_for[name]}" for name in rings)
    return f"class names are exchanged ({told}): its label map has another order than its answers"


def _rings(taken_for: Mapping[str, str]) -> list[str]:
    """Names from which following the mistakes leads back to the start."""
    found = []
    for start in sorted(taken_for):
        name, steps = taken_for[start], 1
        while name != start and name in taken_for and steps <= len(taken_for):
            name, steps = taken_for[name], steps + 1
        if name == start:
            found.append(start)
    return found


def _guessing(result: TaskResult) -> str:
    if len(result.iou) < 2 or result.miou > chance_miou(len(result.iou)):
        return ""
    return f"mIoU {100 * result.miou:.1f} is no better than guessing"
