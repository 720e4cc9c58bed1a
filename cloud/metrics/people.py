"""What people do with drafts, as metrics; nobody's name is among the labels.

Records of samples can be forgotten, so the sums over them may fall. What is told as a counter
here is therefore what was added since this process began to look, which only rises.
"""

import threading
from collections.abc import Iterator

from prometheus_client.core import Metric

from cloud.metrics.catalogue import PEOPLE, Families
from cloud.monitor.look import Look
from lifelong.records.ids import RoundNumber
from lifelong.records.rounds import Round, RoundState

_DRAFTS = ("shown", "withheld")  # label `draft`: did people begin with the draft?
_Sums = tuple[float, float, float, float]  # annotations and seconds, for each of `_DRAFTS`


class People:
    """Sums up rounds; a round that is over is summed up once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[RoundNumber, tuple[Round, _Sums]] = {}
        self._last: _Sums | None = None
        self._risen: _Sums = (0.0, 0.0, 0.0, 0.0)

    def metrics(self, look: Look) -> Iterator[Metric]:
        """Everything that tasks and annotations tell."""
        families = Families(PEOPLE)
        _put_tasks(families, look)
        _put_drafts(families, look)
        risen = self._counted(look)
        for index, draft in enumerate(_DRAFTS):
            families.put("annotations_total", risen[2 * index], draft)
            families.put("annotation_seconds_total", risen[2 * index + 1], draft)
        return iter(families)

    def _counted(self, look: Look) -> _Sums:
        with self._lock:
            for round_ in look.rounds:
                known = self._known.get(round_.number)
                if known is None or known[0] is not round_:
                    self._known[round_.number] = (round_, _sums(round_))
            now = _added([sums for _, sums in self._known.values()])
            if self._last is not None:
                rises = [max(new - old, 0.0) for new, old in zip(now, self._last, strict=True)]
                a, b, c, d = (sum(pair) for pair in zip(self._risen, rises, strict=True))
                self._risen = (a, b, c, d)
            self._last = now
            return self._risen


def _sums(round_: Round) -> _Sums:
    found = [0.0, 0.0, 0.0, 0.0]
    for annotation in round_.annotations:
        for cost in annotation.costs:
            place = 0 if cost.with_draft else 2
            found[place] += 1.0
            found[place + 1] += cost.seconds or 0.0
    a, b, c, d = found
    return (a, b, c, d)


def _added(sums: list[_Sums]) -> _Sums:
    if not sums:
        return (0.0, 0.0, 0.0, 0.0)
    a, b, c, d = (sum(column) for column in zip(*sums, strict=True))
    return (a, b, c, d)


def _put_tasks(families: Families, look: Look) -> None:
    """Of the round that people are at; none are open while no round is."""
    newest = look.rounds[-1] if look.rounds else None
    is_open = newest is not None and newest.state is RoundState.ANNOTATING
    asked = (
        {t.sample_id for t in newest.tasks if not t.asks_nobody} if newest and is_open else set()
    )
    done = {a.sample_id for a in newest.annotations} & asked if newest else set()
    skipped = {s.sample_id for s in newest.skips} & asked if newest else set()
    families.put("annotation_tasks", len(asked - done - skipped), "open")
    families.put("annotation_tasks", len(done), "done")
    families.put("annotation_tasks", len(skipped - done), "skipped")


def _put_drafts(families: Families, look: Look) -> None:
    """Of the newest round that has annotations of drafts; unknown before there is one."""
    for round_ in reversed(look.rounds):
        sizes = {draft.sample_id: draft.height * draft.width for draft in round_.drafts}
        blank = {task.sample_id for task in round_.tasks if task.is_blank or task.asks_nobody}
        found = [a for a in round_.annotations if a.sample_id in sizes.keys() - blank]
        pixels = sum(sizes[annotation.sample_id] for annotation in found)
        if pixels:
            changed = sum(annotation.changed_pixels for annotation in found)
            families.put("annotation_edit_ratio", changed / pixels)
            agreement = sum(annotation.agreement for annotation in found) / len(found)
            families.put("annotation_draft_agreement", agreement)
            return
