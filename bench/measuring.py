"""Seconds, peak memory of a process of its own, and one JSON object a run: what benches share."""

import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import TypeVar

_T = TypeVar("_T")


class MeasuredCallError(RuntimeError):
    """The measured call failed in its child process; the message is the child's."""


def seconds_of(call: Callable[[], _T]) -> tuple[_T, float]:
    """What `call` answers, and the wall-clock seconds it took."""
    begun = time.perf_counter()
    result = call()
    return result, time.perf_counter() - begun


def processor_seconds_of(call: Callable[[], _T]) -> tuple[_T, float]:
    """What `call` answers, and the seconds of the processor that this process took for it.

    For calls of one thread: other work on the machine hardly moves it.
    """
    begun = time.process_time()
    result = call()
    return result, time.process_time() - begun


def in_child(function: Callable[..., _T], *arguments: object) -> tuple[_T, float, float]:
    """Call a module's function in a fresh process of its own.

    Args:
        function: found by name in its module, so that the fresh process can import it.
        arguments: whatever can be pickled; the answer must be so too.

    Returns:
        The answer, the wall-clock seconds of the call alone (imports are not counted), and the
        peak memory of the process in MiB, with everything the call imported and loaded.

    Raises:
        MeasuredCallError: the call raised, or its process died.
    """
    fresh = multiprocessing.get_context("spawn")
    ours, theirs = fresh.Pipe(duplex=False)
    child = fresh.Process(target=_measured, args=(theirs, function, arguments))
    child.start()
    theirs.close()
    try:
        answered, payload = ours.recv()
    except EOFError as error:
        child.join()
        raise MeasuredCallError(
            f"{function.__name__}: its process ended with exit code {child.exitcode}"
        ) from error
    child.join()
    if not answered:
        raise MeasuredCallError(f"{function.__name__}: {payload}")
    result, seconds, peak_mib = payload
    return result, seconds, peak_mib


def peak_mib() -> float:
    """The most memory this process has held so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def report(figures: Mapping[str, object], *, as_json: bool) -> None:
    """Print one JSON object on a line of its own, or one figure a line for people."""
    if as_json:
        print(json.dumps(dict(figures)))
        return
    width = max((len(name) for name in figures), default=0)
    for name, value in figures.items():
        print(
            f"{name:<{width}}  {value:.3f}"
            if isinstance(value, float)
            else f"{name:<{width}}  {value}"
        )


def _measured(
    pipe: Connection, function: Callable[..., object], arguments: tuple[object, ...]
) -> None:
    try:
        result, seconds = seconds_of(lambda: function(*arguments))
        pipe.send((True, (result, seconds, peak_mib())))
    except Exception as error:
        pipe.send((False, f"{type(error).__name__}: {error}"))
    finally:
        pipe.close()
