"""Listings of the rooms of storage that devices write to, each into a folder of its own.

An object with a name that no key of ours has (an empty or climbing part, letters that are none)
ends a whole listing. One device must not do that to all others: then its folder alone is left out.
"""

import logging

from lifelong.errors import ObjectNameError
from lifelong.links.storage import Entry, Storage

logger = logging.getLogger(__name__)


def entries_of_devices(storage: Storage, room: str) -> list[Entry]:
    """All objects of a room, sorted by key, as one listing tells; folder by folder where it cannot.

    Raises:
        StorageError: storage cannot be reached; ObjectNameError: the name lies in no folder.
    """
    try:
        return storage.entries(room)
    except ObjectNameError:
        pass
    found: list[Entry] = []
    for folder in storage.folders(room):
        try:
            found += storage.entries(f"{room}/{folder}")
        except ObjectNameError as error:
            logger.warning("nothing of %s/%s is seen: %s", room, folder, error)
    return found
