"""Weights and half-finished runs in and out of safetensors bytes; nothing is ever pickled."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from lifelong.errors import ModelLoadError
from lifelong.records.ids import sha256_hex

Weights = dict[str, Tensor]

_ABOUT = "about"  # one metadata entry: safetensors writes several in no fixed order


def weights_of(network: nn.Module) -> Weights:
    """A copy of a network's weights and statistics on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}


def load_weights(network: nn.Module, weights: Weights, where: str) -> None:
    """Put weights into a network.

    Raises:
        ModelLoadError: names or shapes differ; names `where`.
    """
    try:
        network.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        first = " ".join(str(error).split())[:300]
        raise ModelLoadError(f"{where}: weights of another network ({first})") from error


def weights_to_bytes(weights: Weights) -> bytes:
    """A safetensors file; equal weights give equal bytes."""
    data: bytes = save({name: value.contiguous() for name, value in weights.items()})
    return data


def weights_from_bytes(data: bytes, where: str) -> Weights:
    """Read a safetensors file; half-precision numbers become float32, exactly.

    Raises:
        ModelLoadError: not a safetensors file; names `where`.
    """
    try:
        loaded = load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ModelLoadError(f"{where}: not a safetensors file ({error})") from error
    return {
        name: value.float() if value.dtype == torch.float16 else value
        for name, value in loaded.items()
    }


def weights_sha256(weights: Weights) -> str:
    """64 hex digits: equal weights, equal digest."""
    return sha256_hex(weights_to_bytes(weights))


def write_checkpoint(path: Path, tensors: Weights, about: Mapping[str, object]) -> None:
    """Tensors and a JSON object in one file, written whole or not at all."""
    text = json.dumps(dict(about), sort_keys=True)
    data = save({n: t.contiguous() for n, t in tensors.items()}, metadata={_ABOUT: text})
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f"{path.name}.{os.getpid()}.part")
    with half.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    half.replace(path)


def read_checkpoint(path: Path) -> tuple[Weights, dict[str, object]] | None:
    """What `write_checkpoint` wrote, or None when there is none or it cannot be read.

    A checkpoint only saves time, so a damaged one costs a fresh start and not the round.
    """
    try:
        data = path.read_bytes()
        tensors = load(data)
        length = int.from_bytes(data[:8], "little")
        about = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_ABOUT])
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None
    return (tensors, about) if isinstance(about, dict) else None
