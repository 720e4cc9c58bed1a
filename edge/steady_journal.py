"""`SteadyJournal`: a journal whose full disk is told in the log instead of stopping the node."""

import logging

from lifelong.links.journal import Journal, JSONValue

logger = logging.getLogger(__name__)


class SteadyJournal(Journal):
    """Writes what it can; seeing frames matters more than counting them."""

    def event(self, name: str, **fields: JSONValue) -> None:
        """Write one fact, or say in the log that it could not be written."""
        try:
            super().event(name, **fields)
        except OSError as error:
            logger.warning("journal: %s %s is not on the disk: %s", name, fields, error)
