"""CNV-02 at length: 1,000 random maps and every CamVid map through a real Label Studio and back.

Hypothesis draws the maps; they go out as one push, come back untouched as annotations, are
exported as JSON and read. Every pixel must be the same, in the default mode and with brush alone.
"""

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal

import httpx
import label_studio_sdk
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from numpy.typing import NDArray

from annotation.exchange import Exchange
from annotation.formats.label_studio_json import mask_of_task, tasks_from_export
from annotation.label_studio import LabelStudio
from annotation.label_studio_server import LabelStudioServer
from annotation.task_fields import SAMPLE
from lifelong.links.journal import Journal, utc_now
from lifelong.links.storage import open_storage
from lifelong.records.label_map import CITYSCAPES
from lifelong.records.pixels import png_from_mask
from lifelong.records.samples import PreAnnotation
from lifelong.sections.annotation import LabelStudioSection
from tests.builders import a_jpeg, a_pre_annotation
from tests.camvid import camvid_masks
from tests.unit.annotation.maps import ragged_maps

pytestmark = [pytest.mark.integration, pytest.mark.slow]

Mask = NDArray[np.uint8]


@pytest.mark.parametrize("mode", ["auto", "brush"])
def test_cnv_02_a_thousand_random_maps_come_back_through_a_real_server(
    label_studio_server: LabelStudioServer, tmp_path: Path, mode: Literal["auto", "brush"]
) -> None:
    masks = [mask for mask in random_maps(1000) if (mask != 255).any()]
    assert len(masks) > 900
    assert through(label_studio_server, tmp_path, masks, mode) == []


@pytest.mark.parametrize("mode", ["auto", "brush"])
def test_cnv_02_every_camvid_map_comes_back_through_a_real_server(
    label_studio_server: LabelStudioServer, tmp_path: Path, mode: Literal["auto", "brush"]
) -> None:
    masks = [mask for _, mask in camvid_masks()]
    assert len(masks) == 65
    assert through(label_studio_server, tmp_path, masks, mode) == []


def random_maps(count: int) -> list[Mask]:
    """What Hypothesis draws, the same every time."""
    drawn: list[Mask] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(mask=ragged_maps())
    def draw(mask: Mask) -> None:
        drawn.append(mask)

    draw()
    return drawn


def through(
    server: LabelStudioServer, tmp_path: Path, masks: Sequence[Mask], mode: Literal["auto", "brush"]
) -> list[int]:
    """Which of the maps came back changed."""
    server.start()
    storage = open_storage(str(server.documents_root / tmp_path.name))
    drafts: list[PreAnnotation] = []
    for number, mask in enumerate(masks):
        draft = a_pre_annotation(number, height=mask.shape[0], width=mask.shape[1])
        storage.put(draft.mask_key, png_from_mask(mask))
        drafts.append(draft)
    storage.put("images/any.jpg", a_jpeg(0))
    with closing(LabelStudio(server.url, server.token, 300.0)) as studio:
        exchange = Exchange(
            storage=storage,
            studio=studio,
            label_map=CITYSCAPES,
            section=LabelStudioSection(
                project=f"Many {tmp_path.name}"[:50],
                local_files_root=server.documents_root,
                draft=mode,
            ),
            journal=Journal(tmp_path / "journal", "cloud"),
            now=utc_now,
        )
        project = exchange.push(drafts)[0].project_id
        # As if somebody had opened and submitted each task: Label Studio's own action.
        with httpx.Client(timeout=300) as http:
            sdk = label_studio_sdk.LabelStudio(
                base_url=server.url, api_key=server.token, httpx_client=http
            )
            sdk.actions.create(
                id="predictions_to_annotations",
                project=project,
                selected_items={"all": True, "excluded": []},
            )
        exported = studio.export(project, "JSON")
    assert len(json.loads(exported)) == len(masks)
    by_sample = {str(draft.sample_id): number for number, draft in enumerate(drafts)}
    changed = []
    for task in tasks_from_export(exported, "export"):
        number = by_sample.pop(str(task.data[SAMPLE]))
        read = mask_of_task(task, CITYSCAPES)
        if read is None or not np.array_equal(read, masks[number]):
            changed.append(number)
    assert not by_sample
    return changed
