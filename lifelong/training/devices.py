"""On what and how evenly a run computes: device, threads, repeatable results."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def device_named(name: str) -> torch.device:
    """`auto` is the GPU when there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


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
