"""Weights from a file: read safely, recognised by their names and widths, put into a network.

A file that cannot be used is refused before anything large is allocated, with what was expected
and, as far as its weights tell, what it seems to be instead.
"""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from lifelong.errors import ModelLoadError

Weights = dict[str, Tensor]

VIT_WIDTHS = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}
# Width of the first stage and number of blocks of SAM 2's image encoder.
SAM2_SIZES = {(96, 12): "tiny", (96, 16): "small", (112, 24): "base_plus", (144, 48): "large"}

_LIGHT_HQ = "vit_tiny"  # HQ-SAM behind MobileSAM's encoder, for which we have no network

_TITLES = {
    "sam": "segment-anything",
    "sam_hq": "HQ-SAM",
    "sam2": "SAM 2",
    "mobile_sam": "MobileSAM",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Which SAM weights belong to, in the words of `preannotation.masks`."""

    type: str  # sam, sam_hq, sam2 or mobile_sam
    model: str  # e.g. vit_b; "" where the type has one model only

    def __str__(self) -> str:
        title = _TITLES[self.type]
        return f"weights of {self.model} of {title}" if self.model else f"weights of {title}"


def read_weights(path: Path, expected: str) -> Weights:
    """The weights in a .pth, .pt or .safetensors file, by name.

    No code of the file is run: `torch.load` reads with `weights_only=True`. Where the format
    allows it the file is mapped into memory, so that it is not held twice.

    Args:
        path: the file.
        expected: ends every error, e.g. "expected sam_vit_b_01ec64.pth".

    Raises:
        ModelLoadError: no such file, a folder, a truncated file, or one without weights.
    """
    if path.is_dir():
        raise ModelLoadError(f"{path}: a folder; {expected}")
    if not path.is_file():
        raise ModelLoadError(f"{path}: no such file; {expected}")
    try:
        if path.suffix == ".safetensors":
            loaded: object = load_file(path)
        else:
            mapped = zipfile.is_zipfile(path)  # older formats cannot be mapped
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:
        # torch reads bytes that are no checkpoint as instructions for its stack machine, which
        # then fails in every way such a machine can.
        raise ModelLoadError(f"{path}: {_unreadable(path, error)}; {expected}") from error
    return _named_tensors(loaded, path, expected)


def _named_tensors(loaded: object, path: Path, expected: str) -> Weights:
    # Training scripts and SAM 2 wrap the weights in one more dict.
    for wrapper in ("model", "state_dict"):
        if isinstance(loaded, dict) and isinstance(loaded.get(wrapper), dict):
            loaded = loaded[wrapper]
    if not isinstance(loaded, dict):
        raise ModelLoadError(f"{path}: holds a {type(loaded).__name__}; {expected}")
    weights = {str(name): value for name, value in loaded.items() if isinstance(value, Tensor)}
    if not weights:
        raise ModelLoadError(f"{path}: holds no weights; {expected}")
    return weights


def _unreadable(path: Path, error: Exception) -> str:
    if isinstance(error, PermissionError):
        return "may not be read by this user"
    with path.open("rb") as file:
        beginning = file.read(64).lstrip().lower()
    if beginning.startswith((b"<!doctype", b"<html")):
        return "a web page, so the download went wrong"
    if beginning.startswith(b"version https://git-lfs"):
        return "a pointer of git-lfs, not the file itself (`git lfs pull` brings it)"
    return f"truncated, or not a checkpoint at all ({_first_line(error)})"


def recognised(weights: Mapping[str, Tensor]) -> Kind | None:
    """What the names and widths say; None for weights of nothing we know."""
    vit = weights.get("image_encoder.patch_embed.proj.weight")
    if vit is not None and vit.shape[0] in VIT_WIDTHS:
        high_quality = "mask_decoder.hf_token.weight" in weights
        return Kind(type="sam_hq" if high_quality else "sam", model=VIT_WIDTHS[vit.shape[0]])
    if "image_encoder.patch_embed.seq.0.c.weight" in weights:
        light = Kind(type="sam_hq", model=_LIGHT_HQ)
        return (
            light
            if "mask_decoder.hf_token.weight" in weights
            else Kind(type="mobile_sam", model="")
        )
    trunk = weights.get("image_encoder.trunk.patch_embed.proj.weight")
    if trunk is not None:
        prefix = "image_encoder.trunk.blocks."
        blocks = {name[len(prefix) :].split(".")[0] for name in weights if name.startswith(prefix)}
        return Kind(type="sam2", model=SAM2_SIZES.get((trunk.shape[0], len(blocks)), ""))
    return None


def require_kind(weights: Mapping[str, Tensor], kind: Kind, *, path: Path, expected: str) -> None:
    """Refuse weights of another SAM than `kind`.

    Raises:
        ModelLoadError: says what the weights seem to be and, if we can use them, under which type.
    """
    found = recognised(weights)
    if found == kind:
        return
    if found is not None:
        usable = found.type != kind.type and found.model != _LIGHT_HQ
        hint = f" (preannotation.masks.type: {found.type})" if usable else ""
        raise ModelLoadError(f"{path}: {found}{hint}; {expected}")
    vit = weights.get("image_encoder.patch_embed.proj.weight")
    if vit is not None:
        raise ModelLoadError(f"{path}: an image encoder {vit.shape[0]} wide; {expected}")
    if any(name.startswith("vision_encoder.") for name in weights):
        raise ModelLoadError(
            f"{path}: weights as transformers names them, which need the folder with their "
            f"config.json; {expected}"
        )
    raise ModelLoadError(f"{path}: no image encoder of any SAM inside; {expected}")


def put_into(
    network: nn.Module, weights: Mapping[str, Tensor], *, path: Path, expected: str
) -> None:
    """Give a network its weights, as float32, without copying those that are float32 already.

    Args:
        network: may lie on the meta device.
        weights: by the network's own names, one for each.
        path: where they come from, for errors.
        expected: ends every error.

    Raises:
        ModelLoadError: weights that are missing, left over or of another shape.
    """
    wanted = network.state_dict()
    reasons = [
        *_listed("missing", [name for name in wanted if name not in weights]),
        *_listed("unknown", [name for name in weights if name not in wanted]),
        *_listed(
            "of another shape",
            [n for n in wanted if n in weights and wanted[n].shape != weights[n].shape],
        ),
    ]
    if reasons:
        raise ModelLoadError(f"{path}: not all weights fit ({'; '.join(reasons)}); {expected}")
    network.load_state_dict(
        {
            name: value.float() if value.is_floating_point() else value
            for name, value in weights.items()
        },
        assign=True,
    )


def _listed(what: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return [f"{what}: {names[0]}{more}"]


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__
