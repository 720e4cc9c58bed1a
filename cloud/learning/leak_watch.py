"""Keeps pictures that examine apart from those that train, in storage and in hold-out folders."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lifelong.errors import ObjectNotFoundError, RecordError
from lifelong.evaluation import filled, read_holdouts
from lifelong.knowledge_base import KnowledgeBase
from lifelong.labels.folders import IMAGE_SUFFIXES
from lifelong.leakage import Fingerprint, Leak, find_leaks, fingerprint
from lifelong.links.storage import Storage
from lifelong.records.ids import VersionId
from lifelong.records.pixels import image_from_bytes
from lifelong.records.samples import Sample, Split

logger = logging.getLogger(__name__)

MOST_TOLD = 5  # pairs named in one reason


@dataclass(frozen=True, slots=True)
class Settled:
    """Samples with the split that leaks nothing, and what was changed, in words."""

    samples: list[Sample]
    told: tuple[str, ...]


class LeakWatch:
    """Compares pictures across splits; a picture is read once in a process's life."""

    def __init__(self, storage: Storage, kb: KnowledgeBase, holdouts: Path | None) -> None:
        """`holdouts`: the folder of fixed hold-outs, if there is one."""
        self._storage = storage
        self._kb = kb
        self._folder = holdouts
        self._known: dict[str, Fingerprint] = {}  # by sample id or path

    def settle(self, samples: Sequence[Sample]) -> Settled:
        """New samples such that none trains that a hold-out holds as well.

        A sample that was to examine, but is like one that trains already, trains. A sample that
        was to train, but is like a picture of a hold-out, never trains: it is put aside with
        those that examine.
        """
        known = self._kb.samples
        new = {s.sample_id: s for s in samples if s.sample_id not in known}
        old = [s for s in known.values() if s.split is Split.TRAIN]
        told: list[str] = []
        changed: dict[str, Split] = {}
        examine = self._examining(new.values())
        if examine:
            for leak in find_leaks(self._of(examine), self._of(old)):
                changed[leak.train] = Split.TRAIN
                told.append(f"{leak}, which trains already: it trains, too")
        train = [s for s in new.values() if changed.get(s.sample_id, s.split) is Split.TRAIN]
        aside = [s for s in examine if s.sample_id not in changed]
        held = [*self._examining(known.values()), *aside]
        if train:
            for leak in find_leaks(self._of(train), {**self._fixed(), **self._of(held)}):
                changed[leak.train] = Split.EVAL
                told.append(f"{leak}, of a hold-out: it never trains")
        settled = [replace(s, split=changed.get(s.sample_id, s.split)) for s in samples]
        return Settled(settled, tuple(told))

    def leaks_of(self, version_id: VersionId) -> list[Leak]:
        """What a model was trained on, replayed pictures included, and is examined on as well."""
        version = self._kb.versions.get(version_id)
        if version is None:
            return []
        known = self._kb.samples
        seen = [known[key] for key in (*version.trained_on, *version.replayed) if key in known]
        held = self._examining(known.values())
        return find_leaks(self._of(seen), {**self._fixed(), **self._of(held)})

    def everything(self) -> tuple[tuple[int, int], list[Leak]]:
        """How many pictures train and how many examine, and what leaks between them."""
        known = self._kb.samples.values()
        train = self._of(s for s in known if s.split is Split.TRAIN)
        held = {**self._fixed(), **self._of(self._examining(known))}
        return (len(train), len(held)), find_leaks(train, held)

    def _examining(self, samples: Iterable[Sample]) -> list[Sample]:
        """Those that examine; where a folder holds a task's hold-out, no sample does."""
        folder = filled(self._folder)
        fixed = read_holdouts(folder) if folder is not None else {}
        written = self._kb.of(Sample)  # by the names that folders keep, whatever was merged since
        return [
            s
            for s in samples
            if s.split is Split.EVAL and written.get(s.sample_id, s).learning_task not in fixed
        ]

    def _fixed(self) -> dict[str, Fingerprint]:
        folder = filled(self._folder)
        if folder is None:
            return {}
        paths = {
            f"{task}/{image.name}": image
            for task, holdout in read_holdouts(folder).items()
            for image, _ in holdout.paths
        }
        return fingerprints_of_files(paths, self._known)

    def _of(self, samples: Iterable[Sample]) -> dict[str, Fingerprint]:
        """Fingerprints by sample id; a picture that cannot be read is left out, and named."""
        found: dict[str, Fingerprint] = {}
        for sample in samples:
            if sample.sample_id not in self._known:
                try:
                    data = self._storage.get(sample.image_key, sha256=sample.image_sha256)
                    image = image_from_bytes(data, sample.image_key)
                except (ObjectNotFoundError, RecordError) as error:
                    logger.warning("not compared with hold-outs: %s", error)
                    continue
                self._known[sample.sample_id] = fingerprint(image)
            found[sample.sample_id] = self._known[sample.sample_id]
        return found


def leak_reason(leaks: Sequence[Leak]) -> str:
    """Why a candidate that was trained on its hold-out is refused, with the pairs by name."""
    pairs = "; ".join(str(leak) for leak in leaks[:MOST_TOLD])
    more = f" and {len(leaks) - MOST_TOLD} more" if len(leaks) > MOST_TOLD else ""
    return (
        f"leakage: {len(leaks)} of the pictures it was trained on are in a hold-out as well, so "
        f"the examination says nothing ({pairs}{more}); take them out of the hold-out, or "
        "`cornerloop kb forget` the samples"
    )


def fingerprints_of_files(
    paths: Mapping[str, Path], known: dict[str, Fingerprint]
) -> dict[str, Fingerprint]:
    """Fingerprints of picture files by name; `known` keeps them by path.

    Raises:
        ImageError: a file is no image we can read.
    """
    found: dict[str, Fingerprint] = {}
    for name, path in paths.items():
        key = str(path)
        if key not in known:
            known[key] = fingerprint(image_from_bytes(path.read_bytes(), key))
        found[name] = known[key]
    return found


def pictures_under(folder: Path) -> dict[str, Path]:
    """Every picture below a folder by its path in it; masks (`train_ids`) are no pictures."""
    return {
        str(path.relative_to(folder)): path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in IMAGE_SUFFIXES and "train_ids" not in path.parts
    }
