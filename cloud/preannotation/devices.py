"""Where models run: a GPU where there is one, else the CPU."""

import torch


def chosen_device(device: str) -> str:
    """`auto` is a GPU where there is one; anything else is taken as torch takes it."""
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
