"""Captions to the things they name: spaCy's noun chunks where it is installed, else our own.

Ours reads captions such as BLIP writes them ("a man riding a bike down a street"): short, in the
present, mostly nouns. It knows closed classes of words, and takes what stands between them for
things. Against spaCy it leaves out pronouns, what only counts ("a group of people" is "people"),
places inside a thing ("the side of a building" is "a building") and the picture itself ("a close
up of a car" is "a car"); it knows no grammar beyond that.
"""

import importlib
import re
from collections.abc import Callable

from cloud.preannotation.naming.english import (
    BREAKS,
    COLOURS,
    CONJUNCTIONS,
    DETERMINERS,
    FINITE_VERBS,
    PARTICIPLES,
    PLURAL_VERBS,
    PREPOSITIONS,
    QUANTITIES,
    THINGS_IN_ING,
    is_ing_compound,
    singular,
)

NounPhrases = Callable[[str], tuple[str, ...]]  # caption to phrases, in the caption's order

_SPACY_MODEL = "en_core_web_sm"
_TOKENS = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*['’]?|&|[^\w\s]", re.UNICODE)
_APART = re.compile(r"\s+(['’-])\s+")  # BLIP writes "a man ' s hand" and "close - up"
_CLOSE_UP = re.compile(r"\bclose[ -]up\b")
_PICTURE = frozenset({"close-up", "picture", "photo", "photograph", "image", "view", "shot"})
_PLACES = frozenset(
    {"side", "front", "back", "top", "bottom", "middle", "end", "edge", "corner", "center",
     "centre", "rear", "part", "background", "foreground", "distance", "right", "left"}
)  # fmt: skip
_NOT_ED = frozenset({"bed", "shed", "seed", "weed", "red", "sled", "moped", "hundred", "seabed"})
_NOT_LY = frozenset({"family", "butterfly", "fly", "lily", "jelly", "belly", "trolly", "assembly"})
_BARE = COLOURS - {"light", "orange", "gold"}
_CLOSED = DETERMINERS | PREPOSITIONS | CONJUNCTIONS | BREAKS


def noun_phraser() -> NounPhrases:
    """spaCy's reading where its small English model is installed; else our own."""
    return _spacy_phraser() or noun_phrases


def noun_phrases(caption: str) -> tuple[str, ...]:
    """Phrases of a caption as written there, in lower case, articles kept, each one once.

    >>> noun_phrases("a man riding a bike down a street next to parked cars")
    ('a man', 'a bike', 'a street', 'parked cars')
    """
    text = _CLOSE_UP.sub("close-up", _APART.sub(r"\1", caption.casefold()))
    tokens = _TOKENS.findall(text)
    chunks: list[list[str]] = [[]]
    for word, following in zip(tokens, [*tokens[1:], ""], strict=False):
        chunk = chunks[-1]
        if word in DETERMINERS and _thing_in(chunk):
            # "a sign that says stop": only at a beginning does "that" point at a thing.
            chunks.append([] if word in BREAKS else [word])
        elif _joins_colours(chunk, word, following) or _belongs(chunk, word, following):
            chunk.append(word)
        elif word == "of" and chunk and _only_measures(chunk[-1]):
            chunks[-1] = []
        elif chunk:
            chunks.append([])
    return tuple(dict.fromkeys(" ".join(chunk) for chunk in chunks if _names_a_thing(chunk)))


def _belongs(chunk: list[str], word: str, following: str) -> bool:
    """Whether a word goes on with the phrase before it, or begins one."""
    if word == "very":
        return bool(chunk)  # "a very tall building", but not "the sky is very blue"
    if not word[0].isalnum() or word in _CLOSED - DETERMINERS:
        return False
    if word in THINGS_IN_ING and following in DETERMINERS - BREAKS and _thing_in(chunk):
        return False  # "people crossing the street", but "a zebra crossing"
    if word in DETERMINERS or word in THINGS_IN_ING or is_ing_compound(word, following):
        return True
    if word.endswith("ing") and len(word) > 4:
        return not _thing_in(chunk) and _is_open(following)  # "a smiling woman"
    if word in PARTICIPLES or (word.endswith("ed") and len(word) > 3 and word not in _NOT_ED):
        return _is_open(following)  # "a parked car", but "a car parked on a street"
    return not _is_verb(chunk, word)


def _is_verb(chunk: list[str], word: str) -> bool:
    """Whether a word that may be a verb is one here."""
    if word in PLURAL_VERBS:  # "people stand", but "a fruit stand"
        many = chunk[-1:] == ["people"] or any(singular(last) != last for last in chunk[-1:])
        return many and _thing_in(chunk)
    return word in FINITE_VERBS and (not chunk or _thing_in(chunk))


def _joins_colours(chunk: list[str], word: str, following: str) -> bool:
    """ "a black and white cat" is one thing."""
    return word in CONJUNCTIONS and chunk[-1:] != [] and {chunk[-1], following} <= COLOURS


def _is_open(word: str) -> bool:
    return bool(word) and word[0].isalnum() and word not in _CLOSED


def _thing_in(chunk: list[str]) -> bool:
    return any(word not in DETERMINERS | COLOURS | {"very"} for word in chunk)


def _only_measures(word: str) -> bool:
    """Whether "of" behind this word says that the thing itself comes next."""
    return singular(word) in QUANTITIES or word in _PLACES or singular(word) in _PICTURE


def _names_a_thing(chunk: list[str]) -> bool:
    if all(word in DETERMINERS or word in _BARE or word in CONJUNCTIONS for word in chunk):
        return False
    last = chunk[-1]
    if last.endswith("ly") and last not in _NOT_LY:
        return False
    return not (singular(last) in _PICTURE or (last in _PLACES and len(chunk) < 3))


def _spacy_phraser() -> NounPhrases | None:
    """spaCy is no dependency of ours: its model is large, and found by whoever wants it."""
    try:
        language = importlib.import_module("spacy").load(_SPACY_MODEL)
    except (ImportError, OSError):
        return None

    def phrases(caption: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(str(chunk.text) for chunk in language(caption).noun_chunks))

    return phrases
