"""LLL-06: what comes from before a change of classes meets a service of after it."""

from dataclasses import replace

import numpy as np
import pytest

from cloud.annotators.by_classes import AnnotatorsByClasses
from cloud.drafting.kept_drafts import KeptDrafts
from cloud.escalations import Escalations
from cloud.knowledge.overview import task_overview
from cloud.knowledge.sample_queries import SampleQuery
from cloud.selecting.present_counts import PresentCounts
from cloud.selecting.selection import Queue
from lifelong.errors import LabelMapChangeError
from lifelong.knowledge_base import KnowledgeBase
from lifelong.labels.map_changes import change_classes
from lifelong.labels.map_history import LabelMapHistory
from lifelong.labels.readings import LabelReader
from lifelong.links.journal import Journal
from lifelong.links.storage import open_storage
from lifelong.records.escalations import ANSWER_MASK
from lifelong.records.ids import RoundNumber, SampleId, VersionId
from lifelong.records.label_map import LabelMap
from lifelong.records.model_versions import ModelVersion
from lifelong.records.pixels import mask_from_png, png_from_mask
from lifelong.records.samples import Annotation, AnnotationTask, PreAnnotation
from lifelong.sections.queue import QueueSection
from tests.builders import (
    NOON,
    SMALL_MAP,
    a_hard_example,
    a_jpeg,
    a_pre_annotation,
    a_sample,
)
from tests.unit.cloud.test_escalations import Room

# road, car, person: from here on cars come last, and there are bicycles.
CHANGE = change_classes(SMALL_MAP, rename={"car": "motor"}, add={"bicycle": ("person",)})
MOVED = change_classes(CHANGE.after, remove=["road"])
HISTORY = LabelMapHistory(MOVED.after, [CHANGE, MOVED])


def a_task(digest: str) -> AnnotationTask:
    return AnnotationTask(
        sample_id=SampleId("00000000000000aa"),
        round_number=RoundNumber(1),
        project_id=1,
        task_id=2,
        draft_key="",
        label_map_digest=digest,
    )


def an_annotation(digest: str) -> Annotation:
    return Annotation(
        sample_id=SampleId("00000000000000aa"),
        round_number=RoundNumber(1),
        annotation_id=3,
        annotator="anna",
        annotated_at=NOON,
        mask_key="masks/a.png",
        mask_sha256="0" * 64,
        agreement=1.0,
        changed_pixels=0,
        label_map_digest=digest,
    )


def a_version(digest: str) -> ModelVersion:
    return ModelVersion(
        version_id=VersionId("00000000000000aa"),
        parent=None,
        round_number=RoundNumber(0),
        bundle_key="models/a.bundle",
        sha256="0" * 64,
        label_map_digest=digest,
        network="fast_cnn",
        strategy="replay",
        weights_sha256="0" * 64,
    )


class People:
    """Annotators of one label map, who note what they are asked."""

    def __init__(self, label_map: LabelMap) -> None:
        self.label_map = label_map
        self.asked: list[str] = []

    def push(self, drafts):
        self.asked.append("push")
        return [a_task(self.label_map.digest) for _ in drafts]

    def pull(self, tasks):
        self.asked.append("pull")
        found = tuple(an_annotation(self.label_map.digest) for _ in tasks)
        return type("Found", (), {"annotations": found, "skips": ()})()

    def sort(self, tasks, order):
        self.asked.append("sort")


def test_lll_06_tasks_are_read_with_the_classes_that_they_were_offered_with():
    made: dict[str, People] = {}

    def make(label_map: LabelMap) -> People:
        return made.setdefault(label_map.digest, People(label_map))

    people = AnnotatorsByClasses(HISTORY, make)
    assert list(made) == [MOVED.after.digest]
    old = a_task("")  # as records said before there were changes
    between = a_task(CHANGE.after.digest)
    new = people.push([a_pre_annotation(label_map_digest=MOVED.after.digest)])
    pulled = people.pull([old, between, *new])
    assert [one.label_map_digest for one in pulled.annotations] == [
        SMALL_MAP.digest, CHANGE.after.digest, MOVED.after.digest,
    ]  # fmt: skip
    people.sort([old], [])
    assert made[MOVED.after.digest].asked == ["push", "pull", "sort"]
    with pytest.raises(LabelMapChangeError, match="task"):
        people.pull([a_task("0" * 16)])


def test_lll_06_drafts_are_offered_again_with_the_classes_that_they_were_made_with():
    """After a restore the tasks of a round from before a change may be gone."""
    people = AnnotatorsByClasses(HISTORY, People)
    digests = [MOVED.after.digest, "", MOVED.after.digest, CHANGE.after.digest]
    tasks = people.push([a_pre_annotation(label_map_digest=digest) for digest in digests])
    assert [task.label_map_digest for task in tasks] == [
        digest or SMALL_MAP.digest for digest in digests
    ]


def test_lll_06_a_draft_of_older_classes_is_made_anew(tmp_path):
    storage = open_storage(str(tmp_path))

    class Drafts:
        def annotate(self, example, round_number) -> PreAnnotation:
            return a_pre_annotation(label_map_digest=MOVED.after.digest)

    key = f"drafts/1/{a_hard_example().sample_id}.json"
    old = KeptDrafts(storage, type("Old", (), {"annotate": lambda *_: a_pre_annotation()})())
    assert old.annotate(a_hard_example(), RoundNumber(1)).label_map_digest == ""

    def is_present(digest: str) -> bool:
        return HISTORY.map_of(digest, "a draft").digest == MOVED.after.digest

    kept = KeptDrafts(storage, Drafts(), is_present=is_present)
    assert kept.annotate(a_hard_example(), RoundNumber(1)).label_map_digest == MOVED.after.digest
    assert MOVED.after.digest in storage.get(key).decode()


def test_lll_06_a_node_of_older_classes_is_answered_in_its_own(tmp_path):
    room = Room(tmp_path)
    turned = change_classes(SMALL_MAP, remove=["road"], add={"lane": ()})
    room.service = Escalations(
        room.storage, room.drafter, turned.after, Journal(tmp_path, "cloud"),
        poll_seconds=0.5, clock=room.clock, history=LabelMapHistory(turned.after, [turned]),
    )  # fmt: skip
    assert turned.after.names == ("car", "person", "lane")
    folder = room.asked()  # our ids 0 car and 1 person; in the node's map 1 and 2
    room.service.step()
    answer = room.answer(folder)
    assert answer.verdict == "answered" and answer.label_map_digest == SMALL_MAP.digest
    mask = mask_from_png(room.storage.get(f"{folder}/{ANSWER_MASK}"), "mask")
    assert set(np.unique(mask)) <= {1, 2} and mask.size
    stranger = room.asked(name="q1", seed=1, label_map_digest="0" * 16)
    room.service.step()
    assert "another label map" in room.answer(stranger).reason


def test_lll_06_the_queue_counts_pixels_of_older_models_as_what_they_became(tmp_path):
    """An old model's id 0 is road, which is no class any more; today's id 0 is motor."""
    storage = open_storage(str(tmp_path))
    kb = KnowledgeBase(storage)
    old = a_version(SMALL_MAP.digest)
    kb.add([old, a_sample(class_pixels={0: 5, 1: 7, 2: 9})], why="test")
    queue = Queue(
        section=QueueSection(), kb=kb, storage=storage, journal=Journal(tmp_path / "j", "cloud"),
        bundle=lambda _version: pytest.fail("not asked"),
        counts=PresentCounts(LabelReader(HISTORY), kb),
    )  # fmt: skip
    example = a_hard_example(version_id=old.version_id)
    assert queue._answered(example, {0: 5, 1: 7, 2: 9}) == {0: 7, 1: 9}
    foreign = replace(example, version_id=VersionId("00000000000000bb"))
    assert queue._answered(foreign, {0: 5}) == {0: 5}  # nobody knows its model: as it says
    storage.put(example.image_key, a_jpeg())
    storage.put(example.mask_key, png_from_mask(np.zeros((4, 6), np.uint8)))
    assert queue.choose([example], incumbent=old.version_id, budget=1, at_least=1) == (example,)


def test_lll_06_records_of_before_are_readable(tmp_path):
    assert Annotation.__dataclass_fields__["label_map_digest"].default == ""
    assert AnnotationTask.__dataclass_fields__["label_map_digest"].default == ""
    assert a_sample().label_map_digest == ""


def test_lll_06_reports_count_older_samples_by_what_their_classes_became(tmp_path):
    storage = open_storage(str(tmp_path))
    kb = KnowledgeBase(storage)
    sample = a_sample(class_pixels={0: 5, 1: 7, 2: 9}, label_map_digest=SMALL_MAP.digest)
    strange = a_sample(1, class_pixels={0: 5}, label_map_digest="0" * 16)
    kb.add([sample, strange], why="test")
    counts = PresentCounts(LabelReader(HISTORY), kb)
    assert counts.sample(strange).class_pixels == {}  # nobody can say
    told = task_overview("day", kb, MOVED.after, counts.sample)
    assert told["pixels"] == {"motor": 7, "person": 9, "id 255": 5}
    asked = SampleQuery(class_id=MOVED.after.id_of("motor"))
    found = [one.sample.sample_id for one in asked.answer(kb, storage, counts.sample)]
    assert found == [sample.sample_id]
    # As written, today's 0 would be the road of then.
    assert counts.answered(a_hard_example(), {0: 1}) == {0: 1}
