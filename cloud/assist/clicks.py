"""From clicks to masks: what is asked of a decoder, how often, and which of its answers counts.

The answer is a function of the question alone. Where a model was trained on its own earlier masks,
every further point is decoded with the logits of the points before it (Kirillov et al. 2023, A:
"we pass the logits of the previous mask"); these are kept for a while, by picture, model and
points, so that a further click costs one decoder pass, and are decoded anew where they are not.
"""

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from annotation.assist.segmenter import Candidates, Wish
from cloud.assist.drawn_hints import spoken_hint
from cloud.assist.interactive_model import Decoded, Embedded, InteractiveModel
from cloud.assist.prompt_checks import one_box_each, with_box_of
from lifelong.errors import ModelOutputError
from lifelong.records.prompts import Prompt

Logits = NDArray[np.float32]  # (h, w)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Whose answer: what picture, seen by which model, asked what."""

    picture: str
    model: str
    hint: str
    prompt: Prompt


class Clicks:
    """Threads may share it; one answer never changes another."""

    def __init__(self, *, kept_bytes: int = 64 << 20) -> None:
        """Args:
        kept_bytes: of logits of earlier points; 256 KiB each of the original SAM.
        """
        self._limit = kept_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[_Asked, Logits] = OrderedDict()
        self._bytes = 0

    def answer(
        self, model: InteractiveModel, embedded: Embedded, picture: str, wish: Wish
    ) -> Candidates:
        """Masks for one object.

        Args:
            model: decodes.
            embedded: the picture as this model sees it.
            picture: its digest.
            wish: as `checked_wish` gives it.
        """
        start: Logits | None = None
        if wish.drawn is not None and model.takes_masks:
            start, prompt = model.hint(wish.drawn, embedded), with_box_of(wish)
        elif wish.drawn is not None:
            prompt = spoken_hint(wish.drawn, wish.prompt)
        else:
            prompt = wish.prompt
        parts = one_box_each(prompt)
        several = wish.candidates > 1 and len(parts) == 1
        found = [
            self._answered(model, embedded, picture, part, start, several=several) for part in parts
        ]
        return reduce(_joined, (_candidates(model, decoded, embedded) for decoded in found))

    def _answered(
        self, model: InteractiveModel, embedded: Embedded, picture: str, prompt: Prompt,
        start: Logits | None, *, several: bool,
    ) -> Decoded:  # fmt: skip
        """All candidates of a prompt with at most one box, best first, or only the best."""
        if not model.takes_masks:
            return _decoded(model, embedded, prompt, None, several=several)
        hint = "" if start is None else hashlib.sha256(start.tobytes()).hexdigest()
        previous = start
        for prefix in _prefixes(prompt):
            asked = _Asked(picture, model.digest, hint, prefix)
            previous = self._previous(model, embedded, asked, previous)
        decoded = _decoded(model, embedded, prompt, previous, several=several)
        if not several:  # else its first may be another one than the next point would follow
            self._keep(_Asked(picture, model.digest, hint, prompt), decoded.low_res[0])
        return decoded

    def _previous(
        self, model: InteractiveModel, embedded: Embedded, asked: _Asked, previous: Logits | None
    ) -> Logits:
        with self._lock:
            kept = self._kept.get(asked)
            if kept is not None:
                self._kept.move_to_end(asked)
                return kept
        decoded = _decoded(model, embedded, asked.prompt, previous, several=False)
        best: Logits = decoded.low_res[0]
        self._keep(asked, best)
        return best

    def _keep(self, asked: _Asked, logits: Logits) -> None:
        own = logits.copy()  # a view would keep all candidates alive
        with self._lock:
            old = self._kept.pop(asked, None)
            self._bytes += own.nbytes - (0 if old is None else old.nbytes)
            self._kept[asked] = own
            while self._bytes > self._limit:
                _, gone = self._kept.popitem(last=False)
                self._bytes -= gone.nbytes


def _prefixes(prompt: Prompt) -> list[Prompt]:
    """What was asked before the last point: the box alone, or all up to the first positive point,
    and then one point more each time."""
    first = 0
    if not prompt.boxes:
        positive = [number for number, p in enumerate(prompt.points) if p.is_positive]
        first = positive[0] + 1 if positive else len(prompt.points)
    return [
        Prompt(points=prompt.points[:count], boxes=prompt.boxes)
        for count in range(first, len(prompt.points))
    ]


def _decoded(
    model: InteractiveModel, embedded: Embedded, prompt: Prompt, previous: Logits | None, *,
    several: bool,
) -> Decoded:  # fmt: skip
    """All candidates best first, or the best one alone.

    One point may mean a thing, its part or what it is a part of, so the best of three is taken
    there; every other prompt is asked for its one mask (as segment-anything's authors advise).
    """
    is_vague = len(prompt.points) == 1 and not prompt.boxes and previous is None
    decoded = model.decode(embedded, prompt, previous=previous, several=several or is_vague)
    quality = decoded.predicted_iou
    if not np.isfinite(quality).all():
        raise ModelOutputError(
            f"{model.name}: answered a click with {quality}; its weights are bad"
        )
    best_first = np.argsort(-quality, kind="stable")
    wanted = best_first if several else best_first[:1]
    return Decoded(decoded.low_res[wanted], quality[wanted])


def _candidates(model: InteractiveModel, decoded: Decoded, embedded: Embedded) -> Candidates:
    masks = model.enlarge(decoded.low_res, embedded) > 0
    return Candidates(masks=masks, scores=np.clip(decoded.predicted_iou, 0.0, 1.0))


def _joined(one: Candidates, other: Candidates) -> Candidates:
    """The parts of one object together; no better than the worse of them."""
    return Candidates(masks=one.masks | other.masks, scores=np.minimum(one.scores, other.scores))
