"""The manifest of a run of drafts: hashes as they were when a draft was written, models, code.

A draft that a later run finds done keeps the hash it was written with, so damage in between is
seen by `cornerloop export verify`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from annotation.exports.folder_manifests import FolderContents, digest_of, write_folder_manifest
from annotation.exports.manifest import ExportIdentity
from annotation.exports.picture_items import sha256_of
from annotation.exports.state import FileRow
from cloud.drafting.raw_pictures import Shard
from cloud.drafting.records import DraftRecord, draft_path, share_name
from lifelong.records.label_map import LabelMap
from lifelong.sections.drafting import PreannotationSection


def write_draft_manifest(
    dataset: Path,
    pictures: Path,
    records: Sequence[DraftRecord],
    section: PreannotationSection,
    label_map: LabelMap,
    shard: Shard,
    *,
    failed: int,
    warnings: Sequence[str],
) -> None:
    """Write the manifest of a share whose every picture was gone through.

    Args:
        pictures: the folder that was drafted; only its name is told.
        records: of each picture that has its draft.
    """
    contents = FolderContents(failed=failed, warnings=warnings)
    for record in records:
        contents.add(list(_files(dataset, record)), model=record.drafted_by or "unknown")
    read = digest_of([(record.image, record.image_sha256) for record in records])
    identity = ExportIdentity(
        source={"kind": "pictures", "name": pictures.absolute().name, "sha256": read},
        format="ssa",
        options=_options(section, shard),
    )
    write_folder_manifest(dataset, "ssa_output", identity, label_map, contents, share_name(shard))


def _options(section: PreannotationSection, shard: Shard) -> dict[str, object]:
    """What decides over drafts, in names; no paths, for these are of one machine."""
    return {
        "method": section.method,
        "masks": _named(section.masks.type, section.masks.model),
        "semantic": _named(section.semantic.type, section.semantic.model),
        "vote": section.vote.model_dump(mode="json"),
        "prompts": dict(section.text_prompts.prompts),
        "ssa_compat": section.ssa_compat,
        "share": [shard.index, shard.count],
    }


def _named(kind: str, model: str | None) -> str:
    return f"{kind}:{Path(model).name if Path(model).is_absolute() else model}" if model else kind


def _files(dataset: Path, record: DraftRecord) -> Iterator[FileRow]:
    raw = dataset / "raw_data" / record.image
    told = [(raw, record.image_sha256)]
    for suffix, sha256 in ((".json", record.json_sha256), (".png", record.png_sha256)):
        path = draft_path(dataset, record.draft, suffix)
        if not record.json_sha256 and path.is_file():  # a record from before there were manifests
            sha256 = sha256_of(path)
        told += [(path, sha256)] if sha256 else []
    for path, sha256 in told:
        size = path.stat().st_size if path.is_file() else 0
        yield FileRow(path=path.relative_to(dataset).as_posix(), sha256=sha256, size=size)
