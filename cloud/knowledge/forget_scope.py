"""Which samples a request to forget is about: everything of a device, a person, an attribute.

Looked for in the knowledge base, among admitted examples, in rounds, and in what lies in the
inbox or was refused. A picture counts as an annotator's when he made, or had a part in, the mask
that counts; what he did to others' pictures is left there without his name
(`cloud/knowledge/forget_names.py`).
"""

import re
from collections.abc import Iterable, Iterator, Mapping

from cloud.knowledge.example_queries import admitted_examples
from lifelong.errors import RecordError
from lifelong.knowledge_base import KnowledgeBase
from lifelong.links.storage import Storage
from lifelong.records.forget_requests import Scope, StudioTaskOf
from lifelong.records.ids import SampleId
from lifelong.records.keys import INBOX, RECORD, REFUSED
from lifelong.records.rounds import Round
from lifelong.records.samples import Annotation, HardExample
from lifelong.records.wire import from_json

_SAMPLE = re.compile(r"[0-9a-f]{16}\Z")


def samples_of(
    scope: Scope,
    name: str,
    value: str,
    *,
    kb: KnowledgeBase,
    storage: Storage,
    rounds: Iterable[Round],
) -> tuple[SampleId, ...]:
    """The samples that a request is about, sorted; those forgotten before are not among them.

    Args:
        name: edge id, annotator, sample id, or name of the attribute.
        value: of the attribute; "" otherwise.
    """
    match scope:
        case "sample":
            found = {SampleId(name)} if _SAMPLE.match(name) else set()
        case "device":
            found = {s.sample_id for s in kb.samples.values() if s.edge_id == name}
            found |= {e.sample_id for e in _examples(storage, rounds) if e.edge_id == name}
            found |= _folders(storage, name)
        case "annotator":
            found = {s.sample_id for s in kb.samples.values() if name in people(s.annotator)}
            found |= {a.sample_id for r in rounds for a in r.annotations if name in people_of(a)}
        case "attribute":
            found = {
                e.sample_id for e in _examples(storage, rounds) if _has(e.attributes, name, value)
            }
            found |= {
                d.sample_id for r in rounds for d in r.drafts if _has(d.attributes, name, value)
            }
    return tuple(sorted(found - kb.forgotten))


def tasks_of(samples: Iterable[SampleId], rounds: Iterable[Round]) -> tuple[StudioTaskOf, ...]:
    """The tasks of these samples, as rounds know them."""
    wanted = frozenset(samples)
    return tuple(
        StudioTaskOf(
            sample_id=task.sample_id,
            round_number=task.round_number,
            project_id=task.project_id,
            task_id=task.task_id,
        )
        for round_ in rounds
        for task in round_.tasks
        if task.sample_id in wanted
    )


def people(annotator: str) -> frozenset[str]:
    """Whoever made a mask; several names are written with commas."""
    return frozenset(part.strip() for part in annotator.split(",") if part.strip())


def people_of(annotation: Annotation) -> frozenset[str]:
    """Everybody whose work an annotation is made of."""
    costs = {cost.annotator for cost in annotation.costs}
    return people(annotation.annotator) | set(annotation.annotators) | costs


def _examples(storage: Storage, rounds: Iterable[Round]) -> Iterator[HardExample]:
    yield from admitted_examples(storage)
    for round_ in rounds:
        yield from round_.examples
    for room in (INBOX, REFUSED):
        for key in storage.keys(room):
            if key.endswith(f"/{RECORD}"):
                try:
                    yield from_json(HardExample, storage.get(key), key)
                except RecordError:
                    continue  # it says nothing that could be read


def _folders(storage: Storage, edge: str) -> set[SampleId]:
    """Samples that a device has begun to send, or that were refused."""
    names = {
        key.split("/")[2]
        for room in (INBOX, REFUSED)
        for key in storage.keys(f"{room}/{edge}")
        if key.count("/") > 2
    }
    return {SampleId(name) for name in names if _SAMPLE.match(name)}


def _has(attributes: Mapping[str, str], name: str, value: str) -> bool:
    return attributes.get(name) == value
