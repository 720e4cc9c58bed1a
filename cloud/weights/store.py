"""Where pulled weights lie on this machine, and whether they are there.

A file lies under its own name, a hub folder under ORGANISATION/NAME. A store is therefore a mirror
too: copy it to a stick, or serve it by any web server, and pull from it.
"""

import json
import os
from pathlib import Path

from cloud.weights.catalogue import CatalogueEntry, entry_named
from lifelong.errors import ModelLoadError

WEIGHTS_VARIABLE = "CORNERLOOP_WEIGHTS"
# Weights of a transformers folder, the one we rather have first.
WHOLE_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def weights_folder(weights_path: Path | None = None) -> Path:
    """The folder that keeps weights: the one named, else CORNERLOOP_WEIGHTS, else the cache."""
    if weights_path is not None:
        return weights_path.expanduser()
    named = os.environ.get(WEIGHTS_VARIABLE)
    return Path(named).expanduser() if named else Path.home() / ".cache/cornerloop/weights"


def place_of(entry: CatalogueEntry, folder: Path) -> Path:
    """The file or folder where a model's weights belong, whether or not they are there."""
    return folder / (entry.source if entry.kind == "hub" else filename_of(entry))


def filename_of(entry: CatalogueEntry) -> str:
    """The name of the one file of an entry of kind `file`."""
    return entry.filename or entry.source.rsplit("/", 1)[-1]


def is_present(entry: CatalogueEntry, folder: Path) -> bool:
    """Is everything there that loading needs? Says nothing about the bytes."""
    place = place_of(entry, folder)
    return place.is_file() if entry.kind == "file" else bool(weights_in(place))


def weights_in(place: Path) -> tuple[str, ...]:
    """Names of the weights of a transformers folder; empty unless all of them and the
    configuration are there."""
    if not (place / "config.json").is_file():
        return ()
    for whole in WHOLE_WEIGHTS:
        if (place / whole).is_file():
            return (whole,)
        index = place / f"{whole}.index.json"
        if index.is_file():
            shards = shards_of(index.read_bytes(), str(index))
            return shards if all((place / shard).is_file() for shard in shards) else ()
    return ()


def shards_of(index: bytes, where: str) -> tuple[str, ...]:
    """The files that an index of weights names, each once.

    Raises:
        ModelLoadError: not such an index, or a name that leaves its folder.
    """
    try:
        names = tuple(sorted(set(json.loads(index)["weight_map"].values())))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelLoadError(f"{where}: not an index of weights ({error}); pull again") from error
    if not names or any(not isinstance(n, str) or n != Path(n).name for n in names):
        raise ModelLoadError(f"{where}: an index must name files of its own folder; pull again")
    return names


def located(name: str, weights_path: Path | None = None) -> Path:
    """The file, or the folder of a hub model, that was pulled under `name`.

    Raises:
        ModelLoadError: it is not there; says where it was looked for and how to get it.
    """
    entry, folder = entry_named(name), weights_folder(weights_path)
    place = place_of(entry, folder)
    if not is_present(entry, folder):
        into = f" --weights-path {weights_path}" if weights_path else ""
        raise ModelLoadError(
            f"{name}: no weights at {place}; `cornerloop models pull {name}{into}` brings them, "
            "without a network by adding --from FOLDER"
        )
    return place


def located_hub(hub_id: str, weights_path: Path | None = None) -> str | Path:
    """The pulled folder of a hub id if it is there, else what was given.

    A path to a folder is given back as it is; an id that was not pulled is left to transformers,
    which asks its own cache and, unless HF_HUB_OFFLINE says no, the hub.
    """
    if Path(hub_id).expanduser().is_dir():
        return Path(hub_id).expanduser()
    try:
        entry = entry_named(hub_id)
    except ModelLoadError:
        return hub_id
    folder = weights_folder(weights_path)
    if entry.kind == "hub" and is_present(entry, folder):
        return place_of(entry, folder)
    return entry.source if entry.kind == "hub" else hub_id
