"""The edge's composition root: a configuration to a node that is ready to run."""

import fcntl
import logging
import os
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edge.answers import Answers
from edge.delivery.assembly import keeper_of, uploader_of
from edge.delivery.outbox import Outbox
from edge.errands import Errand
from edge.escalation import Escalation
from edge.health import Health
from edge.health_report import HealthReports, Reporter
from edge.machine import look_at
from edge.models.loaded_models import Trial
from edge.models.model_slot import ModelSlot
from edge.models.model_trial import ModelTrial
from edge.models.model_updates import ModelUpdates
from edge.models.probation import Guards
from edge.models.trust import open_trust
from edge.node import EdgeNode, FrameSource, Judge
from edge.privacy import Privacy
from edge.second_looks import second_look_for
from edge.seen_frames import SeenFrames
from edge.sources.camera_sources import camera_feed, rtsp_feed
from edge.sources.frame_sources import FolderFrames
from edge.sources.limited_frames import LimitedFrames
from edge.sources.live_frames import LiveFrames
from edge.sources.video_sources import VideoFrames
from edge.stop import Stop
from edge.systemd import SystemdNotices
from lifelong.config import Config, load_label_map
from lifelong.drift import DriftMonitor
from lifelong.errors import ConfigError
from lifelong.hard_examples import Verdict, judge
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage, open_storage
from lifelong.model_bundle import ModelBundle
from lifelong.records.ids import edge_id
from lifelong.records.label_map import LabelMap
from lifelong.records.pixels import Frame, Prediction
from lifelong.sections.edge import EdgeSection, FolderSource, RtspSource, VideoSource
from lifelong.segmenter import OnnxSegmenter, chosen_provider

logger = logging.getLogger(__name__)


def build_node(
    config: Config,
    stop: Stop,
    *,
    storage: Storage | None = None,
    replay: bool = False,
    inline: bool = False,
    updates_of: Callable[..., ModelUpdates] = ModelUpdates,
) -> EdgeNode:
    """Everything a node needs, wired together; takes the lock on its state.

    Args:
        storage: in place of the one the configuration names, for tests.
        replay: process frames that were processed before.
        inline: upload and fetch between frames instead of beside them, for tests and replays.
        updates_of: makes what watches for models, of the arguments of `ModelUpdates`.

    Raises:
        ConfigError: a section or class is missing, a folder cannot be written, or another process
            runs with the same state.
    """
    edge = edge_section(config)
    state = edge.state_path
    lock_state(state)
    label_map = load_label_map(config)
    journal = Journal(state / "journal", edge.id)
    store = storage or open_storage(config.storage)
    privacy = Privacy(edge.privacy, label_map)
    answers = None if edge.answers is None else Answers(edge.answers, label_map)
    outbox = Outbox(edge.outbox, journal)
    updates = updates_of(
        store,
        state / "models",
        label_map.digest,
        journal,
        trust=open_trust(edge.updates, state, journal),
        edge_id=edge_id(edge.id),
    )
    health = Health(state / "health.json")
    slot = ModelSlot(
        updates,
        loader(edge, watched=privacy.watched),
        journal,
        Errand("model updates", inline=inline),
        poll_seconds=edge.release_poll_seconds,
        canary_frames=edge.canary_frames,
        proven_after=edge.updates.proven_after,
        guards=Guards(
            max_slowdown=edge.updates.max_slowdown,
            min_confidence_share=edge.updates.min_confidence_share,
        ),
        forgiven_deaths=edge.updates.forgiven_deaths,
        keep_previous=edge.hard_examples.policy == "disagreement",
        trial=model_trial(edge),
    )
    drift = DriftMonitor(edge.health.drift_window, edge.health.drift_alarm)
    return EdgeNode(
        source=_limited(edge, _source(edge, journal, stop, replay=replay), stop),
        slot=slot,
        judge=_judge(edge, label_map),
        look_again=second_look_for(edge.hard_examples.policy, slot),
        seed=edge.hard_examples.seed,
        keeper=keeper_of(edge, outbox, journal, privacy),
        answers=answers,
        escalation=_escalation(edge, store, journal, privacy, label_map, answers),
        outbox=outbox,
        uploader=uploader_of(edge, outbox, store, journal, stop, inline=inline),
        journal=journal,
        health=health,
        reports=_reports(
            edge, label_map, store, health, outbox, drift, Errand("health", inline=inline)
        ),
        drift=drift,
        systemd=SystemdNotices(),
        stop=stop,
    )


def edge_section(config: Config) -> EdgeSection:
    """The section of this node, its id checked.

    Raises:
        ConfigError: there is none, or the id cannot be part of a storage key.
    """
    if config.edge is None:
        raise ConfigError("edge: the section is missing; an edge node needs at least edge.source")
    try:
        edge_id(config.edge.id)
    except ValueError as error:
        raise ConfigError(f"edge.id: {error}") from error
    return config.edge


def loader(
    edge: EdgeSection, *, watched: tuple[int, ...] = ()
) -> Callable[[ModelBundle], OnnxSegmenter]:
    """How this node loads a bundle; `watched` classes tell their probabilities.

    Raises:
        ConfigError: `edge.providers` names one that ONNX Runtime does not know.
    """
    provider = chosen_provider(edge.providers)
    if edge.providers and provider != edge.providers[0]:
        logger.warning("%s is not here; models run with %s", edge.providers[0], provider)

    def load(bundle: ModelBundle) -> OnnxSegmenter:
        return OnnxSegmenter(
            bundle, threads=edge.threads, providers=edge.providers, watched=watched
        )

    return load


def model_trial(edge: EdgeSection) -> Trial | None:
    """How this node tries a foreign model first; None when it is told not to."""
    if not edge.updates.trial:
        return None
    return ModelTrial(
        folder=edge.state_path / "models",
        seconds=edge.updates.trial_seconds,
        max_mib=edge.updates.trial_max_mib,
        threads=edge.threads,
        providers=edge.providers,
    )


def lock_state(folder: Path) -> None:
    """Take this node's state for this process; the lock ends with the process, however it ends.

    Raises:
        ConfigError: another process has it, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ConfigError(
            f"edge.state_path: {folder} cannot be written ({error.strerror}); name another folder"
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise ConfigError(
            f"edge.state_path: another process runs with {folder}; stop it, or give this node "
            "a state_path and an outbox of its own"
        ) from error


def _source(edge: EdgeSection, journal: Journal, stop: Stop, *, replay: bool) -> FrameSource:
    seen = SeenFrames(edge.state_path / "frames.jsonl")
    common: dict[str, Any] = {
        "edge_id": edge_id(edge.id),
        "attributes": edge.attributes,
        "seen": seen,
    }
    source = edge.source
    if isinstance(source, FolderSource):
        return FolderFrames(source, journal=journal, wait=stop.wait, again=replay, **common)
    if isinstance(source, VideoSource):
        return VideoFrames(source, again=replay, wait=stop.wait, **common)
    feed, name = rtsp_feed(source) if isinstance(source, RtspSource) else camera_feed(source)
    return LiveFrames(
        feed,
        name,
        back_pressure=source.back_pressure,
        queue_frames=source.queue_frames,
        reconnect_seconds=source.reconnect_seconds,
        journal=journal,
        **common,
    )


def _limited(edge: EdgeSection, source: FrameSource, stop: Stop) -> FrameSource:
    if not edge.stop_after_frames and edge.max_frames_per_second is None:
        return source
    return LimitedFrames(
        source,
        at_most=edge.stop_after_frames,
        per_second=edge.max_frames_per_second,
        wait=stop.wait,
    )


def _reports(
    edge: EdgeSection,
    label_map: LabelMap,
    storage: Storage,
    health: Health,
    outbox: Outbox,
    drift: DriftMonitor,
    errand: Errand,
) -> HealthReports:
    reporter = Reporter(
        edge_id=edge_id(edge.id),
        label_map_digest=label_map.digest,
        software=_software(),
        report_seconds=edge.health.report_seconds,
    )
    waiting, state = edge.outbox.path, edge.state_path
    return HealthReports(
        reporter,
        storage,
        health,
        errand,
        state / "reports",
        machine=lambda: look_at(waiting, state),
        oldest_s=outbox.oldest_age_s,
        drift=drift,
    )


def _software() -> str:
    try:
        return version("cornerloop")
    except PackageNotFoundError:
        return "not installed, run from its sources"


def _escalation(
    edge: EdgeSection,
    storage: Storage,
    journal: Journal,
    privacy: Privacy,
    label_map: LabelMap,
    answers: Answers | None,
) -> Escalation | None:
    if not edge.escalation.enabled:
        return None
    if edge.hard_examples.policy == "edge_only":
        raise ConfigError(
            "edge.escalation.enabled: with edge.hard_examples.policy edge_only no frame leaves "
            "the node; choose one of the two"
        )

    def used(frame: Frame, prediction: Prediction, answered_by: str, seconds: float, /) -> None:
        if answers is not None:
            answers.put(frame, prediction, by="cloud", version=answered_by, seconds=seconds)

    return Escalation(
        edge.escalation,
        storage,
        journal,
        privacy,
        edge_id=edge_id(edge.id),
        label_map=label_map,
        used=used,
    )


def _judge(edge: EdgeSection, label_map: LabelMap) -> Judge:
    section = edge.hard_examples
    background = section.background
    if background is not None and background not in label_map:
        raise ConfigError(
            f"edge.hard_examples.background: no class {background!r}; "
            f"the label map has: {', '.join(label_map.names)}"
        )
    background_id = None if background is None else label_map.id_of(background)

    def judged(
        prediction: Prediction,
        quantiles: Mapping[str, Mapping[str, float]],
        draw: float,
        second: Prediction | None,
        /,
    ) -> Verdict:
        return judge(
            prediction, section, quantiles, draw, background_id=background_id, second=second
        )

    return judged
