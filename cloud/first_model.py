"""The first model: what edges run before any round, and the samples that it remembers."""

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cloud.assembly import Cloud
from cloud.code_version import code_version
from cloud.learning.learner import Candidate, Learner, publish_candidate
from cloud.learning.records import training_records
from cloud.rounds import FIRST
from cloud.weights.student_weights import beginning_of
from lifelong.errors import ConfigError
from lifelong.labels.folders import labelled_pairs
from lifelong.links.journal import utc_now
from lifelong.records.ids import EdgeId, VersionId, sample_id_of, sha256_hex
from lifelong.records.keys import image_key
from lifelong.records.pixels import mask_from_png, png_from_mask
from lifelong.records.samples import Sample, Split
from lifelong.training.initialisation import Taken


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture and its labels."""

    image: bytes
    mask: NDArray[np.uint8]  # (H, W), class ids, 255 = ignore


def read_pictures(folder: Path) -> Iterator[Picture]:
    """Pictures of `folder/images` with labels of the same stem in `folder/train_ids`.

    Raises:
        ConfigError: a folder or a picture's labels are missing.
    """
    for image, mask in labelled_pairs(folder):
        yield Picture(image.read_bytes(), mask_from_png(mask.read_bytes(), str(mask)))


def keep_holdout(folder: Path | None, task: str, source: Path) -> int:
    """Copy labelled pictures to where they examine every candidate; answers how many.

    Args:
        folder: of the fixed hold-outs, as the configuration names it.
        source: with `images/` and `train_ids/` in it.

    Raises:
        ConfigError: no folder is configured, `source` is not laid out so, or the task has other
            pictures already: what examines stays the same, or figures could not be compared.
    """
    if folder is None:
        raise ConfigError("holdouts is missing: name the folder that pictures to examine on go to")
    pairs = labelled_pairs(source)
    place = folder / task / "eval"
    if place.exists():
        if [image.name for image, _ in labelled_pairs(place)] != [image.name for image, _ in pairs]:
            raise ConfigError(
                f"{place}: {task} has other pictures to be examined on already; leave --holdout "
                "away to keep them, or remove that folder if no model was released yet"
            )
        return len(pairs)
    unfinished = folder.parent / f".unfinished-{folder.name}-{task}"
    shutil.rmtree(unfinished, ignore_errors=True)
    for name, index in (("images", 0), ("train_ids", 1)):
        (unfinished / name).mkdir(parents=True)
        for pair in pairs:
            shutil.copyfile(pair[index], unfinished / name / pair[index].name)
    place.parent.mkdir(parents=True, exist_ok=True)
    unfinished.rename(place)
    return len(pairs)


def refuse_shared(data: Path, holdout: Path) -> None:
    """What examines must not train: the first round would be refused for it.

    Raises:
        ConfigError: a picture lies in both, byte for byte; names some.
    """
    examining = {sha256_hex(image.read_bytes()) for image, _ in labelled_pairs(holdout)}
    images = (image for image, _ in labelled_pairs(data))
    shared = [image.name for image in images if sha256_hex(image.read_bytes()) in examining]
    if shared:
        raise ConfigError(
            f"{holdout}: {len(shared)} of its pictures are in {data} as well ({shared[0]} …); take "
            "them out of one of the two, `cornerloop export --split 0.8/0.2` parts them"
        )


def begin_with_pictures(
    cloud: Cloud,
    pictures: Iterable[Picture],
    task: str,
    *,
    on_progress: Callable[[int, int, float], None],
    on_taken: Callable[[Taken], None] = lambda taken: None,
) -> VersionId:
    """Train the first model and release it; a second call changes nothing.

    It begins as `training.init` says: from nothing, or with weights of others.

    Args:
        on_taken: is told what was taken over from such weights; so is the journal.

    Raises:
        ConfigError, ModelLoadError: no picture, or no such weights; see `beginning_of`.
    """

    if current := cloud.releases.current():
        return current.version_id
    # Looked for before anything is stored: a name that means nothing leaves no trace.
    weights_path = cloud.config.preannotation.weights_path
    beginning = beginning_of(cloud.config.training, cloud.label_map, weights_path)
    if beginning is not None:
        cloud.journal.event("training.begun_from", **beginning.taken.told())
        on_taken(beginning.taken)
    return _begin(
        cloud,
        pictures,
        task,
        lambda learner, samples: learner.train(
            new=samples,
            memory=[],
            incumbent=None,
            round_number=FIRST,
            beginning=beginning,
            on_progress=on_progress,
        ),
    )


def begin_with_weights(
    cloud: Cloud, pictures: Iterable[Picture], task: str, weights: bytes
) -> VersionId:
    """Release a first model from weights (safetensors) that were trained before.

    `pictures` are what replay may choose from: a part of what the weights were trained on.
    """
    return _begin(
        cloud,
        pictures,
        task,
        lambda learner, samples: learner.package(weights, samples, round_number=FIRST),
    )


def _begin(
    cloud: Cloud,
    pictures: Iterable[Picture],
    task: str,
    make: Callable[[Learner, list[Sample]], Candidate],
) -> VersionId:
    if current := cloud.releases.current():
        return current.version_id
    samples = [_sample(cloud, picture, task) for picture in pictures]
    if not samples:
        raise ConfigError("no labelled picture to begin with")
    work_dir = cloud.config.journal_path.parent / "training"
    learner = Learner(cloud.storage, cloud.label_map, cloud.config.training, work_dir)
    started = time.monotonic()
    candidate = make(learner, samples)
    seconds = time.monotonic() - started
    for reason in candidate.reduction.reasons:
        cloud.journal.event(
            "precision.unchanged", version_id=candidate.version.version_id, reason=reason
        )
    publish_candidate(cloud.storage, candidate)
    # Not before the training: what was cut off may begin again with other pictures, and those of
    # the first try may examine then.
    cloud.kb.add(samples, why="labelled pictures from before the first round")
    records = training_records(
        candidate.version,
        cloud.kb,
        cloud.storage,
        code=code_version(),
        at=utc_now(),
        seconds=seconds,
    )
    cloud.kb.add(records, why="first model")
    cloud.releases.publish(candidate.version.version_id, FIRST, "first model")
    return candidate.version.version_id


def _sample(cloud: Cloud, picture: Picture, task: str) -> Sample:
    sample_id = sample_id_of(picture.image)
    mask = png_from_mask(picture.mask)
    cloud.label_map.check(picture.mask, f"labels of picture {sample_id}")
    mask_key = f"masks/{sample_id}/0.png"
    cloud.storage.put(image_key(sample_id), picture.image)
    cloud.storage.put(mask_key, mask)
    ids, counts = np.unique(picture.mask, return_counts=True)
    return Sample(
        sample_id=sample_id,
        image_key=image_key(sample_id),
        image_sha256=sha256_hex(picture.image),
        mask_key=mask_key,
        mask_sha256=sha256_hex(mask),
        learning_task=task,
        split=Split.TRAIN,
        round_number=FIRST,
        edge_id=EdgeId("none"),
        annotator="",
        label_map_digest=cloud.label_map.digest,
        class_pixels={int(i): int(n) for i, n in zip(ids, counts, strict=True)},
    )
