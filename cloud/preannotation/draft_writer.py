"""One picture file to its draft in a data set: `_semantic.json`, a picture to look at, a record."""

import io
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from annotation.formats.ssa import SsaAnnotation, ssa_from_mask
from cloud.drafting.raw_pictures import RawPicture
from cloud.drafting.records import DraftRecord, draft_path, keep_record
from cloud.preannotation.drafting import Draft, Drafter, DraftRegion
from lifelong.errors import ImageError
from lifelong.links.durable_files import UNFINISHED, write_whole
from lifelong.overlays import overlay
from lifelong.records.ids import sha256_hex
from lifelong.records.label_map import IGNORE_INDEX, LabelMap
from lifelong.records.pixels import image_from_bytes

_MOST_UNKNOWN = 10  # names kept of one picture


class DraftWriter:
    """Drafts pictures one after the other; nothing of one picture is kept for the next."""

    def __init__(
        self, drafter: Drafter, label_map: LabelMap, dataset: Path, *,
        settings: str, free_names: bool, with_png: bool,
    ) -> None:  # fmt: skip
        self._drafter, self._label_map, self._dataset = drafter, label_map, dataset
        self._settings, self._free_names, self._with_png = settings, free_names, with_png

    def write(self, picture: RawPicture) -> DraftRecord:
        """Draft one picture; its record is written last.

        Raises:
            ImageError: it cannot be read, or is no picture.
            ModelOutputError: a model answered nonsense.
            OSError: the draft cannot be written.
        """
        began = time.perf_counter()
        try:
            data = picture.path.read_bytes()
        except OSError as error:
            raise ImageError(f"{picture.name}: cannot be read ({error.strerror})") from error
        # A copy that may be written to: torch warns of others.
        image = image_from_bytes(data, picture.name).copy()
        draft = self._drafter.draft(image)
        target = draft_path(self._dataset, picture.draft, ".json")
        target.parent.mkdir(parents=True, exist_ok=True)
        body, shown = self._json(picture, draft), ""
        write_whole(target, body)
        if self._with_png:
            shown = _write_png(
                draft_path(self._dataset, picture.draft, ".png"),
                overlay(
                    image,
                    draft.mask,
                    self._label_map,
                    opacity=0.5,
                    unknown="as it is",
                    outlined=True,
                ),
            )
        record = self._record(picture, sha256_hex(data), draft, time.perf_counter() - began)
        record = replace(record, json_sha256=sha256_hex(body), png_sha256=shown)
        keep_record(self._dataset, record)
        return record

    def _json(self, picture: RawPicture, draft: Draft) -> bytes:
        about = {
            "image": picture.name,
            "proposed_by": self._drafter.proposed_by,
            "labelled_by": self._drafter.labelled_by,
            "score": round(draft.score, 4),
            "erased_classes": [self._label_map.names[class_id] for class_id in draft.erased],
        }
        annotations = [_annotation(region, self._free_names) for region in draft.regions]
        return ssa_from_mask(draft.mask, annotations, about=about)

    def _record(
        self, picture: RawPicture, sha256: str, draft: Draft, seconds: float
    ) -> DraftRecord:
        pixels = np.bincount(draft.mask.ravel(), minlength=IGNORE_INDEX + 1)
        unknown = Counter(r.class_name for r in draft.regions if r.class_id is None)
        return DraftRecord(
            image=picture.name,
            image_sha256=sha256,
            settings=self._settings,
            draft=picture.draft,
            height=draft.mask.shape[0],
            width=draft.mask.shape[1],
            score=draft.score,
            class_pixels={
                name: int(pixels[class_id])
                for class_id, name in enumerate(self._label_map.names)
                if pixels[class_id]
            },
            regions=len(draft.regions),
            unknown_names=tuple(name for name, _ in unknown.most_common(_MOST_UNKNOWN)),
            erased_classes=tuple(self._label_map.names[c] for c in draft.erased),
            seconds=round(seconds, 3),
            drafted_by=f"{self._drafter.proposed_by}+{self._drafter.labelled_by}",
        )


def _write_png(path: Path, picture: NDArray[np.uint8]) -> str:
    """Write it, and return its SHA-256."""
    temporary, body = path.with_name(f"{UNFINISHED}{path.name}"), io.BytesIO()
    Image.fromarray(picture).save(body, format="PNG", compress_level=1)
    temporary.write_bytes(body.getbuffer())
    temporary.replace(path)
    return sha256_hex(body.getvalue())


def _annotation(region: DraftRegion, free_names: bool) -> SsaAnnotation:
    height, width = region.rle["size"]
    return SsaAnnotation(
        size=(height, width),
        counts=region.rle["counts"],
        area=region.area,
        box=region.box,
        predicted_iou=region.predicted_iou,
        stability=region.stability,
        point=region.point,
        crop_box=region.crop_box,
        class_name=region.class_name,
        class_proposals=region.class_proposals if free_names else region.class_name,
        score=region.score,
    )
