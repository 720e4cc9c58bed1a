"""Where models run, and how exactly: on a GPU where there is one, else on the CPU."""

import torch

from lifelong.errors import ConfigError


def chosen_device(device: str) -> str:
    """`auto` is a GPU where there is one; anything else is taken as torch takes it.

    Raises:
        ConfigError: no such device here.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind, number = torch.device(device).type, torch.device(device).index or 0
    except RuntimeError as error:
        raise ConfigError(
            f"preannotation.device: {device!r} is no device; say auto, cpu, cuda or cuda:1"
        ) from error
    if kind == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            f"preannotation.device: {device}, but there is no GPU here that torch can use; "
            "say auto or cpu"
        )
    if kind == "cuda" and number >= torch.cuda.device_count():
        raise ConfigError(
            f"preannotation.device: {device}, but the GPUs here are cuda:0 to "
            f"cuda:{torch.cuda.device_count() - 1}"
        )
    return device


def chosen_precision(precision: str, device: str) -> str:
    """`auto` is bfloat16 on a GPU that computes in it, else float32; others are taken as given.

    Args:
        device: as torch takes it, so never `auto`.
    """
    if precision != "auto":
        return precision
    if torch.device(device).type != "cuda":
        return "float32"
    # Ampere and later; older ones would only imitate it.
    return "bfloat16" if torch.cuda.get_device_capability(device)[0] >= 8 else "float32"
