"""From what a command line says to an export: source, names, format, images, splits, manifest."""

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from annotation.exports.counted_tasks import CountedTasks, ReadStudio
from annotation.exports.image_names import ImageNames
from annotation.exports.images import ImageShelf, ImagesMode
from annotation.exports.manifest import ExportIdentity
from annotation.exports.picture_items import Source, sha256_of
from annotation.exports.picture_sources import (
    Reading,
    guess_kind,
    image_roots,
    label_map_in,
    open_source,
)
from annotation.exports.run import (
    ExportPlan,
    ExportReport,
    ExportRun,
    Progress,
    check_empty_or_ours,
)
from annotation.exports.safe_archives import unpacked
from annotation.exports.scene_splits import SplitPlan
from annotation.exports.state import FOLDER
from annotation.exports.task_source import Annotations, TaskSource, snapshot
from annotation.formats.export_formats import FORMATS, FormatOptions
from annotation.formats.writing import Writer
from lifelong.config import Config, load_label_map
from lifelong.errors import ConfigError
from lifelong.links.storage import Storage
from lifelong.records.label_map import CITYSCAPES, LabelMap


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What somebody wants of a conversion."""

    format: str
    options: FormatOptions = field(default_factory=FormatOptions)
    annotations: Annotations = "latest"
    names: ImageNames = field(default_factory=ImageNames)
    images: ImagesMode = "copy"
    image_roots: tuple[Path, ...] = ()
    split: SplitPlan = field(default_factory=SplitPlan)
    workers: int = 1
    skip: bool = False
    things: tuple[str, ...] | None = None  # classes that are counted; None: the label map's own

    def identity(
        self, source: Source, label_map: LabelMap, about: Mapping[str, object]
    ) -> ExportIdentity:
        """What makes two exports the same one.

        Raises:
            ConfigError: the source cannot be read.
        """
        try:
            digest = source.digest()
        except OSError as error:
            raise ConfigError(f"{error.filename}: cannot be read ({error.strerror})") from error
        return ExportIdentity(
            source={"kind": source.kind, "sha256": digest, **about},
            format=self.format,
            options={
                **dataclasses.asdict(self.options),
                "annotations": self.annotations,
                "names": dataclasses.asdict(self.names),
                "images": self.images,
                "split": {
                    "shares": list(self.split.shares),
                    "seed": self.split.seed,
                    "pattern": self.split.pattern,
                },
                "classes": {"digest": label_map.digest, "things": sorted(label_map.things)},
            },
        )


def writer_of(wish: Wish, label_map: LabelMap) -> Writer:
    """The format by its name.

    Raises:
        ConfigError: there is none of that name.
    """
    if wish.format not in FORMATS:
        raise ConfigError(f"format {wish.format!r}: expected one of {', '.join(FORMATS)}")
    return FORMATS[wish.format](label_map, wish.options)


def convert_dataset(
    path: Path,
    out: Path,
    wish: Wish,
    *,
    kind: str | None = None,
    label_map: LabelMap | None = None,
    on_kind: Callable[[str], None] = lambda kind: None,
    progress: Progress = lambda report: None,
) -> ExportReport:
    """Convert a file, a folder or a zip archive.

    Args:
        kind: None is guessed, and told to `on_kind`.
        label_map: None takes the source's own, else Cityscapes'.

    Raises:
        ConfigError: what cannot be meant; an output folder that holds something else.
        LifelongError: as `ExportRun.run`.
    """
    if not path.exists():
        raise ConfigError(f"{path}: no such file or folder")
    if path.is_dir() and out.resolve().is_relative_to(path.resolve()):
        raise ConfigError(f"{out}: lies in {path}, which is converted; name a folder outside it")
    check_empty_or_ours(out)
    inside = _unpacked(path, out) if path.suffix.lower() == ".zip" and path.is_file() else path
    kind = kind or guess_kind(inside)
    on_kind(kind)
    known = label_map or label_map_in(inside, kind) or CITYSCAPES
    if wish.things is not None:
        known = known.with_things(wish.things)
    reading = Reading(label_map=known, annotations=wish.annotations, names=wish.names)
    source = open_source(inside, kind, reading)
    plan = ExportPlan(
        identity=wish.identity(source, known, {"name": path.name}),
        label_map=known,
        split=wish.split,
        images=ImageShelf(mode=wish.images, roots=(*wish.image_roots, *image_roots(inside))),
        workers=wish.workers,
        skip=wish.skip,
    )
    report = ExportRun(source, writer_of(wish, known), out, plan).run(progress)
    shutil.rmtree(out / FOLDER / "archive", ignore_errors=True)
    return report


def _unpacked(archive: Path, out: Path) -> Path:
    """The content of an archive, below the state of the export; a killed one unpacks once only."""
    folder = out / FOLDER / "archive" / sha256_of(archive)[:16]
    if not folder.is_dir():
        shutil.rmtree(folder.parent, ignore_errors=True)
        half = folder.with_name("unfinished")
        unpacked(archive, half)
        half.rename(folder)
    inside = [path for path in folder.iterdir() if path.name != "__MACOSX"]
    if len(inside) == 1 and (inside[0].is_dir() or inside[0].suffix.lower() == ".json"):
        return inside[0]
    return folder


def export_project(
    studio: ReadStudio,
    project_id: int,
    out: Path,
    wish: Wish,
    *,
    config: Config,
    storage: Storage | None = None,
    label_map: LabelMap | None = None,
    fetch: Callable[[str], bytes | None] | None = None,
    progress: Progress = lambda report: None,
) -> ExportReport:
    """Export what people have submitted so far in a project of Label Studio.

    The folder keeps the look that was taken at the project: going on with a killed export does
    not mix two states of it, and a newer look needs a folder of its own.

    Args:
        storage: where review and audits are recorded; None: whatever was submitted counts.

    Raises:
        LabelStudioError: Label Studio failed.
        LifelongError: as `ExportRun.run`.
    """
    check_empty_or_ours(out)
    known = label_map or load_label_map(config)
    if wish.things is not None:
        known = known.with_things(wish.things)
    path = out / FOLDER / f"project-{project_id}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file():
        counted = studio if storage is None else CountedTasks(studio, storage, known, config.review)
        snapshot(counted, project_id, path)
    source = TaskSource(
        path=path,
        label_map=known,
        annotations=wish.annotations,
        names=wish.names,
        kind="label-studio-project",
    )
    about = {"name": f"project-{project_id}", "project": project_id}
    plan = ExportPlan(
        identity=wish.identity(source, known, about),
        label_map=known,
        split=wish.split,
        images=ImageShelf(mode=wish.images, roots=wish.image_roots, fetch=fetch),
        workers=wish.workers,
        skip=wish.skip,
    )
    return ExportRun(source, writer_of(wish, known), out, plan).run(progress)
