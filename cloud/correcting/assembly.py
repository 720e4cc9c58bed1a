"""The desk behind `/correct`, put together from a configuration."""

import time
from collections.abc import Callable, Sequence
from uuid import uuid4

from annotation.assist.segmenter import PromptedSegmenter
from annotation.assist.troubles import Troubles
from cloud.assembly import Cloud, open_label_studio
from cloud.correcting.desk import Desk, Work
from cloud.correcting.prompting import Prompting
from cloud.correcting.stored_pictures import StoredPictures
from lifelong.labels.map_history import LabelMapHistory, read_history
from lifelong.records.label_map import LabelMap
from lifelong.records.rounds import Round


def make_desk(
    cloud: Cloud, rounds: Callable[[], Sequence[Round]], segmenter: PromptedSegmenter | None
) -> Desk:
    """Over the Label Studio, or the folder, that the loop asks people in.

    Args:
        rounds: as `Desk` says.
        segmenter: who answers prompts; None: nobody.
    """
    history = read_history(cloud.storage, cloud.label_map)

    def work_of(label_map: LabelMap) -> Work:
        return _work(cloud, history, label_map)

    return Desk(
        rounds=rounds,
        work_of=work_of,
        history=history,
        pictures=StoredPictures(cloud.storage),
        answers=Prompting(segmenter) if segmenter is not None else None,
        journal=cloud.journal,
        troubles=Troubles(now=time.time, new_id=lambda: uuid4().hex[:8]),
        clock=time.monotonic,
    )


def _work(cloud: Cloud, history: LabelMapHistory, label_map: LabelMap) -> Work:
    from annotation.correcting.in_folder import FolderCorrections
    from annotation.correcting.in_studio import StudioCorrections

    config = cloud.config
    if config.annotation_folder is not None:
        return FolderCorrections(
            storage=cloud.storage, folder=config.annotation_folder, label_map=label_map
        )
    section = config.label_studio
    if label_map.digest != cloud.label_map.digest:  # its classes may be others
        section = section.model_copy(update={"draft_by_class": {}})
    return StudioCorrections(
        storage=cloud.storage,
        studio=open_label_studio(config),
        label_map=label_map,
        section=section,
        annotators=config.review.annotators,
        other_names=history.other_names(label_map) if history.changes else None,
    )
