"""The composition root: configuration to ready objects; the only place that names adapters.

Imports that cost seconds (torch by way of drafting and training) stay inside the function that
needs them: `cornerloop rounds` must answer at once.
"""

import os
from dataclasses import dataclass

from cloud.drafts import KeptDrafts
from cloud.inbox import Inbox
from cloud.lease import Lease
from cloud.loop import Ports, PreAnnotator
from cloud.releases import Releases
from cloud.rounds import Rounds
from cloud.selection import Queue
from cloud.service import Service
from cloud.training_job import TrainingJob
from lifelong.annotation_config import LabelStudioSection
from lifelong.config import Config, load_label_map
from lifelong.errors import ConfigError
from lifelong.knowledge_base import KnowledgeBase
from lifelong.links.journal import Journal, utc_now
from lifelong.links.storage import Storage, open_storage
from lifelong.records.label_map import LabelMap


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
    journal = Journal(config.journal_path, node)
    return Cloud(
        config=config,
        storage=storage,
        label_map=load_label_map(config),
        kb=KnowledgeBase(storage),
        releases=Releases(storage, journal, utc_now),
        rounds=Rounds(storage),
        journal=journal,
    )


def make_service(cloud: Cloud) -> Service:
    """The loop with its real ports."""
    from annotation.exchange import Exchange
    from annotation.label_studio import LabelStudio

    section = cloud.config.label_studio
    studio = LabelStudio(section.url, token_of(section.token_env), section.timeout_seconds)
    exchange = Exchange(
        storage=cloud.storage,
        studio=studio,
        label_map=cloud.label_map,
        section=section,
        journal=cloud.journal,
        now=utc_now,
        webhook_secret=webhook_secret(section),
    )
    ports = Ports(
        inbox=Inbox(cloud.storage, cloud.journal),
        selection=Queue(
            section=cloud.config.queue,
            kb=cloud.kb,
            storage=cloud.storage,
            journal=cloud.journal,
            bundle=cloud.releases.bundle,
        ),
        preannotator=make_preannotator(cloud),
        annotators=exchange,
        job=TrainingJob(cloud.storage, cloud.kb, cloud.config.job, cloud.journal),
        releases=cloud.releases,
    )
    rules = cloud.config.rounds
    return Service(
        ports=ports,
        rounds=cloud.rounds,
        lease=Lease(cloud.storage, rules.lease_seconds, utc_now),
        rules=rules,
        people_pause_s=section.poll_seconds,
        journal=cloud.journal,
        now=utc_now,
    )


def make_preannotator(cloud: Cloud) -> PreAnnotator:
    """Masks and classes by the names that the configuration says."""
    from cloud.preannotation.assembly import preannotator_from

    real = preannotator_from(cloud.config.preannotation, cloud.storage, cloud.label_map)
    return KeptDrafts(cloud.storage, real)


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
            "(Account & Settings in Label Studio shows one)"
        )
    return token
