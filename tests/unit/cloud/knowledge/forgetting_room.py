"""A cloud with the traces of two people and two devices everywhere, to forget one of them."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from annotation.review.standing import Decision, Decisions, SeenAnnotation, Verdict
from cloud.inbox import Inbox
from cloud.job.dataset_index import append_to_index
from cloud.knowledge.forget_requests import Forgetting, Removal
from cloud.rounds import Rounds
from lifelong.config import JobSection
from lifelong.knowledge_base import KnowledgeBase
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage
from lifelong.records.ids import RoundNumber, SampleId, VersionId, sample_id_of
from lifelong.records.model_versions import ModelVersion
from lifelong.records.rounds import Round, RoundState
from lifelong.records.samples import (
    Annotation,
    AnnotationTask,
    CorrectionCost,
    HardExample,
    Sample,
    Skip,
)
from lifelong.records.wire import to_json
from tests.builders import (
    NOON,
    a_hard_example,
    a_jpeg,
    a_mask_png,
    a_pre_annotation,
    a_round,
    a_sample,
)

ROUND = RoundNumber(1)


def id_of(seed: int) -> SampleId:
    return sample_id_of(a_jpeg(seed))


def edge_of(seed: int) -> str:
    return "edge-1" if seed % 2 == 0 else "edge-2"


def person_of(seed: int) -> str:
    return "anna@x.org" if seed < 2 else "bob@x.org"


def an_example(seed: int) -> HardExample:
    return a_hard_example(
        seed,
        edge_id=edge_of(seed),
        attributes={"condition": "day", "person": f"driver-{seed}"},
        embedding=(0.1, 0.2),
        wants_receipt=True,
    )


def an_annotation(seed: int) -> Annotation:
    cost = CorrectionCost(
        annotation_id=seed,
        annotator=person_of(seed),
        drafted_by="tiny",
        with_draft=True,
        seconds=1.0,
        pixels=10,
    )
    sample = a_known_sample(seed)
    return Annotation(
        sample_id=id_of(seed),
        round_number=ROUND,
        annotation_id=seed,
        annotator=person_of(seed),
        annotated_at=NOON,
        mask_key=sample.mask_key,
        mask_sha256=sample.mask_sha256,
        agreement=0.5,
        changed_pixels=3,
        annotators=(person_of(seed),),
        costs=(cost,),
    )


def a_known_sample(seed: int) -> Sample:
    return a_sample(seed, edge_id=edge_of(seed), annotator=person_of(seed))


def a_version(name: str, parent: str | None, *trained_on: int, replayed: tuple[int, ...] = ()):
    return ModelVersion(
        version_id=VersionId(name),
        parent=VersionId(parent) if parent else None,
        round_number=RoundNumber(len(name)),
        bundle_key=f"models/{name}.bundle",
        sha256="00" * 32,
        label_map_digest="d",
        network="fast_cnn",
        strategy="replay",
        weights_sha256="11" * 32,
        trained_on=tuple(id_of(seed) for seed in trained_on),
        replayed=tuple(id_of(seed) for seed in replayed),
    )


@dataclass
class Room:
    """Four samples in round 1: 0 and 1 by anna, 2 and 3 by bob; 0 and 2 by edge-1."""

    storage: Storage
    folder: Path
    removal: Removal | None = None

    def __post_init__(self) -> None:
        self.job = JobSection(dataset_path=self.folder / "dataset")
        self.journal = Journal(self.folder / "journal", "cloud")

    def filled(self, state: RoundState = RoundState.RELEASED) -> "Room":
        inbox = Inbox(self.storage, self.journal)
        for seed in range(4):
            self.deliver(seed)
        inbox.collect()
        rounds = Rounds(self.storage)
        rounds.save(self.the_round(state))
        for seed in range(4):
            sample = a_known_sample(seed)
            self.storage.put(sample.mask_key, a_mask_png(seed))
            self.storage.put(f"drafts/1/{id_of(seed)}.png", a_mask_png(seed))
            self.storage.put(f"drafts/1/{id_of(seed)}.unsure.jpg", a_jpeg(seed))
            self.storage.put(f"drafts/1/{id_of(seed)}.json", to_json(a_pre_annotation(seed)))
            self.storage.put(f"features/{id_of(seed)}.json", b"{}")
            self.storage.put(f"queue/bald/v/{id_of(seed)}.json", b"{}")
            self.storage.put(f"reviews/1/{id_of(seed)}/annotation-7.json", b'{"by": "x"}')
            self.storage.put(f"pictures/set/{seed}.jpg", a_jpeg(seed))
            self.storage.put(f"refused/{edge_of(seed)}/{id_of(seed)}/image.jpg", a_jpeg(seed))
            self.journal.event(
                "annotation.pulled", sample_id=id_of(seed), annotator=person_of(seed)
            )
        Decisions(self.storage).add(a_decision(3, reviewer="anna@x.org"))
        doubts = [{"sample_id": id_of(seed), "annotator": person_of(seed)} for seed in range(4)]
        body = {"kind": "Doubts", "record": {"doubts": doubts, "by": "anna@x.org"}}
        self.storage.put("doubted/1.json", json.dumps(body).encode())
        kb = KnowledgeBase(self.storage)
        samples = [a_known_sample(seed) for seed in range(4)]
        kb.add(samples[:2], why="first half")
        kb.add(samples[2:], why="second half")
        kb.add([a_version("v", None, 2, 3)], why="model")
        kb.add([a_version("vv", "v", 0, 1, replayed=(2,))], why="model")
        kb.add([a_version("vvv", "vv", 3)], why="model")
        append_to_index(self.storage, self.job.dataset_path, self.job.index, samples)
        for seed in range(4, 6):  # on their way
            self.deliver(seed)
        return self

    def deliver(self, seed: int) -> None:
        example = an_example(seed)
        folder = f"inbox/{example.edge_id}/{example.sample_id}"
        self.storage.put(f"{folder}/image.jpg", a_jpeg(seed))
        self.storage.put(f"{folder}/mask.png", a_mask_png(seed))
        self.storage.put(f"{folder}/example.json", to_json(example))

    def the_round(self, state: RoundState) -> Round:
        return a_round(
            state,
            number=ROUND,
            examples=tuple(an_example(seed) for seed in range(4)),
            drafts=tuple(a_pre_annotation(seed) for seed in range(4)),
            tasks=tuple(
                AnnotationTask(
                    sample_id=id_of(seed),
                    round_number=ROUND,
                    project_id=1,
                    task_id=100 + seed,
                    draft_key=f"drafts/1/{id_of(seed)}.png",
                )
                for seed in range(4)
            ),
            annotations=tuple(an_annotation(seed) for seed in range(4)),
            skips=(
                Skip(
                    sample_id=SampleId("00000000000000ff"),
                    round_number=ROUND,
                    reason="skipped by anna@x.org",
                ),
            ),
        )

    def forgetting(self, storage: Storage | None = None) -> Forgetting:
        used = storage or self.storage
        return Forgetting(
            storage=used,
            kb=KnowledgeBase(used),
            rounds=Rounds(used),
            job=self.job,
            journal=self.journal,
            journal_path=self.folder / "journal",
            removal=lambda: self.removal,
            now=lambda: datetime(2026, 3, 2, tzinfo=UTC),
        )

    def bytes_with(self, text: str) -> list[str]:
        """Where a text still stands: keys of objects, their bytes, files."""
        found = []
        for room in self.storage.rooms():
            for key in self.storage.keys(room):
                if text in key or text.encode() in self.storage.get(key):
                    found.append(key)
        for path in self.folder.rglob("*"):
            if path.is_file() and (text in path.name or text.encode() in path.read_bytes()):
                found.append(str(path.relative_to(self.folder)))
        return found


def a_decision(seed: int, reviewer: str) -> Decision:
    seen = SeenAnnotation(annotation_id=seed, at=NOON)
    return Decision(
        sample_id=id_of(seed),
        round_number=ROUND,
        about=seen,
        annotator=person_of(seed),
        seconds=1.0,
        verdict=Verdict.ACCEPTED,
        reason="good",
        reviewer=reviewer,
        at=NOON,
        seen=(seen,),
    )


def pictures_of(room: Room) -> set[bytes]:
    """The bytes of every object and file."""
    held = {
        room.storage.get(key) for name in room.storage.rooms() for key in room.storage.keys(name)
    }
    return held | {path.read_bytes() for path in room.folder.rglob("*") if path.is_file()}
