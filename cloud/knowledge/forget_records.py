"""JSON objects in storage that speak of many samples or people: cut without knowing their kind.

A colleague who adds a room need not think of forgetting: a list's items about a forgotten sample
go, and a name in a field that says who did something is blotted out.
"""

import json
import re
from collections.abc import Callable, Collection
from typing import Any

from lifelong.links.storage import Storage
from lifelong.records.ids import sha256_hex
from lifelong.records.wire import dumps

Change = Callable[[Any], Any]

_SAMPLE = re.compile(r"[0-9a-f]{16}\Z")


def is_of_one_sample(key: str) -> bool:
    """Does the key itself name a sample? Then the whole object is about it."""
    return any(_SAMPLE.match(part.split(".", 1)[0]) for part in key.split("/"))


def rewrite(storage: Storage, key: str, change: Change) -> bool:
    """Change a JSON object; a seal is made anew. False when there was nothing to change, or it
    is no JSON, which whoever reads it is told of."""
    try:
        body = json.loads(storage.get(key))
    except (ValueError, RecursionError):
        return False
    left = change(body)
    if left == body:
        return False
    if isinstance(left, dict) and "sha256" in left and "record" in left:
        left["sha256"] = sha256_hex(dumps(left["record"]))
    storage.put(key, dumps(left))
    return True


def without_items(value: Any, samples: Collection[str]) -> Any:
    """Plain values without the items of lists, and entries of objects, about these samples.

    >>> without_items({"doubts": [{"sample_id": "a"}, {"sample_id": "b"}], "of": ["a"]}, {"a"})
    {'doubts': [{'sample_id': 'b'}], 'of': []}
    """
    if isinstance(value, list):
        return [without_items(item, samples) for item in value if not _is_about(item, samples)]
    if isinstance(value, dict):
        return {
            name: without_items(item, samples)
            for name, item in value.items()
            if name not in samples and not (isinstance(item, dict) and _is_about(item, samples))
        }
    return value


def _is_about(item: Any, samples: Collection[str]) -> bool:
    named = item.get("sample_id", item.get("sample")) if isinstance(item, dict) else item
    return isinstance(named, str) and named in samples
