"""Every format that `cornerloop export` writes, by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from annotation.formats.cityscapes import Cityscapes
from annotation.formats.coco import CocoInstances
from annotation.formats.coco_panoptic import CocoPanoptic
from annotation.formats.plain_masks import MaskFile, PlainMasks, TrainingPairs
from annotation.formats.studio_writer import StudioTasks
from annotation.formats.voc import PascalVoc
from annotation.formats.writing import Writer
from annotation.formats.yolo import Yolo
from lifelong.errors import ConfigError
from lifelong.records.label_map import LabelMap


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatOptions:
    """What a format may be asked for; each reads what concerns it.

    Raises:
        ConfigError: a tolerance below 0.
    """

    tolerance_px: float = 0.0  # "coco", "yolo-segment": how far an outline may be off; 0: exact
    segmentation: Literal["polygon", "auto"] = "auto"  # "coco": holes as bridges, or as runs
    has_palette: bool = False  # "png": in the label map's colours
    train_id_bits: Literal[8, 16] = 8  # "train-ids"
    studio_kind: Literal["annotations", "predictions"] = "annotations"  # "label-studio"
    studio_image_prefix: str = ""  # "label-studio": address of its folder images

    def __post_init__(self) -> None:
        if not self.tolerance_px >= 0:
            raise ConfigError(f"tolerance_px is {self.tolerance_px}, expected 0 pixels or more")


Format = Callable[[LabelMap, FormatOptions], Writer]


def _label_studio(label_map: LabelMap, options: FormatOptions) -> Writer:
    return StudioTasks(
        label_map=label_map, kind=options.studio_kind, image_prefix=options.studio_image_prefix
    )


def _coco(label_map: LabelMap, options: FormatOptions) -> Writer:
    return CocoInstances(
        label_map=label_map, segmentation=options.segmentation, tolerance_px=options.tolerance_px
    )


def _coco_rle(label_map: LabelMap, options: FormatOptions) -> Writer:
    return CocoInstances(label_map=label_map, segmentation="rle")


def _coco_panoptic(label_map: LabelMap, options: FormatOptions) -> Writer:
    return CocoPanoptic(label_map=label_map)


def _yolo_detect(label_map: LabelMap, options: FormatOptions) -> Writer:
    return Yolo(label_map=label_map, kind="detect")


def _yolo_segment(label_map: LabelMap, options: FormatOptions) -> Writer:
    return Yolo(label_map=label_map, kind="segment", tolerance_px=options.tolerance_px)


def _cityscapes(label_map: LabelMap, options: FormatOptions) -> Writer:
    return Cityscapes(label_map=label_map)


def _voc(label_map: LabelMap, options: FormatOptions) -> Writer:
    return PascalVoc(label_map=label_map)


def _png(label_map: LabelMap, options: FormatOptions) -> Writer:
    file: MaskFile = "palette" if options.has_palette else "png"
    return PlainMasks(label_map=label_map, file=file)


def _png16(label_map: LabelMap, options: FormatOptions) -> Writer:
    return PlainMasks(label_map=label_map, file="png16")


def _numpy(label_map: LabelMap, options: FormatOptions) -> Writer:
    return PlainMasks(label_map=label_map, file="numpy")


def _train_ids(label_map: LabelMap, options: FormatOptions) -> Writer:
    return TrainingPairs(label_map=label_map, bits=options.train_id_bits)


FORMATS: Mapping[str, Format] = {
    "label-studio": _label_studio,
    "coco": _coco,
    "coco-rle": _coco_rle,
    "coco-panoptic": _coco_panoptic,
    "yolo-detect": _yolo_detect,
    "yolo-segment": _yolo_segment,
    "cityscapes": _cityscapes,
    "voc": _voc,
    "png": _png,
    "png16": _png16,
    "numpy": _numpy,
    "train-ids": _train_ids,
}
