"""What happened, counted from records: rounds, accuracy matrix, people's work, edges."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from cloud.conditions.rulings import count_proposed
from lifelong.knowledge_base import KnowledgeBase
from lifelong.records.ids import VersionId
from lifelong.records.model_versions import EvaluationReport, Examination, Release
from lifelong.records.rounds import Round, RoundState


def miou_by_task(report: EvaluationReport | None) -> dict[str, float]:
    """mIoU of each learning task, whole: what is rounded twice differs from page to page."""
    return {t: r.miou for t, r in report.tasks.items()} if report else {}


def round_summary(round_: Round, kb: KnowledgeBase) -> dict[str, Any]:
    """`summary_of` with what the knowledge base knows."""
    return summary_of(round_, kb.examinations)


def summary_of(round_: Round, examinations: Mapping[VersionId, Examination]) -> dict[str, Any]:
    """One round as JSON-ready values; what a round has not reached is None or empty.

    `miou_after` is the candidate's, also when it was refused; `accepted` tells.
    """
    examination = examinations.get(round_.candidate) if round_.candidate else None
    return {
        "number": round_.number,
        "state": str(round_.state),
        "condition": condition_of(round_),
        "incumbent": round_.incumbent,
        "candidate": round_.candidate,
        "miou_before": miou_by_task(examination.incumbent if examination else None),
        "miou_after": miou_by_task(examination.candidate if examination else None),
        "accepted": round_.decision.accepted if round_.decision else None,
        "reasons": list(round_.decision.reasons) if round_.decision else _failure(round_),
        "notes": list(round_.decision.notes) if round_.decision else [],
        "leaks": list(round_.leaks),
        "hard_examples": len(round_.examples),
        "annotated": len(round_.annotations),
        "skipped": len(round_.skips),
        "draft_agreement": _mean([a.agreement for a in round_.annotations]),
        "changed_pixels_share": changed_share(round_),
        "seconds": seconds_by_step(round_),
    }


def condition_of(round_: Round) -> str:
    """The condition that most of a round's examples show; "" when they do not say."""
    names = [e.attributes.get("condition", "") for e in round_.examples]
    return max(sorted(set(names)), key=names.count) if names else ""


def changed_share(round_: Round) -> float | None:
    """Share of the annotated pixels that people changed; None before there are any."""
    sizes = {d.sample_id: d.height * d.width for d in round_.drafts}
    pixels = sum(sizes.get(a.sample_id, 0) for a in round_.annotations)
    return sum(a.changed_pixels for a in round_.annotations) / pixels if pixels else None


def seconds_by_step(round_: Round) -> dict[str, float]:
    """How long each state lasted, for those that were left."""
    moments = sorted(round_.entered.items(), key=lambda item: item[1])
    return {
        state: round((after - at).total_seconds(), 2)
        for (state, at), (_, after) in pairwise(moments)
    }


def accuracy_matrix(
    rounds: Sequence[Round], kb: KnowledgeBase, conditions: Sequence[str]
) -> list[list[float | None]]:
    """R[t][i]: mIoU on condition i of the model deployed after t released rounds.

    Row 0 is the model that was there before the first round; refused rounds add no row.
    """
    rows: list[list[float | None]] = []
    for round_ in rounds:
        examination = kb.examinations.get(round_.candidate) if round_.candidate else None
        if examination is None:
            continue
        if not rows and examination.incumbent is not None:
            rows.append(_row(examination.incumbent, conditions))
        if round_.state is RoundState.RELEASED:
            rows.append(_row(examination.candidate, conditions))
    return rows


def lineage(version_id: VersionId, kb: KnowledgeBase) -> list[dict[str, Any]]:
    """A version and its ancestors, newest first, with what each was trained on."""
    found = []
    current: VersionId | None = version_id
    while current is not None and current in kb.versions:
        version = kb.versions[current]
        found.append(
            {
                "version": version.version_id,
                "round": version.round_number,
                "strategy": version.strategy,
                "trained_on": len(version.trained_on),
                "replayed": len(version.replayed),
                "annotators": sorted(
                    {
                        kb.samples[s].annotator
                        for s in version.trained_on
                        if s in kb.samples and kb.samples[s].annotator
                    }
                ),
            }
        )
        current = version.parent
    return found


def rounds_overview(
    rounds: Sequence[Round], kb: KnowledgeBase, releases: Sequence[Release]
) -> dict[str, Any]:
    """What `cornerloop rounds --json` prints; deployed is what everybody is to run."""
    return overview_of(
        rounds, kb.examinations, releases, conditions_proposed=count_proposed(kb), shown=releases
    )


def overview_of(
    rounds: Sequence[Round],
    examinations: Mapping[VersionId, Examination],
    releases: Sequence[Release],
    *,
    conditions_proposed: int,
    shown: Sequence[Release],
) -> dict[str, Any]:
    """As `rounds_overview`; of all `releases` only those `shown` are listed."""
    current = next((release for release in reversed(releases) if release.share >= 1.0), None)
    return {
        "deployed": None
        if current is None
        else {
            "version": current.version_id,
            "bundle": current.bundle_key,
            "sha256": current.sha256,
            "round": current.round_number,
            "released_at": current.released_at.isoformat(),
            "why": current.why,
        },
        "rounds": [summary_of(round_, examinations) for round_ in rounds],
        "releases": [
            {"number": r.number, "version": r.version_id, "why": r.why, "share": r.share}
            for r in shown
        ],
        "conditions_proposed": conditions_proposed,
    }


def _row(report: EvaluationReport, conditions: Sequence[str]) -> list[float | None]:
    found: Mapping[str, float] = miou_by_task(report)
    return [found.get(condition) for condition in conditions]


def _failure(round_: Round) -> list[str]:
    return [round_.failure] if round_.failure else []


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
