"""A storage folder stays free of what killed writers left in it."""

import logging
import threading

from lifelong.errors import StorageUnavailableError
from lifelong.links.storage import Storage
from lifelong.links.unfinished_writes import sweep_unfinished

logger = logging.getLogger(__name__)

_PAUSE_SECONDS = 86_400.0


def keep_swept(
    storage: Storage, stop: threading.Event, *, pause_seconds: float = _PAUSE_SECONDS
) -> None:
    """Sweep now, since a service that begins may be one that was killed, and daily, until `stop`.

    Nothing waits for it, and what cannot be removed is said and tried again.
    """
    while True:
        try:
            swept = sweep_unfinished(storage)
        except StorageUnavailableError as error:
            logger.warning("%s; tried again tomorrow", error)
        else:
            if swept:
                logger.info("%s: removed %d unfinished writes", storage.url, swept)
        if stop.wait(pause_seconds):
            return
