"""A SAM of transformers from a folder or the hub, with every way this fails said in words."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import PretrainedConfig

from cloud.preannotation.sam.checkpoints import Kind
from lifelong.errors import ModelLoadError

WEIGHTS_SUFFIXES = (".pth", ".pt", ".safetensors")
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")


def is_weights_file(source: Path) -> bool:
    """Whether `source` means a single file of weights, even one that is not there."""
    return source.is_file() or source.suffix in WEIGHTS_SUFFIXES


def load_transformers_sam(
    source: Path,
    model_class: Any,
    *,
    model_types: tuple[str, ...],
    kind_of: Callable[[Any], Kind],
    kind: Kind,
    expected: str,
) -> Any:
    """A model with all of its weights, float32, on the CPU; no code of the folder is run.

    Args:
        source: folder with config.json and model.safetensors, or a hub id such as owner/name.
        model_class: of transformers.
        model_types: what config.json may say under `model_type`.
        kind_of: which SAM a configuration describes.
        kind: the one that is wanted.
        expected: ends every error.

    Raises:
        ModelLoadError: no such folder, another model, or weights that are missing or broken.
    """
    name = str(source)
    if not source.is_dir() and (source.is_absolute() or not _HUB_ID.fullmatch(name)):
        raise ModelLoadError(f"{source}: no such file or folder; {expected}")
    try:
        described, _ = PretrainedConfig.get_config_dict(name)
        if described.get("model_type") not in model_types:
            raise ModelLoadError(
                f"{source}: a model of type {described.get('model_type')!r}; {expected}"
            )
        config = model_class.config_class.from_dict(described)
        if kind_of(config) != kind:
            raise ModelLoadError(f"{source}: {kind_of(config)}; {expected}")
        model, report = model_class.from_pretrained(
            name,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # reported below, in our words
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        first = str(error).strip().splitlines()[0][:200] if str(error).strip() else ""
        raise ModelLoadError(f"{source}: {first or type(error).__name__}; {expected}") from error
    # transformers would go on with random numbers in their place.
    for what in ("missing_keys", "mismatched_keys"):
        if report[what]:
            first, more = str(sorted(report[what])[0]), len(report[what]) - 1
            raise ModelLoadError(
                f"{source}: weights {what.split('_')[0]}: {first} and {more} more; {expected}"
            )
    return model.eval()
