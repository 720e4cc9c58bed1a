"""What a command line says instead of a configuration file: one flag, one key.

A given value goes into the file's content before that is checked, so it is held to the same rules
as a line of the file; what is wrong with it is told with the flag's name in the file's place.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from lifelong.errors import ConfigError

Key = tuple[str, ...]  # ("web", "port") for web.port


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A value from the command line."""

    flag: str  # as it was typed, e.g. --port
    key: Key
    # As YAML would have it, or its text: "8080" is read as a number where one is expected. A
    # mapping is a section; where the file has one of the same `type`, its other keys stay.
    value: object


def given_pair(
    text: str, flag: str = "--set", *, within: str = "", of: Iterable[str] = ()
) -> Given:
    """KEY=VALUE, the value as in the file.

    Args:
        within: a section whose keys may be named without it.
        of: the sections there are, needed with `within`.

    Raises:
        ConfigError: no "=", or a value that is no YAML.

    >>> given_pair("web.port=80").value
    80
    """
    key, equals, value = text.partition("=")
    parts = tuple(part.strip() for part in key.split("."))
    if not equals or not all(parts):
        raise ConfigError(f"--set {text}: expected KEY=VALUE, e.g. training.steps=400")
    if within and parts[0] not in set(of):
        parts = (within, *parts)
    try:
        return Given(flag="--set", key=parts, value=yaml.safe_load(value))
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {text}: {value!r} is not YAML; put it in quotes") from error


def merged(content: Mapping[str, Any], given: Iterable[Given]) -> dict[str, Any]:
    """A file's content with what was given in its place; the last of two wins.

    Raises:
        ConfigError: a value stands where the key needs a section.
    """
    result = copy.deepcopy(dict(content))
    for one in given:
        *above, name = one.key
        place = result
        for depth, part in enumerate(above, 1):
            if place.get(part) is None:
                place[part] = {}
            place = place[part]
            if not isinstance(place, dict):
                section = ".".join(above[:depth])
                raise ConfigError(f"{one.flag}: {section} is {place!r} and has no keys")
        there = place.get(name)
        is_same_kind = (
            isinstance(one.value, Mapping)
            and isinstance(there, Mapping)
            and one.value.get("type") == there.get("type")
        )
        place[name] = {**there, **one.value} if is_same_kind else one.value  # type: ignore[dict-item]
    return result


def whose(where: Sequence[str], given: Iterable[Given]) -> str:
    """The flag whose value is meant by a place in the content; "" when it is the file's own.

    Args:
        where: keys from the top down; kinds of a section with a `type` may stand between them.

    >>> whose(("web", "port"), [Given(flag="--port", key=("web", "port"), value="x")])
    '--port'
    """
    for one in reversed(list(given)):
        if tuple(where) == one.key[: len(where)]:  # a section that the key stands in
            return one.flag
        rest = iter(where)
        if not all(part in rest for part in one.key):
            continue
        inner = list(rest)
        if not isinstance(one.value, Mapping) or not inner or inner[-1] in one.value:
            return one.flag
    return ""


def is_given(key: Key, given: Iterable[Given]) -> bool:
    """Does a key, or the section around it, come from the command line?"""
    return any(key[: len(one.key)] == one.key for one in given)
