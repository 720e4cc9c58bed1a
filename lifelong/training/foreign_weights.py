"""Checkpoints as others save them: a folder of transformers, a file of torch, a safetensors file.

No code of a checkpoint is run: safetensors hold none, and `torch.load` reads with
`weights_only=True`.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lifelong.errors import ModelLoadError
from lifelong.preprocessing import Preprocessing
from lifelong.training.checkpoints import Weights, weights_from_bytes

# Of a transformers folder, the one we rather have first.
_WHOLE = ("model.safetensors", "pytorch_model.bin")
_UNNAMED = re.compile(r"LABEL_\d+")  # what transformers calls classes that nobody named
# Names that training scripts put before every name of a network.
_WRAPPERS = ("module.", "model.")

Channels = tuple[float, float, float]  # red, green, blue


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalisation:
    """What a checkpoint wants to see of a picture whose values are 0 .. 1."""

    mean: Channels
    std: Channels

    def of(self, how: Preprocessing) -> Preprocessing:
        """The same size of picture, seen so."""
        return replace(how, mean=self.mean, std=self.std)


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """A checkpoint of somebody."""

    where: str
    weights: Weights
    classes: tuple[str, ...] | None  # names in the order of its logits; None: it says none
    normalisation: Normalisation | None  # None: it says nothing
    config: Mapping[str, Any] | None  # of a transformers folder


def read_foreign(place: Path) -> Foreign:
    """Read a checkpoint: a folder with `config.json`, or a .safetensors, .pth, .pt or .bin file.

    Raises:
        ModelLoadError: nothing there, damaged, or no checkpoint; says what was expected.
    """
    if place.is_dir():
        return _read_folder(place)
    return Foreign(
        where=str(place),
        weights=_read_file(place),
        classes=_torchvision_classes(place),
        normalisation=None,
        config=None,
    )


def _read_folder(folder: Path) -> Foreign:
    config = _json_of(folder / "config.json")
    if config is None:
        raise ModelLoadError(f"{folder}: no config.json; name a folder as transformers saves it")
    found = next((folder / name for name in _WHOLE if (folder / name).is_file()), None)
    if found is None:
        raise ModelLoadError(f"{folder}: no {' or '.join(_WHOLE)}; pull it again")
    return Foreign(
        where=str(folder),
        weights=_read_file(found),
        classes=_classes_of(config, folder),
        normalisation=_normalisation_of(folder / "preprocessor_config.json"),
        config=config,
    )


def _read_file(path: Path) -> Weights:
    try:
        if path.suffix == ".safetensors":
            loaded: object = weights_from_bytes(path.read_bytes(), str(path))
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelLoadError(f"{path}: cannot be read ({error.strerror}); name a file") from error
    except ModelLoadError:
        raise
    except Exception as error:
        # torch reads bytes that are no checkpoint as instructions for its stack machine, which
        # then fails in every way such a machine can.
        first = str(error).strip().splitlines()[:1]
        raise ModelLoadError(
            f"{path}: truncated, or not a checkpoint of weights alone ({''.join(first)})"
        ) from error
    for wrapper in ("model", "state_dict"):
        if isinstance(loaded, dict) and isinstance(loaded.get(wrapper), dict):
            loaded = loaded[wrapper]
    entries = loaded.items() if isinstance(loaded, dict) else ()
    weights = {str(name): _widened(value) for name, value in entries if isinstance(value, Tensor)}
    if not weights:
        raise ModelLoadError(f"{path}: holds no weights; expected tensors by name")
    for prefix in _WRAPPERS:
        if all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    return weights


def _widened(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value


def _torchvision_classes(path: Path) -> tuple[str, ...] | None:
    """Names of the classes of torchvision's own checkpoint, which is known by its file's name."""
    from torchvision.models.segmentation import LRASPP_MobileNet_V3_Large_Weights as Published

    for published in Published:
        if Path(published.url).stem == path.stem:
            return tuple(published.meta["categories"])
    return None


def _classes_of(config: Mapping[str, Any], folder: Path) -> tuple[str, ...] | None:
    named = config.get("id2label")
    if named is None:
        return None
    try:
        by_number = {int(number): str(name) for number, name in named.items()}
        names = tuple(by_number[number] for number in range(len(by_number)))
    except (KeyError, ValueError, AttributeError) as error:
        raise ModelLoadError(
            f"{folder / 'config.json'}: id2label must name classes from 0 without gaps"
        ) from error
    return None if all(_UNNAMED.fullmatch(name) for name in names) else names


def _normalisation_of(path: Path) -> Normalisation | None:
    """Mean and deviation in values of 0 .. 1, whatever scale the processor counts in."""
    says = _json_of(path)
    if says is None:
        return None
    says = says.get("image_processor", says)
    if says.get("do_flip_channel_order"):
        raise ModelLoadError(f"{path}: it wants blue before red, which our edges do not do")
    # Values that are not rescaled stay 0 .. 255.
    largest = 255.0 * says.get("rescale_factor", 1 / 255) if says.get("do_rescale", True) else 255.0
    mean, std = (0.0,) * 3, (1.0,) * 3
    if says.get("do_normalize", True):
        mean, std = says.get("image_mean"), says.get("image_std")
        if mean is None or std is None:
            return None
    try:
        (r, g, b), (sr, sg, sb) = mean, std
        return Normalisation(
            mean=(r / largest, g / largest, b / largest),
            std=(sr / largest, sg / largest, sb / largest),
        )
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise ModelLoadError(f"{path}: three means and deviations expected ({error})") from error


def _json_of(path: Path) -> dict[str, Any] | None:
    """A JSON object; None where there is no such file."""
    try:
        says = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ModelLoadError(f"{path}: not JSON that can be read ({error})") from error
    if not isinstance(says, dict):
        raise ModelLoadError(f"{path}: expected an object, got {type(says).__name__}")
    return says
