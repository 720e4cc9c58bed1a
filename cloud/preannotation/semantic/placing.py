"""From a model's own classes to the label map's: several may mean one, some mean none.

What means no class is what is missing to a sum of 1: a remainder that nobody paints.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lifelong.errors import LabelMapError
from lifelong.records.label_map import LabelMap

_LOG = logging.getLogger(__name__)
_NAMED_AT_MOST = 8


class Meanings(Protocol):
    """Who knows what a word means; see `cloud.preannotation.ontology`."""

    def class_of(self, name: str) -> int | None:
        """The class id that a name means; None where it means no class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placing:
    """Where each of a model's classes goes."""

    targets: tuple[int | None, ...]  # by the model's number: class id, or None
    classes: int  # of the label map

    def placed(self, scores: Tensor) -> NDArray[np.float32]:
        """(K, H, W) scores by the model's numbers to (C, H, W) float32 by class id.

        Scores of classes that mean the same are added; classes the model lacks get 0. Numbers
        beyond the model's names mean no class.
        """
        if self.targets == tuple(range(self.classes)) and len(scores) == self.classes:
            same: NDArray[np.float32] = scores.float().cpu().numpy()
            return same
        sources = [i for i, target in enumerate(self.targets) if target is not None]
        targets = torch.tensor([t for t in self.targets if t is not None], device=scores.device)
        out = torch.zeros((self.classes, *scores.shape[1:]), device=scores.device)
        for source, target in zip(sources, targets.tolist(), strict=True):
            out[target] += scores[source]
        placed: NDArray[np.float32] = out.cpu().numpy()
        return placed


def placing_of(
    label_map: LabelMap,
    names: Mapping[int, str],
    *,
    where: str,
    meanings: Meanings | None = None,
) -> Placing:
    """What a model's names mean, by its numbers.

    Args:
        names: the model's number to its name for it, e.g. `id2label` of transformers.
        where: the model, for messages.
        meanings: who says what a name means; None: the label map's own names only, upper and
            lower case alike.

    Names that mean nothing are logged in one warning: nobody wants to find out from empty drafts.

    Raises:
        LabelMapError: no name means a class; drafts would be empty.
    """
    own = {name.lower(): class_id for class_id, name in enumerate(label_map.names)}
    found: dict[int, int | None] = {}
    for number, name in names.items():
        word = str(name).strip()
        found[int(number)] = meanings.class_of(word) if meanings else own.get(word.lower())
    foreign = [str(names[number]) for number, class_id in found.items() if class_id is None]
    shown = ", ".join(foreign[:_NAMED_AT_MOST]) + (" …" if foreign[_NAMED_AT_MOST:] else "")
    if len(foreign) == len(found):
        raise LabelMapError(
            f"{where}: the model knows {shown or 'no class'}, the label map does not "
            f"({', '.join(label_map.names[:5])} …); use a model for these classes, or say in a "
            "file what the model's names mean (preannotation.ontology); `cornerloop push PICTURES` "
            "offers pictures without drafts"
        )
    if foreign:
        _LOG.warning(
            "%s: %d of its classes are none of the label map's and stay undrafted: %s; "
            "preannotation.ontology may say what they mean",
            where,
            len(foreign),
            shown,
        )
    targets = tuple(found.get(number) for number in range(max(found) + 1))
    return Placing(targets=targets, classes=len(label_map))
