"""Label Studio's requests to an interactive model, as 1.23 sends them, and what an answer holds."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotation.brush_rle import mask_from_rle, rle_from_mask
from cloud.demo.scenes import CONDITIONS, draw_scene
from lifelong.records.pixels import jpeg_from_image
from lifelong.records.prompts import Point

# The labelling config of label-studio-ml-backend's own SAM example, so that all can answer it.
LABEL_CONFIG = """<View>
  <Image name="image" value="$image" zoom="true"/>
  <BrushLabels name="tag" toName="image">
    <Label value="Car" background="#FF0000"/><Label value="Road" background="#0d14d3"/>
  </BrushLabels>
  <KeyPointLabels name="tag2" toName="image" smart="true">
    <Label value="Car" background="#000000"/><Label value="Road" background="#000000"/>
  </KeyPointLabels>
  <RectangleLabels name="tag3" toName="image" smart="true">
    <Label value="Car" background="#000000"/><Label value="Road" background="#000000"/>
  </RectangleLabels>
</View>"""
_PROJECT = "7.1790000000"
_WHEN = "2026-11-20T20:37:00.000000Z"
_CORNERS = 40  # of a polygon, about what a corrected draft has

Mask = NDArray[np.bool_]


def picture(seed: int, height: int, width: int) -> bytes:
    """A drawn street as JPEG; another one for every seed."""
    scene = draw_scene(seed, CONDITIONS[seed % len(CONDITIONS)], height, width)
    return jpeg_from_image(scene.image)


def predict_body(
    image: str, points: Sequence[Point], size: tuple[int, int], *,
    task_id: int = 1, regions: Sequence[dict[str, Any]] = (),
) -> bytes:  # fmt: skip
    """POST /predict for the clicks that are open.

    Args:
        image: the task's picture, an address.
        size: (height, width) of the picture.
        regions: what lies on the picture, in the annotator's draft.
    """
    prompts = [_prompt(number, point, size) for number, point in enumerate(points)]
    draft = {
        "id": 31, "user": "admin@example.com", "created_username": " admin@example.com, 1",
        "created_ago": "0 minutes", "result": list(regions), "lead_time": 341.7,
        "was_postponed": False, "import_id": None, "created_at": _WHEN, "updated_at": _WHEN,
        "task": task_id, "annotation": None,
    }  # fmt: skip
    task = {
        "id": task_id, "data": {"image": image}, "meta": {}, "created_at": _WHEN,
        "updated_at": _WHEN, "is_labeled": False, "overlap": 1, "inner_id": task_id,
        "total_annotations": 0, "cancelled_annotations": 0, "total_predictions": 0,
        "comment_count": 0, "unresolved_comment_count": 0, "last_comment_updated_at": None,
        "project": 7, "updated_by": None, "file_upload": None, "comment_authors": [],
        "annotations": [], "predictions": [], "drafts": [draft] if regions else [],
    }  # fmt: skip
    context = {"result": prompts}
    return json.dumps(
        {
            "tasks": [task], "project": _PROJECT, "label_config": LABEL_CONFIG,
            "params": {"login": None, "password": None, "context": context},
        }
    ).encode()  # fmt: skip


def setup_body() -> bytes:
    """POST /setup, which Label Studio sends before anything else."""
    return json.dumps(
        {
            "project": _PROJECT, "schema": LABEL_CONFIG, "hostname": "http://127.0.0.1:8080",
            "access_token": "", "extra_params": None,
        }
    ).encode()  # fmt: skip


def webhook_body(task_id: int) -> bytes:
    """POST /webhook: somebody submitted a task, so that the next ones will be looked at."""
    return json.dumps(
        {
            "action": "ANNOTATION_CREATED", "task": {"id": task_id},
            "project": {"id": 7, "label_config": LABEL_CONFIG}, "annotation": {"id": 1},
        }
    ).encode()  # fmt: skip


def regions_on(count: int, height: int, width: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Objects of all sizes, every other one a brush stroke, the others polygons."""
    rng = np.random.default_rng(seed)
    regions = []
    for number in range(count):
        row, column = rng.uniform(0, height), rng.uniform(0, width)
        tall, wide = rng.uniform(0.03, 0.25) * height, rng.uniform(0.03, 0.25) * width
        about = {
            "id": f"r{number:06x}", "to_name": "image", "original_width": width,
            "original_height": height, "image_rotation": 0, "origin": "manual",
        }  # fmt: skip
        if number % 2:
            value = _polygon(rng, (row, column), (tall, wide), (height, width))
            regions.append(about | {"from_name": "poly", "type": "polygonlabels", "value": value})
            continue
        stroke = _stroke((row, column), (tall, wide), (height, width))
        value = {"format": "rle", "rle": rle_from_mask(stroke), "brushlabels": ["Car"]}
        regions.append(about | {"from_name": "tag", "type": "brushlabels", "value": value})
    return regions


def painted(answer: bytes, size: tuple[int, int]) -> Mask | None:
    """The mask that an answer to /predict holds; None where it holds no brush region."""
    read = json.loads(answer)
    for region in read["results"][0]["result"] if read.get("results") else []:
        if region["type"] == "brushlabels":
            return mask_from_rle(region["value"]["rle"], *size, "an answer")
    return None


def iou(one: Mask, other: Mask) -> float:
    """Intersection over union of two masks; 1.0 where both are empty."""
    union = int(np.count_nonzero(one | other))
    return int(np.count_nonzero(one & other)) / union if union else 1.0


def _prompt(number: int, point: Point, size: tuple[int, int]) -> dict[str, Any]:
    height, width = size
    return {
        "original_width": width, "original_height": height, "image_rotation": 0,
        "value": {
            "x": 100 * point.x / width, "y": 100 * point.y / height, "width": 0.3189792663476874,
            "labels": ["Car"], "keypointlabels": ["Car"],
        },
        "is_positive": point.is_positive, "id": f"click{number}", "from_name": "tag2",
        "to_name": "image", "type": "keypointlabels", "origin": "manual",
    }  # fmt: skip


def _stroke(centre: tuple[float, float], half: tuple[float, float], size: tuple[int, int]) -> Mask:
    """An object with nine bumps."""
    rows, columns = np.ogrid[0 : size[0], 0 : size[1]]
    y, x = (rows - centre[0]) / half[0], (columns - centre[1]) / half[1]
    inside = np.zeros(size, dtype=np.bool_)
    near = np.ix_(np.abs(y[:, 0]) < 1.2, np.abs(x[0]) < 1.2)
    y, x = y[near[0][:, 0]], x[:, near[1][0]]
    inside[near] = y**2 + x**2 < 1 + 0.15 * np.sin(9 * np.arctan2(y, x))
    return inside


def _polygon(
    rng: np.random.Generator, centre: tuple[float, float], half: tuple[float, float],
    size: tuple[int, int],
) -> dict[str, Any]:  # fmt: skip
    turns = np.sort(rng.uniform(0, 2 * np.pi, _CORNERS))
    y = (centre[0] + half[0] * np.sin(turns)) * 100 / size[0]
    x = (centre[1] + half[1] * np.cos(turns)) * 100 / size[1]
    points = np.stack([x, y], axis=-1).clip(0, 100).tolist()
    return {"points": points, "closed": True, "polygonlabels": ["Car"]}
