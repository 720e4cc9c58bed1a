"""BALD: how much a model's answers about a picture and its copies disagree with each other."""

import json
import logging
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lifelong.errors import ModelError, ObjectNotFoundError, RecordError
from lifelong.links.storage import Storage
from lifelong.model_bundle import ModelBundle
from lifelong.preprocessing import softmax
from lifelong.records.ids import VersionId
from lifelong.records.pixels import image_from_bytes
from lifelong.records.samples import HardExample
from lifelong.segmenter import OnnxSegmenter
from lifelong.uncertainty import entropy

logger = logging.getLogger(__name__)

DOUBTS = "queue/bald"
MEMBERS = 4  # copies of a picture that the network answers for


def mutual_information(members: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the members of an ensemble would learn from a pixel's label (Houlsby et al. 2011).

    BALD = H[mean_m p_m] - mean_m H[p_m], both entropies normalised by ln C: high where each
    member is sure and they contradict each other, 0 where all of them doubt alike.

    Args:
        members: (M, C, h, w), float32, each sums to 1 over C.

    Returns:
        (h, w), float32, 0 .. 1.

    >>> sure = np.array([[[[1.0]], [[0.0]]], [[[0.0]], [[1.0]]]], dtype=np.float32)
    >>> float(mutual_information(sure)[0, 0]), abs(float(mutual_information(sure[:1])[0, 0]))
    (1.0, 0.0)
    """
    mean = members.mean(axis=0)
    own = np.stack([entropy(member) for member in members]).mean(axis=0)
    gained: NDArray[np.float32] = np.clip(entropy(mean) - own, 0.0, 1.0).astype(np.float32)
    return gained


def ensemble(segmenter: OnnxSegmenter, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Probabilities for a picture, its mirror image, and both at half the resolution.

    One bundle holds one network; its answers to copies that show the same thing stand in for
    several networks. Mirrored answers are turned back, so that pixels lie on each other.

    Args:
        image: (H, W, 3), uint8, RGB.

    Returns:
        (MEMBERS, C, h, w), float32, at the network's own resolution.
    """
    height, width = image.shape[:2]
    half = np.asarray(
        Image.fromarray(image).resize(
            (max(width // 2, 1), max(height // 2, 1)), Image.Resampling.BOX
        ),
        dtype=np.uint8,
    )
    members = []
    for copy in (image, half):
        members.append(softmax(segmenter.logits(copy)))
        mirrored = np.ascontiguousarray(copy[:, ::-1])
        members.append(softmax(segmenter.logits(mirrored))[:, :, ::-1])
    return np.stack(members)


class EnsembleDoubts:
    """BALD of pictures by one version, each computed once and kept in storage."""

    def __init__(self, storage: Storage, bundle: Callable[[VersionId], ModelBundle]) -> None:
        """
        Args:
            bundle: the bundle of a version, or one of our errors.
        """
        self._storage = storage
        self._bundle = bundle
        self._segmenter: OnnxSegmenter | None = None
        self._known: dict[tuple[VersionId, str], tuple[float, str]] = {}

    def knows(self, example: HardExample, version_id: VersionId) -> bool:
        """Need no network be run for it?"""
        key = (version_id, example.sample_id)
        if key not in self._known:
            try:
                kept = json.loads(self._storage.get(_key(version_id, example)))["bald"]
                self._known[key] = (float(kept), "")
            except ObjectNotFoundError:
                return False
            except (ValueError, KeyError, TypeError):
                logger.warning("%s is damaged; it is computed again", _key(*key[:1], example))
                return False
        return True

    def of(self, example: HardExample, version_id: VersionId) -> tuple[float, str]:
        """The mean over the picture's pixels, 0 .. 1, and "" or why it is 0 for want of a picture
        or a model."""
        if not self.knows(example, version_id):
            self._known[version_id, example.sample_id] = self._computed(example, version_id)
        return self._known[version_id, example.sample_id]

    def _computed(self, example: HardExample, version_id: VersionId) -> tuple[float, str]:
        try:
            image = image_from_bytes(self._storage.get(example.image_key), example.image_key)
            members = ensemble(self._segmenter_of(version_id), image)
        except (ObjectNotFoundError, RecordError, ModelError) as error:
            return 0.0, str(error)
        value = float(mutual_information(members).mean())
        self._storage.put(_key(version_id, example), json.dumps({"bald": value}).encode())
        return value, ""

    def _segmenter_of(self, version_id: VersionId) -> OnnxSegmenter:
        if self._segmenter is None or self._segmenter.bundle.version_id != version_id:
            self._segmenter = OnnxSegmenter(self._bundle(version_id), threads=1)
        return self._segmenter


def _key(version_id: VersionId, example: HardExample) -> str:
    return f"{DOUBTS}/{version_id}/{example.sample_id}.json"
