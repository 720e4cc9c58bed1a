"""Every metric of ours: name, kind, labels, meaning and where its value comes from.

What is not in here is not on `/metrics`, and docs/metrics.md lists the same. Names follow
Prometheus: base units, `_total` for what only rises. No label may take endlessly many values:
nodes, conditions, classes and states are few, samples and people are not.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

Kind = Literal["gauge", "counter", "histogram"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """One metric as the page of metrics tells it."""

    name: str  # as it stands in a query; histograms without _bucket, _sum, _count
    kind: Kind
    labels: tuple[str, ...]
    meaning: str


def _gauge(name: str, meaning: str, *labels: str) -> Described:
    return Described(name=name, kind="gauge", labels=labels, meaning=meaning)


def _counter(name: str, meaning: str, *labels: str) -> Described:
    return Described(name=name, kind="counter", labels=labels, meaning=meaning)


def _histogram(name: str, meaning: str, *labels: str) -> Described:
    return Described(name=name, kind="histogram", labels=labels, meaning=meaning)


# Counted from the rounds, releases and samples that a look saw in storage.
LOOP = (
    _gauge("round_state", "1 for the state that the newest round is in.", "round", "state"),
    _gauge("round_number", "Number of the newest round."),
    _gauge("round_state_seconds", "How long the newest round has been in its state."),
    _counter("rounds_total", "Rounds that ended, by how they ended.", "state"),
    _gauge("rounds_refused_in_a_row", "Rounds refused since the last one that was released."),
    _counter("gate_decisions_total", "Candidates that the gate judged.", "verdict"),
    _counter("gate_reasons_total", "Reasons for which the gate refused candidates.", "kind"),
    _counter("releases_total", "Releases, roll-backs among them."),
    _counter("release_rollbacks_total", "Releases that brought an earlier version back."),
    _gauge("release_number", "Number of the release that every node is to run."),
    _gauge("release_age_seconds", "Since that release was made."),
    _gauge("rollout_state", "1 for the state that the newest roll-out is in.", "state"),
    _gauge("rollout_share_ratio", "Share of the nodes that the newest roll-out has reached."),
    _gauge("inbox_deliveries", "Deliveries of nodes that the inbox has not taken in yet."),
    _gauge("inbox_oldest_age_seconds", "Since the oldest of them came."),
    _gauge("inbox_refused_deliveries", "Deliveries that did not verify and lie aside."),
    _gauge("conditions_proposed", "New conditions that wait for a name."),
    _gauge("training_step", "Steps that the training under way has taken."),
    _gauge("training_steps", "Steps that it will take."),
    _gauge("training_progress_ratio", "How far it has come, 0 to 1."),
    _gauge("training_loss", "Its loss."),
)
LEARNING = (
    _gauge("model_miou", "mIoU of the deployed model on a hold-out, 0 to 1.", "task"),
    _gauge("model_iou", "IoU of the deployed model on a hold-out, 0 to 1.", "task", "class"),
    _gauge("model_pixel_accuracy", "Share of pixels it answers rightly, 0 to 1.", "task"),
    _gauge("model_holdout_images", "Pictures in the hold-out behind these figures.", "task"),
    _gauge("model_backward_transfer", "Mean change of mIoU since each task was first taught."),
    _gauge("model_forgetting", "Mean loss of mIoU since each task was known best."),
    _gauge("model_versions", "Versions in the knowledge base."),
    _gauge("knowledge_samples", "Samples in the knowledge base.", "task", "split"),
)
PEOPLE = (
    _gauge("annotation_tasks", "Tasks of the round that people are at, by state.", "state"),
    _gauge("annotation_edit_ratio", "Share of the pixels that people changed in drafts."),
    _gauge("annotation_draft_agreement", "mIoU of drafts against what people made of them."),
    _counter("annotations_total", "Annotations that came since the start.", "draft"),
    _counter("annotation_seconds_total", "Time that people took for them.", "draft"),
)
EDGES = (
    _gauge("edges", "Nodes by how they stand.", "state"),
    _gauge("edge_fps", "Frames a second over the last seconds.", "edge"),
    _gauge("edge_outbox_bytes", "Hard examples that wait on the node.", "edge"),
    _gauge("edge_outbox_examples", "Hard examples that wait on the node.", "edge"),
    _gauge("edge_outbox_oldest_age_seconds", "How long the oldest of them has waited.", "edge"),
    _gauge("edge_cpu_celsius", "Temperature of the processor.", "edge"),
    _gauge("edge_load", "Average load of the last minute, a core.", "edge"),
    _gauge("edge_memory_bytes", "Resident memory of the node's process.", "edge"),
    _gauge("edge_state_free_bytes", "Free space of the disk with the state.", "edge"),
    _gauge("edge_outbox_free_bytes", "Free space of the outbox's disk.", "edge"),
    _counter("edge_frames_total", "Frames since the node's start.", "edge"),
    _counter("edge_frames_failed_total", "Frames that no model answered.", "edge"),
    _counter("edge_hard_examples_total", "Hard examples kept since the node's start.", "edge"),
    _counter("edge_uploaded_total", "Hard examples confirmed by storage.", "edge"),
    _counter("edge_dropped_total", "Hard examples given up: no space, too old.", "edge"),
    _counter("edge_swaps_total", "Swaps of the model.", "edge"),
    _counter("edge_fallbacks_total", "Falls back to the model before.", "edge"),
    _gauge(
        "edge_inference_seconds",
        "Time of a frame, percentiles of the last ones.",
        "edge",
        "percentile",
    ),
    _gauge("edge_report_age_seconds", "Since the last report came.", "edge"),
    _gauge("edge_state", "1 for the state that the node is in.", "edge", "state"),
    _gauge("edge_alarm", "1 for an alarm of the last report.", "edge", "kind", "alarm"),
    _gauge("edge_drift", "A statistic by which the node looks for drift.", "edge", "statistic"),
)
# Asked of this process when somebody wants to know.
SERVICE = (
    _gauge("service_state", "1 for the state that /readyz tells.", "state"),
    _gauge("service_fault", "1 for a reason why it does not say ready.", "code"),
    _gauge("service_thread_silence_seconds", "Since a thread gave a sign of life.", "thread"),
    _gauge("service_look_age_seconds", "Since storage was looked into."),
    _gauge("storage_reachable", "1 when the last look into storage succeeded, else 0."),
    _gauge("label_studio_reachable", "1 when Label Studio answered the last time, else 0."),
    _gauge("disk_free_bytes", "Free space of a disk that the service writes to.", "place"),
    _gauge("audit_entries", "Entries of the audit log."),
    _gauge("assist_models", "Models of the smart tool, by state.", "state"),
    _counter("assist_embedding_lookups_total", "Embeddings wanted, by where they were.", "source"),
    _gauge("assist_work", "Work of the smart tool that is under way or waits."),
    _counter("journal_events_total", "Facts that came into the journal.", "event"),
    _gauge("cornerloop_info", "1; which program this is.", "version"),
)
# Kept by `Measures` as they happen, in a registry of its own: none of them may be a family, too,
# since what is described twice is no exposition for strict readers.
MEASURED = (
    _histogram("assist_answer_seconds", "Time of an answer of the smart tool.", "kind"),
    _counter("assist_failures_total", "Questions to the smart tool without an answer.", "error"),
    _histogram("drafting_seconds", "Time to draft a picture's mask."),
    _histogram("http_request_seconds", "Time of a request to the service.", "area"),
    _counter("http_requests_total", "Requests to the service.", "status"),
)
# By prometheus_client from the operating system (Linux).
PROCESS = (
    _gauge("process_resident_memory_bytes", "Resident memory of the service."),
    _gauge("process_virtual_memory_bytes", "Virtual memory of the service."),
    _counter("process_cpu_seconds_total", "Time that processors spent on it."),
    _gauge("process_start_time_seconds", "When it started, since the epoch."),
    _gauge("process_open_fds", "Open files of the service."),
    _gauge("process_max_fds", "How many it may open."),
)
CATALOGUE: Mapping[str, Described] = {
    one.name: one
    for group in (LOOP, LEARNING, PEOPLE, EDGES, SERVICE, MEASURED, PROCESS)
    for one in group
}


class Families:
    """Values put under their metrics; all of a group come out, also those without a value."""

    def __init__(self, group: Iterable[Described]) -> None:
        self._families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {
            one.name: _family(one) for one in group
        }

    def put(self, name: str, value: float | None, *labels: str) -> None:
        """Tell a value; None is not told at all: nobody knows it.

        Args:
            labels: in the order of the catalogue.
        """
        if value is not None:
            self._families[name].add_metric(labels, value)

    def __iter__(self) -> Iterator[Metric]:
        return iter(self._families.values())


def _family(one: Described) -> GaugeMetricFamily | CounterMetricFamily:
    if one.kind == "counter":
        return CounterMetricFamily(one.name.removesuffix("_total"), one.meaning, labels=one.labels)
    return GaugeMetricFamily(one.name, one.meaning, labels=one.labels)
