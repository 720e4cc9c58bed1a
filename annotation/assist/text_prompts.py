"""A text prompt: words to look for, "like this", and how sure a detector must be.

Words are parted by commas, semicolons, full stops and new lines. "like this" looks for what looks
as the newest region does, "like: car" as the newest region of that class.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from annotation.assist.label_tools import LabelTools
from annotation.assist.marks import Mark, number_of
from annotation.assist.segmenter import Thresholds
from lifelong.errors import PromptError

_MOST_WORDS = 64
_LONGEST = 2_000  # characters
_PARTS = re.compile(r"[,;.\n\r]+")
_LIKE = re.compile(r"like ?(?:this|: ?(?P<label>.+))", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPrompt:
    """What somebody typed."""

    words: tuple[str, ...] = ()
    is_example: bool = False  # "like this"
    like: str = ""  # of "like: LABEL" the label


def text_prompt(texts: Sequence[str]) -> TextPrompt:
    """Read what was typed; of several submissions the newest "like …", else all of their words.

    Raises:
        PromptError: no words, or too many.
    """
    whole = "\n".join(texts)
    if len(whole) > _LONGEST:
        raise PromptError(f"text prompt: {len(whole)} characters, at most {_LONGEST} are read")
    like = _like(texts[-1]) if texts else None
    if like:
        return TextPrompt(is_example=True, like=like["label"] or "")
    words: dict[str, str] = {}
    for text in texts:
        if _like(text):
            continue
        for part in _PARTS.split(text):
            word = " ".join(part.split())
            if word:
                words.setdefault(word.lower(), word)
    if not words:
        raise PromptError("text prompt: no words; type what to look for, e.g. parked car, pole")
    if len(words) > _MOST_WORDS:
        raise PromptError(
            f"text prompt: {len(words)} phrases, at most {_MOST_WORDS} are looked for"
        )
    return TextPrompt(words=tuple(words.values()))


def _like(text: str) -> re.Match[str] | None:
    return _LIKE.fullmatch(" ".join(text.split()).rstrip(".! "))


def remembered(words: Sequence[str]) -> str:
    """What to keep of a project's last text prompt: `text_prompt([kept])` gives the words again."""
    return ", ".join(words)


def thresholds_from(tools: LabelTools, newest_first: Iterable[Mark]) -> Thresholds:
    """How sure a detector must be, by the <Number> tags that are named for it.

    A name with `text` in it sets the one, a name with `box`, `score` or `threshold` the other;
    what nobody typed is the tag's defaultValue.

    Raises:
        PromptError: not 0 .. 1.
    """
    found: dict[str, float] = {}
    for mark in newest_first:
        which = _threshold(mark.control) if mark.kind == "number" else ""
        number = number_of(mark) if which else None
        if number is not None:
            found.setdefault(which, _share(number, mark.control))
    for control in tools.controls:
        which = _threshold(control.name) if control.kind == "number" else ""
        if which and which not in found and control.default:
            try:
                found[which] = _share(float(control.default), control.name)
            except ValueError:
                continue
    return Thresholds(box=found.get("box"), text=found.get("text"))


def _threshold(name: str) -> str:
    lowered = name.lower()
    if "text" in lowered:
        return "text"
    return "box" if any(word in lowered for word in ("box", "score", "threshold")) else ""


def _share(number: float, name: str) -> float:
    if not 0 <= number <= 1:
        raise PromptError(f"{name}: {number:g} is no threshold; type a number from 0 to 1")
    return number
