"""The Label Studio that `cornerloop label-studio` runs for a configuration: where it lies."""

import json
from pathlib import Path
from urllib.parse import urlsplit

from annotation.label_studio_server import DATABASE, SECRETS
from lifelong.config import Config


def own_data_folder(config_path: Path) -> Path:
    """The data folder of a server that is run for this configuration: beside it."""
    return config_path.absolute().parent / "label-studio"


def own_port(config: Config) -> int | None:
    """The port of this machine that the configuration names; None: Label Studio is elsewhere."""
    if config.annotation_folder is not None:
        return None
    address = urlsplit(config.label_studio.url)
    return address.port if address.hostname in ("127.0.0.1", "localhost") else None


def is_ours(config: Config, config_path: Path) -> bool:
    """Is the configuration's Label Studio one that was run from the folder beside it?

    Somebody else's server on this machine listens at another port than the folder's last one.
    """
    port, folder = own_port(config), own_data_folder(config_path)
    if port is None or not (folder / DATABASE).is_file():
        return False
    try:
        kept = json.loads((folder / SECRETS).read_text(encoding="utf-8"))
        return int(kept["port"]) == port
    except (OSError, ValueError, KeyError, TypeError):
        return False
