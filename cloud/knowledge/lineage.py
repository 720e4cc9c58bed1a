"""Where a model or a sample comes from and where it went, walked through the records both ways."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from cloud.fleet.affected_models import affected_models
from cloud.fleet.edges import SeenEdge
from cloud.knowledge.forget_scope import people, people_of
from cloud.knowledge.sample_queries import example_of
from lifelong.errors import RecordError
from lifelong.knowledge_base import KnowledgeBase
from lifelong.links.storage import Storage
from lifelong.records.ids import SampleId, VersionId
from lifelong.records.model_versions import ModelVersion, Release
from lifelong.records.rounds import Round
from lifelong.records.samples import Sample
from lifelong.records.trainings import DatasetVersion, ExaminationSetting, ExemplarSet, Training
from lifelong.records.wire import to_plain

FORGOTTEN = "forgotten"


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """Everything that lineage is walked through."""

    kb: KnowledgeBase
    storage: Storage
    rounds: Sequence[Round]
    releases: Sequence[Release]  # oldest first
    edges: Sequence[SeenEdge]


def named(beginning: str, kb: KnowledgeBase) -> tuple[str, str]:
    """What an id, or a beginning that only one has, names: `("model", …)`, `("sample", …)`, …

    Raises:
        RecordError: nothing has it, or several have.
    """
    rooms: dict[str, list[str]] = {
        "model": list(kb.versions),
        "sample": [*kb.samples, *kb.forgotten],
        "dataset": list(kb.of(DatasetVersion)),
        "task": list({s.learning_task: None for s in kb.samples.values()}),
    }
    for what, ids in rooms.items():
        if beginning in ids:
            return what, beginning
    found = [(what, i) for what, ids in rooms.items() for i in ids if i.startswith(beginning)]
    if len(found) != 1:
        several = ", ".join(f"{what} {i}" for what, i in found[:5])
        raise RecordError(
            f"{beginning!r}: "
            + (
                f"{several} begin so; say more of the id"
                if found
                else "no model, sample, data "
                "set or learning task has this id; see `cornerloop kb show`"
            )
        )
    return found[0]


def model_lineage(version_id: VersionId, of: Records) -> dict[str, Any]:
    """Where a model comes from and where it runs, JSON-ready."""
    kb = of.kb
    version = kb.versions[version_id]
    training = kb.of(Training).get(version_id)
    used = [*version.trained_on, *version.replayed]
    known = [kb.samples[s] for s in used if s in kb.samples]
    return {
        "model": version_id,
        "ancestors": [
            {"model": one.version_id, "round": one.round_number, "strategy": one.strategy}
            for one in kb.line_of(version.parent)
        ],
        "children": [v.version_id for v in kb.versions.values() if v.parent == version_id],
        "round": version.round_number,
        "network": version.network,
        "strategy": version.strategy,
        "seed": version.seed,
        "settings": dict(version.settings),
        "label_map": version.label_map_digest,
        "weights_sha256": version.weights_sha256,
        "bundle": version.bundle_key,
        "code": to_plain(training.code) if training else None,
        "trained_at": training.trained_at.isoformat() if training else None,
        "seconds": training.seconds if training else None,
        "dataset": training.dataset_id if training else None,
        "memory": _memory(training, kb),
        "tasks": dict(training.tasks) if training else {},
        "trained_on": [_used(s, of) for s in version.trained_on],
        "replayed": [_used(s, of) for s in version.replayed],
        "annotators": sorted({name for s in known for name in people(s.annotator)}),
        "devices": sorted({s.edge_id for s in known}),
        "forgotten": [s for s in used if s in kb.forgotten],
        "examination": _examination(version_id, kb),
        "releases": [r.number for r in of.releases if r.version_id == version_id],
        "runs_on": _runs_on({version_id}, of),
    }


def sample_lineage(sample_id: SampleId, of: Records) -> dict[str, Any]:
    """Where a sample comes from and which models have something of it, JSON-ready."""
    kb = of.kb
    sample, example = kb.samples.get(sample_id), example_of(sample_id, of.storage)
    models = affected_models({sample_id}, kb, of.releases, of.edges)
    return {
        "sample": sample_id,
        "is_forgotten": sample_id in kb.forgotten,
        "device": sample.edge_id if sample else None,
        "captured_at": example.captured_at.isoformat() if example else None,
        "unsure_model": example.version_id if example else None,
        "attributes": dict(example.attributes) if example else {},
        "task": sample.learning_task if sample else None,
        "split": str(sample.split) if sample else None,
        "rounds": [
            {"round": r.number, "state": str(r.state)}
            for r in of.rounds
            if any(e.sample_id == sample_id for e in r.examples)
        ],
        "annotations": _annotations(sample_id, of),
        "trained": [m.version_id for m in models if m.trained_on],
        "replayed": [m.version_id for m in models if m.replayed],
        "inherited": [m.version_id for m in models if not m.trained_on and not m.replayed],
        "releases": sorted({number for m in models for number in m.releases}),
        "runs_on": _runs_on({m.version_id for m in models}, of),
        "datasets": [key for key, one in kb.of(DatasetVersion).items() if sample_id in one.samples],
    }


def _memory(training: Training | None, kb: KnowledgeBase) -> dict[str, Any] | None:
    found = kb.of(ExemplarSet).get(training.memory_id) if training else None
    return to_plain(found) if found else None


def _used(sample_id: SampleId, of: Records) -> dict[str, Any]:
    sample = of.kb.samples.get(sample_id)
    if sample is None:
        state = FORGOTTEN if sample_id in of.kb.forgotten else "unknown"
        return {"sample": sample_id, "state": state}
    return {
        "sample": sample_id,
        "mask": sample.mask_key,
        "mask_sha256": sample.mask_sha256,
        "annotation": _annotation_of(sample),
        "annotator": sample.annotator,
        "device": sample.edge_id,
        "task": sample.learning_task,
        "round": sample.round_number,
    }


def _annotation_of(sample: Sample) -> str:
    """The id of the annotation, or of those that were merged: the name of the mask's object."""
    return sample.mask_key.rsplit("/", 1)[-1].removesuffix(".png")


def _annotations(sample_id: SampleId, of: Records) -> list[dict[str, Any]]:
    return [
        {
            "round": round_.number,
            "annotation": annotation.annotation_id,
            "annotators": sorted(people_of(annotation)),
            "at": annotation.annotated_at.isoformat(),
            "mask": annotation.mask_key,
            "agreement": round(annotation.agreement, 4),
        }
        for round_ in of.rounds
        for annotation in round_.annotations
        if annotation.sample_id == sample_id
    ]


def _examination(version_id: VersionId, kb: KnowledgeBase) -> dict[str, Any] | None:
    found = kb.examinations.get(version_id)
    if found is None:
        return None
    setting = kb.of(ExaminationSetting).get(version_id)
    contents = {h.task: h.dataset_id for h in setting.holdouts} if setting else {}
    return {
        "accepted": found.decision.accepted,
        "reasons": list(found.decision.reasons),
        "beside": found.decision.incumbent,
        "holdouts": {
            task: {
                "miou": result.miou,
                "images": result.images,
                "dataset": contents.get(task, ""),
            }
            for task, result in found.candidate.tasks.items()
        },
    }


def _runs_on(versions: set[VersionId], of: Records) -> list[str]:
    return [e.edge_id for e in of.edges if e.health and e.health.version_id in versions]


def mermaid(found: dict[str, Any], kb: KnowledgeBase) -> str:
    """A model's or a sample's lineage as a Mermaid flow chart, for a page or a report."""
    if "model" in found:
        links = _links_of_model(found)
    else:
        here = f"sample {found['sample']}"
        links = [(f"device {found['device']}", here)] if found["device"] else []
        links += [(here, f"model {v}") for v in (*found["trained"], *found["replayed"])]
        for version_id in found["inherited"]:
            version: ModelVersion = kb.versions[version_id]
            links.append((f"model {version.parent}", f"model {version_id}"))
    nodes = {text: f"n{i}" for i, text in enumerate(dict.fromkeys(t for two in links for t in two))}
    lines = [f"  {node}[{_quoted(text)}]" for text, node in nodes.items()]
    lines += [f"  {nodes[a]} --> {nodes[b]}" for a, b in links]
    return "\n".join(["flowchart LR", *lines])


def _links_of_model(found: dict[str, Any]) -> list[tuple[str, str]]:
    here, dataset = f"model {found['model']}", f"data set {found['dataset'] or 'of before'}"
    line = [here, *(f"model {a['model']}" for a in found["ancestors"])]
    links = [(older, newer) for newer, older in pairwise(line)]
    links += [(f"annotator {name}", dataset) for name in found["annotators"]]
    links += [(f"device {name}", dataset) for name in found["devices"]]
    links.append((dataset, here))
    if found["memory"]:
        links.append((f"replay memory {found['memory']['memory_id']}", here))
    links += [(here, f"model {child}") for child in found["children"]]
    return links + [(here, f"release {number}") for number in found["releases"]]


def _quoted(text: str) -> str:
    return '"' + text.replace("#", "#35;").replace('"', "#quot;") + '"'
