"""An open round after a restore: its tasks may be gone from Label Studio, with people's work.

A restore leaves a note, and beside it what the backup knows of people's annotations. The service
then offers the round's drafts again before it looks at the tasks; those that Label Studio still
has stay as they are. Without the note, a task that is gone is one that somebody deleted.
In storage:

    lost_work/{round}/round.json      the note; written last, removed last
    lost_work/{round}/{sample}.json   a task with its annotations, as Label Studio exported it
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from annotation.studio_tasks import StudioTask, studio_task
from annotation.task_fields import ROUND, SAMPLE
from annotation.work_put_back import WorkStudio, put_back
from cloud.loop import Annotators
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage
from lifelong.records.ids import RoundNumber, SampleId
from lifelong.records.rounds import Round, RoundState
from lifelong.records.wire import dumps, json_object, to_json

logger = logging.getLogger(__name__)

ROOM = "lost_work"


@dataclass(frozen=True, slots=True, kw_only=True)
class LostRound:
    """The note of a restore about the round that was open."""

    round_number: RoundNumber
    backup_id: str


def note_lost_work(
    storage: Storage, round_: Round, backup_id: str, tasks: Iterable[Mapping[str, object]]
) -> int:
    """Let the next service look whether the tasks of an open round are still there.

    Args:
        tasks: annotated tasks as Label Studio exports them, of any project and round.

    Returns:
        Of how many of the round's tasks there is work; nothing is noted where people are not at
        work.
    """
    if round_.state is not RoundState.ANNOTATING:
        return 0
    samples = {str(task.sample_id) for task in round_.tasks if not task.asks_nobody}
    found: dict[str, Mapping[str, object]] = {}
    for body in tasks:
        data = body.get("data")
        if isinstance(data, Mapping) and str(data.get(ROUND)) == str(round_.number):
            sample = str(data.get(SAMPLE))
            if sample in samples:
                found[sample] = body
    for sample, body in found.items():
        storage.put(f"{_folder(round_.number)}/{sample}.json", dumps(dict(body)))
    note = LostRound(round_number=round_.number, backup_id=backup_id)
    storage.put(_note(round_.number), to_json(note))
    return len(found)


class LostWork:
    """Offers an open round again, once after each restore."""

    def __init__(
        self,
        storage: Storage,
        annotators: Annotators,
        studio: Callable[[], WorkStudio],
        journal: Journal,
    ) -> None:
        """Args: `studio` opens Label Studio; called only when there is work to bring back."""
        self._storage = storage
        self._annotators = annotators
        self._studio = studio
        self._journal = journal

    def offer_again(self, round_: Round) -> Round:
        """The round with the tasks that it has now; the same object when nothing has changed.

        The caller saves it and asks again: people's work comes back into tasks that a record
        names, and only then the note goes. Cut off at any point, the next call goes on.

        Raises:
            LabelStudioUnavailableError, StorageUnavailableError: the other side is away.
        """
        if not self._storage.exists(_note(round_.number)):
            return round_
        tasks = tuple(self._annotators.push(round_.drafts))
        if tasks != round_.tasks:
            logger.warning("round %d: its tasks are offered again", round_.number)
            return replace(round_, tasks=tasks)
        kept = self._kept(round_.number)
        back = put_back(self._studio(), tasks, kept) if kept else 0
        self._journal.event("round.offered_again", round=round_.number, annotations_put_back=back)
        self._forget(round_.number)
        return round_

    def _kept(self, number: RoundNumber) -> dict[SampleId, StudioTask]:
        kept = {}
        for key in self._storage.keys(_folder(number)):
            if key != _note(number):
                task = studio_task(json_object(self._storage.get(key), key), _nobody_knows)
                kept[SampleId(str(task.data.get(SAMPLE)))] = task
        return kept

    def _forget(self, number: RoundNumber) -> None:
        keys = [key for key in self._storage.keys(_folder(number)) if key != _note(number)]
        for key in (*keys, _note(number)):
            self._storage.delete(key)


def _folder(number: RoundNumber) -> str:
    return f"{ROOM}/{number:06d}"


def _note(number: RoundNumber) -> str:
    return f"{_folder(number)}/round.json"


def _nobody_knows(user_id: int) -> str:
    """A backup of an older version names people by the numbers of a server that is gone."""
    return f"user {user_id}"
