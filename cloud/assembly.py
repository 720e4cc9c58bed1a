"""The composition root: configuration to ready objects; the only place that names adapters.

Imports that cost seconds (torch by way of drafting and training) stay inside the function that
needs them: `cornerloop rounds` must answer at once.
"""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from cloud.annotators.by_classes import AnnotatorsByClasses
from cloud.backup.mark import refuse_unfinished
from cloud.conditions.grouping import Conditions
from cloud.conditions.places import PlacesForConditions
from cloud.drafting.kept_drafts import KeptDrafts
from cloud.escalations import Escalations
from cloud.fleet.budgets import Budgets
from cloud.fleet.edges import Edges
from cloud.fleet.overview import fleet_overview
from cloud.fleet.rollout import Rollouts
from cloud.inbox import Inbox
from cloud.job.training_job import TrainingJob
from cloud.knowledge.forget_requests import Forgetting, Removal
from cloud.lease import Lease
from cloud.loop import Annotators, Ports, PreAnnotator
from cloud.monitor.watch import Watch
from cloud.releasing.releases import Releases
from cloud.releasing.signing_keys import signer_source
from cloud.round_start import RoundStart
from cloud.rounds import Rounds
from cloud.selecting.present_counts import present_counts
from cloud.selecting.selection import Queue
from cloud.service import Service
from lifelong.config import Config, load_label_map
from lifelong.errors import ConfigError
from lifelong.knowledge_base import KnowledgeBase
from lifelong.labels.map_history import LabelMapHistory, read_history
from lifelong.links.journal import Journal, utc_now
from lifelong.links.storage import Storage, open_storage
from lifelong.records.label_map import LabelMap
from lifelong.sections.annotation import LabelStudioSection

if TYPE_CHECKING:
    from annotation.label_studio import LabelStudio
    from cloud.annotators.work import Workplace
    from cloud.preannotation.drafting import Drafter


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """What every cloud command needs, opened once."""

    config: Config
    storage: Storage
    label_map: LabelMap
    kb: KnowledgeBase
    releases: Releases
    rounds: Rounds
    journal: Journal


def open_cloud(config: Config, node: str = "cloud") -> Cloud:
    """Open storage and what lies in it."""
    storage = open_storage(config.storage)
    refuse_unfinished(storage)
    journal = Journal(config.journal_path, node)
    return Cloud(
        config=config,
        storage=storage,
        label_map=load_label_map(config),
        kb=KnowledgeBase(storage),
        releases=Releases(storage, journal, utc_now, signer_source(config.releases, storage)),
        rounds=Rounds(storage),
        journal=journal,
    )


def make_service(
    cloud: Cloud, drafter: "Drafter", beat: Callable[[], None] = lambda: None
) -> Service:
    """The loop with its real ports; `beat` is its sign of life."""
    from cloud.annotators.auto_accept import AutoAccept
    from cloud.annotators.lost_work import LostWork

    counts = present_counts(cloud.storage, cloud.label_map, cloud.kb)
    preannotator = make_preannotator(cloud, drafter)
    rollouts = make_rollouts(cloud)
    conditions = make_conditions(cloud)
    inbox, budgets = Inbox(cloud.storage, cloud.journal), Budgets(cloud.storage, cloud.journal)
    forgetting = make_forgetting(cloud)

    def tend() -> None:
        forgetting.finish()  # first: nothing of it shall be looked at again
        # Also while people are at work for days: nodes keep their copies until they have receipts.
        arrived = inbox.collect()
        budgets.apply_defaults(cloud.config.edges)
        conditions.look(arrived)

    ports = Ports(
        inbox=inbox,
        selection=PlacesForConditions(
            Queue(
                section=cloud.config.queue,
                kb=cloud.kb,
                storage=cloud.storage,
                journal=cloud.journal,
                bundle=cloud.releases.bundle,
                counts=counts,
            ),
            conditions.wanted,
        ),
        preannotator=preannotator,
        annotators=AutoAccept(
            with_second_looks(cloud, make_annotators(cloud, preannotator)),
            storage=cloud.storage,
            section=cloud.config.labels,
            journal=cloud.journal,
            now=utc_now,
        ),
        job=TrainingJob(
            cloud.storage,
            cloud.kb,
            cloud.config.job,
            cloud.journal,
            conditions.task_of,
            cloud.config.holdouts,
        ),
        releases=rollouts,
        trigger=RoundStart(
            rules=cloud.config.rounds,
            storage=cloud.storage,
            label_map=cloud.label_map,
            journal=cloud.journal,
            now=utc_now,
            counts=counts,
        ),
    )
    studio = partial(open_label_studio, cloud.config)
    lost = LostWork(cloud.storage, ports.annotators, studio, cloud.journal)
    rules = cloud.config.rounds
    return Service(
        ports=ports,
        rounds=cloud.rounds,
        lease=Lease(cloud.storage, rules.lease_seconds, utc_now),
        rules=rules,
        people_pause_s=cloud.config.label_studio.poll_seconds,
        journal=cloud.journal,
        now=utc_now,
        roll_out=rollouts.step,
        tend=tend,
        offer_again=lost.offer_again,
        beat=beat,
    )


def make_conditions(cloud: Cloud) -> Conditions:
    """Who gives pictures to learning tasks, and finds new conditions among them."""
    return Conditions(
        section=cloud.config.conditions,
        kb=cloud.kb,
        storage=cloud.storage,
        journal=cloud.journal,
        current=cloud.releases.current,
        bundle=cloud.releases.bundle,
        now=utc_now,
    )


def make_rollouts(cloud: Cloud) -> Rollouts:
    """How accepted models come to the fleet; only the holder of the lease may step it."""
    return Rollouts(
        storage=cloud.storage,
        releases=cloud.releases,
        edges=Edges(cloud.storage, utc_now),
        section=cloud.config.releases,
        journal=cloud.journal,
        now=utc_now,
    )


def make_forgetting(cloud: Cloud) -> Forgetting:
    """Who carries out requests to forget; only the holder of the lease may let him."""
    return Forgetting(
        storage=cloud.storage,
        kb=cloud.kb,
        rounds=cloud.rounds,
        job=cloud.config.job,
        journal=cloud.journal,
        journal_path=cloud.config.journal_path,
        removal=partial(make_removal, cloud.config),
        now=utc_now,
    )


def make_removal(config: Config) -> Removal | None:
    """The way to remove tasks: the folder, Label Studio; None: it has no token here."""
    from annotation.task_removal import FolderRemoval, StudioRemoval

    if config.annotation_folder is not None:
        return FolderRemoval(config.annotation_folder)
    if not os.environ.get(config.label_studio.token_env):
        return None
    return StudioRemoval(open_label_studio(config))


def make_fleet_view(cloud: Cloud) -> Callable[[], dict[str, Any]]:
    """How the fleet stands at each call; what was read once is read again only when it changed."""
    edges, rollouts = Edges(cloud.storage, utc_now), make_rollouts(cloud)
    lock = threading.Lock()  # requests of the page come in threads of their own

    def look() -> dict[str, Any]:
        with lock:
            section = cloud.config.releases
            return fleet_overview(cloud.storage, edges, rollouts, section, utc_now())

    return look


def make_watch(cloud: Cloud) -> Watch:
    """Who looks into storage for the monitor; `cloud` must be its alone."""
    return Watch(
        storage=cloud.storage,
        kb=cloud.kb,
        rollouts=make_rollouts(cloud),
        section=cloud.config.releases,
        now=utc_now,
        pause_s=cloud.config.web.refresh_seconds,
    )


def with_second_looks(cloud: Cloud, people: Annotators) -> Annotators:
    """Annotators who are asked again where the incumbent doubts, if the configuration wishes.

    Raises:
        ConfigError: it wishes so, and there is no Label Studio to ask in.
    """
    from annotation.project import ImageAddresses
    from annotation.review.asking import AskingDesk
    from annotation.review.desk import ReviewDesk
    from cloud.annotators.doubted_labels import DoubtedLabels

    config = cloud.config
    if not config.labels.ask_again_share:
        return people
    if config.annotation_folder is not None:
        raise ConfigError("labels.ask_again_share needs Label Studio, annotation_folder is set")
    desk = ReviewDesk(
        storage=cloud.storage,
        studio=open_label_studio(config),
        label_map=cloud.label_map,
        rules=config.review,
        journal=cloud.journal,
        now=utc_now,
        reviewer="cornerloop",
    )
    root = config.label_studio.local_files_root
    return DoubtedLabels(
        people,
        AskingDesk(desk, ImageAddresses(cloud.storage.url, root)),
        storage=cloud.storage,
        journal=cloud.journal,
        share=config.labels.ask_again_share,
        names=cloud.label_map.names,
        incumbent=cloud.releases.incumbent,
    )


def make_annotators(cloud: Cloud, preannotator: PreAnnotator) -> AnnotatorsByClasses:
    """The way to people; tasks from before a change of classes keep theirs."""
    from cloud.annotators.work import noted

    history = read_history(cloud.storage, cloud.label_map)
    make = partial(_annotators, cloud, preannotator, history)
    return AnnotatorsByClasses(history, noted(make, cloud.storage, utc_now))


def _annotators(
    cloud: Cloud, preannotator: PreAnnotator, history: LabelMapHistory, label_map: LabelMap
) -> "Workplace":
    """One project of Label Studio, or a folder; audits have drafts too."""
    from annotation.exchange import Exchange
    from annotation.folder_exchange import FolderExchange
    from annotation.review.audits import Audits

    config = cloud.config
    if config.annotation_folder is not None:
        return FolderExchange(
            storage=cloud.storage,
            folder=config.annotation_folder,
            label_map=label_map,
            journal=cloud.journal,
            now=utc_now,
        )
    section = config.label_studio
    if label_map.digest != cloud.label_map.digest:  # nothing goes out with older classes
        section = section.model_copy(update={"draft_by_class": {}})
    audits = Audits(
        storage=cloud.storage,
        label_map=label_map,
        rules=config.review,
        journal=cloud.journal,
        drafter=preannotator.annotate,
    )
    return Exchange(
        storage=cloud.storage,
        studio=open_label_studio(config),
        label_map=label_map,
        section=section,
        journal=cloud.journal,
        now=utc_now,
        webhook_secret=webhook_secret(config.label_studio),
        review=config.review,
        audits=audits if config.review.audit_path is not None else None,
        other_names=history.other_names(label_map) if history.changes else None,
    )


def open_label_studio(config: Config) -> "LabelStudio":
    """The Label Studio that a configuration names.

    Raises:
        ConfigError: no address, or no token in the environment.
    """
    from annotation.label_studio import LabelStudio

    section = config.label_studio
    return LabelStudio(
        section.url,
        token_of(section.token_env),
        section.timeout_seconds,
        token_env=section.token_env,
    )


def make_drafter(cloud: Cloud) -> "Drafter":
    """Masks and classes by the names that the configuration says; threads may share it."""
    from cloud.preannotation.assembly import drafter_from
    from cloud.preannotation.shared_drafter import SharedDrafter

    return SharedDrafter(drafter_from(cloud.config.preannotation, cloud.label_map))


def make_preannotator(cloud: Cloud, drafter: "Drafter") -> PreAnnotator:
    """Who drafts the hard examples of a round."""
    from cloud.preannotation.preannotator import Preannotator

    history = read_history(cloud.storage, cloud.label_map)

    def is_present(digest: str) -> bool:
        return history.map_of(digest, "a draft").digest == cloud.label_map.digest

    real = Preannotator(cloud.storage, drafter, cloud.label_map)
    return KeptDrafts(cloud.storage, real, is_present=is_present)


def make_escalations(cloud: Cloud, drafter: "Drafter") -> Escalations:
    """Who answers the questions of edge nodes."""
    return Escalations(
        cloud.storage,
        drafter,
        cloud.label_map,
        cloud.journal,
        history=read_history(cloud.storage, cloud.label_map),
        poll_seconds=cloud.config.edges.poll_seconds,
    )


def webhook_secret(section: LabelStudioSection) -> str:
    """What Label Studio's hints must carry; empty when it sends none.

    Raises:
        ConfigError: hints are wanted but the variable of their secret is empty.
    """
    if not section.webhook_url:
        return ""
    secret = os.environ.get(section.webhook_secret_env, "")
    if not secret:
        raise ConfigError(
            f"label_studio.webhook_url is set, but environment variable "
            f"{section.webhook_secret_env} is empty: set it to any long random text"
        )
    return secret


def token_of(variable: str) -> str:
    """A secret from the environment.

    Raises:
        ConfigError: the variable is not set; says which.
    """
    token = os.environ.get(variable, "")
    if not token:
        raise ConfigError(
            f"environment variable {variable} is empty: set it to a Label Studio token "
            "(its Account & Settings, or `cornerloop label-studio --token`, show one)"
        )
    return token
