"""What lies on this machine is taken first; the hub is asked only for the rest, and only if it
answers.

transformers asks the hub about every file of a model by its id, even of one that lies in its
cache, and where nobody answers it tries again for half a minute a file. A cluster without a
network would start slowly, and say what is missing much later than it could.
"""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies

from huggingface_hub import constants

from lifelong.errors import ModelLoadError

_T = TypeVar("_T")
_PATIENCE_S = 4.0  # for a connection; whoever needs longer would need days for the weights


def from_here_or_hub(load: Callable[[], _T]) -> _T:
    """What `load` brings without a network or, if that fails and the hub answers, with it.

    Raises:
        ModelLoadError: as `load` says it.
    """
    if constants.HF_HUB_OFFLINE:
        return load()
    try:
        with _offline():
            return load()
    except ModelLoadError as error:
        # What transformers does not find it calls an OSError; other weights have other causes.
        if not isinstance(error.__cause__, OSError) or not hub_answers():
            raise
    return load()


def hub_answers() -> bool:
    """Can the hub, or the mirror that HF_ENDPOINT names, be connected to?"""
    if {"https", "http", "all"} & set(getproxies()):
        return True  # the proxy knows
    address = urlsplit(os.environ.get("HF_ENDPOINT") or constants.ENDPOINT)
    port = address.port or (80 if address.scheme == "http" else 443)
    try:
        with socket.create_connection((address.hostname or "", port), timeout=_PATIENCE_S):
            return True
    except OSError:
        return False


@contextmanager
def _offline() -> Iterator[None]:
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
