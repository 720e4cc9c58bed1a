"""Manifests of folders whose layout belongs to other tools: beside the folder, never in it.

    DATASET/ssa_output/ …              DATASET/ssa_output.manifest.json
    DATASET/ls_data/ …                 DATASET/ls_data.manifest.json
    DATASET/train_ids/ …               DATASET/train_ids.manifest.json

Scripts that take every JSON of such a folder find what they always found. A share of a folder that
several machines fill has a manifest of its own, `ssa_output-2-of-8.manifest.json`. Each follows
`manifest.schema.json`; its paths start at the data set.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from annotation.exports.manifest import ExportIdentity, code_version, identity_told
from annotation.exports.state import FileRow
from lifelong.links.durable_files import write_whole
from lifelong.records.ids import sha256_hex
from lifelong.records.label_map import LabelMap

FOLDERS = ("ssa_output", "ls_data", "train_ids")
_NAME = re.compile(rf"({'|'.join(FOLDERS)})(-[0-9]+-of-[0-9]+)?\.manifest\.json\Z")


@dataclass(slots=True, kw_only=True)
class FolderContents:
    """What became of the pictures of a folder; grows while they are made."""

    pictures: int = 0
    failed: int = 0
    left_out: dict[str, int] = field(default_factory=dict)  # why -> pictures
    annotators: dict[str, int] = field(default_factory=dict)
    model_versions: dict[str, int] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    files: list[FileRow] = field(default_factory=list)  # paths below the data set

    def add(self, files: Sequence[FileRow], *, model: str, annotator: str | None = None) -> None:
        """One more picture; `annotator` is None where no person has seen it yet."""
        self.pictures += 1
        self.files += files
        self.model_versions[model or "none"] = self.model_versions.get(model or "none", 0) + 1
        if annotator is not None:
            name = annotator or "unknown"
            self.annotators[name] = self.annotators.get(name, 0) + 1


def written(dataset: Path, path: Path, data: bytes) -> FileRow:
    """Write a file of a data set, whole or not at all; the folder it is in comes along."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, data)
    name = path.relative_to(dataset).as_posix()
    return FileRow(path=name, sha256=sha256_hex(data), size=len(data))


def write_folder_manifest(
    dataset: Path,
    folder: str,
    identity: ExportIdentity,
    label_map: LabelMap,
    contents: FolderContents,
    share: str = "",
) -> None:
    """Write it; those of other ways to share the folder out go, for this one stands instead.

    Args:
        share: of a folder that several machines fill, "-2-of-8".
    """
    told = {
        **identity_told(identity, label_map),
        "pictures": contents.pictures,
        "splits": {},
        "left_out": _sorted(contents.left_out),
        "failed": contents.failed,
        "annotators": _sorted(contents.annotators),
        "model_versions": _sorted(contents.model_versions),
        "code": code_version(),
        "warnings": list(contents.warnings),
        "files": [
            {"path": file.path, "sha256": file.sha256, "size": file.size}
            for file in sorted(contents.files, key=lambda file: file.path)
        ],
    }
    path = dataset / f"{folder}{share}.manifest.json"
    write_whole(path, json.dumps(told, ensure_ascii=False, indent=1).encode())
    for other in manifests_in(dataset):
        found = _NAME.match(other.name)
        if found and found[1] == folder and _count(found[2] or "") != _count(share):
            other.unlink(missing_ok=True)


def manifests_in(dataset: Path) -> list[Path]:
    """The manifests beside the folders of a data set, by name."""
    return sorted(path for path in dataset.glob("*.manifest.json") if _NAME.match(path.name))


def manifests_of(folder: Path) -> list[Path]:
    """Those of one folder of a data set: the one beside it, or those of its shares."""
    beside = manifests_in(folder.absolute().parent)
    return [p for p in beside if (found := _NAME.match(p.name)) and found[1] == folder.name]


def digest_of(pairs: Sequence[tuple[str, str]]) -> str:
    """SHA-256 over names and their hashes, for a source that is many files."""
    return sha256_hex("\n".join(f"{name}\t{sha}" for name, sha in sorted(pairs)).encode())


def _count(share: str) -> str:
    return share.rpartition("-of-")[2]


def _sorted(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items()))
