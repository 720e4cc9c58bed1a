"""On what, how finely and how repeatably a run computes: device, number type, threads."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def device_named(name: str) -> torch.device:
    """`auto` is the GPU when there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def computes_in_bf16(compute: str, device: torch.device) -> bool:
    """Are layers computed in bfloat16? Weights, losses and steps stay float32 all the same.

    Args:
        compute: `fp32`, `bf16`, or `auto`: where the device has units for it.
    """
    if compute != "auto":
        return compute == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu.get_capabilities().get("amx_bf16", False))


@contextmanager
def reproducible(threads: int, device: torch.device) -> Iterator[None]:
    """Settings of the whole process that make equal runs equal, given back afterwards."""
    threads_before = torch.get_num_threads()
    before = torch.are_deterministic_algorithms_enabled()
    # One core stays free: OpenMP's threads wait for each other by spinning, and a team that shares
    # its cores with another busy process was seen to run 16 times slower than a smaller one.
    torch.set_num_threads(threads or max(1, threads_before - 1))
    # On a GPU some backward passes have no deterministic kernel; there equal runs are near, not
    # equal.
    torch.use_deterministic_algorithms(device.type == "cpu")
    try:
        yield
    finally:
        torch.set_num_threads(threads_before)
        torch.use_deterministic_algorithms(before)
