"""The way to the annotators and back without Label Studio: files in a folder, any paint program.

FOLDER/tasks/{round}/{sample}/image.jpg       the picture, as it lies in storage
                             /draft.png       the draft, one class id a pixel, in class colours
                             /task.json       the classes, and what is known of the picture; last
                             /corrected.png   what a person made of the draft: then it is finished
                             /skip.txt        or why nobody will
FOLDER/tasks/{round}/queue.txt                the open samples, best first
"""

import io
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from annotation.folder_marks import read_mark
from annotation.pulling import Pulled
from annotation.review.agreement import agreement, boundary_agreement
from annotation.review.correction_cost import cost_by_class
from lifelong.errors import ImageError, LabelMapError, RecordError, ShapeError
from lifelong.links.durable_files import write_whole
from lifelong.links.journal import Journal
from lifelong.links.storage import Storage
from lifelong.records.ids import RoundNumber, SampleId, sha256_hex
from lifelong.records.label_map import IGNORE_INDEX, LabelMap
from lifelong.records.pixels import mask_from_png, png_from_mask
from lifelong.records.samples import Annotation, AnnotationTask, CorrectionCost, PreAnnotation, Skip
from lifelong.records.wire import dumps, to_plain

logger = logging.getLogger(__name__)

# A paint program writes for a moment; a file that nobody can read after that stays unreadable.
_SETTLED = timedelta(seconds=10)
_HOW = (
    "Paint draft.png in the colours of `classes` and save it as corrected.png: a palette or grey "
    "PNG of the same size. 255 (black) means: nobody knows. Or write the reason into skip.txt."
)


class FolderExchange:
    """Drafts out and corrections back, as files; every call may be repeated safely."""

    def __init__(
        self,
        *,
        storage: Storage,
        folder: Path,
        label_map: LabelMap,
        journal: Journal,
        now: Callable[[], datetime],
    ) -> None:
        self._storage = storage
        self._folder = folder
        self._label_map = label_map
        self._journal = journal
        self._now = now

    def push(self, drafts: Sequence[PreAnnotation]) -> list[AnnotationTask]:
        """Offer drafts to people; those that are already there stay as they are.

        Returns:
            One task a draft, in the drafts' order.

        Raises:
            LabelMapError: a draft holds ids that are no class.
            ShapeError: a draft has another size than its record says.
        """
        return [self._offered(draft) for draft in drafts]

    def pull(self, tasks: Sequence[AnnotationTask]) -> Pulled:
        """What people have finished; a file that cannot be used becomes a Skip that says why."""
        outcomes = [self._outcome(task) for task in tasks]
        return Pulled(
            annotations=tuple(one for one in outcomes if isinstance(one, Annotation)),
            skips=tuple(one for one in outcomes if isinstance(one, Skip)),
        )

    def sort(self, tasks: Sequence[AnnotationTask], order: Sequence[SampleId]) -> None:
        """Write down who comes next."""
        for number in {task.round_number for task in tasks}:
            samples = {task.sample_id for task in tasks if task.round_number == number}
            lines = [f"{sample_id}\n" for sample_id in order if sample_id in samples]
            path = self._folder / "tasks" / str(number) / "queue.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, "".join(lines).encode())

    def _offered(self, draft: PreAnnotation) -> AnnotationTask:
        place = self._place(draft.round_number, draft.sample_id)
        if not (place / "task.json").exists():
            mask = mask_from_png(self._storage.get(draft.mask_key), draft.mask_key)
            self._label_map.check(mask, draft.mask_key)
            if mask.shape != (draft.height, draft.width):
                raise ShapeError(
                    f"{draft.mask_key}: {mask.shape} pixels, its record says "
                    f"{(draft.height, draft.width)}"
                )
            place.mkdir(parents=True, exist_ok=True)
            suffix = PurePosixPath(draft.image_key).suffix or ".jpg"
            write_whole(place / f"image{suffix}", self._storage.get(draft.image_key))
            write_whole(place / "draft.png", palette_png(mask, self._label_map))
            write_whole(place / "task.json", dumps(self._described(draft)))
            self._journal.event(
                "task.pushed", sample_id=draft.sample_id, round_number=draft.round_number
            )
        return AnnotationTask(
            sample_id=draft.sample_id,
            round_number=draft.round_number,
            project_id=0,
            task_id=int(sha256_hex(draft.sample_id.encode())[:8], 16),
            draft_key=draft.mask_key,
            drafted_by=f"{draft.proposed_by}+{draft.labelled_by}",
            label_map_digest=draft.label_map_digest,
        )

    def _described(self, draft: PreAnnotation) -> dict[str, object]:
        classes = zip(self._label_map.names, self._label_map.colours, strict=True)
        return {
            "schema": 1,
            "sample": draft.sample_id,
            "round": draft.round_number,
            "score": round(draft.score, 4),
            "attributes": dict(draft.attributes),
            "erased_classes": list(draft.erased_classes),
            "classes": [
                {"id": i, "name": name, "colour": list(colour)}
                for i, (name, colour) in enumerate(classes)
            ],
            "how": _HOW,
        }

    def _outcome(self, task: AnnotationTask) -> Annotation | Skip | None:
        place = self._place(task.round_number, task.sample_id)
        if not (place / "task.json").exists():
            return self._skip(task, f"{place} was deleted")
        reason = place / "skip.txt"
        if reason.exists():
            told = reason.read_text(encoding="utf-8", errors="replace").strip()
            return self._skip(task, f"skipped: {told[:500]}" if told else "skipped")
        path = place / "corrected.png"
        try:
            data = path.read_bytes()
            changed_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        except FileNotFoundError:
            return None
        try:
            return self._annotation(task, path, data, changed_at)
        except ImageError as error:
            if self._now() - changed_at < _SETTLED:
                return None  # it may still be written
            return self._skip(task, str(error))
        except RecordError as error:
            return self._skip(task, str(error))

    def _annotation(
        self, task: AnnotationTask, path: Path, data: bytes, at: datetime
    ) -> Annotation:
        mask = corrected_mask(data, self._label_map, str(path))
        draft = mask_from_png(self._storage.get(task.draft_key), task.draft_key)
        if mask.shape != draft.shape:
            raise ShapeError(
                f"{path}: {mask.shape[1]}x{mask.shape[0]} pixels, the picture has "
                f"{draft.shape[1]}x{draft.shape[0]}"
            )
        if (mask == IGNORE_INDEX).all():
            raise ShapeError(f"{path}: no pixel has a class; write skip.txt instead")
        encoded = png_from_mask(mask)
        annotation_id = int(sha256_hex(encoded)[:12], 16)
        key = f"masks/{task.sample_id}/{annotation_id}.png"
        is_new = not self._storage.exists(key)
        self._storage.put(key, encoded)
        change = agreement(draft, mask)
        mark = read_mark(path.parent, data)
        annotator = mark.by if mark else _owner(path)
        seconds = mark.seconds if mark else None
        cost = CorrectionCost(
            annotation_id=annotation_id,
            annotator=annotator,
            drafted_by=task.drafted_by,
            with_draft=True,
            seconds=seconds,
            pixels=mask.size,
            classes=cost_by_class(
                draft, mask, before=(), after=(), label_map=self._label_map, seconds=seconds
            ),
        )
        if is_new:
            self._journal.event(
                "annotation.pulled",
                sample_id=task.sample_id,
                round_number=task.round_number,
                annotation_id=annotation_id,
                annotator=annotator,
                agreement=round(change.miou, 4),
                changed_pixels=change.changed_pixels,
                seconds=seconds,
                costs=[to_plain(cost)],
            )
        return Annotation(
            sample_id=task.sample_id,
            round_number=task.round_number,
            annotation_id=annotation_id,
            annotator=annotator,
            annotated_at=at,
            mask_key=key,
            mask_sha256=sha256_hex(encoded),
            agreement=change.miou,
            changed_pixels=change.changed_pixels,
            seconds=seconds,
            draft_boundary=boundary_agreement(draft, mask).mean_f,
            annotation_ids=(annotation_id,),
            annotators=(annotator,),
            costs=(cost,),
            label_map_digest=self._label_map.digest,
        )

    def _place(self, number: RoundNumber, sample_id: SampleId) -> Path:
        return self._folder / "tasks" / str(number) / sample_id

    def _skip(self, task: AnnotationTask, reason: str) -> Skip:
        logger.info("sample %s of round %d: %s", task.sample_id, task.round_number, reason)
        return Skip(sample_id=task.sample_id, round_number=task.round_number, reason=reason)


def palette_png(mask: NDArray[np.uint8], label_map: LabelMap) -> bytes:
    """A mask, (H, W) uint8, as a PNG that shows class colours and holds class ids."""
    picture = Image.frombytes("P", (mask.shape[1], mask.shape[0]), mask.tobytes())
    picture.putpalette(label_map.palette.tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def corrected_mask(data: bytes, label_map: LabelMap, where: str) -> NDArray[np.uint8]:
    """What a paint program saved, as (H, W) uint8 class ids.

    Grey values are class ids. Paint programs number palettes anew: where a palette's colours are
    not at their class ids, the colours decide.

    Raises:
        ImageError: no PNG, cut off, or neither grey nor palette.
        LabelMapError: ids or colours that are no class; names them.
    """
    mask = mask_from_png(data, where)
    colours = _palette(data)
    if colours is not None:
        used = np.unique(mask)
        grey = all(len(set(colours[i].tolist())) == 1 and colours[i, 0] == i for i in used.tolist())
        if not grey and not np.array_equal(colours[used], label_map.palette[used]):
            mask = _by_colour(mask, colours, label_map, where)
    label_map.check(mask, where)
    return mask


def _palette(data: bytes) -> NDArray[np.uint8] | None:
    """(256, 3) RGB; None for a grey PNG."""
    with Image.open(io.BytesIO(data)) as picture:
        found = picture.getpalette("RGB") if picture.mode == "P" else None
    if found is None:
        return None
    colours = np.zeros((256, 3), dtype=np.uint8)
    colours[: len(found) // 3] = np.array(found, dtype=np.uint8).reshape(-1, 3)[:256]
    return colours


def _by_colour(
    mask: NDArray[np.uint8], colours: NDArray[np.uint8], label_map: LabelMap, where: str
) -> NDArray[np.uint8]:
    meant = {colour: class_id for class_id, colour in enumerate(label_map.colours)}
    black = meant.pop((0, 0, 0), None)
    if black is None:  # else it could be the class or 255, and nobody can tell
        meant[0, 0, 0] = IGNORE_INDEX
    table = np.full(256, IGNORE_INDEX, dtype=np.uint8)
    unknown = []
    for index in np.unique(mask).tolist():
        red, green, blue = (int(part) for part in colours[index])
        if (red, green, blue) in meant:
            table[index] = meant[red, green, blue]
        else:
            unknown.append(f"#{red:02x}{green:02x}{blue:02x}")
    if unknown:
        raise LabelMapError(
            f"{where}: colours {', '.join(unknown)} are no class (or not one alone); task.json "
            "lists the classes' colours; switch off smoothing"
        )
    return table[mask]


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except (KeyError, OSError, NotImplementedError):
        return "folder"
