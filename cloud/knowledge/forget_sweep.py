"""Everything of forgotten samples out of rounds, the Dataset's folder and storage.

Whatever lies under a key that names a sample goes, in every room of storage but those that are
kept in other ways, so that a room which somebody adds later is swept as well. Each step may be
repeated; one that finds nothing changes nothing.
"""

import logging
from collections.abc import Collection, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from cloud.job.dataset_index import DatasetFiles, open_dataset, rewrite_index
from cloud.job.training_turn import ROOM as TRAINING_LEASE
from cloud.knowledge.forget_records import is_of_one_sample, rewrite, without_items
from cloud.rounds import ROUNDS, Rounds
from lifelong.errors import ObjectNotFoundError, RecordError
from lifelong.links.storage import Storage
from lifelong.links.unfinished_writes import sweep_unfinished
from lifelong.records.escalations import QUESTION, Question
from lifelong.records.ids import SampleId, sample_id_of
from lifelong.records.keys import (
    ADMISSIONS,
    CHUNKS,
    EDGES,
    ESCALATIONS,
    FORGETTING,
    FORGOTTEN,
    INBOX,
    RECEIPTS,
    REFUSED,
    ROLLOUTS,
)
from lifelong.records.label_map import IGNORE_INDEX
from lifelong.records.pixels import jpeg_from_image, png_from_mask
from lifelong.records.rounds import Round, RoundState
from lifelong.records.wire import from_json

logger = logging.getLogger(__name__)

# Rooms whose objects are about models and nodes, or are rewritten record by record.
_KEPT = frozenset(
    {ADMISSIONS, CHUNKS, EDGES, FORGETTING, FORGOTTEN, ROLLOUTS, ROUNDS}
    | {"kb", "keys", "lease", "models", "releases", TRAINING_LEASE}
)
_OF_DEVICES = frozenset({INBOX, RECEIPTS, REFUSED, ESCALATIONS})
_PICTURES = "pictures"  # data sets that were pushed: named by people, known by their bytes
_UNDER_WAY = {RoundState.PREANNOTATING, RoundState.ANNOTATING, RoundState.TRAINING}
NOTHING = "images/forgotten.jpg masks/forgotten.png"  # a line of the index that teaches nothing


def sweep_rounds(rounds: Rounds, samples: Collection[SampleId]) -> int:
    """Take samples out of every round; returns how many rounds had some."""
    changed = 0
    for round_ in rounds.all():
        left = without_samples(round_, samples)
        if left != round_:
            rounds.save(left)
            changed += 1
    return changed


def without_samples(round_: Round, samples: Collection[SampleId]) -> Round:
    """A round without some samples; one under way that has none left has failed."""
    gone = frozenset(samples)
    left = replace(
        round_,
        examples=tuple(e for e in round_.examples if e.sample_id not in gone),
        drafts=tuple(d for d in round_.drafts if d.sample_id not in gone),
        tasks=tuple(t for t in round_.tasks if t.sample_id not in gone),
        annotations=tuple(a for a in round_.annotations if a.sample_id not in gone),
        skips=tuple(s for s in round_.skips if s.sample_id not in gone),
    )
    if left == round_ or round_.state not in _UNDER_WAY:
        return left
    if round_.state is RoundState.TRAINING:
        # With a candidate it is past that; without samples nobody would ever train one.
        nothing_left = not left.annotations
    else:
        nothing_left = not (left.tasks if round_.state is RoundState.ANNOTATING else left.examples)
    if nothing_left:
        return left.next(RoundState.FAILED, failure="all its samples were forgotten on request")
    return left


def sweep_dataset(place: Path | str, index: str, samples: Collection[SampleId]) -> int:
    """Remove pictures and masks from the Dataset's folder or bucket; returns how many files went.

    Their lines in the index stay, as lines about a grey pixel whose class nobody knows: Sedna
    counts lines, and would take later ones for old when some were missing.

    Raises:
        OSError: the folder cannot be changed.
        StorageError: the bucket cannot be changed.
    """
    files = open_dataset(place)
    names = {f"images/{sample_id}.jpg" for sample_id in samples}

    def blotted(text: str) -> str:
        lines = text.split("\n")
        left = [NOTHING if line.split(" ")[0] in names else line for line in lines]
        if left != lines:
            _put_nothing(files)
        return "\n".join(left)

    rewrite_index(files, index, blotted)
    return sum(
        files.remove(name)
        for sample_id in samples
        for name in (f"images/{sample_id}.jpg", f"masks/{sample_id}.png")
    )


def sweep_storage(storage: Storage, samples: Collection[SampleId], edge: str = "") -> int:
    """Remove every object that is about these samples, and all that a device has on its way.

    Objects about many samples lose what they say of these.

    Args:
        edge: also everything that this device has delivered, asked, or was answered.

    Returns:
        How many objects went, or were cut.
    """
    gone = frozenset(samples)
    of_edge = tuple(f"{room}/{edge}/" for room in _OF_DEVICES) if edge else ()
    # Killed writers leave files that no listing tells of, and these hold pictures as well.
    sweep_unfinished(storage, is_dead=lambda key: _names(key, gone) or key.startswith(of_edge))
    removed = 0
    for room in storage.rooms():
        if room in _KEPT:
            continue
        keys = [key for key in storage.keys(room) if _names(key, gone)]
        if edge and room in _OF_DEVICES:
            keys += storage.keys(f"{room}/{edge}")
        if room == ESCALATIONS:
            keys += _questions(storage, gone)
        if room == _PICTURES:
            keys += [k for k in storage.keys(room) if sample_id_of(storage.get(k)) in gone]
        for key in sorted(set(keys), key=_records_first):
            storage.delete(key)
            removed += 1
        for key in storage.keys(room):
            if key.endswith(".json") and not is_of_one_sample(key):
                removed += rewrite(storage, key, partial(without_items, samples=gone))
    return removed


def _names(key: str, samples: frozenset[SampleId]) -> bool:
    return any(part.split(".", 1)[0] in samples for part in key.split("/"))


def _records_first(key: str) -> tuple[bool, str]:
    # A delivery without its record is an unfinished upload, which nobody begins to admit.
    return (not key.endswith(".json"), key)


def _questions(storage: Storage, samples: frozenset[SampleId]) -> Iterable[str]:
    """Questions of nodes about these pictures, and their answers."""
    found: list[str] = []
    for key in storage.keys(ESCALATIONS):
        if key.endswith(f"/{QUESTION}"):
            try:
                question = from_json(Question, storage.get(key), key)
            except (ObjectNotFoundError, RecordError):
                continue  # its node has taken it away, or nobody can read what it is about
            if question.image_sha256[:16] in samples:
                found += storage.keys(key.rsplit("/", 1)[0])
    return found


def _put_nothing(files: DatasetFiles) -> None:
    image, mask = NOTHING.split(" ")
    grey = np.full((1, 1, 3), 128, dtype=np.uint8)
    unknown = np.full((1, 1), IGNORE_INDEX, dtype=np.uint8)
    for name, data in ((image, jpeg_from_image(grey)), (mask, png_from_mask(unknown))):
        files.put(name, data)
