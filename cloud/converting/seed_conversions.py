"""Seed 003's two converters: the same flags, folders and file names, and no pixel lost.

DATASET/raw_data/front/1.jpg
DATASET/ssa_output/front/1_semantic.json
DATASET/ls_data/front/1_semantic_poly_ls.json   one task, as polygons of the tool "labels"
DATASET/ls_data/tasks.json                      all tasks, to import at once
DATASET/ls_data/EXPORT.json                     Label Studio's JSON-MIN, or JSON
DATASET/train_ids/front/1_TrainIds.png
DATASET/ls_data.manifest.json, DATASET/train_ids.manifest.json   beside the folders, not in them
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from annotation.draft_regions import POLYGON_DRAFTS, regions_from_mask
from annotation.exports.folder_manifests import (
    FolderContents,
    digest_of,
    write_folder_manifest,
    written,
)
from annotation.exports.image_names import ImageNames, stem_of
from annotation.exports.images import check_size
from annotation.exports.manifest import ExportIdentity
from annotation.exports.picture_items import Item, LeftOut, sha256_of
from annotation.exports.state import FileRow
from annotation.exports.task_source import TaskSource
from annotation.formats.ssa import mask_from_ssa
from annotation.formats.train_ids import train_ids_png
from annotation.labeling_config import Tools
from annotation.labelled_pictures import LabelledPicture
from cloud.drafting.raw_pictures import RawPicture, raw_pictures
from lifelong.errors import ConfigError, CorruptRecordError, LifelongError, RecordError
from lifelong.links.durable_files import UNFINISHED, write_whole
from lifelong.records.ids import sha256_hex
from lifelong.records.label_map import LabelMap
from lifelong.records.wire import json_object

ROOT_VARIABLE = "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"
TASKS = "tasks.json"

# The tool of seed 003's labelling interface.
SEED_TOOLS = Tools(image="image", data_field="image", brush=None, polygon="labels")


@dataclass(slots=True, kw_only=True)
class SeedReport:
    """What a conversion did."""

    done: int = 0
    left_out: int = 0
    failures: list[str] = field(default_factory=list)


def ssa_to_label_studio(
    dataset: Path,
    label_map: LabelMap,
    environment: Mapping[str, str],
    *,
    class_of: Callable[[str], int | None] | None = None,
    skip: bool = False,
) -> SeedReport:
    """Drafts of Semantic Segment Anything as tasks with polygons, a file each and one for all.

    Args:
        class_of: which class a free name means, for results of `main_ssa_engine.py`; None refuses
            them.

    Raises:
        ConfigError: no pictures, or Label Studio could not serve them; says what to do.
        CorruptRecordError, LabelMapError: a draft that is missing or cannot be read.
    """
    raw = dataset / "raw_data"
    url = _url_of(raw, environment)
    report, contents, drafts = SeedReport(), FolderContents(), list[tuple[str, str]]()
    tasks = dataset / "ls_data" / TASKS
    tasks.parent.mkdir(parents=True, exist_ok=True)
    temporary = tasks.with_name(f"{UNFINISHED}{tasks.name}")
    with temporary.open("w", encoding="utf-8") as file:
        file.write("[")
        for picture in raw_pictures(raw):
            try:
                address = f"{url}/{quote(picture.name)}"
                data = _draft(dataset, picture)
                task, model = _task(dataset, picture, data, address, label_map, class_of)
            except LifelongError as error:
                _failed(report, str(error), skip=skip)
                continue
            body = json.dumps(task, ensure_ascii=False)
            path = dataset / "ls_data" / f"{picture.draft}_semantic_poly_ls.json"
            contents.add([written(dataset, path, body.encode())], model=model)
            drafts.append((picture.draft, sha256_hex(data)))
            file.write(",\n" if report.done else "\n")
            file.write(body)
            report.done += 1
        file.write("\n]\n")
    temporary.replace(tasks)
    contents.files.append(
        FileRow(path=f"ls_data/{TASKS}", sha256=sha256_of(tasks), size=tasks.stat().st_size)
    )
    contents.failed = len(report.failures)
    source = {"kind": "ssa", "name": dataset.absolute().name, "sha256": digest_of(drafts)}
    identity = ExportIdentity(source=source, format="label-studio")
    write_folder_manifest(dataset, "ls_data", identity, label_map, contents)
    return report


def _draft(dataset: Path, picture: RawPicture) -> bytes:
    path = _draft_path(dataset, picture)
    try:
        return path.read_bytes()
    except OSError as error:
        raise CorruptRecordError(
            f"{picture.name}: no draft {path} ({error.strerror}); make it with "
            "`cornerloop preannotate`, or leave such pictures out with --skip"
        ) from error


def _draft_path(dataset: Path, picture: RawPicture) -> Path:
    return dataset / "ssa_output" / f"{picture.draft}_semantic.json"


def _task(
    dataset: Path,
    picture: RawPicture,
    data: bytes,
    url: str,
    label_map: LabelMap,
    class_of: Callable[[str], int | None] | None,
) -> tuple[dict[str, object], str]:
    """A task as seed 003 writes it, the draft a prediction; and which model drafted it."""
    path = _draft_path(dataset, picture)
    mask = mask_from_ssa(data, label_map, str(path), class_of=class_of)
    check_size(picture.path, (mask.shape[0], mask.shape[1]), picture.name)
    regions = regions_from_mask(mask, label_map, shapes=POLYGON_DRAFTS, tools=SEED_TOOLS)
    about = json_object(data, str(path)).get("cornerloop")
    prediction: dict[str, object] = {
        "model_version": "ssa",
        "result": regions,
        "ground_truth": False,
    }
    if isinstance(about, dict):  # the draft is ours
        prediction["model_version"] = str(about.get("labelled_by") or "ssa")
        prediction["score"] = about.get("score")
    task: dict[str, object] = {"data": {"image": url}, "predictions": [prediction]}
    return task, str(prediction["model_version"])


def _url_of(raw: Path, environment: Mapping[str, str]) -> str:
    """Where Label Studio serves the folder of pictures.

    Raises:
        ConfigError: nobody says what it serves, or this folder is not part of it.
    """
    root = environment.get(ROOT_VARIABLE, "")
    if not root:
        raise ConfigError(
            f"{ROOT_VARIABLE} is not set, so Label Studio could not find the pictures: set it "
            "here to what it is where Label Studio runs, the folder that local files are served "
            f"from, e.g. `export {ROOT_VARIABLE}={raw.absolute().parent.parent}`"
        )
    if not raw.resolve().is_relative_to(Path(root).resolve()):
        raise ConfigError(
            f"{raw}: not below {ROOT_VARIABLE} ({root}), so Label Studio does not serve it; move "
            "the data set, or set the variable to a folder above it"
        )
    inside = raw.resolve().relative_to(Path(root).resolve()).as_posix()
    return f"/data/local-files/?d={quote(inside)}"


def label_studio_to_train_ids(
    dataset: Path,
    export: str,
    label_map: LabelMap,
    environment: Mapping[str, str],
    *,
    bits: Literal[8, 16] = 16,
    skip: bool = False,
) -> SeedReport:
    """An export in `ls_data` as masks of train ids in `train_ids`.

    Of several annotations of a picture the latest counts; pictures that nobody annotated get no
    mask.

    Raises:
        ConfigError: no such export.
        RecordError, LabelMapError: a task that cannot be read, or two that would be one file.
    """
    path = dataset / "ls_data" / export
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; export JSON-MIN in Label Studio and put it there")
    layout = _Layout(dataset, environment)
    source = TaskSource(path=path, label_map=label_map)
    report, contents, taken = SeedReport(), FolderContents(), dict[str, str]()
    for item in source.items():
        if isinstance(item, LeftOut):
            report.left_out += 1
            contents.left_out[item.why] = contents.left_out.get(item.why, 0) + 1
            continue
        try:
            if not isinstance(item, Item):
                raise RecordError(item.error)
            name, stem = layout.place_of(item.name)
            other = taken.setdefault(stem, item.where)
            if other != item.where:
                raise RecordError(
                    f"{item.where}: its mask would be {stem}_TrainIds.png, as that of {other}"
                )
            picture = source.read(item)
            mask = _write_mask(dataset, picture, item.where, (name, stem), bits)
        except LifelongError as error:
            _failed(report, str(error), skip=skip)
            continue
        about = picture.provenance
        contents.add([mask], model=about.model_version, annotator=about.annotator)
        report.done += 1
    contents.failed = len(report.failures)
    identity = ExportIdentity(
        source={"kind": "label-studio", "name": export, "sha256": sha256_of(path)},
        format="train-ids",
        options={"bits": bits},
    )
    write_folder_manifest(dataset, "train_ids", identity, label_map, contents)
    if skip:
        told = {"done": report.done, "left_out": report.left_out, "failures": report.failures}
        body = json.dumps(told, ensure_ascii=False, indent=1).encode()
        write_whole(dataset / "ls_data" / f"{Path(export).stem}_report.json", body)
    return report


def _write_mask(
    dataset: Path,
    picture: LabelledPicture,
    where: str,
    place: tuple[str, str],
    bits: Literal[8, 16],
) -> FileRow:
    """Write the mask of a picture, if it has the size of its image."""
    name, stem = place
    image = dataset / "raw_data" / name
    if image.is_file():
        check_size(image, (picture.height, picture.width), where)
    target = dataset / "train_ids" / f"{stem}_TrainIds.png"
    return written(dataset, target, train_ids_png(picture.mask(), bits=bits))


class _Layout:
    """Which picture of `raw_data` a task is about, and what its mask is called."""

    def __init__(self, dataset: Path, environment: Mapping[str, str]) -> None:
        self._raw = dataset / "raw_data"
        root = environment.get(ROOT_VARIABLE, "")
        below = ""
        if root and self._raw.resolve().is_relative_to(Path(root).resolve()):
            below = self._raw.resolve().relative_to(Path(root).resolve()).as_posix()
        self._names = ImageNames(below=below)
        has_pictures = self._raw.is_dir() and any(self._raw.iterdir())
        pictures = raw_pictures(self._raw) if has_pictures else ()
        self._drafts = {picture.name: picture.draft for picture in pictures}

    def place_of(self, name: str) -> tuple[str, str]:
        """(name below `raw_data`, path of the mask without its ending)."""
        found = next((n for n in self._candidates(name) if n in self._drafts), None)
        if found is not None:
            return found, self._drafts[found]
        _, slash, rest = name.rpartition("/raw_data/")
        short = self._names.shortened(name)
        short = rest if slash and short == name else short
        return short, stem_of(short)

    def _candidates(self, name: str) -> Iterator[str]:
        """The name below the document root, and every shorter one: folders in front go."""
        yield self._names.shortened(name)
        parts = name.split("/")
        for begin in range(len(parts)):
            yield "/".join(parts[begin:])


def _failed(report: SeedReport, error: str, *, skip: bool) -> None:
    if not skip:
        raise RecordError(error)
    report.failures.append(error)
