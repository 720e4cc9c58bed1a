"""How a demo begins: the first model from shipped weights, or trained on real frames and kept."""

import hashlib
import json
from pathlib import Path

from cloud.assembly import Cloud
from cloud.demo.plan import DemoPlan
from cloud.demo.told import Told
from cloud.demo.worlds import LabelledPicture, World
from cloud.first_model import Picture, begin_with_pictures, begin_with_weights
from lifelong.links.durable_files import write_whole
from lifelong.records.keys import weights_key

EDGE_WEIGHTS = Path(__file__).parent / "weights" / "edge_clear.safetensors"


def first_from_shipped(cloud: Cloud, world: World, plan: DemoPlan) -> None:
    """Release the shipped edge model, which was trained on scenes of `clear` only."""
    begin_with_weights(cloud, _pictures(world, plan), plan.start, EDGE_WEIGHTS.read_bytes())


def first_from_training(cloud: Cloud, world: World, plan: DemoPlan, kept: Path, told: Told) -> None:
    """Train the first model, or take what an earlier run kept under `kept`.

    What is kept is found by the content it was trained on and by how, so that other pictures or
    other settings never meet an old model.
    """
    weights = kept / f"{fingerprint(cloud, world, plan)}.safetensors"
    if weights.exists():
        told.say(f"the first model was trained by an earlier run ({weights})")
        begin_with_weights(cloud, _pictures(world, plan), plan.start, weights.read_bytes())
        return
    version = begin_with_pictures(
        cloud,
        _pictures(world, plan),
        plan.start,
        on_progress=told.training(f"training on {plan.start}"),
    )
    weights.parent.mkdir(parents=True, exist_ok=True)
    write_whole(weights, cloud.storage.get(weights_key(version)))


def _pictures(world: World, plan: DemoPlan) -> list[Picture]:
    return [Picture(p.image, p.mask) for p in first_pictures(world, plan)]


def first_pictures(world: World, plan: DemoPlan) -> list[LabelledPicture]:
    return list(world.first_samples(plan.start, plan.first_samples))


def fingerprint(cloud: Cloud, world: World, plan: DemoPlan) -> str:
    digest = hashlib.sha256()
    digest.update(json.dumps(cloud.config.training.model_dump(mode="json")).encode())
    for picture in first_pictures(world, plan):
        digest.update(picture.image)
        digest.update(picture.mask.tobytes())
    return digest.hexdigest()[:16]
