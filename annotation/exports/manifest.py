"""`manifest.json`: what an export is made of, by whom and with what, and every file's hash.

It says nothing of machines and times, so the same export gives the same manifest. Its JSON schema
is `manifest.schema.json` beside this module; `docs/formats.md` tells it in words.
"""

import importlib.metadata
import json
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import ijson

from annotation.exports.files import MANIFEST, ExportFolder
from annotation.exports.state import ExportState, FileRow
from lifelong.errors import ConfigError, CorruptRecordError
from lifelong.records.label_map import LabelMap, label_map_of
from lifelong.records.wire import dumps

SCHEMA = 1
_IDENTITY = "identity"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportIdentity:
    """What must be equal for an export to be the same one; plain JSON inside."""

    source: Mapping[str, object]  # kind, name, sha256, project …
    format: str
    options: Mapping[str, object] = field(default_factory=dict)

    def text(self, code: str) -> str:
        """All of it as text."""
        parts = {
            "source": self.source,
            "format": self.format,
            "options": self.options,
            "code": code,
        }
        return dumps(parts).decode()


def check_same(state: ExportState, identity: ExportIdentity, out: Path) -> None:
    """Go on with an export only if it is the same one.

    Raises:
        ConfigError: another source, format or option; names what differs.
    """
    code, told = code_version(), state.told(_IDENTITY)
    if told is None:
        state.tell(_IDENTITY, identity.text(code["version"]))
        state.commit()
        return
    if told == identity.text(code["version"]):
        return
    before, now = json.loads(told), json.loads(identity.text(code["version"]))
    differences = "; ".join(_differences(before, now))
    raise ConfigError(
        f"{out}: holds another export ({differences}); name another folder, or remove this one"
    )


def _differences(before: Mapping[str, object], now: Mapping[str, object]) -> Iterator[str]:
    for name in sorted(before.keys() | now.keys()):
        one, other = before.get(name), now.get(name)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from (f"{name} {told}" for told in _differences(one, other))
        elif one != other:
            yield f"{name}: {one!r} there, {other!r} asked for"


def write_manifest(
    folder: ExportFolder,
    state: ExportState,
    identity: ExportIdentity,
    label_map: LabelMap,
    warnings: Sequence[str],
) -> None:
    """Write it, the list of files as a stream.

    Raises:
        RecordError: it cannot be written.
    """
    head = _head(state, identity, label_map, warnings)

    def pieces() -> Iterator[bytes]:
        yield json.dumps(head, ensure_ascii=False, indent=1)[:-2].encode()
        yield b',\n "files": ['
        comma = b"\n"
        for file in state.files():
            told = {"path": file.path, "sha256": file.sha256, "size": file.size}
            yield comma + b"  " + json.dumps(told, ensure_ascii=False).encode()
            comma = b",\n"
        yield b"\n ]\n}\n"

    folder.write(MANIFEST, pieces())


def _head(
    state: ExportState, identity: ExportIdentity, label_map: LabelMap, warnings: Sequence[str]
) -> dict[str, object]:
    """Everything but the files."""
    annotators: Counter[str] = Counter()
    models: Counter[str] = Counter()
    for row in state.pictures():
        annotators[str(row.about.get("annotator") or "unknown")] += 1
        models[str(row.about.get("model_version") or "none")] += 1
    sides = state.sides()
    return {
        **identity_told(identity, label_map),
        "pictures": sum(sum(scenes.values()) for scenes in sides.values()),
        "splits": {
            side: {"pictures": sum(scenes.values()), "scenes": len(scenes)}
            for side, scenes in sides.items()
        },
        "left_out": state.left_out(),
        "failed": state.failed(),
        "annotators": dict(sorted(annotators.items())),
        "model_versions": dict(sorted(models.items())),
        "code": code_version(),
        "warnings": list(warnings),
    }


def identity_told(identity: ExportIdentity, label_map: LabelMap) -> dict[str, object]:
    """What every manifest begins with: its kind, and what was exported how."""
    return {
        "schema": SCHEMA,
        "kind": "cornerloop export",
        "source": dict(identity.source),
        "format": identity.format,
        "options": dict(identity.options),
        "label_map": label_map_told(label_map),
    }


def label_map_told(label_map: LabelMap) -> dict[str, object]:
    """A label map as manifests have it."""
    pairs = zip(label_map.names, label_map.colours, strict=True)
    classes = [
        {"id": i, "name": name, "colour": list(colour), "thing": label_map.is_thing(i)}
        for i, (name, colour) in enumerate(pairs)
    ]
    return {"digest": label_map.digest, "classes": classes}


def read_head(out: Path) -> dict[str, object]:
    """Everything of a manifest but its list of files.

    Args:
        out: an export, or a manifest.

    Raises:
        ConfigError: there is none.
        CorruptRecordError: it cannot be read, or is of another age.
    """
    try:
        with _opened(out) as file:
            head: dict[str, object] = {}
            builder: ijson.ObjectBuilder | None = None
            key = ""
            for prefix, event, value in ijson.parse(file, use_float=True):
                if prefix == "" and event == "map_key":
                    key, builder = str(value), ijson.ObjectBuilder()
                    if key == "files":  # the last one, and the long one
                        break
                elif builder is not None and prefix:
                    builder.event(event, value)
                    head[key] = builder.value
    except (ijson.JSONError, UnicodeDecodeError, ValueError) as error:
        raise CorruptRecordError(f"{_manifest(out)}: not JSON ({error})") from error
    if head.get("schema") != SCHEMA or head.get("kind") != "cornerloop export":
        raise CorruptRecordError(f"{_manifest(out)}: not a manifest that this version reads")
    return head


def label_map_of_export(head: Mapping[str, object], where: str) -> LabelMap:
    """The label map that a manifest tells.

    Raises:
        CorruptRecordError: it tells none.
    """
    told = head.get("label_map")
    classes = told.get("classes") if isinstance(told, Mapping) else None
    try:
        assert isinstance(classes, list)
        entries = [(str(one["name"]), tuple(int(v) for v in one["colour"])) for one in classes]
        things = [str(one["name"]) for one in classes if one["thing"]]
        pairs = [(name, (colour[0], colour[1], colour[2])) for name, colour in entries]
        return label_map_of(pairs).with_things(things)
    except (AssertionError, KeyError, TypeError, ValueError, IndexError) as error:
        raise CorruptRecordError(f"{where}: its manifest tells no label map") from error


def files_of_manifest(out: Path) -> Iterator[FileRow]:
    """The files that a manifest lists, as a stream.

    Raises:
        ConfigError, CorruptRecordError: as `read_head`.
    """
    try:
        with _opened(out) as file:
            for told in ijson.items(file, "files.item"):
                yield FileRow(path=str(told["path"]), sha256=str(told["sha256"]), size=told["size"])
    except (ijson.JSONError, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise CorruptRecordError(f"{_manifest(out)}: cannot be read ({error!r})") from error


def code_version() -> dict[str, str]:
    """The package's version, and the revision it runs from if that is known."""
    try:
        version = importlib.metadata.version("cornerloop")
    except importlib.metadata.PackageNotFoundError:
        version = "unknown"
    return {"version": version, "revision": _revision()}


def _revision() -> str:
    """The commit of the checkout that this module lies in, "" when it is installed otherwise."""
    home = Path(__file__).resolve().parents[2]
    if not (home / ".git").exists():
        return ""
    command = ["git", "-C", str(home), "rev-parse", "HEAD"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()


def _manifest(out: Path) -> Path:
    return out if out.name.endswith(MANIFEST) and not out.is_dir() else out / MANIFEST


@contextmanager
def _opened(out: Path) -> Iterator[IO[bytes]]:
    try:
        file = _manifest(out).open("rb")
    except OSError as error:
        raise ConfigError(
            f"{out}: no {MANIFEST} in it ({error.strerror}); is it an export?"
        ) from error
    with file:
        yield file
