"""Words to classes: which class of the label map does a free name mean, if any?

Open-vocabulary models answer in words, and models with classes of their own in their own words.
A name that nothing fits is None, never class 0: whoever paints leaves such pixels alone.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import yaml

from cloud.preannotation.naming.english import (
    BREAKS,
    CONJUNCTIONS,
    DETERMINERS,
    NUMBERS,
    PARTICIPLES,
    PREPOSITIONS,
    QUANTITIES,
    THINGS_IN_ING,
    is_ing_compound,
    singular,
    words_of,
)
from lifelong.errors import ConfigError
from lifelong.records.label_map import CITYSCAPES, LabelMap

CITYSCAPES_WORDS = Path(__file__).parent / "ontologies" / "cityscapes.yaml"

Words = tuple[str, ...]

# Endings of COCO's names for stuff, which say nothing about the thing: "tree-merged".
_SUFFIXES = frozenset({"merged", "other", "stuff"})
_ASIDE = re.compile(r"\([^)]*\)")


@dataclass(frozen=True, slots=True)
class Ontology:
    """Which class of one label map a name means; built by `read_ontology` or `ontology_of`."""

    exact: Mapping[str, int]  # the label map's own names, as they are written
    entries: Mapping[Words, int | None]  # normal forms; None: no class, though it looks like one

    def class_of(self, name: str) -> int | None:
        """The class id that `name` means; None where it means none, or two different ones.

        Case, blanks, hyphens, underscores, articles and plurals do not matter. Of synonyms parted
        by commas, semicolons or slashes, the first that is known decides. Else the thing itself
        decides: what stands before the first preposition ("man on a horse" is a man, "row of cars"
        is cars), and of that the most words at its end that are known: "red parked car" is a car,
        "car park" is not.

        >>> ontology = ontology_of(CITYSCAPES)
        >>> [ontology.class_of(name) for name in ("Cars", "two red cars", "car park", "bed ")]
        [13, 13, None, None]
        """
        if name in self.exact:
            return self.exact[name]
        for alternative in _alternatives(name):
            words = normal_form(alternative)
            found, class_id = self._looked_up(words)
            if found:
                return class_id
        return None

    def _looked_up(self, words: Words) -> tuple[bool, int | None]:
        """Whether an entry fits, and which class it says."""
        if words in self.entries:
            return True, self.entries[words]
        parts = list(_joined_things(words))
        if len(parts) > 1:
            meant = {self._of_thing(_thing_in(part)) for part in parts}
            # "cars and trucks" is two classes: as good as unknown.
            return True, (meant.pop()[1] if len(meant) == 1 else None)
        return self._of_part(words) or self._of_thing(_thing_in(words))

    def _of_part(self, words: Words) -> tuple[bool, int | None] | None:
        """What "roof of a car" is, where "car roof" has an entry of its own."""
        if "of" not in words[1:]:
            return None
        place = words.index("of", 1)
        part, whole = words[place - 1], normal_form(" ".join(words[place + 1 :]))
        compound = (*whole[-1:], singular(part))
        return (True, self.entries[compound]) if compound in self.entries else None

    def _of_thing(self, words: Words) -> tuple[bool, int | None]:
        singulars = normal_form(" ".join(words))
        for start in range(len(singulars)):
            if singulars[start:] in self.entries:
                return True, self.entries[singulars[start:]]
        return False, None


def read_ontology(path: Path, label_map: LabelMap) -> Ontology:
    """Read `classes: {car: [sedan, taxi]}` and `unknown: [toy car]`.

    A class need not be named; each is known by its own name anyway.

    Raises:
        ConfigError: the file cannot be read, is not of this shape, names a class that the label
            map does not have, or gives one word to two classes. Names file and key.
    """
    content = _content(path)
    classes, unknown = content.get("classes", {}), content.get("unknown", [])
    if not isinstance(classes, dict):
        raise ConfigError(
            f"{path}: classes: expected a class name with a list of words each, "
            f"got {type(classes).__name__}"
        )
    given: dict[Words, str] = {}  # normal form -> key that gave it
    entries: dict[Words, int | None] = dict(_own_names(label_map))
    own = {words: label_map.names[class_id] for words, class_id in _own_names(label_map).items()}
    for name, words in classes.items():
        if not isinstance(name, str) or name not in label_map:
            raise ConfigError(
                f"{path}: classes.{name}: the label map has no such class; "
                f"it has {', '.join(label_map.names)}"
            )
        for key, form in _forms(path, f"classes.{name}", words):
            _refuse_second_meaning(path, key, form, name, given, own)
            given[form], entries[form] = f"classes.{name}", label_map.id_of(name)
    for key, form in _forms(path, "unknown", unknown):
        _refuse_second_meaning(path, key, form, None, given, own)
        given[form], entries[form] = "unknown", None
    return _ontology(label_map, entries)


def ontology_of(label_map: LabelMap) -> Ontology:
    """Without a file: the label map's own names, and our words for those of Cityscapes."""
    if set(label_map.names) == set(CITYSCAPES.names):
        return read_ontology(CITYSCAPES_WORDS, label_map)
    return _ontology(label_map, dict(_own_names(label_map)))


def normal_form(name: str) -> Words:
    """Lower case, without leading articles and numbers, the last word in the singular.

    >>> normal_form("Some Traffic_Lights ")
    ('traffic', 'light')
    """
    words = [word for word in words_of(name)]
    while len(words) > 1 and words[-1] in _SUFFIXES:
        words.pop()
    while len(words) > 1 and (words[0] in DETERMINERS or words[0].isdigit()):
        words.pop(0)
    return (*words[:-1], singular(words[-1])) if words else ()


def _ontology(label_map: LabelMap, entries: Mapping[Words, int | None]) -> Ontology:
    exact = {name: class_id for class_id, name in enumerate(label_map.names)}
    return Ontology(MappingProxyType(exact), MappingProxyType(dict(entries)))


def _own_names(label_map: LabelMap) -> dict[Words, int]:
    """Normal forms of the classes; two classes with one form ("car", "cars") go by exact name."""
    forms = [normal_form(name) for name in label_map.names]
    return {form: number for number, form in enumerate(forms) if forms.count(form) == 1 and form}


def _alternatives(name: str) -> list[str]:
    whole = _ASIDE.sub(" ", name).replace(";", ",").replace("/", ",")
    return [part for part in whole.split(",") if part.strip()]


def _joined_things(words: Words) -> Iterator[Words]:
    """What "and" and "or" join."""
    begin = 0
    for place, word in enumerate((*words, "and")):
        if word in CONJUNCTIONS:
            if place > begin:
                yield words[begin:place]
            begin = place + 1


def _thing_in(words: Words) -> Words:
    """The words of the thing itself, without where it is, what it does, or how many there are."""
    for place, word in enumerate(words):
        if not place:
            continue
        if word == "of" and singular(words[place - 1]) in QUANTITIES | NUMBERS:
            return _thing_in(words[place + 1 :])
        if word in PREPOSITIONS | BREAKS or _is_deed(words, place):
            return words[:place]
    return words


def _is_deed(words: Words, place: int) -> bool:
    """Whether a verb ends the thing: "man riding bike", but not "red parked car"."""
    word, following = words[place], words[place + 1 : place + 2]
    if word in THINGS_IN_ING or (following and is_ing_compound(word, following[0])):
        # "zebra crossing", but "people crossing the street".
        return bool(following) and following[0] in DETERMINERS - BREAKS
    if word.endswith("ing"):
        return word in PARTICIPLES
    return word in PARTICIPLES and (not following or following[0] in PREPOSITIONS)


def _content(path: Path) -> dict[str, object]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _EveryKeyOnceLoader)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}); name an existing ontology file"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise ConfigError(
            f"{path}: expected the keys classes and unknown, got {type(content).__name__}"
        )
    for key in content:
        if key not in ("classes", "unknown"):
            raise ConfigError(f"{path}: {key}: unknown key; expected classes and unknown")
    return content


def _forms(path: Path, key: str, words: object) -> list[tuple[str, Words]]:
    """Each word of a list with its own key and normal form."""
    if words is None:
        return []
    if not isinstance(words, list):
        raise ConfigError(f"{path}: {key}: expected a list of words, got {type(words).__name__}")
    forms = []
    for number, word in enumerate(words):
        form = normal_form(word) if isinstance(word, str) else ()
        if not form:
            raise ConfigError(f"{path}: {key}[{number}]: expected a word in quotes, got {word!r}")
        forms.append((f"{key}[{number}]", form))
    return forms


def _refuse_second_meaning(
    path: Path, key: str, form: Words, name: str | None, given: Mapping[Words, str],
    own: Mapping[Words, str],
) -> None:  # fmt: skip
    """One word means one class, or none."""
    here = "unknown" if name is None else f"classes.{name}"
    other = given.get(form, here)
    if other == here and own.get(form, name) != name:
        other = f"classes.{own[form]}"
    if other != here:
        raise ConfigError(
            f"{path}: {key}: {' '.join(form)!r} is given to {other} already; "
            "a word means one class only"
        )


class _EveryKeyOnceLoader(yaml.SafeLoader):
    """YAML takes the last of two equal keys and forgets the words of the first; this refuses."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            if isinstance(key, str):
                seen.add(key)
        return super().construct_mapping(node, deep=deep)
