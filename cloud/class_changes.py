"""Changing the classes: what a change would touch, and what is written when it is made.

Written are, in this order: a note beside the folder hold-outs that says which classes their masks
hold, the record of the change in storage, the new label map file. A change that was cut off
between two of them is made whole by asking for it again.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cloud.assembly import Cloud
from lifelong.config import Config
from lifelong.errors import ConfigError, LabelMapChangeError
from lifelong.labels.map_changes import LabelMapChange
from lifelong.labels.map_history import LabelMapHistory, read_history, record_change
from lifelong.labels.readings import LabelReader
from lifelong.links.durable_files import write_whole
from lifelong.read_labels import LABEL_MAP_FILE
from lifelong.records.label_map import LabelMap


def parsed_operations(
    add: Sequence[str], rename: Sequence[str], merge: Sequence[str], remove: Sequence[str]
) -> dict[str, Any]:
    """Operations as a person writes them, as `change_classes` takes them.

    >>> parsed_operations(["tram:was building,bus"], ["car=motor"], [], ["sky"])["add"]
    {'tram': ('building', 'bus')}

    Raises:
        LabelMapChangeError: words that say something else.
    """
    return {
        "add": dict(_added(text) for text in add),
        "rename": dict(_pair(text, "--rename OLD=NEW") for text in rename),
        "merge": {
            new: tuple(old.strip() for old in olds.split("+"))
            for olds, new in (_pair(text, "--merge OLD+OLD=NEW") for text in merge)
        },
        "remove": tuple(remove),
    }


def _added(text: str) -> tuple[str, tuple[str, ...]]:
    name, _, said = text.partition(":")
    said = said.strip()
    if said and not said.startswith("was "):
        raise LabelMapChangeError(
            f'--add {text!r}: expected "NEW:was OLD,OLD", or "NEW" when older labels leave it out'
        )
    olds = (old.strip() for old in said.removeprefix("was ").split(","))
    return name.strip(), tuple(old for old in olds if old)


def _pair(text: str, expected: str) -> tuple[str, str]:
    old, sign, new = text.rpartition("=")
    if not sign or not old.strip() or not new.strip():
        raise LabelMapChangeError(f"{text!r}: expected {expected}")
    return old.strip(), new.strip()


def effects(cloud: Cloud, change: LabelMapChange) -> dict[str, Any]:
    """What a change would do: in words, the labels that it touches, settings that it leaves behind.

    Pixels and samples of each old class that is touched are counted over the knowledge base.
    """
    touched = [
        *change.renamed,
        *change.removed,
        *(o for olds in change.merged.values() for o in olds),
    ]
    touched += [old for olds in change.was_part_of.values() for old in olds]
    reader = LabelReader(read_history(cloud.storage, change.before))
    samples = [reader.counted(sample) for sample in cloud.kb.samples.values()]
    counted: dict[str, dict[str, int]] = {}
    for old in dict.fromkeys(touched):
        class_id = change.before.id_of(old)
        pixels = [n for s in samples if (n := s.class_pixels.get(class_id, 0))]
        counted[old] = {"samples": len(pixels), "pixels": sum(pixels)}
    return {
        "before": {"digest": change.before.digest, "classes": list(change.before.names)},
        "after": {"digest": change.after.digest, "classes": list(change.after.names)},
        "operations": list(change.words()),
        "samples": len(samples),
        "labels": counted,
        "settings": list(_left_behind(cloud.config, change)),
    }


def make_change(cloud: Cloud, change: LabelMapChange, path: Path) -> bool:
    """Make a change known and write the new label map; False when it was known already.

    Raises:
        ConfigError: a file cannot be written.
        LabelMapChangeError: the configuration's label map is not the newest one.
    """
    holdouts = cloud.config.holdouts
    if holdouts is not None and not (holdouts / LABEL_MAP_FILE).exists():
        _write(holdouts / LABEL_MAP_FILE, change.before)
    is_new = record_change(cloud.storage, change)
    _write(path, change.after)
    cloud.journal.event(
        "classes.changed",
        before=change.before.digest,
        after=change.after.digest,
        operations=list(change.words()),
    )
    return is_new


def overview(cloud: Cloud) -> dict[str, Any]:
    """The classes, how they came about, and which label maps the samples' masks are of."""
    history = read_history(cloud.storage, cloud.label_map)
    masks: dict[str, int] = {}
    for sample in cloud.kb.samples.values():
        digest = sample.label_map_digest or history.first.digest
        masks[digest] = masks.get(digest, 0) + 1
    return {
        "digest": cloud.label_map.digest,
        "classes": list(cloud.label_map.names),
        "things": list(cloud.label_map.things),
        "newest": history.newest.digest,
        "changes": [
            {
                "before": change.before.digest,
                "after": change.after.digest,
                "operations": list(change.words()),
            }
            for change in history.changes
        ],
        "samples": {
            digest: {"samples": count, "unreadable": _unreadable(history, digest)}
            for digest, count in sorted(masks.items())
        },
    }


def label_map_json(label_map: LabelMap) -> bytes:
    """A label map as the file that `label_map` of a configuration names."""
    classes = [
        {"name": name, "colour": list(colour), "thing": name in label_map.things}
        for name, colour in zip(label_map.names, label_map.colours, strict=True)
    ]
    return json.dumps({"classes": classes}, ensure_ascii=False, indent=1).encode()


def _unreadable(history: LabelMapHistory, digest: str) -> str:
    """Why masks of that label map cannot be read; empty when they can."""
    try:
        history.since(history.map_of(digest, "samples"))
    except LabelMapChangeError as error:
        return str(error)
    return ""


def _left_behind(config: Config, change: LabelMapChange) -> Iterator[str]:
    """Settings that name classes which are none after the change."""
    named: dict[str, Sequence[str]] = {
        "gate.protected_classes": config.gate.protected_classes,
        "label_studio.draft_by_class": tuple(config.label_studio.draft_by_class),
    }
    if config.edge is not None:
        background = config.edge.hard_examples.background
        named["edge.privacy.blur"] = config.edge.privacy.blur
        named["edge.privacy.drop"] = config.edge.privacy.drop
        named["edge.hard_examples.background"] = () if background is None else (background,)
    for key, names in named.items():
        for name in names:
            if name in change.before and name not in change.after:
                now = change.became(name)
                yield f"{key} names {name}, which is {now or 'no class'} then"


def _write(path: Path, label_map: LabelMap) -> None:
    try:
        write_whole(path, label_map_json(label_map))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror})") from error


def told(found: Mapping[str, Any]) -> str:
    """`effects` as text for a terminal."""
    lines = [
        f"label map {found['before']['digest']} -> {found['after']['digest']}",
        *(f"  {words}" for words in found["operations"]),
        f"classes then: {', '.join(found['after']['classes'])}",
        f"labels that it touches, of {found['samples']} samples:",
        *(
            f"  {name}: {count['pixels']} pixels in {count['samples']} samples"
            for name, count in found["labels"].items()
        ),
        *(f"correct the configuration: {words}" for words in found["settings"]),
    ]
    return "\n".join(lines)
