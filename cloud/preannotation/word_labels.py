"""Which label of an annotation project do words mean? Never a guess, and never none."""

import re
from collections.abc import Sequence
from types import MappingProxyType

from cloud.preannotation.naming.english import words_of
from cloud.preannotation.ontology import Ontology, normal_form
from lifelong.errors import PromptError

_BETWEEN_PHRASES = re.compile(r"[,;|\n]+|\.(?:\s|$)")


def phrases_of(words: Sequence[str]) -> tuple[str, ...]:
    """What is looked for, each once, in lower case, with single blanks and no signs.

    Commas, semicolons, bars, line ends and full stops part one thing from the next, as people
    write for Grounding DINO.

    >>> phrases_of(["Parked car . traffic-light", "parked  car"])
    ('parked car', 'traffic light')
    """
    parts = [part for text in words for part in _BETWEEN_PHRASES.split(text)]
    normal = [" ".join(words_of(part)) for part in parts]
    return tuple(dict.fromkeys(phrase for phrase in normal if phrase))


def labels_of(
    phrases: Sequence[str], labels: Sequence[str], ontology: Ontology, names: Sequence[str]
) -> dict[str, str]:
    """The label of each phrase.

    A project with one label means that one by whatever words. Else the phrase is a label in other
    letters, or ends in one ("parked car" is "Car"); else both mean one class of the label map
    ("taxi" is "Vehicle" where the label map's words have both as a car), if no other label does.

    Args:
        labels: the project's own, as they are written there.
        ontology: the words of the label map.
        names: the classes of the label map.

    Raises:
        PromptError: no word at all, no label at all, or words that none of the labels can mean.
    """
    if not phrases:
        raise PromptError("no words: type what to look for, e.g. car, traffic light")
    if not labels:
        raise PromptError("the labelling config has no labels that words could be given")
    if len(set(labels)) == 1:
        return dict.fromkeys(phrases, labels[0])
    meant = {phrase: _label_of(phrase, labels, ontology) for phrase in phrases}
    lost = [phrase for phrase, label in meant.items() if label is None]
    if lost:
        raise PromptError(
            f"{', '.join(map(repr, lost))}: no label of this project is meant by these words; it "
            f"has {', '.join(dict.fromkeys(labels))}. Use their names, with words before them if "
            f"you like, parted by commas; or words of {', '.join(names)} that mean one of them"
        )
    return {phrase: label for phrase, label in meant.items() if label is not None}


def _label_of(phrase: str, labels: Sequence[str], ontology: Ontology) -> str | None:
    own = _ontology_of(labels).class_of(phrase)
    if own is not None:
        return labels[own]
    class_id = ontology.class_of(phrase)
    if class_id is None:
        return None
    same = [label for label in dict.fromkeys(labels) if ontology.class_of(label) == class_id]
    return same[0] if len(same) == 1 else None


def _ontology_of(labels: Sequence[str]) -> Ontology:
    """The labels' own names; two labels with one form ("car", "Cars") go by exact name."""
    forms = [normal_form(label) for label in labels]
    entries = {form: number for number, form in enumerate(forms) if form and forms.count(form) == 1}
    exact = {label: number for number, label in enumerate(labels)}
    return Ontology(MappingProxyType(exact), MappingProxyType(entries))
