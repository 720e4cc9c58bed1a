"""What candidates answer on their round's pictures: computed behind the pages, one at a time.

Nobody stores these masks: they follow from a bundle and a picture. One thread computes what was
asked for last first, so that whoever has turned the page does not wait for the one before; what
was not asked for again falls out of the queue. Everything here has a bound: the queue, the memory
of answers, the models that are loaded (one).
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from cloud.monitor.sample_pictures import KINDS, SamplePictures, map_of, mask_names
from cloud.monitor.sample_records import SampleRecords
from lifelong.errors import LifelongError, ObjectNotFoundError, RecordError
from lifelong.links.storage import Storage
from lifelong.model_bundle import read_bundle
from lifelong.records.ids import SampleId, VersionId
from lifelong.records.keys import bundle_key
from lifelong.records.label_map import LabelMap
from lifelong.records.pixels import mask_from_png, png_from_mask
from lifelong.segmenter import OnnxSegmenter

logger = logging.getLogger(__name__)

_MOST_BYTES = 64 * 2**20  # of answers, as PNG
_MOST_KNOWN = 10_000  # answers, failures among them
_MOST_WAITING = 100  # asked for and not begun
_AGAIN_AFTER_S = 30.0  # what failed is tried again
_IDLE_S = 60.0  # then the thread ends and the model's memory is given back


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is known of a candidate's answer on one picture."""

    standing: Literal["waiting", "ready", "failed"]
    why: str = ""  # it failed
    png: bytes = b""  # (H, W) class ids of the present label map
    shares: Mapping[str, Mapping[str, float]] | None = None  # by map and kind of pixel

    @property
    def mask(self) -> NDArray[np.uint8]:
        """(H, W), uint8, class ids."""
        return mask_from_png(self.png, "a candidate's answer")


class Model(Protocol):
    """A candidate that can be asked."""

    def answer(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W) class ids for a picture (H, W, 3)."""

    @property
    def label_map(self) -> LabelMap:
        """Whose ids they are."""


class OnnxCandidate:
    """A bundle of storage; implements `Model`."""

    def __init__(self, storage: Storage, version_id: VersionId) -> None:
        """
        Raises:
            ObjectNotFoundError: the bundle is gone.
            RecordError, ModelLoadError: it is damaged, or another version's.
        """
        key = bundle_key(version_id)
        bundle = read_bundle(storage.get(key), key)
        if bundle.version_id != version_id:
            raise RecordError(f"{key}: holds version {bundle.version_id}")
        self._segmenter = OnnxSegmenter(bundle, threads=1)

    @property
    def label_map(self) -> LabelMap:
        """That it was trained with."""
        return self._segmenter.bundle.manifest.label_map

    def answer(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """As the edge would answer."""
        return self._segmenter.segment(image).mask


def _in_a_thread(run: Callable[[], None]) -> None:
    # Daemon: an answer that nobody waits for any more keeps no process alive.
    threading.Thread(target=run, name="candidate answers", daemon=True).start()


Key = tuple[VersionId, SampleId, str]  # the last: the key of the corrected mask


class CandidateAnswers:
    """Answers at once with what is known; `ask` never waits for storage or a model."""

    def __init__(
        self,
        pictures: SamplePictures,
        model_of: Callable[[VersionId], Model],
        *,
        clock: Callable[[], float] = time.monotonic,
        most_bytes: int = _MOST_BYTES,
        most_waiting: int = _MOST_WAITING,
        start: Callable[[Callable[[], None]], None] = _in_a_thread,
    ) -> None:
        """`start` is handed what works off the wishes, and returns at once."""
        self._pictures = pictures
        self._model_of = model_of
        self._clock = clock
        self._most_bytes = most_bytes
        self._most_waiting = most_waiting
        self._start = start
        self._known: OrderedDict[Key, tuple[Answer, float]] = OrderedDict()
        self._bytes = 0
        self._wanted: OrderedDict[Key, SampleRecords] = OrderedDict()
        self._loaded: tuple[VersionId, Model] | None = None
        self._change = threading.Condition()
        self._is_running = False

    def ask(self, version_id: VersionId, records: SampleRecords) -> Answer:
        """What is known now; what is not is computed soon, the newest wish first."""
        key = _key(version_id, records)
        with self._change:
            known = self._known.get(key)
            if known is not None:
                answer, at = known
                if answer.standing == "ready" or self._clock() - at < _AGAIN_AFTER_S:
                    self._known.move_to_end(key)
                    return answer
            self._wanted[key] = records
            self._wanted.move_to_end(key)
            while len(self._wanted) > self._most_waiting:
                self._wanted.popitem(last=False)
            if not self._is_running:
                self._is_running = True
                self._start(self._run)
            self._change.notify_all()
        return Answer(standing="waiting")

    def work(self) -> bool:
        """Compute the newest wish; False when there was none."""
        with self._change:
            if not self._wanted:
                return False
            key, records = self._wanted.popitem()
        answer = self._computed(key[0], records)
        with self._change:
            self._keep(key, answer)
            self._change.notify_all()
        return True

    def _run(self) -> None:
        while True:
            while self.work():
                pass
            with self._change:
                if not self._wanted and not self._change.wait_for(
                    lambda: bool(self._wanted), timeout=_IDLE_S
                ):
                    self._is_running, self._loaded = False, None
                    return

    def _computed(self, version_id: VersionId, records: SampleRecords) -> Answer:
        try:
            model = self._model(version_id)
            image = self._pictures.image(records)
            where = f"version {version_id}"
            mask = self._pictures.read(model.answer(image), model.label_map, where)
            masks = self._pictures.masks(records, mask_names(records)) | {"after": mask}
            shares = {
                name: map_of(name, masks).shares()
                for name, kind in KINDS.items()
                if kind.is_map and set(kind.needs) <= set(masks)
            }
            return Answer(standing="ready", png=png_from_mask(mask), shares=shares)
        except ObjectNotFoundError as error:
            return Answer(standing="failed", why=f"it is no longer in storage ({error})")
        except LifelongError as error:
            return Answer(standing="failed", why=str(error))
        except Exception:
            logger.exception("version %s on sample %s", version_id, records.sample_id)
            return Answer(standing="failed", why="an error that nobody foresaw; see the log")

    def _model(self, version_id: VersionId) -> Model:
        if self._loaded is None or self._loaded[0] != version_id:
            self._loaded = None  # first the old one goes: two would need twice the memory
            self._loaded = (version_id, self._model_of(version_id))
        return self._loaded[1]

    def _keep(self, key: Key, answer: Answer) -> None:
        before = self._known.pop(key, None)
        self._bytes += len(answer.png) - (len(before[0].png) if before else 0)
        self._known[key] = (answer, self._clock())
        while self._bytes > self._most_bytes or len(self._known) > _MOST_KNOWN:
            _, (dropped, _) = self._known.popitem(last=False)
            self._bytes -= len(dropped.png)


def _key(version_id: VersionId, records: SampleRecords) -> Key:
    annotation = records.annotation
    return version_id, records.sample_id, annotation.mask_key if annotation else ""
