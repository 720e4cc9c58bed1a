"""What must never be written down: secrets, and pixels.

Known secrets are taken out wherever they stand: the values of environment variables whose names
say so, of those that a configuration names, and what `hide` is told. Unknown ones are taken out
by their form: credentials in addresses and headers, signatures of presigned addresses, tokens of
ours, JSON Web Tokens, keys of AWS. Long runs of base64, bytes or numbers are pictures, masks or
weights: their size is told instead. Both lean to taking out too much.

A known secret that could be a word (letters alone, not many) is taken out only where it stands by
itself: "secret" as a password leaves secretaries alone. What stands by itself is taken out, be it
meant or not, so choose none that is a word. Log, journal and what a node reports of its errors are
cleaned; names of fields and records that are compared by their bytes are not.
"""

import json
import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any
from urllib.parse import quote

HIDDEN = "[hidden]"
_SHORTEST = 6  # letters of a known secret; a shorter one stands in too many innocent words
_NAMES = re.compile(
    r"(?!.*(?:_FILE|_PATH|_DIR|_URL|_ENV)\Z).*"
    r"(?:PASSWORD|PASSWD|TOKEN|SECRET|CREDENTIAL|ACCESS_KEY|API_KEY|PRIVATE_KEY)",
    re.IGNORECASE,
)
_LONGEST_WORD = 15  # letters; more of them, and nothing but letters, are no word
_DEEPEST = 6  # containers within containers

_Rule = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]


def _size_of(match: re.Match[str]) -> str:
    return f"[{len(match[0])} characters left out]"


_SECRET_WORD = (
    r"[\w-]*(?:password|passwd|secret|token|api[_-]?key|access[_-]?key(?:[_-]?id)?|signature"
    r"|credential|csrf)[\w-]*"
)
_RULES: tuple[_Rule, ...] = (
    # Before the rules of secrets: a payload may hold anything.
    (re.compile(r"(?:\\x[0-9a-fA-F]{2}[^\\\s]{0,3}){16,}"), _size_of),
    (re.compile(r"\[(?:\s*-?\d+(?:\.\d*)?(?:e-?\d+)?\s*,){48,}[^\]]*\]?"), _size_of),
    (re.compile(r"array\(\s*\[.*?\]\s*(?:,[^()]*)?\)", re.S), _size_of),
    (re.compile(r"(?<![\w+/=-])[A-Za-z0-9+/_-]{160,}={0,2}"), _size_of),
    # https://user:password@host, rtsp://user:password@camera
    (re.compile(r"(?<=://)[^\s/@'\"<>]+@"), f"{HIDDEN}@"),
    # Headers, as text or as they stand in a printed mapping or list of pairs.
    (
        re.compile(
            r"(?i)\b((?:proxy-)?authorization|(?:set-)?cookie|x-[\w-]*(?:secret|token|key)[\w-]*)"
            r"(b?['\"]?\s*[:=,]\s*\(?b?['\"]?)[^'\"\r\n]+"
        ),
        rf"\1\2{HIDDEN}",
    ),
    (re.compile(r"(?i)\b(bearer|basic|token)\s+(?=\S*\d)[\w.~+/=-]{8,}"), rf"\1 {HIDDEN}"),
    # ?X-Amz-Signature=…, password=…, "token": "…"
    (
        re.compile(
            rf"(?i)(?<![\w-])({_SECRET_WORD}|sig|AWSAccessKeyId)(=|['\"]\s*:\s*['\"])(?!\[hidden)"
            r"[^\s&'\",;)}\]]+"
        ),
        rf"\1\2{HIDDEN}",
    ),
    (re.compile(r"\bclp[a-z]?_[A-Za-z0-9_-]{8,}"), f"clp_{HIDDEN}"),
    (re.compile(r"\beyJ[\w-]{5,}\.[\w-]{5,}(?:\.[\w-]*)?"), HIDDEN),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), HIDDEN),
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*-----|\Z)", re.S),
        HIDDEN,
    ),
)
# One cheap look tells whether any rule could find something: most lines are innocent.
_SUSPICIOUS = re.compile(
    r"(?i)\\x|\[\s*-?\d|array\(|[\w+/-]{160}|://[^\s/]*@|auth|cookie|bearer|basic|token|secret"
    r"|passw|key|sig|credential|csrf|clp|eyJ|akia|asia|begin"
)

_lock = threading.Lock()
_known: tuple[str, ...] = ()  # the longest first: one may hold another


def hide(secrets: Iterable[str]) -> None:
    """From now on these are taken out of everything that is written down in this process."""
    global _known
    told = {one.strip() for one in secrets}
    # As they stand in addresses, in JSON, and where Python prints a text.
    dressed = {dress for one in told for dress in _dresses(one)}
    with _lock:
        found = told | dressed | set(_known)
        _known = tuple(
            sorted((one for one in found if len(one) >= _SHORTEST), key=len, reverse=True)
        )


def hide_environment(environ: Mapping[str, str] = os.environ, names: Iterable[str] = ()) -> None:
    """Hide the values of variables whose names say that they are secrets, and of `names`."""
    wanted = set(names)
    hide(value for name, value in environ.items() if name in wanted or _NAMES.match(name))


def cleaned(text: str) -> str:
    """The text without secrets and without pixels.

    >>> cleaned("GET https://ada:pw@host/a.jpg?X-Amz-Signature=0f3a&n=1")
    'GET https://[hidden]@host/a.jpg?X-Amz-Signature=[hidden]&n=1'
    """
    for secret in _known:
        if secret in text:
            text = _without(text, secret)
    if _SUSPICIOUS.search(text):
        for pattern, instead in _RULES:
            text = pattern.sub(instead, text)
    return text


def _without(text: str, secret: str) -> str:
    if secret.isalpha() and len(secret) <= _LONGEST_WORD:
        return _alone(secret).sub(HIDDEN, text)
    return text.replace(secret, HIDDEN)


@cache
def _alone(word: str) -> re.Pattern[str]:
    """The word with no letter beside it; the end of an escape is none."""
    escapes = r"(?<=%[0-9A-Fa-f]{2})|(?<=\\[abfnrtv])|(?<=\\x[0-9a-f]{2})|(?<=\\u[0-9a-f]{4})"
    return re.compile(rf"(?:(?<![^\W\d_])|{escapes}){re.escape(word)}(?![^\W\d_])")


def _dresses(text: str) -> set[str]:
    return {
        quote(text, safe="", errors="replace"),
        quote(text, errors="replace"),
        json.dumps(text)[1:-1],
        json.dumps(text, ensure_ascii=False)[1:-1],
        repr(text)[1:-1],
    }


def cleaned_value(value: Any, depth: int = 0) -> Any:
    """The value with all texts in it cleaned; bytes and arrays become their sizes.

    Numbers and other objects come back as they are, unless they tell a shape.
    """
    if isinstance(value, str):
        return cleaned(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    if getattr(value, "shape", ()) and hasattr(value, "dtype"):
        return f"[array {tuple(value.shape)} {value.dtype}]"
    if depth < _DEEPEST:
        if isinstance(value, dict):
            return {
                cleaned_value(key, depth + 1): _cleaned_field(key, one, depth)
                for key, one in value.items()
            }
        if isinstance(value, list) and len(value) > 48 and all(map(_is_number, value)):
            return f"[{len(value)} numbers left out]"
        if isinstance(value, list | tuple) and type(value) in (list, tuple):
            return type(value)(cleaned_value(one, depth + 1) for one in value)
    return value


def cleaned_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields with their values cleaned. Their names are ours: with one of them hidden nothing
    could be counted from what is written."""
    return {name: _cleaned_field(name, value, 0) for name, value in fields.items()}


def _cleaned_field(key: object, value: Any, depth: int) -> Any:
    is_secret = isinstance(key, str) and isinstance(value, str) and _FIELD.fullmatch(key)
    return HIDDEN if is_secret and value else cleaned_value(value, depth + 1)


_FIELD = re.compile(rf"(?i){_SECRET_WORD}|authorization|cookie")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)
