"""`cornerloop models export`: a SAM to a folder of ONNX graphs, int8 with its loss on pictures."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from annotation.assist.segmenter import Mask
from cloud.assist.onnx_int8 import Example, add_int8
from cloud.assist.onnx_sam_folder import OnnxSamDescription
from cloud.demo.scenes import CONDITIONS, draw_scene
from cloud.preannotation.sam.onnx_export import export_sam, exportable
from lifelong.errors import ConfigError
from lifelong.labels.folders import IMAGE_SUFFIXES, labelled_pairs
from lifelong.records.pixels import image_from_bytes, mask_from_png

Tell = Callable[[str], None]
_Any = TypeVar("_Any")
Masks = NDArray[np.uint8]

# Pictures, half of which calibrate; more would move neither scales nor loss, only the clock.
_PICTURES = 24
_FIRST_SCENE = 7_000  # seeds that no training used
_OBJECTS = 6  # of a picture, the largest ones
_SMALLEST, _LARGEST = 0.001, 0.5  # shares of a picture that count as an object
_NOBODY_KNOWS = 255


def export(
    name: str, folder: Path, *, checkpoint: Path | None, weights_path: Path | None, int8: bool,
    calibrate: Path | None, tell: Tell,
) -> OnnxSamDescription:  # fmt: skip
    """Write the folder, and the int8 encoder where that is asked for.

    Args:
        name: e.g. tiny_sam, sam_vit_b.
        folder: where to.
        checkpoint: file of the weights; None: what was pulled, or the shipped ones.
        weights_path: where pulled weights lie; None: the usual place.
        int8: an int8 encoder too.
        calibrate: folder of pictures, or one with `images` and `train_ids`, whose objects are then
            the truth; None: drawn street scenes.
        tell: takes words of progress.

    Raises:
        ConfigError: no such SAM, or pictures that are not there.
        ModelLoadError: weights that cannot be loaded.
        ExportMismatchError: ONNX Runtime answers otherwise than torch.
    """
    examples = _examples(calibrate) if int8 else []
    sam, source = exportable(name, checkpoint=checkpoint, weights_path=weights_path)
    described = export_sam(sam, source, folder, tell=tell)
    if not int8:
        return described
    calibration = [example.image for example in examples[::2]]
    return add_int8(folder, calibration, examples[1::2], tell=tell)


def _examples(folder: Path | None) -> list[Example]:
    """Evenly from what is there; at least two, so that one can calibrate."""
    found = _drawn() if folder is None else _in_folder(folder)
    if len(found) < 2:
        raise ConfigError(
            f"{folder}: {len(found)} pictures; expected at least 2, one to calibrate on and one "
            "that tells the loss"
        )
    return found


def _drawn() -> list[Example]:
    scenes = [
        draw_scene(_FIRST_SCENE + number, CONDITIONS[number // 2 % len(CONDITIONS)])
        for number in range(_PICTURES)
    ]
    return [Example(scene.image, objects_of(scene.mask)) for scene in scenes]


def _in_folder(folder: Path) -> list[Example]:
    if (folder / "train_ids").is_dir():
        pairs = _evenly(labelled_pairs(folder))
        return [
            Example(
                image_from_bytes(image.read_bytes(), str(image)),
                objects_of(mask_from_png(mask.read_bytes(), str(mask))),
            )
            for image, mask in pairs
        ]
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; --calibrate takes one with pictures")
    pictures = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    return [Example(image_from_bytes(p.read_bytes(), str(p))) for p in _evenly(pictures)]


def _evenly(all_of_them: Sequence[_Any]) -> list[_Any]:
    places = np.linspace(0, len(all_of_them) - 1, min(_PICTURES, len(all_of_them)))
    return [all_of_them[round(place)] for place in places]


def objects_of(classes: Masks) -> tuple[Mask, ...]:
    """The largest connected parts of one class, biggest first; (H, W) bool each.

    Args:
        classes: (H, W) class numbers, 255 where nobody knows.
    """
    parts: list[Mask] = []
    for number in np.unique(classes[classes != _NOBODY_KNOWS]):
        numbered, count = label(classes == number)
        sizes = np.bincount(numbered.ravel())[1:]
        fitting = (sizes >= _SMALLEST * classes.size) & (sizes <= _LARGEST * classes.size)
        parts += [numbered == part + 1 for part in range(count) if fitting[part]]
    parts.sort(key=np.count_nonzero, reverse=True)
    return tuple(parts[:_OBJECTS])
