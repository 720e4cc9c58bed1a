"""One drafter for the rounds and for the questions of edge nodes: loaded once, used in turns."""

import threading

import numpy as np
from numpy.typing import NDArray

from cloud.preannotation.drafting import Draft, Drafter


class SharedDrafter:
    """A drafter that threads may share; models keep the picture they are at, so one at a time."""

    def __init__(self, drafter: Drafter) -> None:
        self._drafter = drafter
        self._lock = threading.Lock()
        self.proposed_by = drafter.proposed_by
        self.labelled_by = drafter.labelled_by

    def draft(self, image: NDArray[np.uint8]) -> Draft:
        """See `Drafter`."""
        with self._lock:
            return self._drafter.draft(image)
