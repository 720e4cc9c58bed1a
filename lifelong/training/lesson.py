"""`Lesson`: everything that decides what a run will learn, and at which pace."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from lifelong.config import TrainingSection
from lifelong.labels.readings import LabelCodes
from lifelong.preprocessing import Preprocessing
from lifelong.records.ids import sha256_hex
from lifelong.training.checkpoints import Weights, weights_sha256
from lifelong.training.datasets import Pictures
from lifelong.training.foreign_weights import Normalisation
from lifelong.training.label_shift import ClassesBefore

_WARM_UP = 0.05  # share of the steps in which the learning rate rises


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """Everything that decides what a run will learn; equal lessons give equal weights."""

    section: TrainingSection
    classes: int
    new: Pictures
    memory: Pictures
    incumbent: Weights | None  # None: from scratch
    # Held back from both, to see when a run may end early; None: nothing is.
    validation: Pictures | None = None
    # A first model takes more steps at a higher rate, also one that begins with given weights.
    first: bool | None = None  # None: when there is no incumbent
    # What the network wants to see, where it began with weights of others; None: ImageNet's.
    normalisation: Normalisation | None = None
    # What the pictures' masks hold; None: class ids alone.
    codes: LabelCodes | None = None
    # When `incumbent` has grown out of a model of other classes: that model, as the teacher.
    classes_before: ClassesBefore | None = None

    @property
    def is_first(self) -> bool:
        """Is there no model yet whose knowledge is to be kept?"""
        return self.incumbent is None if self.first is None else self.first

    @property
    def steps(self) -> int:
        """How many steps the run takes; a first model needs more."""
        factor = self.section.first_steps_factor if self.is_first else 1
        return self.section.steps * factor

    @property
    def learning_rate(self) -> float:
        """The highest learning rate of the run; a first model bears more."""
        factor = self.section.first_rate_factor if self.is_first else 1.0
        return self.section.learning_rate * factor

    @property
    def preprocessing(self) -> Preprocessing:
        """How the network wants its pictures."""
        how = Preprocessing(height=self.section.height, width=self.section.width)
        return how if self.normalisation is None else self.normalisation.of(how)

    def digest(self) -> str:
        """64 hex digits of the whole lesson."""
        how = self.section.model_dump_json(exclude={"checkpoint_every"})
        start = weights_sha256(self.incumbent) if self.incumbent is not None else ""
        aside = self.validation.digest() if self.validation is not None else ""
        parts = (
            *(how, str(self.classes), str(self.is_first)),
            *(self.new.digest(), self.memory.digest(), aside, start),
            *_told(self),
        )
        return sha256_hex("\n".join(parts).encode())


def _told(lesson: Lesson) -> Iterator[str]:
    """What older labels and a teacher of other classes add to the digest; nothing without them.

    The same of another normalisation than the usual one.
    """
    how = lesson.preprocessing
    if how != Preprocessing(height=how.height, width=how.width):
        yield f"{how.mean} {how.std}"
    if lesson.codes is not None:
        yield sha256_hex(lesson.codes.members.tobytes() + lesson.codes.sure.tobytes())
    if lesson.classes_before is not None:
        yield lesson.classes_before.digest()


def learning_rate_at(step: int, steps: int, highest: float) -> float:
    """A linear rise over the first steps, then half a cosine down to nothing.

    Loshchilov & Hutter 2017 without restarts: highest · ½ · (1 + cos(π · progress)).
    """
    rise = max(1, round(_WARM_UP * steps))
    if step < rise:
        return highest * (step + 1) / rise
    progress = (step - rise) / max(1, steps - rise)
    return highest * 0.5 * (1.0 + math.cos(math.pi * progress))
