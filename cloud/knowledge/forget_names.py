"""A person's name in records about other people's pictures: blotted out, the records stay.

Decisions, scores of audits, skips and the journal say who did something. Their counts are worth
keeping, the name is not ours to keep. Journals are changed where they lie, byte for byte of the
same length: whoever appends a line meanwhile is not disturbed.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from cloud.knowledge.forget_records import rewrite
from lifelong.links.storage import Storage
from lifelong.records.keys import (
    ADMISSIONS,
    CHUNKS,
    EDGES,
    ESCALATIONS,
    EXAMPLES,
    FORGETTING,
    FORGOTTEN,
    INBOX,
    RECEIPTS,
    REFUSED,
    ROLLOUTS,
)
from lifelong.records.rounds import Round

NOBODY = "forgotten"
# Rooms whose records name nobody, are swept in other ways, or are signed.
_NAMELESS = frozenset(
    {ADMISSIONS, CHUNKS, EDGES, ESCALATIONS, EXAMPLES, FORGETTING, FORGOTTEN, INBOX, RECEIPTS}
    | {REFUSED, ROLLOUTS, "embeddings", "features", "kb", "keys", "lease", "models", "queue"}
    | {"releases", "rounds"}
)
_FIELDS = frozenset({"annotator", "annotators", "reviewer", "skipped_by", "by", "reason"})


def blotted(text: str, name: str) -> str:
    """A text without a name that stands in it as a whole word.

    >>> blotted("skipped by anna, annabel@x.org", "anna")
    'skipped by forgotten, annabel@x.org'
    """
    return _word(name).sub(NOBODY, text)


def blot_storage(storage: Storage, name: str) -> int:
    """Blot a name out of reviews, audits and whatever else says who did something; a rejected
    annotation of his goes altogether.

    Returns:
        How many objects were changed or removed.
    """
    changed = 0
    for room in storage.rooms():
        if room in _NAMELESS:
            continue
        for key in list(storage.keys(room)):
            if not key.endswith(".json"):
                continue
            if "/annotation-" in key:
                if _word(name).search(storage.get(key).decode("utf-8", "replace")):
                    storage.delete(key)  # what he painted, whole
                    changed += 1
            else:
                changed += rewrite(storage, key, partial(_without, name=name, is_named=False))
    return changed


def blotted_round(round_: Round, name: str) -> Round:
    """A round whose skips name him no longer; the same object when none did."""
    skips = tuple(replace(skip, reason=blotted(skip.reason, name)) for skip in round_.skips)
    return round_ if skips == round_.skips else replace(round_, skips=skips)


def blot_journals(folder: Path, name: str) -> int:
    """Blot a name out of the journals on this machine; returns how many lines had it.

    Raises:
        OSError: a file cannot be changed.
    """
    lines = 0
    for path in sorted(folder.glob("*/*.jsonl")):
        start = 0
        for line in path.read_bytes().splitlines(keepends=True):
            left = _blotted_line(line, name)
            if left != line:
                with path.open("r+b") as file:
                    file.seek(start)
                    file.write(left)
                    file.flush()
                    os.fsync(file.fileno())
                lines += 1
            start += len(line)
    return lines


def _blotted_line(line: bytes, name: str) -> bytes:
    try:
        event = json.loads(line)
    except ValueError:
        return line  # torn by a crash
    for text in _texts(event, is_named=False):
        if _word(name).search(text):
            written = json.dumps(text, ensure_ascii=False).encode()
            hidden = _word(name).sub(lambda found: "-" * len(found[0].encode()), text)
            line = line.replace(written, json.dumps(hidden, ensure_ascii=False).encode())
    return line


def _texts(value: Any, *, is_named: bool) -> Iterator[str]:
    """Every text in a field that may name somebody."""
    if isinstance(value, str) and is_named:
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, is_named=is_named)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, is_named=key in _FIELDS)


def _without(value: Any, *, name: str, is_named: bool) -> Any:
    if isinstance(value, str):
        return blotted(value, name) if is_named else value
    if isinstance(value, list):
        return [_without(item, name=name, is_named=is_named) for item in value]
    if isinstance(value, dict):
        return {k: _without(item, name=name, is_named=k in _FIELDS) for k, item in value.items()}
    return value


def _word(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w@.+-]){re.escape(name)}(?![\w@+-]|\.\w)")
