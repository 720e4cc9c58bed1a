"""How good the deployed model is, and what learning did to the old, as metrics.

The same figures as on the page `/learning` (`cloud/monitor/learning_facts.py`): those of the
deployed model's own examination, or of the newest one in which it was the incumbent.
"""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import Metric

from cloud.metrics.catalogue import LEARNING, Families
from cloud.monitor.learning_facts import course
from cloud.monitor.look import Look
from cloud.monitor.rollback_effect import newest_reports
from lifelong.records.model_versions import EvaluationReport


def learning_metrics(look: Look) -> Iterator[Metric]:
    """Everything that models and samples tell."""
    families = Families(LEARNING)
    families.put("model_versions", len(look.versions))
    counts = Counter((s.learning_task, str(s.split)) for s in look.samples.values())
    for (task, split), count in sorted(counts.items()):
        families.put("knowledge_samples", count, task, split)
    report = deployed_report(look)
    if report is not None:
        _put_report(families, report)
        _put_course(families, look, report)
    return iter(families)


def deployed_report(look: Look) -> EvaluationReport | None:
    """The examination of the model that every node is to run; None when it sat none."""
    if look.current is None:
        return None
    own = look.examinations.get(look.current.version_id)
    return own.candidate if own else look.fact(newest_reports).get(look.current.version_id)


def _put_report(families: Families, report: EvaluationReport) -> None:
    for task, result in report.tasks.items():
        families.put("model_miou", result.miou, task)
        families.put("model_pixel_accuracy", result.pixel_accuracy, task)
        families.put("model_holdout_images", result.images, task)
        for name, iou in result.iou.items():
            families.put("model_iou", iou, task, name)


def _put_course(families: Families, look: Look, report: EvaluationReport) -> None:
    """Of the newest row of the accuracy matrix that is the deployed model's."""
    found = look.fact(course)
    for row in range(len(found.rows) - 1, -1, -1):
        if found.rows[row].version_id == report.version_id:
            families.put("model_backward_transfer", found.backward[row])
            families.put("model_forgetting", found.forgetting[row])
            return
