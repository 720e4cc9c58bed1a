"""What a run of drafts leaves in its data set, and how a later run knows what is done.

DATASET/raw_data/{name}                          the pictures (links where the disk can)
DATASET/ssa_output/{draft}_semantic.json  .png   the drafts, as seed 003's tools expect them
DATASET/.cornerloop/drafts/{hash}.json           one record a picture, written last
DATASET/.cornerloop/report[-i-of-n].json         what the last run did, failures included
DATASET/ssa_output[-i-of-n].manifest.json        hashes, models, code of a share that is whole
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cloud.drafting.raw_pictures import RawPicture, Shard
from lifelong.errors import CorruptRecordError
from lifelong.links.durable_files import write_whole
from lifelong.records.ids import sha256_hex
from lifelong.records.label_map import LabelMap
from lifelong.records.wire import from_json, to_json
from lifelong.sections.drafting import PreannotationSection


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftRecord:
    """One picture that has its draft."""

    image: str  # name below the folder of pictures
    image_sha256: str
    settings: str  # digest of everything that decides how drafts are made
    draft: str  # name below ssa_output, without `_semantic.json`
    height: int  # pixels, upright
    width: int
    score: float  # how sure the draft is, 0 .. 1
    class_pixels: Mapping[str, int]  # class name -> pixels
    regions: int  # masks that were named
    unknown_names: tuple[str, ...]  # what masks were called that mean no class, most frequent first
    erased_classes: tuple[str, ...]  # seen, and nowhere in the draft
    seconds: float
    # Of records since manifests; "" in older ones.
    drafted_by: str = ""  # {proposed_by}+{labelled_by}
    json_sha256: str = ""  # of the draft as it was written
    png_sha256: str = ""  # "" also where no picture of it was wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One picture that has no draft, and why."""

    image: str
    error: str


def draft_path(dataset: Path, draft: str, suffix: str) -> Path:
    """Where the draft's `.json` or `.png` lies."""
    return dataset / "ssa_output" / f"{draft}_semantic{suffix}"


def report_path(dataset: Path, shard: Shard) -> Path:
    """Where a run tells what it did; shares of one data set tell it beside each other."""
    return dataset / ".cornerloop" / f"report{share_name(shard)}.json"


def share_name(shard: Shard) -> str:
    """What a share's files have in their names; "" of a whole."""
    return f"-{shard.index}-of-{shard.count}" if shard.count > 1 else ""


def settings_digest(section: PreannotationSection, label_map: LabelMap) -> str:
    """16 hex digits that change with anything that changes drafts: names, thresholds, classes,
    files of weights, words."""
    # Where it runs changes how fast a draft comes, not the draft.
    told = section.model_dump(mode="json", exclude={"device", "weights_path"})
    words = section.open_vocabulary
    named = [
        section.masks.checkpoint, section.masks.program, section.ontology, section.calibration,
        section.semantic.model,
        section.text_prompts.model, words.captioner, words.clip, words.clipseg, *words.labelers,
    ]  # fmt: skip
    stamps = [stamp for name in named if name is not None for stamp in _stamps(Path(name))]
    text = json.dumps([told, stamps, label_map.digest], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _stamps(path: Path) -> list[tuple[int, int]]:
    """Sizes and times of a file and the JSON beside it, or of the files in a folder."""
    files = [path, path.with_suffix(".json")]
    if path.is_dir():
        files = sorted(path.iterdir())
    stats = [file.stat() for file in files if file.is_file()]
    return [(one.st_size, one.st_mtime_ns) for one in stats]


def done_before(dataset: Path, picture: RawPicture, settings: str) -> DraftRecord | None:
    """The record of this very picture, byte for byte, drafted with these settings; None where it
    is to be drafted.

    Raises:
        OSError: the picture cannot be read.
    """
    record = read_record(dataset, picture.draft)
    if (
        record is None
        or record.settings != settings
        or not draft_path(dataset, picture.draft, ".json").is_file()
        or record.image_sha256 != sha256_hex(picture.path.read_bytes())
    ):
        return None
    return record


def read_record(dataset: Path, draft: str) -> DraftRecord | None:
    """The record of a draft; None where there is none, or none that can be read."""
    path = _record_path(dataset, draft)
    try:
        return from_json(DraftRecord, path.read_bytes(), str(path))
    except (OSError, CorruptRecordError):
        return None


def keep_record(dataset: Path, record: DraftRecord) -> None:
    """Write a record; the draft itself must lie there already."""
    path = _record_path(dataset, record.draft)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, to_json(record))


def _record_path(dataset: Path, draft: str) -> Path:
    name = hashlib.sha256(draft.encode()).hexdigest()[:32]
    return dataset / ".cornerloop" / "drafts" / f"{name}.json"
