"""Models by name, each in memory once, loaded one after another while the service already answers.

A model that could not be loaded is tried again when it is asked for and its file has changed.
"""

import logging
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from annotation.assist.segmenter import ModelState, Readiness
from cloud.assist.interactive_model import InteractiveModel
from cloud.assist.retold import retold
from lifelong.errors import ConfigError, LifelongError, ModelLoadError, ModelNotReadyError
from lifelong.sections.assist import AssistModelSection

logger = logging.getLogger(__name__)


class Loader(Protocol):
    """Brings models into memory."""

    def name_of(self, section: AssistModelSection) -> str:
        """What people call the model, before it is loaded: sam_vit_b."""

    def identity_of(self, section: AssistModelSection) -> Hashable:
        """Equal for sections that mean the same weights, whatever words they use."""

    def stamp_of(self, section: AssistModelSection) -> object:
        """Another one when the file of the weights, or where it is looked for, has changed."""

    def load(self, section: AssistModelSection) -> InteractiveModel:
        """The model on its device.

        Raises:
            ConfigError, ModelLoadError: says what was expected and what to do.
        """


@dataclass(slots=True)
class _Slot:
    """One model, under all its names."""

    section: AssistModelSection
    name: str  # what it is called before it is loaded
    since: float
    readiness: Readiness = Readiness.LOADING
    model: InteractiveModel | None = None
    error: LifelongError | None = None
    stamp: object = field(default=None)  # of the file that could not be loaded


class ModelRoom:
    """See the module; every method may be called from many threads at once."""

    def __init__(
        self, default: AssistModelSection, others: Mapping[str, AssistModelSection],
        loader: Loader, *, patience_seconds: float, clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        """Args:
        default: the model that is meant where none is named.
        others: further ones by the names they are asked for.
        loader: brings them into memory.
        patience_seconds: how long one who asks waits for a model that is loading.
        clock: seconds since the epoch.
        """
        self._loader, self._patience, self._clock = loader, patience_seconds, clock
        self._changed = threading.Condition()
        slots: dict[Hashable, _Slot] = {}
        self._named: dict[str, _Slot] = {}
        self._default = self._slot_of(default, slots)
        for name, section in others.items():
            self._named[name] = self._slot_of(section, slots)
        self._slots = list(slots.values())
        self._queue: list[_Slot] = []
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to load; returns at once, and does nothing the second time."""
        with self._changed:
            self._start()

    def names(self) -> tuple[str, ...]:
        """All that `get` knows."""
        return tuple(dict.fromkeys((self._default.name, *self._named)))

    def get(self, name: str = "", *, until_loaded: bool = False) -> InteractiveModel:
        """The model of that name, "" the default one; waits a while for it to be loaded.

        Args:
            name: one of `names()`, or "".
            until_loaded: wait as long as that takes; for those whom nobody waits for.

        Raises:
            ConfigError: no model of that name.
            ModelNotReadyError: still loading after that while.
            ModelLoadError: its weights could not be loaded, and have not changed since.
        """
        slot = self._slot_named(name)
        with self._changed:
            if slot.model is None:
                self._call_for(slot)
                self._changed.wait_for(
                    lambda: slot.readiness is not Readiness.LOADING,
                    timeout=None if until_loaded else self._patience,
                )
            return self._model_of(slot)

    def states(self, trouble: str = "") -> list[ModelState]:
        """Every name, the default one first; never waits.

        Args:
            trouble: something of the service that is missing though models are ready.
        """
        with self._changed:
            found = [self._state(self._default, self._default.name, trouble, is_default=True)]
            for name, slot in self._named.items():
                if name == self._default.name and slot is self._default:
                    continue
                found.append(self._state(slot, name, trouble, is_default=False))
            return found

    def _slot_of(self, section: AssistModelSection, slots: dict[Hashable, _Slot]) -> _Slot:
        identity = self._loader.identity_of(section)
        if identity not in slots:
            slots[identity] = _Slot(section, self._loader.name_of(section), self._clock())
        return slots[identity]

    def _slot_named(self, name: str) -> _Slot:
        if name in self._named:
            return self._named[name]
        if name in ("", self._default.name):
            return self._default
        raise ConfigError(
            f"no model {name!r} is served here; expected one of {', '.join(self.names())}, "
            "or add it under assist.models"
        )

    def _start(self) -> None:
        if self._thread is None:
            for slot in self._slots:
                self._enqueue(slot)

    def _call_for(self, slot: _Slot) -> None:
        """Somebody asks for what is not there: load it, again where its file has changed."""
        self._start()
        if slot.error is not None and self._loader.stamp_of(slot.section) != slot.stamp:
            self._enqueue(slot)

    def _model_of(self, slot: _Slot) -> InteractiveModel:
        if slot.model is not None:
            return slot.model
        if slot.error is not None:
            raise retold(slot.error) from None
        waited = self._clock() - slot.since
        raise ModelNotReadyError(
            f"{slot.name}: still loading, for {waited:.0f} s now; try again in a moment"
        )

    def _enqueue(self, slot: _Slot) -> None:
        slot.readiness, slot.error, slot.since = Readiness.LOADING, None, self._clock()
        self._queue.append(slot)
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(
                target=self._load_all, name="assist-models", daemon=True
            )
            self._thread.start()
        self._changed.notify_all()

    def _load_all(self) -> None:
        """Load what is queued; the thread stays, since a failed model may be tried again."""
        while True:
            with self._changed:
                while not self._queue:
                    self._changed.wait()
                slot = self._queue.pop(0)
            # Before the file is read: what changes while it is read is tried once more.
            stamp = self._loader.stamp_of(slot.section)
            model, error = self._loaded(slot)
            with self._changed:
                slot.model, slot.error, slot.stamp = model, error, stamp
                slot.readiness = Readiness.FAILED if model is None else Readiness.READY
                slot.since = self._clock()
                self._changed.notify_all()

    def _loaded(self, slot: _Slot) -> tuple[InteractiveModel | None, LifelongError | None]:
        begun = self._clock()
        try:
            model = self._loader.load(slot.section)
        except LifelongError as error:
            logger.warning("%s: not loaded: %s", slot.name, error)
            return None, error
        except Exception as error:
            logger.exception("%s: not loaded", slot.name)
            why = f"{type(error).__name__}: {error}"
            return None, ModelLoadError(f"{slot.name}: could not be loaded ({why})")
        logger.info("%s: loaded in %.1f s", version_of(model), self._clock() - begun)
        return model, None

    def _state(self, slot: _Slot, name: str, trouble: str, *, is_default: bool) -> ModelState:
        readiness, version = slot.readiness, ""
        if slot.model is not None:
            version = version_of(slot.model)
            readiness = Readiness.DEGRADED if trouble else readiness
        return ModelState(
            name=name, version=version, readiness=readiness, words=self._words(slot, trouble),
            since=slot.since, is_default=is_default,
        )  # fmt: skip

    def _words(self, slot: _Slot, trouble: str) -> str:
        if slot.error is not None:
            return str(slot.error)
        if slot.model is not None:
            return trouble or "ready"
        ahead = self._queue.index(slot) if slot in self._queue else 0
        return f"waits for {ahead + 1} to be loaded before it" if ahead else "loading its weights"


def version_of(model: InteractiveModel) -> str:
    """Name and what the weights hash to, for people and for predictions."""
    return f"{model.name}-{model.digest[:8]}"
