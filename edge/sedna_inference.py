"""The inference worker of a LifelongLearningJob: the ordinary node beside Sedna's deployed file.

Releases decide what a node runs, and keys decide which releases are believed; Sedna's deploy
folder has neither. So the deployed file is where a released model is read from when it is the
very file that the release names, and a model by itself only where nothing is released and
unsigned models are accepted. Everything else of a node stays: trial, canary, probation, and the
last good model on its disk. Nothing is ever reported to Sedna: that would rewind the job.
"""

import fcntl
import logging
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from edge.assembly import build_node, edge_section
from edge.models.bundle_fetch import Fetched
from edge.models.deployed_file import DeployedFile
from edge.models.kept_models import Offer
from edge.models.model_updates import ModelUpdates, check_bundle
from edge.node import EdgeNode
from edge.stop import Stop
from lifelong.config import Config
from lifelong.errors import (
    ModelError,
    OlderModelError,
    RecordError,
    SednaError,
    StorageUnavailableError,
)
from lifelong.links.journal import Journal
from lifelong.links.sedna import WorkerEnvironment, WorkerKind, read_environment
from lifelong.links.storage import Storage
from lifelong.model_bundle import ModelBundle
from lifelong.records.ids import VersionId
from lifelong.records.model_versions import Release

logger = logging.getLogger(__name__)

PATIENCE_S = 60.0  # with the pod before this one; Kubernetes gives it 30 s to end


def run_inference(config: Config, environ: Mapping[str, str], stop: Stop) -> None:
    """Run a node with what Sedna deployed until it is asked to stop.

    Raises:
        SednaError: the environment names no model.
        ConfigError: as `build_node` says.
    """
    environment = read_environment(WorkerKind.INFER, environ)
    await_state(edge_section(config).state_path, stop)
    if not stop.is_requested():
        inference_node(config, environment, stop).run()


def inference_node(
    config: Config,
    environment: WorkerEnvironment,
    stop: Stop,
    *,
    storage: Storage | None = None,
    inline: bool = False,
) -> EdgeNode:
    """The node of `build_node`, with the deployed file as a source of models.

    Raises:
        SednaError: not one model is named.
        ConfigError: as `build_node` says.
    """
    if len(environment.model_urls) != 1:
        raise SednaError(f"MODEL_URLS names {len(environment.model_urls)} models, expected one")
    edge = edge_section(config)
    journal = Journal(edge.state_path / "journal", edge.id)
    deployed = DeployedFile(environment.model_urls[0], journal, s3=environment.s3)
    updates_of = partial(DeployedUpdates, deployed=deployed)
    return build_node(config, stop, storage=storage, inline=inline, updates_of=updates_of)


def await_state(folder: Path, stop: Stop, seconds: float = PATIENCE_S) -> None:
    """Wait for the node before this one: Sedna starts a new pod without waiting for the old one.

    After that `build_node` says what is wrong.
    """
    is_told = False
    while seconds > 0 and _is_taken(folder / "lock") and not stop.is_requested():
        if not is_told:
            logger.info("another pod still runs with %s; waiting for its end", folder)
            is_told = True
        stop.wait(0.5)
        seconds -= 0.5


def _is_taken(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


class DeployedUpdates(ModelUpdates):
    """What to run: as for every node, with Sedna's deployed file beside storage."""

    def __init__(self, *arguments: Any, deployed: DeployedFile, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._deployed = deployed
        self._told: tuple[VersionId, str] | None = None

    def newer_than(self, running: VersionId | None) -> Offer | None:
        """As for every node; without a link, the deployed model is better than none."""
        try:
            offer = super().newer_than(running)
        except StorageUnavailableError:
            offer = self._unreleased(None) if running is None else None
            if offer is None:
                raise
        self._tell(offer, running)
        return offer

    def runs(self, running: Offer, previous: Offer | None) -> None:
        """As for every node; said in the journal, since the deployed file may say otherwise."""
        super().runs(running, previous)
        version_id = running.bundle.version_id
        self._journal.event("model.started", version_id=version_id, source="kept on this node")

    def _fetched(self, release: Release) -> Fetched:
        found = self._deployed.look()
        if found is not None and found.sha256 == release.sha256:
            bundle = self._deployed.read()
            if bundle is not None and bundle.sha256 == release.sha256:
                self._take(bundle, f"release {release.number} names it")
                return Fetched(data=bundle.to_bytes(), transferred=0, chunks=0)
        return super()._fetched(release)

    def _unreleased(self, running: VersionId | None) -> Offer | None:
        """The deployed model, where models are run that nobody signed."""
        found = self._deployed.look()
        if found is None or found.version_id == running or not self._trust.accepts_unsigned:
            return None
        if self._refusals.stands(found.sha256, self._trust.serial):
            return None
        bundle = self._deployed.read()
        if bundle is None:
            return None
        try:
            self._refuse_going_back(bundle)
            check_bundle(bundle, bundle.version_id, self._digest, self._deployed.url)
        except (RecordError, ModelError) as error:
            self._refusals.add(bundle.sha256, bundle.version_id, error, ring=self._trust.serial)
            return None
        self._take(bundle, "nothing is released, and unsigned models are accepted here")
        return Offer(release=bundle.sha256, bundle=bundle)

    def _refuse_going_back(self, bundle: ModelBundle) -> None:
        now = self._running.bundle if self._running else None
        if now is not None and bundle.manifest.round_number < now.manifest.round_number:
            raise OlderModelError(
                f"{self._deployed.url}: version {bundle.version_id} comes from round "
                f"{bundle.manifest.round_number}, this node runs one from round "
                f"{now.manifest.round_number}; Sedna deploys an old model when a report is lost"
            )

    def _take(self, bundle: ModelBundle, why: str) -> None:
        self._journal.event(
            "deployed.taken", version_id=bundle.version_id, url=self._deployed.url, why=why
        )

    def _tell(self, offer: Offer | None, running: VersionId | None) -> None:
        """Why the deployed model is not the one that runs; once."""
        found, runs = self._deployed.look(), offer.bundle.version_id if offer else running
        if found is None or found.version_id == runs:
            return
        if self._refusals.stands(found.sha256, self._trust.serial):
            return  # `model.refused` has said why
        release = offer.record if offer else self.running_release
        why = f"what is released counts, and that is {runs}"
        if release is None:
            why = "no release that this node believes names it (docs/security.md)"
        if self._told != (found.version_id, why):
            self._told = (found.version_id, why)
            logger.warning("the deployed model %s is not taken: %s", found.version_id, why)
            self._journal.event("deployed.passed_over", version_id=found.version_id, reason=why)
