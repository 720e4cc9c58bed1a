"""Which classes the masks of a folder's hold-outs were painted with, and how they are read.

Samples say it themselves. For a folder a file `label_map.json` says it, beside `train_ids` or in a
folder above, down from the hold-outs' own; `cornerloop classes change` puts it there.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lifelong.config import read_label_map
from lifelong.errors import LabelMapChangeError
from lifelong.evaluation import FileHoldout
from lifelong.labels.readings import LabelReader
from lifelong.records.label_map import LabelMap

LABEL_MAP_FILE = "label_map.json"


def painted_with(holdouts: Mapping[str, FileHoldout], folder: Path) -> dict[str, LabelMap]:
    """The label maps that files beside the hold-outs of `folder` name, by learning task.

    Raises:
        ConfigError, LabelMapError: such a file cannot be read.
    """
    found: dict[str, LabelMap] = {}
    top = folder.resolve()
    if top.name == "eval":  # one hold-out of a folder of them, {holdouts}/{task}/eval
        top = top.parent.parent
    for task, holdout in holdouts.items():
        place = _folder_of(holdout)
        while place.is_relative_to(top):
            path = place / LABEL_MAP_FILE
            if path.is_file():
                found[task] = read_label_map(path)
                break
            place = place.parent
    return found


def read_as_present(
    holdouts: Mapping[str, FileHoldout], painted: Mapping[str, LabelMap], reader: LabelReader
) -> dict[str, FileHoldout]:
    """The hold-outs, their masks read as label codes; `painted` is what `painted_with` found.

    Raises:
        LabelMapChangeError: the classes have changed, and nobody says which these masks hold.
    """
    silent = [task for task in holdouts if task not in painted]
    if silent and reader.history.changes:
        raise LabelMapChangeError(
            f"{_folder_of(holdouts[silent[0]])}: the classes have changed, and nothing says which "
            f"ones its masks hold; put a {LABEL_MAP_FILE} there with the classes that they were "
            "painted with"
        )
    return {
        task: replace(
            holdout,
            read=reader.read,
            label_map_digest=painted.get(task, reader.label_map).digest,
        )
        for task, holdout in holdouts.items()
    }


def _folder_of(holdout: FileHoldout) -> Path:
    """The folder that `images` and `train_ids` lie in."""
    return holdout.paths[0][1].resolve().parent.parent
