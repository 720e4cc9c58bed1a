"""What a new condition could be called, and how it differs from what is known, from its pictures.

Looks are taken from the queue's descriptors (`cloud/selecting/picture_features.py`), which lie in
storage already; hours and sites come with the examples.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lifelong.learning_tasks import GENERAL, task_name
from lifelong.records.samples import HardExample

# A difference in units of the known pictures' own deviation that is worth a word.
_WORTH_A_WORD = 2.0
_LEAST_CHANGE = 0.03  # of the whole range, when known pictures hardly vary
_MOSTLY = 0.8  # of the pictures, to be called their site
_LAYOUT = 48  # numbers of a descriptor that are mean colours of cells, each divided by 4
_WORDS = {
    "brightness": ("darker", "brighter"),
    "contrast": ("flatter", "starker"),
    "colour": ("greyer", "more-colourful"),
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One look in which a condition differs from a known task; each look is 0 .. 1."""

    look: str
    word: str
    known: float
    found: float
    size: float  # in deviations of the known pictures


def looks_of(descriptor: NDArray[np.float32]) -> dict[str, float]:
    """Brightness, contrast and colour of a picture, 0 .. 1 each.

    Args:
        descriptor: (176,), of `cloud.selecting.picture_features.descriptor`.
    """
    cells = descriptor[:_LAYOUT].astype(np.float64).reshape(-1, 3) * 4.0
    grey = 128.0 / 255.0  # of CIE a and b, as OpenCV scales them to bytes
    return {
        "brightness": float(cells[:, 0].mean()),
        "contrast": float(cells[:, 0].std()),
        "colour": float(np.hypot(cells[:, 1] - grey, cells[:, 2] - grey).mean()),
    }


def differences(
    known: Sequence[NDArray[np.float32]], found: Sequence[NDArray[np.float32]]
) -> list[Difference]:
    """In what the found pictures differ from the known ones, the largest first."""
    if not known or not found:
        return []
    before = [looks_of(one) for one in known]
    after = [looks_of(one) for one in found]
    told: list[Difference] = []
    for look, (less, more) in _WORDS.items():
        usual = np.array([one[look] for one in before])
        now = float(np.median([one[look] for one in after]))
        middle = float(np.median(usual))
        size = abs(now - middle) / max(float(usual.std()), _LEAST_CHANGE / _WORTH_A_WORD)
        if size >= _WORTH_A_WORD:
            told.append(Difference(look, more if now > middle else less, middle, now, size))
    return sorted(told, key=lambda one: -one.size)


def provisional_name(nearest: str, different: Sequence[Difference], taken: Collection[str]) -> str:
    """A name that nothing has yet: the nearest task and what differs most, or "unseen".

    >>> provisional_name("clear", [Difference("brightness", "darker", 0.5, 0.2, 9.0)], ["clear"])
    'clear-darker'
    >>> provisional_name("general", [], ["unseen-1"])
    'unseen-2'
    """
    if not different:
        return _first_free("unseen-{}", 1, taken)
    word = different[0].word
    name = word if nearest == GENERAL else f"{nearest}-{word}"
    return name if name not in taken else _first_free(name + "-{}", 2, taken)


def about(different: Sequence[Difference], examples: Sequence[HardExample], nearest: str) -> str:
    """What differs, the hours by the devices' clocks, and the site where most have the same."""
    parts = [f"{d.word} than {nearest} ({d.found:.2f}, not {d.known:.2f})" for d in different]
    if examples:
        hours = sorted(example.captured_at.hour for example in examples)
        parts.append(f"captured between {hours[0]} and {(hours[-1] + 1) % 24} h UTC")
        for attribute in ("site", "camera"):
            values = Counter(e.attributes.get(attribute, "") for e in examples)
            value, count = values.most_common(1)[0]
            if value and count >= _MOSTLY * len(examples):
                parts.append(f"{attribute} {value}")
        nodes = sorted({str(example.edge_id) for example in examples})
        parts.append(f"from {', '.join(nodes[:3])}" + (" …" if len(nodes) > 3 else ""))
    return "; ".join(parts)


def checked_name(name: str) -> str:
    """A name as learning tasks have it; "" when nothing is left of it, or it is the general one.

    >>> checked_name("Night Rain"), checked_name("general"), checked_name("/")
    ('night-rain', '', '')
    """
    slug = task_name({"condition": name})
    return "" if slug == GENERAL else slug


def _first_free(pattern: str, number: int, taken: Collection[str]) -> str:
    while pattern.format(number) in taken:
        number += 1
    return pattern.format(number)
