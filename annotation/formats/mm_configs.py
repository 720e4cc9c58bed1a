"""Configurations that train on an export: mmdetection, mmsegmentation, and Cornerloop itself.

Each is plain Python (or YAML) that inherits a public base configuration and names the export's
own files. Train, val and test are three different parts: a split without pictures is switched off,
with a comment, and never replaced by another one. `data_root` is the export's folder as seen from
where training starts.
"""

from collections.abc import Collection, Mapping
from pprint import pformat

from lifelong.records.label_map import LabelMap

_MMDET = {
    "configs/mask-rcnn_r50_fpn.py": (
        "mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py",
        "dict(roi_head=dict(bbox_head=dict(num_classes={n}), mask_head=dict(num_classes={n})))",
    ),
    "configs/rtmdet-ins_s.py": (
        "mmdet::rtmdet/rtmdet-ins_s_8xb32-300e_coco.py",
        "dict(bbox_head=dict(num_classes={n}))",
    ),
}
_MMSEG = {
    "configs/deeplabv3plus_r50.py": (
        "mmseg::deeplabv3plus/deeplabv3plus_r50-d8_4xb2-40k_cityscapes-512x1024.py",
        "dict(decode_head=dict(num_classes={n}), auxiliary_head=dict(num_classes={n}))",
    ),
}
_MMSEG_PIPELINES = (
    "scale, crop_size = (2048, 1024), (512, 1024)",
    "train_pipeline = [",
    "    dict(type='LoadImageFromFile'),",
    "    dict(type='LoadAnnotations'),",
    "    dict(type='RandomResize', scale=scale, ratio_range=(0.5, 2.0), keep_ratio=True),",
    "    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),",
    "    dict(type='RandomFlip', prob=0.5),",
    "    dict(type='PhotoMetricDistortion'),",
    "    dict(type='PackSegInputs'),",
    "]",
    "test_pipeline = [",
    "    dict(type='LoadImageFromFile'),",
    "    dict(type='Resize', scale=scale, keep_ratio=True),",
    "    dict(type='LoadAnnotations'),  # after the size changes: a mask keeps its own",
    "    dict(type='PackSegInputs'),",
    "]",
)
_LOOPS = {"val": "evaluates nothing while it trains", "test": "cannot be tested"}


def mmdet_configs(label_map: LabelMap, splits: Collection[str]) -> dict[str, str]:
    """Path -> text for an export in the format "coco".

    Args:
        splits: those of "train", "val" and "test" that have pictures.
    """
    found = {}
    for path, (base, model) in _MMDET.items():
        lines = _head(base, model, label_map, "CocoDataset")
        lines += _mmdet_train() if "train" in splits else _off("train")
        for split in _LOOPS:
            lines += _mmdet_judged(split) if split in splits else _off(split)
        found[path] = "\n".join(lines) + "\n"
    return found


def mmseg_configs(
    label_map: LabelMap,
    suffixes: Mapping[str, Collection[str]],
    *,
    images: str,
    masks: str,
) -> dict[str, str]:
    """Path -> text for an export of masks.

    Args:
        suffixes: of the images, by split (".jpg"); splits without pictures are absent.
        images: folder of the images, with "{split}" in it.
        masks: folder of the masks, with "{split}" in it; masks are NAME.png.
    """
    found = {}
    for path, (base, model) in _MMSEG.items():
        lines = [*_head(base, model, label_map, "BaseSegDataset"), *_MMSEG_PIPELINES]
        for split in ("train", *_LOOPS):
            if not suffixes.get(split):
                lines += _off(split)
                continue
            folders = images.format(split=split), masks.format(split=split)
            lines += _mmseg_loader(split, sorted(suffixes[split]), *folders)
        found[path] = "\n".join(lines) + "\n"
    return found


def cornerloop_config(splits: Collection[str]) -> str:
    """`cornerloop.yaml` of an export in the format "train-ids"."""
    if "train" in splits:
        lines = ["# cornerloop begin --config cornerloop.yaml --data train"]
    else:
        lines = ["# No picture is for training: `cornerloop begin` needs a folder train."]
    lines += ["storage: storage", "label_map: label_map.json"]
    if "val" in splits:
        lines.append("holdouts: val  # what examines every candidate; nothing of it is trained on")
    else:
        lines.append("# No picture is in val: only what rounds hold back examines a candidate.")
    if "test" in splits:
        lines.append("# The folder test is for you; nothing here reads it.")
    return "\n".join(lines) + "\n"


def _head(base: str, model: str, label_map: LabelMap, dataset: str) -> list[str]:
    metainfo = {"classes": label_map.names, "palette": list(label_map.colours)}
    return [
        f"_base_ = {base!r}",
        "",
        f"dataset_type = {dataset!r}",
        "data_root = './'  # the export's folder",
        f"metainfo = {pformat(metainfo, width=96, sort_dicts=False)}",
        f"num_classes = {len(label_map)}",
        f"model = {model.format(n=len(label_map))}",
    ]


def _off(split: str) -> list[str]:
    if split == "train":
        return ["", "# No picture is for training; this configuration only evaluates.",
                "train_dataloader = None", "train_cfg = None",
                "optim_wrapper = None", "param_scheduler = None"]  # fmt: skip
    return ["", f"# No picture is in {split}: this configuration {_LOOPS[split]}.",
            f"{split}_dataloader = None", f"{split}_evaluator = None",
            f"{split}_cfg = None"]  # fmt: skip


def _mmdet_dataset(split: str) -> list[str]:
    return [
        "    dataset=dict(",
        "        type=dataset_type,",
        "        data_root=data_root,",
        "        metainfo=metainfo,",
        f"        ann_file='annotations/instances_{split}.json',",
        f"        data_prefix=dict(img='images/{split}/')))",
    ]


def _mmdet_train() -> list[str]:
    return ["", "train_dataloader = dict(", *_mmdet_dataset("train")]


def _mmdet_judged(split: str) -> list[str]:
    return [
        "",
        f"{split}_dataloader = dict(",
        *_mmdet_dataset(split),
        f"{split}_evaluator = dict(ann_file=data_root + 'annotations/instances_{split}.json')",
    ]


def _mmseg_loader(split: str, suffixes: list[str], images: str, masks: str) -> list[str]:
    """mmsegmentation wants one suffix a data set: several suffixes are several data sets."""
    pipeline = "train_pipeline" if split == "train" else "test_pipeline"
    sets = [
        "dict(type=dataset_type, data_root=data_root, metainfo=metainfo, "
        f"img_suffix={suffix!r}, seg_map_suffix='.png', reduce_zero_label=False, "
        f"data_prefix=dict(img_path={images!r}, seg_map_path={masks!r}), "
        f"pipeline={pipeline})"
        for suffix in suffixes
    ]
    lines = ["", f"{split}_dataloader = dict("]
    if len(sets) == 1:
        only = sets[0].replace("dict(", "dict(_delete_=True, ", 1)
        return [*lines, f"    dataset={only})"]
    lines += ["    dataset=dict(_delete_=True, type='ConcatDataset', datasets=["]
    return [*lines, *(f"        {one}," for one in sets), "    ]))"]
