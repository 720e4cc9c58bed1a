"""Releases and model versions for pages: who runs them, where they come from, what they learned."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cloud.knowledge.forget_scope import people
from cloud.monitor.look import Look
from lifelong.records.ids import RoundNumber, SampleId, VersionId
from lifelong.records.model_versions import Release
from lifelong.records.samples import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What a set of samples consists of, by the knowledge base of today."""

    samples: int
    unknown: int  # forgotten since, or from before samples were recorded
    tasks: Mapping[str, int]  # learning task -> samples, most first
    annotators: Mapping[str, int]  # with samples that several share counted for each
    edges: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ancestor:
    """One step of a version's line back to the first model."""

    version_id: VersionId
    round_number: RoundNumber
    strategy: str
    trained_on: int
    replayed: int
    release: int | None  # number of its first release; None: never released


def releases_by_number(look: Look) -> Mapping[int, Release]:
    """Every release; a fact."""
    return {release.number: release for release in look.releases}


def first_releases(look: Look) -> Mapping[VersionId, int]:
    """The number under which each version was released first; a fact."""
    found: dict[VersionId, int] = {}
    for release in look.releases:
        found.setdefault(release.version_id, release.number)
    return found


def nodes_by_release(look: Look) -> Mapping[int, int]:
    """How many nodes run each release, by what they last said; a fact.

    A node that does not say which release brought its model counts for the newest release of it.
    """
    newest = {release.version_id: release.number for release in look.releases}
    known = look.fact(releases_by_number)
    found: Counter[int] = Counter()
    for one in look.fleet:
        health = one.seen.health
        if health is None or health.version_id is None:
            continue
        told = known.get(health.release_number)
        if told is not None and told.version_id == health.version_id:
            found[told.number] += 1
        elif health.version_id in newest:
            found[newest[health.version_id]] += 1
    return found


def line_of(look: Look, version_id: VersionId) -> Sequence[VersionId]:
    """A version's ancestors, its parent first, the first model last."""
    line = {version_id: None}  # also what was seen: damaged records may lead in a circle
    version = look.versions.get(version_id)
    while version is not None and version.parent is not None and version.parent not in line:
        line[version.parent] = None
        version = look.versions.get(version.parent)
    return list(line)[1:]


def ancestors(look: Look, line: Sequence[VersionId]) -> Sequence[Ancestor | VersionId]:
    """These versions in words; one that nobody knows any more stays an id."""
    numbers = look.fact(first_releases)
    found: list[Ancestor | VersionId] = []
    for version_id in line:
        version = look.versions.get(version_id)
        if version is None:
            found.append(version_id)
            continue
        found.append(
            Ancestor(
                version_id=version_id,
                round_number=version.round_number,
                strategy=version.strategy,
                trained_on=len(version.trained_on),
                replayed=len(version.replayed),
                release=numbers.get(version_id),
            )
        )
    return found


def learned(samples: Mapping[SampleId, Sample], wanted: Sequence[SampleId]) -> Learned:
    """Count samples by learning task, annotator and node."""
    known = [samples[key] for key in wanted if key in samples]
    return Learned(
        samples=len(wanted),
        unknown=len(wanted) - len(known),
        tasks=_counted(sample.learning_task for sample in known),
        annotators=_counted(name for sample in known for name in people(sample.annotator)),
        edges=_counted(sample.edge_id for sample in known),
    )


def _counted(names: Iterable[str]) -> Mapping[str, int]:
    return dict(Counter(names).most_common())
