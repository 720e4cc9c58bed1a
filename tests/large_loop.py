"""A loop that has run for long, in storage: rounds, samples, models, releases and edge nodes.

What is in it is made up, but every record is of the kind that the real parts write, and the
pictures of as many rounds as are asked for are there. For pages, metrics, backups, benches.
"""

import math
from collections.abc import Sequence
from datetime import timedelta

from lifelong.knowledge_base import KnowledgeBase
from lifelong.links.storage import Storage
from lifelong.records.edge_health import EdgeHealth
from lifelong.records.ids import EdgeId, RoundNumber, SampleId, VersionId
from lifelong.records.keys import CURRENT_RELEASE, bundle_key, health_key
from lifelong.records.model_versions import (
    EvaluationReport,
    Examination,
    GateDecision,
    ModelVersion,
    Release,
    TaskResult,
)
from lifelong.records.rounds import Round, RoundState
from lifelong.records.samples import (
    Annotation,
    AnnotationTask,
    ClassCost,
    CorrectionCost,
    HardExample,
    PreAnnotation,
    Sample,
    Split,
)
from lifelong.records.wire import to_json
from tests.builders import HEIGHT, NOON, SMALL_MAP, WIDTH, a_jpeg, a_mask_png

CONDITIONS = ("clear", "fog", "night", "rain", "snow")
CLASSES = ("road", "car", "person")  # of `tests.builders.SMALL_MAP`
ANNOTATORS = ("ada@example.org", "béla@example.org", "王@example.org")


def version_of(number: int) -> VersionId:
    """The version that round `number` trained; 0: the first model."""
    return VersionId(f"{number:016x}")


def sample_of(number: int, index: int) -> SampleId:
    """A sample of a round."""
    return SampleId(f"{number:08x}{index:08x}")


def live_long(
    storage: Storage,
    *,
    rounds: int = 200,
    samples: int = 50,
    edges: int = 500,
    pictures: int = 1,
    is_open: bool = True,
) -> None:
    """Write it all down; every seventh round was refused.

    Args:
        samples: of each round.
        pictures: how many of the newest rounds have their pictures in storage.
        is_open: people are at work on the newest round.
    """
    deployed, releases = version_of(0), [_release(1, 0)]
    made: list[ModelVersion | Examination | Sample] = [_version(0, None, samples)]
    for number in range(1, rounds + 1):
        made += [_sample(number, i) for i in range(samples)]
        is_last = is_open and number == rounds
        round_ = _round(number, deployed, samples, is_open=is_last)
        storage.put(f"rounds/{number:06d}.json", to_json(round_))
        if is_last:
            break
        made += [_version(number, deployed, samples), _examination(number, deployed)]
        if round_.state is RoundState.RELEASED:
            deployed = version_of(number)
            releases.append(_release(len(releases) + 1, number))
    KnowledgeBase(storage).add(made, why="a loop that has run for long")
    for release in releases:
        storage.put(f"releases/{release.number:06d}.json", to_json(release))
    storage.put(CURRENT_RELEASE, to_json(releases[-1]))
    for number in range(edges):
        health = a_health(number, releases[-1], last=deployed)
        storage.put(health_key(health.edge_id), to_json(health))
    for number in range(max(1, rounds - pictures + 1), rounds + 1):
        _put_pictures(storage, number, samples)


def a_health(number: int, release: Release, *, last: VersionId) -> EdgeHealth:
    """A node's report: one in nine runs something old, one in eleven is hot and drifts."""
    is_hot, is_behind = number % 11 == 10, number % 9 == 8
    return EdgeHealth(
        edge_id=EdgeId(f"edge-{number:05d}"),
        report=100 + number,
        at=NOON,
        report_seconds=60.0,
        software="0.1.0",
        label_map_digest=SMALL_MAP.digest,
        version_id=version_of(0) if is_behind else last,
        release_number=1 if is_behind else release.number,
        frames=10_000 + number,
        frames_failed=number % 5,
        fps=5.0 + number % 20,
        p50_ms=20.0 + number % 7,
        p99_ms=40.0 + number % 13,
        hard_examples=number % 300,
        outbox_examples=number % 17,
        outbox_bytes=1000 * (number % 17),
        outbox_oldest_s=100.0 * (number % 17) or None,
        uploaded=number % 280,
        cpu_celsius=95.0 if is_hot else 50.0 + number % 30,
        load=0.5,
        memory_bytes=90 * 2**20,
        outbox_free_bytes=2**33,
        state_free_bytes=2**33,
        drift={"entropy": 0.1 * (number % 40)},
        alarms={"drift": "entropy has drifted from what training saw"} if is_hot else {},
    )


def _round(number: int, incumbent: VersionId, samples: int, *, is_open: bool) -> Round:
    examples = tuple(_example(number, i, incumbent) for i in range(samples))
    done = samples // 2 if is_open else samples
    begun = NOON + timedelta(hours=6 * number)
    refused = number % 7 == 0
    end = RoundState.REFUSED if refused else RoundState.RELEASED
    steps = [*RoundState][: 3 if is_open else 5] + ([] if is_open else [end])
    return Round(
        number=RoundNumber(number),
        state=RoundState.ANNOTATING if is_open else end,
        incumbent=incumbent,
        examples=examples,
        drafts=tuple(_draft(number, i) for i in range(samples)),
        tasks=tuple(_task(number, i) for i in range(samples)),
        annotations=tuple(_annotation(number, i) for i in range(done)),
        candidate=None if is_open else version_of(number),
        decision=None if is_open else _decision(number, incumbent),
        entered={str(step): begun + timedelta(minutes=10 * i) for i, step in enumerate(steps)},
    )


def _decision(number: int, incumbent: VersionId) -> GateDecision:
    refused = number % 7 == 0
    return GateDecision(
        version_id=version_of(number),
        incumbent=incumbent,
        accepted=not refused,
        reasons=("clear: mIoU falls from 70.0 to 61.0, more than 2.0 points",) if refused else (),
        notes=(f"{CONDITIONS[number % 5]}: mIoU rises by 1.5 points",),
    )


def _examination(number: int, incumbent: VersionId) -> Examination:
    return Examination(
        round_number=RoundNumber(number),
        candidate=_report(version_of(number), number),
        incumbent=_report(incumbent, number - 1),
        decision=_decision(number, incumbent),
    )


def _report(version: VersionId, number: int) -> EvaluationReport:
    return EvaluationReport(
        version_id=version,
        tasks={
            task: TaskResult(
                miou=miou_of(number, i),
                pixel_accuracy=min(1.0, miou_of(number, i) + 0.2),
                iou={
                    name: max(0.0, miou_of(number, i) - 0.05 * c) for c, name in enumerate(CLASSES)
                },
                images=24,
                class_images=dict.fromkeys(CLASSES, 20),
            )
            for i, task in enumerate(CONDITIONS)
        },
    )


def miou_of(number: int, condition: int) -> float:
    """mIoU of the model of round `number` on a condition: rises, with a little forgetting."""
    risen = 1.0 - math.exp(-(number + 1) / (30.0 + 5.0 * condition))
    return round(0.3 + 0.5 * risen - (0.02 if number % 7 == condition else 0.0), 4)


def _version(number: int, parent: VersionId | None, samples: int) -> ModelVersion:
    return ModelVersion(
        version_id=version_of(number),
        parent=parent,
        round_number=RoundNumber(number),
        bundle_key=bundle_key(version_of(number)),
        sha256=f"{number:064x}",
        label_map_digest=SMALL_MAP.digest,
        network="fast_cnn",
        strategy="replay+distillation",
        weights_sha256=f"{number + 1:064x}",
        trained_on=tuple(sample_of(number, i) for i in range(samples)) if number else (),
        replayed=tuple(sample_of(max(1, number - 1), i) for i in range(min(5, samples))),
    )


def _release(number: int, round_number: int) -> Release:
    return Release(
        number=number,
        version_id=version_of(round_number),
        bundle_key=bundle_key(version_of(round_number)),
        sha256=f"{round_number:064x}",
        label_map_digest=SMALL_MAP.digest,
        round_number=RoundNumber(round_number),
        released_at=NOON + timedelta(hours=6 * round_number),
        why=f"round {round_number} accepted" if round_number else "the first model",
    )


def _example(number: int, index: int, version: VersionId) -> HardExample:
    sample = sample_of(number, index)
    return HardExample(
        sample_id=sample,
        edge_id=EdgeId(f"edge-{index % 7:05d}"),
        captured_at=NOON + timedelta(hours=6 * number, seconds=index),
        sequence=index,
        version_id=version,
        score=0.3 + 0.01 * (index % 50),
        reasons=("mean entropy 0.52 ≥ 0.40",),
        image_key=f"images/{sample}.jpg",
        image_sha256="0" * 64,
        mask_key=f"edge_masks/{sample}.png",
        mask_sha256="0" * 64,
        height=HEIGHT,
        width=WIDTH,
        attributes={"condition": CONDITIONS[number % 5]},
    )


def _draft(number: int, index: int) -> PreAnnotation:
    sample = sample_of(number, index)
    return PreAnnotation(
        sample_id=sample,
        round_number=RoundNumber(number),
        image_key=f"images/{sample}.jpg",
        mask_key=f"drafts/{number}/{sample}.png",
        height=HEIGHT,
        width=WIDTH,
        score=0.8,
        proposed_by="tiny_sam",
        labelled_by="tiny_segformer",
    )


def _task(number: int, index: int) -> AnnotationTask:
    sample = sample_of(number, index)
    return AnnotationTask(
        sample_id=sample,
        round_number=RoundNumber(number),
        project_id=1,
        task_id=1000 * number + index + 1,
        draft_key=f"drafts/{number}/{sample}.png",
        drafted_by="tiny_sam+tiny_segformer",
        is_blank=index % 10 == 9,
    )


def _annotation(number: int, index: int) -> Annotation:
    sample = sample_of(number, index)
    is_blank = index % 10 == 9
    cost = CorrectionCost(
        annotation_id=index + 1,
        annotator=ANNOTATORS[index % 3],
        drafted_by="tiny_sam+tiny_segformer",
        with_draft=not is_blank,
        seconds=120.0 if is_blank else 30.0 + index % 20,
        pixels=HEIGHT * WIDTH,
        classes={
            "car": ClassCost(
                pixels_added=40,
                pixels_removed=10,
                regions_touched=1,
                regions_added=1 if is_blank else 0,
                regions_deleted=0,
                seconds=20.0,
            )
        },
    )
    return Annotation(
        sample_id=sample,
        round_number=RoundNumber(number),
        annotation_id=index + 1,
        annotator=ANNOTATORS[index % 3],
        annotated_at=NOON + timedelta(hours=6 * number, minutes=25, seconds=index),
        mask_key=f"masks/{sample}/{index + 1}.png",
        mask_sha256="0" * 64,
        agreement=0.7,
        changed_pixels=300,
        seconds=cost.seconds,
        annotation_ids=(index + 1,),
        annotators=(ANNOTATORS[index % 3],),
        costs=(cost,),
    )


def _sample(number: int, index: int) -> Sample:
    sample = sample_of(number, index)
    return Sample(
        sample_id=sample,
        image_key=f"images/{sample}.jpg",
        image_sha256="0" * 64,
        mask_key=f"masks/{sample}/{index + 1}.png",
        mask_sha256="0" * 64,
        learning_task=CONDITIONS[number % 5],
        split=Split.EVAL if index % 10 == 0 else Split.TRAIN,
        round_number=RoundNumber(number),
        edge_id=EdgeId(f"edge-{index % 7:05d}"),
        annotator=ANNOTATORS[index % 3],
        class_pixels={0: 1500, 1: 900, 2: 672},
    )


def _put_pictures(storage: Storage, number: int, samples: int) -> None:
    kinds: Sequence[tuple[str, int]] = (("edge_masks/{}.png", 1), (f"drafts/{number}/{{}}.png", 2))
    for index in range(samples):
        sample = sample_of(number, index)
        storage.put(f"images/{sample}.jpg", a_jpeg(index))
        for key, seed in kinds:
            storage.put(key.format(sample), a_mask_png(index + seed))
        storage.put(f"masks/{sample}/{index + 1}.png", a_mask_png(index + 2))
