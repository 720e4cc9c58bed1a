"""Asks an annotator again: work goes back as a rejection does, with a picture of what is meant."""

from annotation.project import ImageAddresses
from annotation.review.desk import ReviewDesk
from lifelong.records.samples import AnnotationTask


class AskingDesk:
    """A review desk that speaks for a model."""

    def __init__(self, desk: ReviewDesk, addresses: ImageAddresses) -> None:
        self._desk = desk
        self._addresses = addresses

    def ask_again(
        self, task: AnnotationTask, annotation_id: int, reason: str, picture_key: str
    ) -> None:
        """Send one annotation back; the picture stands where the draft's doubts stood.

        Raises:
            ReviewError: it is not there any more.
        """
        shown = self._addresses.url(picture_key)
        self._desk.reject(task, reason, annotation_id, picture_url=shown)
