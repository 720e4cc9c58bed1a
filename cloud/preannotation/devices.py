"""Where models run, and how exactly: on a GPU where there is one, else on the CPU."""

import torch


def chosen_device(device: str) -> str:
    """`auto` is a GPU where there is one; anything else is taken as torch takes it."""
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


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
