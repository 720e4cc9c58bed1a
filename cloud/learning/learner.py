"""From samples to a candidate: what to replay, what to start from, training, export, packing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cloud.learning.familiarity import FamiliarPicture, chosen_evenly
from cloud.learning.packing import measured_among, packed
from cloud.learning.precision import FP32, Reduction, reduced
from lifelong.config import TrainingSection
from lifelong.errors import (
    LabelMapChangeError,
    ObjectExistsError,
    ObjectNotFoundError,
    TrainingError,
)
from lifelong.evaluation import Examined
from lifelong.labels.map_changes import LabelMapChange
from lifelong.labels.map_history import read_history
from lifelong.labels.readings import LabelReader
from lifelong.labels.weights import weight_of
from lifelong.links.storage import Storage
from lifelong.model_bundle import BundleManifest, ModelBundle
from lifelong.preprocessing import Preprocessing
from lifelong.records.ids import RoundNumber, SampleId, sha256_hex
from lifelong.records.keys import bundle_key, weights_key
from lifelong.records.label_map import LabelMap
from lifelong.records.model_versions import ModelVersion
from lifelong.records.pixels import image_from_bytes, mask_from_png
from lifelong.records.samples import Sample
from lifelong.replay import choose_exemplars
from lifelong.sections.labels import LabelsSection
from lifelong.training.checkpoints import Weights, weights_from_bytes, weights_to_bytes
from lifelong.training.datasets import Pictures, pictures_from_samples
from lifelong.training.descriptions import FEWEST_PICTURES
from lifelong.training.foreign_weights import Normalisation
from lifelong.training.head_growth import grown_weights
from lifelong.training.initialisation import Beginning
from lifelong.training.label_shift import ClassesBefore, teacher_classes
from lifelong.training.lesson import Lesson
from lifelong.training.trainer import train

_HELD_BACK = 10  # every tenth picture is not trained on, but tells how unsure is usual
_FEWEST_HELD_BACK = 8

OnProgress = Callable[[int, int, float], None]  # steps done, steps in all, loss


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A trained model, ready to be judged."""

    bundle: ModelBundle
    version: ModelVersion
    weights: bytes  # safetensors, what the next round starts from
    reduction: Reduction  # whether it computes with fewer bits, as `training.precision` wishes


@dataclass(frozen=True, slots=True, eq=False)
class _Begun:
    """What a training starts from."""

    weights: Weights  # of a network for the present classes
    before: ClassesBefore | None  # the incumbent as it is, when its classes are others


class Learner:
    """Trains candidates by one section of the configuration."""

    def __init__(
        self,
        storage: Storage,
        label_map: LabelMap,
        section: TrainingSection,
        work_dir: Path,
        *,
        labels: LabelsSection | None = None,
    ) -> None:
        """
        Args:
            labels: what labels count that no person saw; None: the defaults.
        """
        self.storage = storage
        self.label_map = label_map
        self.section = section
        self.work_dir = work_dir  # of this learner alone; holds its checkpoint
        self._weight_of = partial(weight_of, section=labels or LabelsSection())

    def train(
        self,
        *,
        new: Sequence[Sample],
        memory: Sequence[Sample],
        incumbent: ModelBundle | None,
        round_number: RoundNumber,
        beginning: Beginning | None = None,
        on_progress: OnProgress | None = None,
    ) -> Candidate:
        """Learn `new` without losing `memory`, starting from the incumbent's weights.

        Args:
            memory: everything learned before; what fits into the replay budget is used.
            incumbent: the teacher; None: this is a first model.
            beginning: weights of others that a first model begins with; None: from scratch.

        An incumbent of older classes is grown to the present ones where a recorded change tells
        how (docs/classes.md); masks of older label maps are read as labels of the present one.

        Raises:
            TrainingError: nothing to learn from, or the incumbent's weights are not in storage.
            LabelMapChangeError: the incumbent, or a mask, is of classes of which nobody said how
                they became the present ones.
            DivergedError, ExportMismatchError: as their names say.
        """
        reader = self._reader()
        change = self._change(incumbent, reader)
        begun = None if incumbent is None else self._begun(incumbent, change)
        kept = self._exemplars(memory, reader)
        measured = _held_back(new, kept)
        aside = {sample.sample_id for sample in measured}
        samples = [*new, *kept]
        lesson = Lesson(
            section=self.section,
            classes=len(self.label_map),
            new=self._pictures(_without(new, aside), reader),
            memory=self._pictures(_without(kept, aside), reader),
            incumbent=_first_of(begun, beginning),
            validation=self._pictures(measured, reader) if self.section.patience else None,
            first=incumbent is None,
            normalisation=_normalisation(incumbent, beginning),
            codes=None if reader.codes.are_plain else reader.codes,
            classes_before=None if begun is None else begun.before,
        )
        weights = train(
            lesson, checkpoint=self.work_dir / "training.safetensors", on_progress=on_progress
        )
        return self._packed(
            weights,
            measured or samples,
            # Exemplars calibrate fewer bits; pictures held back say what they cost.
            calibration=_without([*kept, *new], aside) if measured else (),
            incumbent=incumbent,
            how=lesson.preprocessing,
            reader=reader,
            round_number=round_number,
            trained_on=tuple(sample.sample_id for sample in new),
            replayed=tuple(sample.sample_id for sample in kept),
        )

    def package(
        self, weights: bytes, samples: Sequence[Sample], *, round_number: RoundNumber
    ) -> Candidate:
        """A candidate from weights (safetensors) that were trained elsewhere.

        Args:
            samples: pictures of what the weights were trained for; they tell how unsure is usual
                for this model, and count as learned.

        Raises:
            ModelLoadError: weights of another network or another number of classes.
        """
        return self._packed(
            weights_from_bytes(weights, "given weights"),
            samples,
            calibration=(),
            incumbent=None,
            how=self._preprocessing,
            reader=self._reader(),
            round_number=round_number,
            trained_on=tuple(sample.sample_id for sample in samples),
            replayed=(),
        )

    def _pictures(self, samples: Sequence[Sample], reader: LabelReader) -> Pictures:
        return pictures_from_samples(
            samples, self.storage, reader, self._preprocessing, weight_of=self._weight_of
        )

    @property
    def _preprocessing(self) -> Preprocessing:
        return Preprocessing(height=self.section.height, width=self.section.width)

    def _reader(self) -> LabelReader:
        return LabelReader(read_history(self.storage, self.label_map))

    def _change(self, incumbent: ModelBundle | None, reader: LabelReader) -> LabelMapChange | None:
        """How the incumbent's classes became the present ones; None when they are the same."""
        if incumbent is None or incumbent.manifest.label_map.digest == self.label_map.digest:
            return None
        try:
            return reader.history.since(incumbent.manifest.label_map)
        except LabelMapChangeError as error:
            raise LabelMapChangeError(f"version {incumbent.version_id}: {error}") from error

    def _begun(self, incumbent: ModelBundle, change: LabelMapChange | None) -> _Begun:
        """What training starts from."""
        weights = self._weights_of(incumbent)
        if change is None:
            return _Begun(weights, None)
        return _Begun(
            grown_weights(weights, self.section.network, change),
            ClassesBefore(weights, len(change.before), teacher_classes(change)),
        )

    def _exemplars(self, memory: Sequence[Sample], reader: LabelReader) -> tuple[Sample, ...]:
        sizes: dict[SampleId, int] = {}
        for sample in memory:
            sizes[sample.sample_id] = sum(
                self.storage.size(key) or 0 for key in (sample.image_key, sample.mask_key)
            )
        chosen = choose_exemplars(
            [reader.counted(sample) for sample in memory],
            sizes,
            self.section.replay_mib * 2**20,
            choice=self.section.replay_choice,
            seed=self.section.seed,
        )
        kept = {sample.sample_id for sample in chosen}
        return tuple(sample for sample in memory if sample.sample_id in kept)

    def _weights_of(self, incumbent: ModelBundle) -> Weights:
        manifest = incumbent.manifest
        if manifest.network != self.section.network:
            raise TrainingError(
                f"training.network is {self.section.network!r}, the incumbent is a "
                f"{manifest.network!r}; a change of network needs a new first model"
            )
        key = weights_key(incumbent.version_id)
        try:
            data = self.storage.get(key, sha256=manifest.weights_sha256)
        except ObjectNotFoundError as error:
            raise TrainingError(
                f"{key}: the incumbent's weights are not in storage; publish the version again"
            ) from error
        return weights_from_bytes(data, key)

    def _packed(
        self,
        weights: Weights,
        pictures: Sequence[Sample],
        *,
        calibration: Sequence[Sample],
        incumbent: ModelBundle | None,
        how: Preprocessing,
        reader: LabelReader,
        round_number: RoundNumber,
        trained_on: tuple[SampleId, ...],
        replayed: tuple[SampleId, ...],
    ) -> Candidate:
        data = weights_to_bytes(weights)
        parent = incumbent.version_id if incumbent is not None else None
        manifest = BundleManifest(
            label_map=self.label_map,
            preprocessing=how,
            network=self.section.network,
            weights_sha256=sha256_hex(data),
            parent=parent,
            round_number=round_number,
            strategy=self.section.strategy,
        )
        familiar, fresh = _apart(pictures, calibration)
        images = [self._image(sample) for sample in measured_among(fresh)]
        reductions: list[Reduction] = []

        def reduce(bundle: ModelBundle) -> ModelBundle:
            reductions.append(self._reduced(bundle, pictures, calibration, reader))
            return reductions[-1].bundle

        bundle = packed(
            weights,
            manifest,
            images,
            reduce,
            familiar=[
                FamiliarPicture(sample.learning_task, self._image(sample))
                for sample in chosen_evenly(familiar)
            ],
            # Answers of other classes cannot be compared pixel by pixel.
            previous=None if self._change(incumbent, reader) is not None else incumbent,
        )
        version = ModelVersion(
            version_id=bundle.version_id,
            parent=parent,
            round_number=round_number,
            bundle_key=bundle_key(bundle.version_id),
            sha256=bundle.sha256,
            label_map_digest=self.label_map.digest,
            network=self.section.network,
            strategy=self.section.strategy,
            weights_sha256=manifest.weights_sha256,
            trained_on=trained_on,
            replayed=replayed,
            seed=self.section.seed,
            settings={k: str(v) for k, v in self.section.model_dump(mode="json").items()},
        )
        return Candidate(bundle=bundle, version=version, weights=data, reduction=reductions[-1])

    def _reduced(
        self,
        bundle: ModelBundle,
        pictures: Sequence[Sample],
        calibration: Sequence[Sample],
        reader: LabelReader,
    ) -> Reduction:
        """As `training.precision` wishes; `pictures` examine, and calibrate when nothing else does.

        Every second one by id then does the one, the others the other.
        """
        section = self.section
        if section.precision == FP32:  # no picture need be read
            return Reduction(bundle=bundle, wanted=FP32, loss=None, reasons=())
        ranked = sorted(pictures, key=lambda sample: sample.sample_id)
        if not calibration:
            calibration, ranked = ranked[::2], ranked[1::2]
        return reduced(
            bundle,
            section.precision,
            calibration=[self._image(sample) for sample in measured_among(calibration)],
            examination=[self._examined(sample, reader) for sample in measured_among(ranked)],
            max_loss=section.max_precision_loss,
        )

    def _examined(self, sample: Sample, reader: LabelReader) -> Examined:
        data = self.storage.get(sample.mask_key, sha256=sample.mask_sha256)
        mask = mask_from_png(data, sample.mask_key)
        return self._image(sample), reader.sure(mask, sample.label_map_digest, sample.mask_key)

    def _image(self, sample: Sample) -> NDArray[np.uint8]:
        data = self.storage.get(sample.image_key, sha256=sample.image_sha256)
        return image_from_bytes(data, sample.image_key)


def publish_candidate(storage: Storage, candidate: Candidate) -> None:
    """Put weights, then bundle, into storage; a second call changes nothing."""
    version_id = candidate.version.version_id
    for key, data in (
        (weights_key(version_id), candidate.weights),
        (bundle_key(version_id), candidate.bundle.to_bytes()),
    ):
        try:
            storage.put_if_absent(key, data)
        except ObjectExistsError:
            # A version id is the hash of its content: what lies there is this very object, or
            # damaged, and then whoever reads it is told by the checksum.
            continue


def _apart(
    pictures: Sequence[Sample], trained_on: Sequence[Sample]
) -> tuple[Sequence[Sample], Sequence[Sample]]:
    """Samples to fit what is familiar, and others to measure how far those are from it.

    Without any beside `pictures`, every second one by id does the one, the others the other;
    when those would be too few, all of them measure, and nothing is fitted.
    """
    if trained_on:
        return trained_on, pictures
    ranked = sorted(pictures, key=lambda sample: sample.sample_id)
    if len(ranked) < 2 * FEWEST_PICTURES:
        return (), pictures
    return ranked[::2], ranked[1::2]


def _first_of(begun: _Begun | None, beginning: Beginning | None) -> Weights | None:
    """What training starts from: an incumbent's weights, those of others, or none."""
    if begun is not None:
        return begun.weights
    return None if beginning is None else beginning.weights


def _normalisation(
    incumbent: ModelBundle | None, beginning: Beginning | None
) -> Normalisation | None:
    """How pictures were and will be seen: every round as the first model began."""
    if incumbent is not None:
        how = incumbent.manifest.preprocessing
        return Normalisation(mean=how.mean, std=how.std)
    return None if beginning is None else beginning.normalisation


def _held_back(*groups: Sequence[Sample]) -> list[Sample]:
    """Every tenth sample of each group, by id; none when that were too few to measure."""
    ranked = [sorted(group, key=lambda sample: sample.sample_id) for group in groups]
    chosen = [sample for group in ranked for sample in group[::_HELD_BACK]]
    return chosen if len(chosen) >= _FEWEST_HELD_BACK else []


def _without(samples: Sequence[Sample], aside: set[SampleId]) -> list[Sample]:
    return [sample for sample in samples if sample.sample_id not in aside]
