"""`training.init`: from a name in the configuration to the weights that a student begins with.

A path is taken as it is. Everything else is a name that `cornerloop models pull` knows: one of
the catalogue, a hub id, or an address with its hash (`https://HOST/FILE#sha256=HEX`). What was
not pulled is never fetched in passing: the error says which command brings it.
"""

from pathlib import Path

from cloud.weights.store import located
from lifelong.errors import ConfigError, ModelLoadError
from lifelong.records.label_map import LabelMap
from lifelong.sections.training import SCRATCH, TrainingSection
from lifelong.training.initialisation import Beginning, initial_weights


def beginning_of(
    section: TrainingSection, label_map: LabelMap, weights_path: Path | None = None
) -> Beginning | None:
    """What a first model begins with, as `training.init` says; None from scratch.

    Args:
        weights_path: where pulled weights lie, see `weights_folder`.

    Raises:
        ConfigError: neither a path nor a name that could be pulled.
        ModelLoadError: not pulled yet, damaged, or weights of another network.
    """
    place = place_of_init(section.init, weights_path)
    return initial_weights(section.network, label_map, place, seed=section.seed)


def place_of_init(init: str, weights_path: Path | None = None) -> Path | None:
    """The file or folder that `training.init` means; None for `scratch`.

    Raises:
        ConfigError: neither a path nor a name that could be pulled.
        ModelLoadError: not pulled yet; says how to.
    """
    if init == SCRATCH:
        return None
    path = Path(init).expanduser()
    if path.exists():
        return path
    if path.is_absolute() or init.startswith("."):
        raise ConfigError(f"training.init: {path}: nothing there; name a file or folder of weights")
    try:
        return located(init, weights_path)
    except ModelLoadError as error:
        raise ModelLoadError(f"training.init: {error}") from error
