"""Checkpoints of transformers by folder or hub id, and what to say when there is none."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError

from lifelong.errors import ModelLoadError

_T = TypeVar("_T")


def loaded(model: str, what: str, load: Callable[[], _T]) -> _T:
    """What `load` brings.

    Args:
        model: the folder or hub id, as the configuration says it.
        what: what it should be, for the message: "a BLIP captioner".

    Raises:
        ModelLoadError: it is not there, is of another kind, or cannot be read.
    """
    try:
        return load()
    except (
        OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RuntimeError,
        SafetensorError,
    ) as error:  # fmt: skip
        first = str(error).splitlines()[0] if str(error) else repr(error)
        local = Path(model).exists() or model.startswith((".", "/", "~"))
        advice = (
            "check that the folder holds config.json, weights and the processor's files"
            if local
            else f"without network, first `cornerloop models pull {model}`, or name a folder"
        )
        raise ModelLoadError(
            f"{model}: expected a folder or hub id of {what} ({first}); {advice}"
        ) from error
