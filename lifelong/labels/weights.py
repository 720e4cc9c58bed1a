"""How much a label counts in training, by who stands behind it."""

from lifelong.records.samples import Sample
from lifelong.sections.labels import LabelsSection

AUTO = "auto"  # the annotator of a label that no person saw


def weight_of(sample: Sample, section: LabelsSection) -> float:
    """What the pixels of a sample count in the loss, 0 .. 1."""
    return section.auto_weight if sample.annotator == AUTO else 1.0
