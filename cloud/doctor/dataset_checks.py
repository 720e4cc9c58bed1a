"""The doctor's look at what Sedna is given: the Dataset's index, and the job's manifest."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import yaml

from cloud.doctor.checks import Finding, Patient, broken, warning, well
from cloud.job.dataset_index import open_dataset
from cloud.job.manifest import LifelongLearningJob, load_manifest, notices
from cloud.rounds import FIRST, Rounds
from lifelong.errors import ConfigError
from lifelong.knowledge_base import KnowledgeBase
from lifelong.links.sedna import sednas_account
from lifelong.links.storage import open_storage
from lifelong.records.rounds import RoundState

LONGEST_OUTPUT_DIR = 40  # characters; Sedna cuts the names of derived volumes at 63
LONGEST_LINE = 64 * 1024  # bytes; Sedna silently ignores the rest of a file after a longer one
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")  # Sedna unpacks and deletes what is called so


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """A Dataset's index as it lies there."""

    where: str
    lines: tuple[str, ...]  # whole ones, with samples; not `#` lines and blank ones
    torn: str  # a last line without its end; "" where there is none
    longest: int  # bytes

    @property
    def samples(self) -> list[str]:
        """The id of each line's picture, in the index's order."""
        return [PurePosixPath(line.split()[0]).stem for line in self.lines]


def index_in(text: str, where: str) -> Index:
    """What an index file says."""
    *whole, torn = text.split("\n")
    told = [line for line in whole if line.strip() and not line.startswith("#")]
    longest = max((len(line.encode(errors="replace")) for line in whole), default=0)
    return Index(where=where, lines=tuple(told), torn=torn, longest=longest)


def index_of(patient: Patient) -> Index | None:
    """The index that the configuration names, in a folder or a bucket; None: there is none."""
    job = patient.config.job
    data, mark = open_dataset(job.dataset_path).read(job.index)
    where = f"{str(job.dataset_path).rstrip('/')}/{job.index}"
    return index_in(data.decode("utf-8", "replace"), where) if mark else None


def is_there(patient: Patient) -> Callable[[str], bool]:
    """Tells which of a Dataset's files are there; a bucket is listed once."""
    place = patient.config.job.dataset_path
    if isinstance(place, Path):
        return lambda name: (place / name).is_file()
    storage = open_storage(place, account=sednas_account(os.environ))
    listed = {key for room in ("images", "masks") for key in storage.keys(room)}
    return lambda name: name in listed


def look_at_index(patient: Patient) -> Iterable[Finding]:
    """Has each sample of the knowledge base one line, and each line its files?"""
    kb, index = KnowledgeBase(patient.storage), index_of(patient)
    if index is None:
        where = f"{patient.config.job.dataset_path}: {patient.config.job.index}"
        if kb.samples:
            yield broken(
                where,
                f"is not there, but the knowledge base has {len(kb.samples)} samples",
                "restore it, or correct job.dataset_path: without its lines no job is triggered",
            )
        else:
            yield well(where, "is not there yet; the first annotations make it")
        return
    found = [*_lines(index, is_there(patient)), *_samples(index, patient, kb)]
    yield from found
    if not found:
        yield well(index.where, f"{len(index.lines)} lines, each with its files, each sample once")


def _lines(index: Index, is_file: Callable[[str], bool]) -> Iterator[Finding]:
    if index.torn:
        yield broken(
            index.where,
            "its last line has no end: a write was cut off",
            "`cornerloop doctor --repair` ends it; the next annotations do so, too",
        )
    if index.longest > LONGEST_LINE:
        yield broken(
            index.where,
            f"has a line of {index.longest} bytes; Sedna stops reading there without a word",
            "shorten the paths",
        )
    twice = [sample for sample, count in Counter(index.samples).items() if count > 1]
    if twice:
        yield warning(
            index.where,
            f"{len(twice)} samples have more than one line ({twice[0]} …)",
            "harmless for training, which goes by the knowledge base; do not take lines out of "
            "an index in use: Sedna counts them",
        )
    missing = [name for line in index.lines for name in line.split()[:2] if not is_file(name)]
    if missing:
        yield broken(
            index.where,
            f"{len(missing)} files of its lines are not there ({missing[0]} …)",
            "restore them beside the index; unless they were forgotten on request",
        )


def _samples(index: Index, patient: Patient, kb: KnowledgeBase) -> Iterator[Finding]:
    listed, rounds = set(index.samples), Rounds(patient.storage).all()
    handing_over = rounds[-1].number if rounds and not rounds[-1].is_over else None
    unlisted = {FIRST, handing_over}
    absent = [
        sample.sample_id
        for sample in kb.samples.values()
        if sample.sample_id not in listed and sample.round_number not in unlisted
    ]
    if absent:
        yield warning(
            index.where,
            f"{len(absent)} samples of the knowledge base have no line ({absent[0]} …)",
            "they are trained on all the same; is job.dataset_path another folder than before?",
        )
    unknown = [s for s in index.samples if s not in kb.samples and s not in kb.forgotten]
    if unknown:
        yield warning(
            index.where,
            f"{len(unknown)} lines are of no sample we know ({unknown[0]} …)",
            "they trigger the job, but nothing is learned from them",
        )


def waits_for_training(patient: Patient) -> bool:
    """Does a round of the service wait for the job?"""
    rounds = Rounds(patient.storage).all()
    return bool(rounds) and rounds[-1].state in {RoundState.TRAINING, RoundState.GATING}


def look_at_manifest(patient: Patient) -> Iterable[Finding]:
    """Does the job's manifest say what the configuration says, and nothing Sedna trips over?"""
    path = patient.manifest
    if path is None:
        yield well("manifest", "none was named (--manifest)")
        return
    manifest, section = load_manifest(path), patient.config.job
    job, dataset = manifest.job, manifest.dataset
    found: list[Finding] = [*_names(str(path), job)]
    share = job.spec.dataset.train_prob
    if abs(share - section.train_share) > 1e-9:
        found.append(
            broken(
                f"{path}: spec.dataset.trainProb",
                f"is {share:g}, job.train_share is {section.train_share:g}: Sedna would cut the "
                "index elsewhere than we do",
                "make them the same number",
            )
        )
    if Path(dataset.spec.url).name != section.index:
        found.append(
            broken(
                f"{path}: Dataset spec.url",
                f"{dataset.spec.url} is not the index that we write, {section.index}",
                "name that file, and mount job.dataset_path there",
            )
        )
    found += [warning(str(path), notice) for notice in notices(manifest)]
    found += [
        broken(f"{path}: {name}", "is not quoted: some readers make a number of it", "quote it")
        for name in unquoted_times(path)
    ]
    yield from found
    if not found:
        yield well(str(path), f"job {job.metadata.name} is as the configuration says")


def _names(where: str, job: LifelongLearningJob) -> Iterator[Finding]:
    output = job.spec.output_dir
    if len(output) >= LONGEST_OUTPUT_DIR:
        yield broken(
            f"{where}: spec.outputDir",
            f"has {len(output)} characters; Sedna cuts the names of volumes, and two folders "
            "become one",
            f"use fewer than {LONGEST_OUTPUT_DIR}",
        )
    if output.rstrip("/").endswith(_ARCHIVES):
        yield broken(
            f"{where}: spec.outputDir",
            "ends like an archive, which Sedna unpacks and deletes",
            "choose another name",
        )


def unquoted_times(path: Path) -> list[str]:
    """Begin and end of timers that stand there without quotes, as `file: timer.start`.

    Raises:
        ConfigError: not YAML.
    """
    found: list[str] = []
    for file in sorted(path.glob("*.yaml")) if path.is_dir() else [path]:
        try:
            documents = list(yaml.compose_all(file.read_text(encoding="utf-8")))
        except (OSError, yaml.YAMLError) as error:
            raise ConfigError(f"{file}: cannot be read as YAML ({error})") from error
        for document in documents:
            found += [f"{file.name}: {name}" for name in _plain_times(document, in_timer=False)]
    return found


def _plain_times(node: yaml.Node | None, *, in_timer: bool) -> Iterator[str]:
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _plain_times(item, in_timer=False)
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        if in_timer and isinstance(value, yaml.ScalarNode) and value.style is None:
            yield f"timer.{key.value}"
        yield from _plain_times(value, in_timer=key.value == "timer")
