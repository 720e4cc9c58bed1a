"""The demo's own drafting model for real frames, trained once and kept."""

from pathlib import Path

from cloud.assembly import Cloud
from cloud.demo.beginning import fingerprint, first_pictures
from cloud.demo.plan import DemoPlan
from cloud.demo.told import Told
from cloud.demo.worlds import World
from cloud.preannotation.drafter import train_drafter
from lifelong.records.pixels import image_from_bytes


def drafter_from_training(
    cloud: Cloud, world: World, plan: DemoPlan, kept: Path, told: Told
) -> Path:
    """The drafting model, trained on what the first model was trained on; kept like that one."""
    weights = kept / f"drafter-{fingerprint(cloud, world, plan)}.safetensors"
    if not weights.exists():
        told.say(f"training the drafting model for {plan.drafting_minutes:.0f} minutes")
        pairs = [(image_from_bytes(p.image, p.name), p.mask) for p in first_pictures(world, plan)]
        train_drafter(
            pairs, cloud.label_map, weights, minutes=plan.drafting_minutes, seed=plan.seed
        )
    return weights
